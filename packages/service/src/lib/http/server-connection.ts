import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** What the server does with a connection, whatever is spoken on it. */
export interface Connection {
  /** Requests being served. Pipelined ones of an HTTP/1.1 connection count as one. */
  readonly requests: number
  /** Tells the peer to take its next request elsewhere. */
  leave(): void
  /** Ends long-lived answers and upgraded protocols, each after a random part of `spreadMs`. */
  sayGoodbye(spreadMs: number): void
  /** Closes it when nothing is going on and nothing has begun to arrive. */
  closeIdle(): void
  destroy(): void
}

const connectionKey = Symbol('connection')

/** The connection that a socket, or the proxy of one that HTTP/2 hands out, belongs to. */
export function connectionOf(socket: object | null | undefined): (Connection & Leavable) | undefined {
  const bound: BoundSocket | null | undefined = socket
  return bound?.[connectionKey]
}

/** Only {@link bindConnection} writes under this key. */
interface BoundSocket {
  readonly [connectionKey]?: Connection & Leavable
}

export function bindConnection(socket: object, connection: Connection & Leavable): void {
  Object.defineProperty(socket, connectionKey, { value: connection, configurable: true })
}

/** Those who want to end what they do when the server stops. */
export class Leavable {
  #farewells: Set<() => void> | undefined
  #isGone = false

  get isGone(): boolean {
    return this.#isGone
  }

  /** Calls `farewell` once when the server stops, or at once if it does already. Returns how to take that back. */
  onLeave(farewell: () => void): () => void {
    if (this.#isGone) {
      farewell()
      return () => {}
    }
    const farewells = (this.#farewells ??= new Set())
    farewells.add(farewell)
    return () => farewells.delete(farewell)
  }

  sayGoodbye(spreadMs: number): void {
    this.#isGone = true
    for (const farewell of this.#farewells ?? []) {
      // Callers who are all sent away in the same instant all come back in the same instant, to the same few instances.
      if (spreadMs > 0) setTimeout(farewell, Math.random() * spreadMs)
      else farewell()
    }
    this.#farewells = undefined
  }
}

/** {@link Leavable.onLeave} of the connection an answer goes to; never called on a server that does not drain. */
export function onLeave(response: ServerResponse, farewell: () => void): () => void {
  return connectionOf(response.req.socket)?.onLeave(farewell) ?? ((): void => {})
}

/** A connection of which it is not known yet what is spoken on it: within its TLS handshake, or silent so far. */
export class PendingConnection extends Leavable implements Connection {
  readonly requests = 0
  readonly #socket: Socket

  constructor(socket: Socket) {
    super()
    this.#socket = socket
  }

  leave(): void {}

  closeIdle(): void {
    if (this.#socket.bytesRead === 0) this.#socket.destroySoon()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

/** An HTTP/1.1 connection, also after it has been upgraded to something else. */
export class Http1Connection extends Leavable implements Connection {
  /** The latest response that is not done. Responses leave in order: when it is done, so are those before it. */
  current: ServerResponse | undefined
  isUpgraded = false
  readonly #socket: Socket
  readonly #maxRequests: number
  #served = 0
  /** Its next response is its last. */
  #isLeaving = false
  #isOver = false
  /** Bytes received when the last response was done: more than that means another request has begun to arrive. */
  #quietAtBytes = 0

  constructor(socket: Socket, maxRequests: number) {
    super()
    this.#socket = socket
    this.#maxRequests = maxRequests
  }

  get requests(): number {
    return this.current === undefined ? 0 : 1
  }

  /** Takes note of a request. False: it came after an answer that said `close`, and is not to be served (RFC 9112 9.6). */
  begin(response: ServerResponse): boolean {
    if (this.#isOver) return false
    this.#served += 1
    // Node's own maxRequestsPerSocket says close and does not close.
    if (this.#served >= this.#maxRequests) this.#isLeaving = true
    if (this.#isLeaving) {
      if (this.current !== undefined && saysClose(this.current)) {
        if (this.current.headersSent) return false
        // It would take the answers behind it along.
        this.current.removeHeader('connection')
      }
      response.setHeader('connection', 'close')
    }
    this.current = response
    // One function for all: a closure and a Set per request were what this bookkeeping cost.
    response.on('close', release)
    return true
  }

  end(response: ServerResponse): void {
    if (this.current !== response) return
    this.current = undefined
    this.#quietAtBytes = this.#socket.bytesRead
    if (this.#isLeaving) this.#isOver = saysClose(response)
  }

  leave(): void {
    this.#isLeaving = true
    const { current } = this
    if (current !== undefined && !current.headersSent) current.setHeader('connection', 'close')
  }

  closeIdle(): void {
    if (this.isUpgraded || this.current !== undefined) return
    if (this.#socket.bytesRead <= this.#quietAtBytes) this.#socket.destroySoon()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

function release(this: ServerResponse): void {
  const connection = connectionOf(this.req.socket)
  if (connection instanceof Http1Connection) connection.end(this)
}

function saysClose(response: ServerResponse): boolean {
  return response.getHeader('connection') === 'close'
}
