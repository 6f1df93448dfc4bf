import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http'
import { messageOf } from '../errors.ts'
import { nodeHttp, nodeHttps } from '../node-http.ts'
import { runUninstrumented } from '../trace/clients.ts'
import { answerLimitBytes, readExportResponse, readExportResponseJson, readStatusMessage } from './answer.ts'
import type { Answer, OtlpSender } from './answer.ts'
import { compress } from './compress.ts'
import type { OtlpTarget } from './settings.ts'

/** OTLP over HTTP: one POST per request, on a connection that is kept. */
export async function createHttpSender(target: OtlpTarget): Promise<OtlpSender> {
  const isJson = target.protocol === 'http/json'
  const isTls = target.url.protocol === 'https:'
  // Loading TLS costs several milliseconds, and most collectors are on the same node.
  const tls = isTls ? nodeHttps() : undefined
  const agent = tls
    ? new tls.Agent({ keepAlive: true, maxSockets: 2 })
    : new (nodeHttp().Agent)({ keepAlive: true, maxSockets: 2 })
  const open = tls?.request ?? nodeHttp().request
  const headers = {
    'user-agent': 'fairlead-otlp',
    ...target.headers,
    'content-type': isJson ? 'application/json' : 'application/x-protobuf',
    ...(target.compression === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
  }

  return {
    async send(body, signal) {
      try {
        const bytes = target.compression === 'gzip' ? await compress(body) : body
        const options = {
          method: 'POST',
          agent,
          headers: { ...headers, 'content-length': bytes.length },
          ...target.tls,
        }
        const response = await exchange(
          () => open(target.url, options as RequestOptions),
          bytes,
          target.timeoutMs,
          signal,
        )
        return toAnswer(response, isJson)
      } catch (error) {
        return { kind: 'retry', reason: reasonOf(error) }
      }
    },
    close: () => agent.destroy(),
  }
}

interface Response {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly body: Buffer
}

function exchange(
  open: () => ClientRequest,
  body: Buffer,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const { promise, resolve, reject } = Promise.withResolvers<Response>()
  if (signal?.aborted) {
    reject(new Error('the service is stopping'))
    return promise
  }
  // Its own calls are nobody's trace.
  const request = runUninstrumented(open)
  const give = (error: Error): void => void request.destroy(error)
  const onAbort = (): void => give(new Error('the service is stopping'))
  const timer = setTimeout(() => give(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs)
  signal?.addEventListener('abort', onAbort, { once: true })
  const settle = (): void => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
  request.on('response', (response) => readBody(response, request).then(resolve, reject).finally(settle))
  request.on('error', (error) => {
    settle()
    reject(error)
  })
  request.end(body)
  return promise
}

async function readBody(response: IncomingMessage, request: ClientRequest): Promise<Response> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > answerLimitBytes) {
      request.destroy()
      break
    }
    chunks.push(chunk)
  }
  return { status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], body: Buffer.concat(chunks) }
}

const retryable: ReadonlySet<number> = new Set([429, 502, 503, 504])

/** OTLP specification, "OTLP/HTTP Response". */
function toAnswer(response: Response, isJson: boolean): Answer {
  const { status, body } = response
  if (status >= 200 && status < 300)
    return isJson ? readExportResponseJson(body.toString('utf8')) : readExportResponse(body)
  const detail = isJson ? body.toString('utf8').slice(0, 500) : readStatusMessage(body)
  const reason = detail ? `it answered ${status}: ${detail}` : `it answered ${status}`
  if (!retryable.has(status)) return { kind: 'refused', reason }
  return { kind: 'retry', reason, afterMs: retryAfterMs(response.retryAfter) }
}

/** Retry-After: seconds, or a date (RFC 9110, section 10.2.3). */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.max(0, ms)
}

/** The reason of an error that may hold several (one per address). */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(messageOf).join(', ')
  return messageOf(error)
}
