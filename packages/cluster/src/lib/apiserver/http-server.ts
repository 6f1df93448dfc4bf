import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'

import { listenFailed } from '../errors.ts'
import type { Access } from './access/access.ts'
import { asksImpersonation, impersonate } from './access/impersonation.ts'
import type { OriginCheck } from './access/origin.ts'
import { compress } from './compress.ts'
import type { ApiRequest, ApiResponse, Frame, Identity, Sink } from './exchange.ts'
import { renderError } from './handler.ts'
import { InFlight, inFlightDefaults } from './in-flight.ts'
import type { InFlightLimits, Seat } from './in-flight.ts'
import { inSlices } from './pieces.ts'
import { badRequest, timeout, tooLarge } from './status.ts'
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

export interface HttpServerOptions {
  access: Access
  /** Which requests may come from a web page. */
  origin: OriginCheck
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

const bodyLimitBytes = 3 << 20
const headerLimitBytes = 64 << 10
const closeGraceMs = 2000

/** What all requests of a listener share. */
interface Serving extends HttpServerOptions {
  readonly bounds: HttpLimits
  readonly inFlight: InFlight
  readonly answers: Deadlines
  /** One for each request under way. */
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
    keepAliveTimeout: 120_000,
    noDelay: true,
    shouldUpgradeCallback: maySwitch,
  })
  server.on('request', (request, response) => void serve(serving, request, response))
  server.on('upgrade', (request, socket, head: Buffer) => void upgrade(serving, request, socket, head))
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (error) {
    throw listenFailed(`${host}:${port}`, error)
  }
  return { port: (server.address() as AddressInfo).port, close: () => closeServer(server, underWay) }
}

async function closeServer(server: Server, underWay: ReadonlySet<Cancellation>): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  for (const cancellation of underWay) cancellation.abort()
  server.closeIdleConnections()
  const timer = setTimeout(() => server.closeAllConnections(), closeGraceMs)
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
    await send(serving, incoming, outgoing, await answerOf(serving, exchange))
  } catch (error) {
    if (!cancellation.isAborted) serving.onError(error)
    outgoing.destroy()
  } finally {
    serving.inFlight.leave(exchange.seat)
  }
}

/** A request while it is answered. */
interface Exchange {
  readonly incoming: IncomingMessage
  readonly cancellation: Cancellation
  readonly isUpgrade: boolean
  seat: Seat
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

async function answerOf(serving: Serving, exchange: Exchange): Promise<ApiResponse> {
  try {
    const request = toRequest(serving, exchange)
    const seat = serving.inFlight.enter(request)
    if (seat === undefined) return busy
    exchange.seat = seat
    return compress(request, await inTime(serving, request))
  } catch (error) {
    return renderError(error, serving.onError)
  }
}

/** The answer, or the error that it is late. */
async function inTime({ handle, answers }: Serving, request: ApiRequest): Promise<ApiResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<ApiResponse>()
  const stop = answers.start(() => reject(timeout('request did not complete within the allotted timeout')))
  handle(request).then(resolve, reject)
  try {
    return await promise
  } finally {
    stop()
  }
}

/** Word for word what kube-apiserver answers: clients wait as long as it says and ask again. */
const busy: ApiResponse = {
  status: 429,
  headers: { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff', 'retry-after': '1' },
  body: { pieces: [Buffer.from('Too many requests, please try again later.\n')] },
}

function toRequest(options: HttpServerOptions, exchange: Exchange): ApiRequest {
  const { incoming } = exchange
  const { identity, impersonator } = identify(options, incoming)
  return new HttpRequest(exchange, identity, impersonator)
}

/** A request that came by HTTP. A class, as nothing is made for it that is not asked for. */
class HttpRequest implements ApiRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly identity: Identity
  readonly impersonator: Identity | undefined
  readonly target: string | undefined
  readonly remoteAddress: string | undefined
  readonly isUpgrade: boolean
  readonly #exchange: Exchange

  constructor(exchange: Exchange, identity: Identity, impersonator: Identity | undefined) {
    const { incoming, isUpgrade } = exchange
    const { path, query } = parseTarget(incoming.url ?? '/')
    this.method = incoming.method ?? 'GET'
    this.path = path
    this.query = query
    this.headers = incoming.headers as Record<string, string | undefined>
    this.identity = identity
    this.impersonator = impersonator
    this.target = incoming.url
    this.remoteAddress = incoming.socket.remoteAddress
    this.isUpgrade = isUpgrade
    this.#exchange = exchange
  }

  get signal(): AbortSignal {
    return this.#exchange.cancellation.signal
  }

  readBody(): Promise<Buffer> {
    return readBody(this.#exchange.incoming)
  }
}

/** Who asks, and as whom; throws 401 and 403. Upgrades go through this as well. */
function identify(
  { access, origin }: HttpServerOptions,
  incoming: IncomingMessage,
): Pick<ApiRequest, 'identity' | 'impersonator'> {
  const headers = incoming.headers as Record<string, string | undefined>
  origin.check(headers)
  const socket = incoming.socket instanceof TLSSocket ? incoming.socket : undefined
  const identity = access.authenticator.authenticate(headers, socket)
  if (!asksImpersonation(headers)) return { identity, impersonator: undefined }
  return { identity: impersonate(access.authorizer, identity, incoming.headersDistinct), impersonator: identity }
}

/** Path and query of a request target; throws 400 when its escapes are malformed. */
export function parseTarget(target: string): { path: string; query: URLSearchParams } {
  const at = target.indexOf('?')
  const raw = at < 0 ? target : target.slice(0, at)
  try {
    const path = raw.includes('%') ? decodeURIComponent(raw) : raw
    return { path, query: new URLSearchParams(at < 0 ? '' : target.slice(at + 1)) }
  } catch {
    throw badRequest('the path of the request is malformed')
  }
}

async function readBody(incoming: IncomingMessage): Promise<Buffer> {
  if (Number(incoming.headers['content-length'] ?? 0) > bodyLimitBytes) throw tooLarge(bodyLimitBytes)
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  let size = 0
  // Listeners instead of iteration: a third of the cost for the one or two chunks of a usual body.
  incoming.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > bodyLimitBytes) return reject(tooLarge(bodyLimitBytes))
    chunks.push(chunk)
  })
  incoming.on('end', () => resolve(joined(chunks, size)))
  incoming.on('error', reject)
  incoming.on('close', () => {
    if (!incoming.complete) reject(badRequest('the body of the request is incomplete'))
  })
  return await promise
}

function joined(chunks: readonly Buffer[], size: number): Buffer {
  const [only] = chunks
  return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, size)
}

async function send(
  { bounds }: Serving,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  answer: ApiResponse,
): Promise<void> {
  if (outgoing.destroyed) return
  const headers: Record<string, string | string[] | number> = { 'cache-control': 'no-cache, private' }
  for (const name in answer.headers) {
    const value = answer.headers[name] ?? []
    headers[name] = typeof value === 'string' ? value : [...value]
  }
  // The rest of a body that was refused is not read: the connection ends with the answer.
  if (!incoming.complete && answer.status >= 400) headers['connection'] = 'close'
  if ('pieces' in answer.body) {
    outgoing.statusCode = answer.status
    return await sendPieces(incoming, outgoing, headers, answer.body.pieces, bounds.drainMs)
  }
  if ('switchTo' in answer.body) throw new TypeError('a plain request was answered with another protocol')
  outgoing.writeHead(answer.status, headers)
  outgoing.flushHeaders()
  await answer.body.stream(new HttpSink(incoming, outgoing, bounds.drainMs))
  outgoing.end()
}

async function sendPieces(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  headers: Record<string, string | string[] | number>,
  pieces: readonly Buffer[],
  drainMs: number,
): Promise<void> {
  headers['content-length'] = pieces.reduce((sum, piece) => sum + piece.length, 0)
  outgoing.writeHead(outgoing.statusCode, headers)
  if (incoming.method === 'HEAD') return void outgoing.end()
  if (pieces.length <= 1) return void outgoing.end(pieces[0])
  for (const slice of inSlices(pieces)) {
    if (!outgoing.write(slice)) await drained(outgoing.socket, drainMs)
    // Encrypting a megabyte takes a moment; whoever else asks comes in between.
    await nextTurn()
    if (outgoing.destroyed) return
  }
  outgoing.end()
}

/** Writes to a response; shared frames go straight to the socket, with everything of one turn in one write. */
class HttpSink implements Sink {
  readonly #outgoing: ServerResponse
  readonly #isChunked: boolean
  readonly #drainMs: number
  #isCorked = false

  constructor(incoming: IncomingMessage, outgoing: ServerResponse, drainMs: number) {
    this.#outgoing = outgoing
    this.#drainMs = drainMs
    this.#isChunked = incoming.httpVersion === '1.1' && incoming.method !== 'HEAD'
  }

  get waitingBytes(): number {
    return this.#outgoing.writableLength
  }

  write(bytes: Buffer): void {
    if (!this.#outgoing.destroyed) this.#outgoing.write(bytes)
  }

  writeFrame(frame: Frame): void {
    const { socket } = this.#outgoing
    if (!this.#isChunked || socket === null) return this.write(frame.line)
    if (socket.destroyed) return
    if (!this.#isCorked) {
      this.#isCorked = true
      socket.cork()
      setImmediate(() => {
        this.#isCorked = false
        socket.uncork()
      })
    }
    socket.write(frame.chunk)
  }

  async drained(): Promise<void> {
    await drained(this.#outgoing.socket, this.#drainMs)
  }
}

/** Resolves when the socket takes more, or is gone. What a client does not read in `drainMs` is not kept for it. */
async function drained(socket: Socket | null, drainMs: number): Promise<void> {
  if (socket === null || socket.destroyed || !socket.writableNeedDrain) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(() => socket.destroy(), drainMs)
  socket.on('drain', resolve)
  socket.on('close', resolve)
  await promise
  clearTimeout(timer)
  socket.off('drain', resolve)
  socket.off('close', resolve)
}
