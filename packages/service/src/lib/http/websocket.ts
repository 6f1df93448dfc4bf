import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

/** A connection whose caller wants to go on in another protocol. Whoever gets it owns the socket. */
export interface Upgrade {
  readonly request: IncomingMessage
  readonly socket: Duplex
  /** What arrived behind the request. */
  readonly head: Buffer
  /** Answers with problem details, and closes. */
  refuse(status: number, detail: string): void
  /**
   * Calls `farewell` when the service stops, or at once if it does already: the time to say goodbye in the new protocol. The
   * service waits for the socket to close, until its drain deadline.
   */
  onLeave(farewell: () => void): void
}

export type UpgradeHandler = (upgrade: Upgrade) => void | Promise<void>

/** What this needs of a WebSocket; those of `ws` have it. */
export interface WebSocketLike {
  close(code: number, reason: string): void
  terminate(): void
  ping(): void
  on(event: 'close' | 'pong' | 'error', listener: () => void): unknown
}

/** What this needs of a WebSocket server: `new WebSocketServer({ noServer: true })` of `ws` has it. */
export interface WebSocketAcceptor<Socket extends WebSocketLike> {
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, done: (socket: Socket) => void): void
}

export interface WebSocketOptions {
  /** The only path on which WebSockets are; elsewhere 404. Default: every path. */
  readonly path?: string | undefined
  /**
   * Origins whose pages may connect, or `*` for all. Default: the service's own host. Browsers send cookies along to any
   * WebSocket, so that a foreign page would act in its visitor's name; programs send no origin and are let in.
   */
  readonly origins?: readonly string[] | '*' | undefined
  /** Refuses with 403 whom it returns false for. */
  readonly authorize?: ((request: IncomingMessage) => boolean | Promise<boolean>) | undefined
  /** Close code when the service stops: 1012 (service restart) or 1001 (going away). Default 1012. */
  readonly closeCode?: 1001 | 1012 | undefined
  /** How often each peer is pinged; one that did not answer the last ping is cut. Default 30000; 0 never pings. */
  readonly heartbeatMs?: number | undefined
}

/**
 * WebSockets on a service, spoken by a library of the caller's choice. When the service stops, each is closed with a code
 * that tells the peer to come back elsewhere, and waited for.
 *
 * ```ts no-run
 * import { WebSocketServer } from 'ws'
 * const upgrade = acceptWebSockets(new WebSocketServer({ noServer: true }), (socket) => {
 *   socket.on('message', (data) => socket.send(data))
 * })
 * ```
 */
export function acceptWebSockets<Socket extends WebSocketLike>(
  acceptor: WebSocketAcceptor<Socket>,
  serve: (socket: Socket, request: IncomingMessage) => void,
  options: WebSocketOptions = {},
): UpgradeHandler {
  const closeCode = options.closeCode ?? 1012
  const heartbeat = createHeartbeat(options.heartbeatMs ?? 30_000)
  return async (upgrade) => {
    const { request } = upgrade
    const refused = findRefusal(request, options)
    if (refused !== undefined) {
      upgrade.refuse(...refused)
      return
    }
    if (options.authorize !== undefined && !(await options.authorize(request))) {
      upgrade.refuse(403, 'This WebSocket is not for you')
      return
    }
    acceptor.handleUpgrade(request, upgrade.socket, upgrade.head, (socket) => {
      // Without a listener an error of the peer's making would end the process.
      socket.on('error', () => {})
      heartbeat(socket)
      serve(socket, request)
      upgrade.onLeave(() => socket.close(closeCode, 'The service restarts'))
    })
  }
}

function findRefusal(
  request: IncomingMessage,
  { path, origins }: WebSocketOptions,
): [status: number, detail: string] | undefined {
  if (path !== undefined && request.url?.split('?', 1)[0] !== path) return [404, 'There is no WebSocket at this path']
  const { origin, host } = request.headers
  if (origin === undefined || origins === '*') return undefined
  const isWelcome = origins === undefined ? URL.parse(origin)?.host === host : origins.includes(origin)
  return isWelcome ? undefined : [403, 'Pages of this origin may not connect']
}

/** One timer for all sockets, running while there are any. */
function createHeartbeat(intervalMs: number): (socket: WebSocketLike) => void {
  const peers = new Map<WebSocketLike, { hasAnswered: boolean }>()
  let timer: NodeJS.Timeout | undefined
  const beat = (): void => {
    for (const [socket, peer] of peers) {
      if (!peer.hasAnswered) socket.terminate()
      else {
        peer.hasAnswered = false
        socket.ping()
      }
    }
  }
  return (socket) => {
    if (intervalMs <= 0) return
    const peer = { hasAnswered: true }
    peers.set(socket, peer)
    timer ??= setInterval(beat, intervalMs)
    socket.on('pong', () => (peer.hasAnswered = true))
    socket.on('close', () => {
      peers.delete(socket)
      if (peers.size > 0) return
      clearInterval(timer)
      timer = undefined
    })
  }
}
