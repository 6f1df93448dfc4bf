import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type {
  Http2ServerRequest,
  Http2ServerResponse,
  Http2Session,
  ServerHttp2Session,
  ServerOptions as NodeOptions,
} from 'node:http2'
import type { Socket } from 'node:net'
import { Leavable, bindConnection } from './server-connection.ts'
import type { Connection } from './server-connection.ts'
import type { ServerLimits, ServerOptions } from './server-options.ts'
import { problemText } from './server-refuse.ts'

type Listener = (request: IncomingMessage, response: ServerResponse) => void

/** The HTTP/2 half of a server, which has no port of its own. */
export interface Http2Host {
  /** Speaks HTTP/2 on a socket of which nothing has been read, or whose bytes have been put back. */
  accept(socket: Socket): Http2Connection
}

/** Allowed frames that say nothing (invalid ones, settings, refused streams) before a peer is cut. */
const patience = 100
/** Streams with the highest number there can be: "no new requests, please", which loses none that is on its way. */
const anyStream = 2 ** 31 - 1
/** RFC 9113 7. */
const internalError = 2
/** To hear the answer to a ping, which shows that the peer knows it is to go. */
const roundTripMs = 1000

export function createHttp2Host(handle: Listener, limits: ServerOptions, onTimeout: () => void): Http2Host {
  const maxStreamResets = limits.maxStreamResets ?? 200
  const { createServer } = process.getBuiltinModule('node:http2')
  const server = createServer({
    ...compatibleClasses(limits.tls ? 'https' : 'http'),
    settings: {
      enablePush: false,
      maxConcurrentStreams: limits.maxConcurrentStreams ?? 250,
      maxHeaderListSize: limits.maxHeaderBytes ?? 16 * 1024,
    },
    maxSessionInvalidFrames: patience,
    maxSessionRejectedStreams: patience,
    streamResetBurst: maxStreamResets,
    streamResetRate: Math.ceil(maxStreamResets / 5),
  })
  let accepted: ServerHttp2Session | undefined
  server.on('session', (session) => (accepted = session))
  // What a peer does wrong ends its session, which is answer enough.
  server.on('sessionError', () => {})
  server.on('request', (request, response) => {
    sessions.get(response.stream.session as Http2Session)?.begin(request, response)
    // See compatibleClasses.
    handle(request as unknown as IncomingMessage, response as unknown as ServerResponse)
  })
  const sessions = new WeakMap<Http2Session, Http2Connection>()
  return {
    accept(socket) {
      server.emit('connection', socket)
      const session = accepted
      // Node makes the session within that event.
      if (session === undefined) throw new TypeError('No HTTP/2 session was made')
      accepted = undefined
      const connection = new Http2Connection(socket, session, limits, onTimeout)
      sessions.set(session, connection)
      bindConnection(socket, connection)
      return connection
    },
  }
}

/** Node's pair for HTTP/2 requests, nearer to what handlers know from HTTP/1.1. */
function compatibleClasses(scheme: 'http' | 'https'): Pick<NodeOptions, 'Http2ServerRequest' | 'Http2ServerResponse'> {
  const { Http2ServerRequest: Request, Http2ServerResponse: Response } = process.getBuiltinModule('node:http2')

  class CompatibleRequest extends Request {
    constructor(...[stream, headers, options, rawHeaders]: ConstructorParameters<typeof Request>) {
      // Pseudo-headers are no headers: their names cannot be in a Headers object.
      const named = rawHeaders.filter((_, index) => !rawHeaders[index - (index % 2)]?.startsWith(':'))
      super(stream, headers, options, named)
      // RFC 9113 8.3.1: what HTTP/1.1 says in Host.
      headers.host ??= headers[':authority']
      // What the peer says of itself proves nothing.
      headers[':scheme'] = scheme
    }
  }

  class CompatibleResponse extends Response {
    // Declared by the types, and not there.
    declare destroyed: boolean

    /** A stream that is destroyed for no reason ends like one that is whole. */
    override destroy(): this {
      this.stream.close(internalError)
      return this
    }

    /** Also takes the flat list of `ServerResponse`, in which a name may stand more than once. */
    override writeHead(status: number, ...rest: unknown[]): this {
      const headers = rest.at(-1)
      if (Array.isArray(headers)) {
        for (let index = 0; index + 1 < headers.length; index += 2)
          this.appendHeader(String(headers[index]), headers[index + 1] as string | string[])
        return super.writeHead(status)
      }
      return super.writeHead(status, headers as OutgoingHttpHeaders | undefined)
    }
  }

  Object.defineProperty(CompatibleResponse.prototype, 'destroyed', {
    get(this: CompatibleResponse) {
      return this.stream.destroyed
    },
  })
  // The type of the option is that of a class with Node's own overloads of writeHead; calls of both of them are taken.
  return {
    Http2ServerRequest: CompatibleRequest,
    Http2ServerResponse: CompatibleResponse as unknown as typeof Response,
  }
}

export class Http2Connection extends Leavable implements Connection {
  readonly #active = new Map<Http2ServerResponse, { readonly request: Http2ServerRequest; readonly since: number }>()
  readonly #socket: Socket
  readonly #session: ServerHttp2Session
  readonly #maxRequests: number
  readonly #onTimeout: () => void
  #served = 0
  #isLeaving = false

  constructor(socket: Socket, session: ServerHttp2Session, limits: ServerLimits, onTimeout: () => void) {
    super()
    this.#socket = socket
    this.#session = session
    this.#maxRequests = limits.maxRequestsPerSocket ?? Infinity
    this.#onTimeout = onTimeout
    session.setTimeout(limits.keepAliveTimeoutMs ?? 65_000, () => {
      if (this.#active.size === 0) this.leave()
    })
  }

  get requests(): number {
    return this.#active.size
  }

  begin(request: Http2ServerRequest, response: Http2ServerResponse): void {
    this.#active.set(response, { request, since: performance.now() })
    response.stream.once('close', () => this.#active.delete(response))
    this.#served += 1
    if (this.#served >= this.#maxRequests) this.leave()
  }

  /**
   * RFC 9113 6.8: a GOAWAY that allows every stream, so that no request on its way is refused; a round trip later, when the
   * peer has heard it, the one with the last stream there was. The session ends with its last stream.
   */
  leave(): void {
    const session = this.#session
    if (this.#isLeaving || session.destroyed) return
    this.#isLeaving = true
    session.goaway(0, anyStream)
    const close = (): void => {
      clearTimeout(timer)
      if (!session.closed) session.close()
    }
    const timer = setTimeout(close, roundTripMs)
    session.once('close', () => clearTimeout(timer))
    session.ping(close)
  }

  /** Answers requests whose body is not whole after `timeoutMs`. Called now and then: a timer per request costs more. */
  endSlow(timeoutMs: number, now: number): void {
    for (const [response, { request, since }] of this.#active) {
      const { stream } = request
      if (now - since < timeoutMs || stream.destroyed || stream.endAfterHeaders || stream.state.remoteClose === 1)
        continue
      this.#onTimeout()
      if (!response.headersSent) {
        response.writeHead(408, { 'content-type': 'application/problem+json' })
        response.end(problemText(408, 'The request did not arrive in time'))
      }
      // A stream closed for no error still hands over what it was given.
      stream.close(0)
    }
  }

  closeIdle(): void {
    // The peer may not hang up although its session is over.
    if (this.#session.destroyed) this.#socket.destroySoon()
    else if (this.#active.size > 0) return
    // Told before and idle still: a peer that has closed its session may never answer the ping.
    else if (this.#isLeaving) this.#session.close()
    else this.leave()
  }

  destroy(): void {
    // A session that is destroyed ends its streams as if they were whole.
    for (const { stream } of this.#active.keys()) stream.close(internalError)
    setImmediate(() => this.#socket.destroy())
  }
}
