import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2'
import type { Cluster } from '../model.ts'
import type { BodyStream } from './body.ts'
import { nodeHttp2 } from './http2.ts'
import { tlsOptions } from './upstream-tls.ts'
import { bodyTimeoutMs } from './upstream.ts'
import type { HeaderMap, Sending, Upstream, UpstreamHandler, UpstreamRequest } from './upstream.ts'

/** RFC 9113, sections 7 and 6.1. */
const codes = { noError: 0x0, refusedStream: 0x7, cancel: 0x8 } as const
const endStreamFlag = 0x1

/** One HTTP/2 connection to an endpoint, made anew when it ended; what gRPC servers speak. */
export function openH2Upstream(ip: string, port: number, { policy, tls }: Pick<Cluster, 'policy' | 'tls'>): Upstream {
  const secured = tls === undefined ? {} : { ...tlsOptions(tls), ALPNProtocols: ['h2'] }
  const origin = `${tls === undefined ? 'http' : 'https'}://${ip.includes(':') ? `[${ip}]` : ip}:${port}`
  const sessions = new Set<ClientHttp2Session>()
  let current: ClientHttp2Session | undefined

  function session(): ClientHttp2Session {
    if (current !== undefined && !current.closed && !current.destroyed) return current
    const opened = nodeHttp2().connect(origin, {
      settings: { initialWindowSize: 1 << 20, enablePush: false },
      ...secured,
    })
    const timer = setTimeout(() => opened.destroy(new Error('no connection in time')), policy.connectTimeoutMs)
    opened.once('connect', () => clearTimeout(timer))
    opened.once('close', () => {
      clearTimeout(timer)
      sessions.delete(opened)
      if (current === opened) current = undefined
    })
    // New requests take another connection; those under way are answered on this one.
    opened.once('goaway', () => {
      if (current === opened) current = undefined
      if (!opened.destroyed) opened.close()
    })
    opened.on('error', () => {})
    // Each request that waits for the connection listens to it.
    opened.setMaxListeners(0)
    sessions.add(opened)
    return (current = opened)
  }

  return {
    send: (request, handler) => start(session(), { request, scheme: tls === undefined ? 'http' : 'https' }, handler),
    async close() {
      await Promise.all([...sessions].map(closed))
    },
    destroy() {
      for (const one of sessions) one.destroy()
    },
  }
}

/** Those that are closing already call nobody back who asks them to. */
function closed(session: ClientHttp2Session): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  session.once('close', resolve)
  session.close()
  return promise
}

function start(
  session: ClientHttp2Session,
  { request, scheme }: { readonly request: UpstreamRequest; readonly scheme: string },
  handler: UpstreamHandler,
): Sending {
  const { method, path, headers, body } = request
  const { host = '', ...others } = headers
  const head = {
    ':method': method,
    ':path': path,
    ':authority': String(host),
    ':scheme': scheme,
    ...others,
  }
  let stream: ClientHttp2Stream
  try {
    stream = session.request(head, { endStream: body === null })
  } catch (error) {
    process.nextTick(() => handler.onError(error instanceof Error ? error : new Error(String(error))))
    return { resume() {}, abort() {} }
  }
  const send = (): void => {
    handler.onSend()
    if (body === null || stream.destroyed) return
    if (Buffer.isBuffer(body)) stream.end(body)
    else void sendChunks(body, stream)
  }
  if (session.connecting) session.once('connect', send)
  else send()
  const aborted = followAnswer(stream, handler)
  return {
    resume: () => void stream.resume(),
    abort(error) {
      aborted(error)
      stream.close(codes.cancel)
    },
  }
}

async function sendChunks(body: BodyStream, stream: ClientHttp2Stream): Promise<void> {
  try {
    for await (const chunk of body.chunks()) {
      if (!stream.writable) return
      if (!stream.write(chunk)) await writable(stream)
    }
    stream.end()
  } catch (error) {
    stream.destroy(error instanceof Error ? error : new Error(String(error)))
  }
}

/** Resolves when there is room again, or the stream is over. */
function writable(stream: ClientHttp2Stream): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const done = (): void => {
    stream.off('drain', done).off('close', done)
    resolve()
  }
  stream.on('drain', done).on('close', done)
  return promise
}

/** Tells the handler what comes on a stream; returns what to call when the stream is ended by ourselves, with the reason. */
function followAnswer(stream: ClientHttp2Stream, handler: UpstreamHandler): (error: Error) => void {
  let trailers: HeaderMap | undefined
  let failure: Error | undefined
  let hasEnded = false
  stream.setTimeout(bodyTimeoutMs, () => stream.close(codes.cancel))
  stream.on('response', (answer, flags) => {
    const isWhole = (flags & endStreamFlag) !== 0
    handler.onHead(answer[':status'] ?? 502, withoutPseudo(answer), isWhole)
  })
  stream.on('data', (chunk: Buffer) => {
    if (!handler.onData(chunk)) stream.pause()
  })
  stream.on('trailers', (received) => (trailers = withoutPseudo(received)))
  stream.on('end', () => {
    hasEnded = true
    // The answer is whole although the request is not (RFC 9113, 8.1). A reason that came with it is heard first.
    if (!stream.writableFinished) setImmediate(() => void (stream.closed || stream.close(codes.noError)))
  })
  stream.on('error', (error: Error) => (failure ??= error))
  stream.on('close', () => {
    const isWhole = hasEnded && (stream.rstCode === codes.noError || trailers !== undefined)
    if (failure === undefined && isWhole) handler.onEnd(trailers)
    else handler.onError(failure ?? refused(stream.rstCode))
  })
  return (error) => void (failure ??= error)
}

function refused(code: number | undefined): Error {
  const isUnseen = code === codes.refusedStream
  return Object.assign(new Error(`stream ended with code ${code}`), { code: isUnseen ? 'REFUSED_STREAM' : 'H2_RESET' })
}

function withoutPseudo(headers: IncomingHttpHeaders): HeaderMap {
  const kept: HeaderMap = {}
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(':') && value !== undefined) kept[name] = value
  }
  return kept
}
