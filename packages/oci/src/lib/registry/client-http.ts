import { once } from 'node:events'
import type { Agent, ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'

import { registryAnswer, registryUnreachable } from '../errors.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { Agent: HttpAgent, request: requestHttp } = process.getBuiltinModule('node:http')

/** What is sent with a request; `open` is called anew whenever the request is made again. */
export interface HttpBody {
  /** Bytes that `open` gives. */
  readonly size: number
  open(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

export interface HttpRequest {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: HttpBody | undefined
  /** Longest time in which no byte moves. */
  readonly idleMs: number
  /** Longest time for the request and its answer together. */
  readonly totalMs: number
  readonly signal?: AbortSignal | undefined
  /** Hears of bytes as they are written to the socket. */
  readonly onSent?: ((bytes: number) => void) | undefined
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly url: URL
  /** The content as it arrives, once. `FAIRLEAD_OCI_REGISTRY_UNREACHABLE` when it breaks off. */
  chunks(): AsyncGenerator<Uint8Array>
  /** The whole content, at most `maxBytes`. `FAIRLEAD_OCI_REGISTRY_ANSWER` when it is longer. */
  bytes(maxBytes: number): Promise<Buffer>
  /** Lets go of the connection without reading a long content. */
  discard(): Promise<void>
}

/** The connections of a client: kept open between requests, and never what keeps a process alive. */
export interface Connections {
  send(request: HttpRequest): Promise<HttpAnswer>
  readonly counts: { requests: number; bytesSent: number; bytesReceived: number }
}

const MAX_DISCARD_BYTES = 64 << 10
const MAX_SOCKETS = 16

export function openConnections(): Connections {
  const options = { keepAlive: true, maxSockets: MAX_SOCKETS, scheduling: 'lifo' } as const
  const agents = {
    http: new HttpAgent(options),
    https: new HttpsAgent({ ...options, ...proxyOptions() }),
  }
  const counts = { requests: 0, bytesSent: 0, bytesReceived: 0 }
  return {
    counts,
    send(request) {
      counts.requests += 1
      return exchange(request, request.url.protocol === 'https:' ? agents.https : agents.http, counts)
    },
  }
}

/** `HTTPS_PROXY` and `NO_PROXY` count for what goes over TLS; this machine itself and plain HTTP have no proxy. */
function proxyOptions(): { proxyEnv: Record<string, string | undefined> } {
  const { https_proxy, HTTPS_PROXY, no_proxy, NO_PROXY } = process.env
  const own = 'localhost,127.0.0.1,[::1]'
  const excepted = no_proxy ?? NO_PROXY
  return { proxyEnv: { https_proxy: https_proxy ?? HTTPS_PROXY, no_proxy: excepted ? `${excepted},${own}` : own } }
}

async function exchange(request: HttpRequest, agent: Agent, counts: Connections['counts']): Promise<HttpAnswer> {
  const { url, method, body, signal } = request
  signal?.throwIfAborted()
  const headers: Record<string, string> = {
    'user-agent': 'fairlead',
    'accept-encoding': 'identity',
    ...request.headers,
  }
  if (body) headers['content-length'] = String(body.size)
  else if (method === 'POST' || method === 'PUT' || method === 'PATCH') headers['content-length'] = '0'
  const start = url.protocol === 'https:' ? requestHttps : requestHttp
  const client = start(url, { method, headers, agent })
  const limits = limit(client, request)
  try {
    const answered = once(client, 'response') as Promise<[IncomingMessage]>
    // Heard of below, unless writing the body fails first.
    answered.catch(() => {})
    const isWhole = body ? await write(client, request, body, counts, answered) : (client.end(), true)
    const [message] = await answered
    return answerOf(request, message, limits, counts, isWhole)
  } catch (error) {
    limits.stop()
    client.destroy()
    throw limits.reason() ?? error
  }
}

interface Limits {
  stop(): void
  /** Why the request was ended by us. */
  reason(): unknown
}

function limit(client: ClientRequest, { idleMs, totalMs, signal }: HttpRequest): Limits {
  let reason: unknown
  const end = (error: unknown): void => {
    reason ??= error
    client.destroy(error instanceof Error ? error : new Error('ended'))
  }
  const onAbort = (): void => end(signal?.reason)
  client.setTimeout(idleMs, () => end(new Error(`nothing came for ${idleMs} ms`)))
  // A socket that is still being connected has no timeout of its own before it is there.
  const idle = setTimeout(() => end(new Error(`nothing came for ${idleMs} ms`)), idleMs)
  client.once('socket', (socket) => {
    if (socket.connecting) socket.once('connect', () => clearTimeout(idle))
    else clearTimeout(idle)
  })
  const total = setTimeout(() => end(new Error(`it was not done after ${totalMs} ms`)), totalMs)
  signal?.addEventListener('abort', onAbort, { once: true })
  client.on('error', () => {})
  return {
    stop() {
      clearTimeout(idle)
      clearTimeout(total)
      client.setTimeout(0)
      signal?.removeEventListener('abort', onAbort)
    },
    reason: () => reason,
  }
}

/** Writes the body; an answer that comes early, such as 401 or 413, ends that. Returns whether all was written. */
async function write(
  client: ClientRequest,
  request: HttpRequest,
  body: HttpBody,
  counts: Connections['counts'],
  answered: Promise<unknown>,
): Promise<boolean> {
  let isAnswered = false
  void answered.then(
    () => (isAnswered = true),
    () => {},
  )
  let sent = 0
  for await (const chunk of body.open()) {
    if (isAnswered) return false
    if (client.destroyed) await answered
    const isFree = client.write(chunk)
    sent += chunk.byteLength
    counts.bytesSent += chunk.byteLength
    if (!isFree) await untilWritable(client)
    request.onSent?.(chunk.byteLength)
  }
  if (sent !== body.size && !isAnswered) throw new Error(`the content has ${sent} bytes, expected ${body.size}`)
  client.end()
  return true
}

function untilWritable(client: ClientRequest): Promise<void> {
  const events = ['drain', 'close', 'response'] as const
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of events) client.off(event, done)
      resolve()
    }
    for (const event of events) client.on(event, done)
    if (client.destroyed || !client.writableNeedDrain) done()
  })
}

function answerOf(
  { url, signal }: HttpRequest,
  message: IncomingMessage,
  limits: Limits,
  counts: Connections['counts'],
  isWhole: boolean,
): HttpAnswer {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of message as AsyncIterable<Buffer>) {
        counts.bytesReceived += chunk.byteLength
        yield chunk
      }
      if (!message.complete) throw new Error('the connection ended early')
    } catch (error) {
      signal?.throwIfAborted()
      throw unreachable(url, limits.reason() ?? error)
    } finally {
      limits.stop()
      // What was not sent may not be left on a connection that others are to use.
      if (!isWhole || !message.complete) message.destroy()
    }
  }
  async function bytes(maxBytes: number): Promise<Buffer> {
    const parts: Uint8Array[] = []
    let size = 0
    for await (const chunk of chunks()) {
      size += chunk.byteLength
      if (size > maxBytes) throw registryAnswer(url.href, `the answer is larger than ${maxBytes} bytes`)
      parts.push(chunk)
    }
    return Buffer.concat(parts)
  }
  return {
    status: message.statusCode ?? 0,
    headers: message.headers,
    url,
    chunks,
    bytes,
    async discard() {
      await bytes(MAX_DISCARD_BYTES).catch(() => message.destroy())
    },
  }
}

/** A failure of the network as an error of ours; one that is ours already stays as it is. */
export function unreachable(url: URL, error: unknown): unknown {
  if (error instanceof Error && 'code' in error && String(error.code).startsWith('FAIRLEAD_')) return error
  return registryUnreachable(withoutQuery(url), reasonOf(error), error)
}

/** The address without what may be a signature or a token. */
export function withoutQuery(url: URL): string {
  return `${url.origin}${url.pathname}`
}

export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code } = error as NodeJS.ErrnoException
  return code ?? error.message
}
