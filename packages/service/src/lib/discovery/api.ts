import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { AgentOptions } from 'node:https'
import { codeOf, messageOf } from '../errors.ts'
import { nodeHttp } from '../node-http.ts'

export interface ApiRequest {
  readonly method?: 'GET' | 'PUT' | undefined
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | undefined
  readonly signal: AbortSignal
  /** From the beginning to the end of the answer. */
  readonly timeoutMs: number
}

export interface ApiAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** Requests to one registry of endpoints. Errors name the host, never what was sent. */
export interface Api {
  /** Resolves to the answer whatever its status. */
  call(request: ApiRequest): Promise<ApiAnswer>
  /** Calls `onLine` with each line of an answer 200 as it comes; resolves to the answer when it has ended, its body empty if it was 200. */
  lines(request: ApiRequest, onLine: (line: string) => void): Promise<ApiAnswer>
  close(): void
}

const connectMs = 5000
/** More than ten thousand endpoints take. */
const maxBytes = 64 * 1024 * 1024

export function createApi(tls: Pick<AgentOptions, 'ca' | 'servername'> = {}): Api {
  const keep = { keepAlive: true, maxFreeSockets: 1 } as const
  const plain = new (nodeHttp().Agent)(keep)
  let secure: import('node:https').Agent | undefined

  const begin = (request: ApiRequest): ClientRequest => {
    const { url, method = 'GET', headers, body = '' } = request
    const length = body === '' ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const common = { method, headers: { ...headers, ...length } }
    if (url.protocol !== 'https:') return nodeHttp().request(url, { ...common, agent: plain })
    // Not imported: TLS costs every service some milliseconds at its start.
    const https = process.getBuiltinModule('node:https')
    secure ??= new https.Agent({ ...keep, ...tls })
    return https.request(url, { ...common, agent: secure })
  }
  const exchange = async <T>(
    request: ApiRequest,
    read: (response: IncomingMessage) => Promise<T>,
    isAgain: boolean = false,
  ): Promise<T> => {
    const outgoing = begin(request)
    let reason: Error | undefined
    let hasBegun = false
    const giveUp = (error: Error): void => void outgoing.destroy((reason ??= error))
    const onAbort = (): void => giveUp(new Error('was given up'))
    const { signal, timeoutMs } = request
    const timer = setTimeout(() => giveUp(new Error(`was not done within ${timeoutMs} ms`)), timeoutMs).unref()
    // A blocking query or a watch may last minutes; to wait so long for a connection would be to notice nothing.
    const connecting = setTimeout(
      () => giveUp(new Error(`accepted no connection within ${connectMs} ms`)),
      Math.min(connectMs, timeoutMs),
    ).unref()
    outgoing.once('socket', (socket) => {
      // Whoever waits for an answer keeps the process alive; to be told of changes is no reason to.
      socket.unref()
      if (socket.connecting) socket.once('connect', () => clearTimeout(connecting))
      else clearTimeout(connecting)
    })
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        outgoing.once('response', resolve).on('error', reject)
        outgoing.end(request.body)
      })
      hasBegun = true
      return await read(response)
    } catch (error) {
      // A kept connection that its peer closed in this moment: nobody has seen the request.
      if (!isAgain && !hasBegun && reason === undefined && outgoing.reusedSocket && codeOf(error) === 'ECONNRESET')
        return await exchange(request, read, true)
      throw new Error(`${request.url.host} ${explain(reason ?? error)}`, { cause: error })
    } finally {
      clearTimeout(timer)
      clearTimeout(connecting)
      signal.removeEventListener('abort', onAbort)
    }
  }

  return {
    call: (request) =>
      exchange(request, async (response) => ({
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: await readAll(response),
      })),
    lines: (request, onLine) =>
      exchange(request, async (response) => {
        const status = response.statusCode ?? 0
        const { headers } = response
        if (status !== 200) return { status, headers, body: await readAll(response) }
        await readLines(response, onLine)
        return { status, headers, body: '' }
      }),
    close() {
      plain.destroy()
      secure?.destroy()
    },
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBytes) throw new Error(`answered with more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

async function readLines(response: IncomingMessage, onLine: (line: string) => void): Promise<void> {
  let rest = ''
  response.setEncoding('utf8')
  for await (const chunk of response as AsyncIterable<string>) {
    rest += chunk
    if (rest.length > maxBytes) throw new Error(`sent a line of more than ${maxBytes} bytes`)
    if (!chunk.includes('\n')) continue
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line !== '') onLine(line)
  }
}

function explain(error: unknown): string {
  const code = codeOf(error)
  if (code === undefined) return messageOf(error)
  // Of Node's own errors only the code: the text of some repeats what was sent.
  return `cannot be reached (${code})`
}

/** The value of a JSON text, if it is an object or array. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What is at `path` of nested objects, if it is a string. */
export function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  let at = value
  for (const key of path) at = isRecord(at) ? at[key] : undefined
  return typeof at === 'string' ? at : undefined
}
