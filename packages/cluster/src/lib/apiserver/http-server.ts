import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'

import { listenFailed } from '../errors.ts'
import { HeadWriter } from './answer-head.ts'
import { compress } from './compress.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import { renderError } from './handler.ts'
import { toRequest } from './http-request.ts'
import type { Doorkeepers, Exchange } from './http-request.ts'
import { drained } from './http-sink.ts'
import { InFlight, inFlightDefaults } from './in-flight.ts'
import type { InFlightLimits } from './in-flight.ts'
import { PlainConnections } from './plain-connections.ts'
import type { PlainConnection, PlainRequest } from './plain-connections.ts'
import { send, sendPlain } from './send-answer.ts'
import { timeout } from './status.ts'
import { maySwitch, sendSwitch } from './streaming/upgrade.ts'
import { Cancellation, Deadlines } from './under-way.ts'

export interface ListenOptions {
  /** Default `127.0.0.1`. */
  host?: string | undefined
  /** Default 0: any free port. */
  port?: number | undefined
  /** PEM texts: the server's key and certificate, and the authority whose client certificates are believed (none without). */
  tls: { key: string; cert: string; ca?: string | undefined }
  /** Default: see {@link HttpLimits}. */
  limits?: Partial<HttpLimits> | undefined
}

export interface Listener {
  readonly port: number
  /** Stops accepting, ends watches, and lets requests under way finish for a moment. */
  close(): Promise<void>
}

export interface HttpServerOptions extends Doorkeepers {
  handle: (request: ApiRequest) => Promise<ApiResponse>
  onError: (error: unknown) => void
}

/** What a client may take of the server's time, and all of them together. */
export interface HttpLimits {
  /** To agree on TLS, and to send the head of a request. Default 10 s. */
  readonly headMs: number
  /** To send a whole request. Default 60 s. */
  readonly requestMs: number
  /** How often the connections are looked for that are too slow. Default 5 s. */
  readonly checkMs: number
  /** For the answer to begin. Default 60 s. */
  readonly answerMs: number
  /** To read the next piece of an answer. Default 60 s. */
  readonly drainMs: number
  /** Requests served at once, administrators and what lasts by nature aside. Default 400 that read and 200 that change. */
  readonly inFlight: InFlightLimits
}

const limitDefaults: HttpLimits = {
  headMs: 10_000,
  requestMs: 60_000,
  checkMs: 5000,
  answerMs: 60_000,
  drainMs: 60_000,
  inFlight: inFlightDefaults,
}

const headerLimitBytes = 64 << 10
const closeGraceMs = 2000
const keepAliveMs = 120_000

/** What all requests of a listener share. */
interface Serving extends HttpServerOptions {
  readonly bounds: HttpLimits
  readonly inFlight: InFlight
  readonly answers: Deadlines
  /** One for each request under way that `node:http` has read. */
  readonly underWay: Set<Cancellation>
}

/** Serves the API by HTTP/1.1 over TLS: for this API faster than HTTP/2 in Node, and every client speaks it. */
export async function listen(options: HttpServerOptions, where: ListenOptions): Promise<Listener> {
  const { host = '127.0.0.1', port = 0, tls, limits } = where
  const bounds = { ...limitDefaults, ...limits }
  const underWay = new Set<Cancellation>()
  const answers = new Deadlines(bounds.answerMs)
  const serving: Serving = { ...options, bounds, answers, underWay, inFlight: new InFlight(bounds.inFlight) }
  const server = createServer({
    key: tls.key,
    cert: tls.cert,
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    // Without an authority of ours, Node would believe every public one.
    requestCert: tls.ca !== undefined,
    // A client without certificate may still have a token, or ask for health only.
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
    minVersion: 'TLSv1.2',
    maxHeaderSize: headerLimitBytes,
    handshakeTimeout: bounds.headMs,
    headersTimeout: bounds.headMs,
    requestTimeout: bounds.requestMs,
    connectionsCheckingInterval: bounds.checkMs,
    keepAliveTimeout: keepAliveMs,
    noDelay: true,
    shouldUpgradeCallback: maySwitch,
  })
  server.on('request', (request, response) => void serve(serving, request, response))
  server.on('upgrade', (request, socket, head: Buffer) => void upgrade(serving, request, socket, head))
  const plain = readPlainRequests(server, serving)
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (error) {
    plain.close()
    throw listenFailed(`${host}:${port}`, error)
  }
  return { port: (server.address() as AddressInfo).port, close: () => closeServer(server, plain, underWay) }
}

/** Puts {@link PlainConnections} before the server's own reader of requests. */
function readPlainRequests(server: Server, serving: Serving): PlainConnections {
  const own = server.listeners('secureConnection')
  server.removeAllListeners('secureConnection')
  const plain = new PlainConnections({
    serve: (request, connection) => servePlain(serving, request, connection),
    handOver: (socket) => own.forEach((listener) => void listener.call(server, socket)),
    heads: new HeadWriter(keepAliveMs),
    checkMs: serving.bounds.checkMs,
    keepAliveMs,
  })
  server.on('secureConnection', (socket) => plain.accept(socket))
  return plain
}

async function closeServer(
  server: Server,
  plain: PlainConnections,
  underWay: ReadonlySet<Cancellation>,
): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  for (const cancellation of underWay) cancellation.abort()
  plain.close()
  server.closeIdleConnections()
  const timer = setTimeout(() => {
    plain.destroy()
    server.closeAllConnections()
  }, closeGraceMs)
  await closed
  clearTimeout(timer)
}

async function serve(serving: Serving, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const cancellation = new Cancellation()
  serving.underWay.add(cancellation)
  outgoing.on('close', () => {
    serving.underWay.delete(cancellation)
    // Aborting is dear, and nobody listens any more when the answer went out whole.
    if (!outgoing.writableFinished) cancellation.abort()
  })
  const exchange: Exchange = { incoming, cancellation, isUpgrade: false, seat: 'exempt' }
  try {
    await send(incoming, outgoing, await answerOf(serving, exchange), serving.bounds.drainMs)
  } catch (error) {
    if (!cancellation.isAborted) serving.onError(error)
    outgoing.destroy()
  } finally {
    serving.inFlight.leave(exchange.seat)
  }
}

/** The same for a request that `node:http` has not seen. */
async function servePlain(serving: Serving, incoming: PlainRequest, connection: PlainConnection): Promise<void> {
  const cancellation = new Cancellation()
  connection.underWay = cancellation
  const exchange: Exchange = { incoming, cancellation, isUpgrade: false, seat: 'exempt' }
  const { drainMs } = serving.bounds
  try {
    const answer = await answerOf(serving, exchange)
    if (!connection.reply(answer)) await sendPlain(incoming, answer, drainMs)
    if (connection.socket.writableNeedDrain) await drained(connection.socket, drainMs)
  } catch (error) {
    if (!cancellation.isAborted) serving.onError(error)
    connection.socket.destroy()
  } finally {
    // An idle connection would keep alive what the request left.
    connection.underWay = undefined
    serving.inFlight.leave(exchange.seat)
  }
}

/** A request that asks for another protocol, and has the connection to itself from now on. */
async function upgrade(serving: Serving, incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  const cancellation = new Cancellation()
  serving.underWay.add(cancellation)
  cancellation.signal.addEventListener('abort', () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('close', () => {
    serving.underWay.delete(cancellation)
    cancellation.abort()
  })
  try {
    const exchange: Exchange = { incoming, cancellation, isUpgrade: true, seat: 'exempt' }
    await sendSwitch(socket, head, await answerOf(serving, exchange))
  } catch (error) {
    if (!cancellation.isAborted) serving.onError(error)
    socket.destroy()
  }
}

/** Never rejects. */
function answerOf(serving: Serving, exchange: Exchange): Promise<ApiResponse> {
  try {
    const request = toRequest(serving, exchange)
    const seat = serving.inFlight.enter(request)
    if (seat === undefined) return Promise.resolve(busy)
    exchange.seat = seat
    return inTime(serving, request)
  } catch (error) {
    return Promise.resolve(renderError(error, serving.onError))
  }
}

/** The answer, or the error that it is late. */
function inTime({ handle, answers, onError }: Serving, request: ApiRequest): Promise<ApiResponse> {
  return new Promise((resolve) => {
    const fail = (error: unknown): void => resolve(renderError(error, onError))
    const stop = answers.start(() => fail(timeout('request did not complete within the allotted timeout')))
    const answered = (answer: ApiResponse): void => {
      stop()
      resolve(compress(request, answer))
    }
    handle(request).then(answered, (error: unknown) => {
      stop()
      fail(error)
    })
  })
}

/** Word for word what kube-apiserver answers: clients wait as long as it says and ask again. */
const busy: ApiResponse = {
  status: 429,
  headers: { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff', 'retry-after': '1' },
  body: { pieces: [Buffer.from('Too many requests, please try again later.\n')] },
}
