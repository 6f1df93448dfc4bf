import type { Duplex } from 'node:stream'

import type { Status } from '../types/generated/meta-v1.ts'
import { KubeError } from './kube-error.ts'
import { parseRetryAfter } from './retry.ts'

/** One request to a Kubernetes API, addressed by path: a transport knows the host, the credentials and the deadline. */
export interface TransportRequest {
  readonly method: string
  /** Path with query, starting with `/`. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: Uint8Array | string | undefined
  readonly signal?: AbortSignal | undefined
  /**
   * Milliseconds until the whole answer must be in; 0 = only the head of the answer is bounded. Default: what the
   * transport was made with, and 0 for paths that ask for `watch=true` or `follow=true`.
   */
  readonly deadlineMs?: number | undefined
  /** Milliseconds without a byte after which an answer without deadline counts as lost. Default: never. */
  readonly idleMs?: number | undefined
  /** The headers ask to change the protocol: with status 101 the answer has the connection. Default false. */
  readonly upgrade?: boolean | undefined
}

/** The head of an answer and its body as it arrives. Read the body to its end, or leave the iteration, to free the connection. */
export interface TransportResponse {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: AsyncIterable<Uint8Array>
  /** After status 101 to an `upgrade`: the connection, which speaks the other protocol from its first byte on. */
  readonly connection?: Duplex | undefined
}

/** How a client reaches an API server: over HTTPS, or by a function call inside one process. */
export interface Transport {
  send(request: TransportRequest): Promise<TransportResponse>
  close?(): Promise<void>
}

/** The largest answer read into memory at once: a list of some hundred thousand pods. */
const maxBodyBytes = 512 * 1024 * 1024

/** Reads `body` to its end. Throws RangeError past `limitBytes`. */
export async function readBytes(
  body: AsyncIterable<Uint8Array>,
  limitBytes: number = maxBodyBytes,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let sizeBytes = 0
  for await (const chunk of body) {
    sizeBytes += chunk.byteLength
    if (sizeBytes > limitBytes) {
      throw new RangeError(`Cannot read answer: more than ${limitBytes} bytes`)
    }
    chunks.push(chunk)
  }
  const [only] = chunks
  return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, sizeBytes)
}

/** Reads `body` to its end as UTF-8 JSON. */
export async function readJson(body: AsyncIterable<Uint8Array>): Promise<unknown> {
  const bytes = await readBytes(body)
  const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
  return value
}

/** How much of a body that is no `Status` is quoted in the error. */
const maxQuotedCharacters = 400

/** The error a non-2xx answer stands for. Reads the body. */
export async function toKubeError(request: TransportRequest, response: TransportResponse): Promise<KubeError> {
  const text = Buffer.from(await readBytes(response.body)).toString('utf8')
  const retryAfterMs = parseRetryAfter(response.headers['retry-after'])
  const status = parseStatus(text) ?? foreignStatus(request, response.status, text)
  return new KubeError(status, response.status, { retryAfterMs })
}

function parseStatus(text: string): Status | undefined {
  try {
    const value = JSON.parse(text) as Status | null
    return value?.kind === 'Status' ? value : undefined
  } catch {
    return undefined
  }
}

/** Proxies and load balancers answer in their own words. */
function foreignStatus(request: TransportRequest, code: number, text: string): Status {
  const quoted = text.trim().slice(0, maxQuotedCharacters)
  const message = `Cannot ${request.method} "${request.path}": status ${code}${quoted === '' ? '' : `: ${quoted}`}`
  return { apiVersion: 'v1', kind: 'Status', status: 'Failure', code, reason: reasonOf(code), message }
}

const reasons: ReadonlyMap<number, string> = new Map([
  [400, 'BadRequest'],
  [401, 'Unauthorized'],
  [403, 'Forbidden'],
  [404, 'NotFound'],
  [405, 'MethodNotAllowed'],
  [406, 'NotAcceptable'],
  [409, 'Conflict'],
  [410, 'Gone'],
  [413, 'RequestEntityTooLarge'],
  [415, 'UnsupportedMediaType'],
  [422, 'Invalid'],
  [429, 'TooManyRequests'],
  [500, 'InternalError'],
  [503, 'ServiceUnavailable'],
  [504, 'Timeout'],
])

function reasonOf(code: number): string {
  return reasons.get(code) ?? 'Unknown'
}
