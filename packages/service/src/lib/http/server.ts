import type { IncomingMessage, Server as HttpServer, ServerOptions as NodeOptions, ServerResponse } from 'node:http'
import type { Server as HttpsServer } from 'node:https'
import { Server as NetServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { listenFailed } from '../errors.ts'
import { nodeHttp, nodeHttps } from '../node-http.ts'
import { createHttp2Host, Http2Connection } from './http2.ts'
import { tlsInvalid } from './errors.ts'
import { bindConnection, connectionOf, Http1Connection, PendingConnection } from './server-connection.ts'
import type { Connection } from './server-connection.ts'
import type { Refusal, ServerOptions, ServerTls } from './server-options.ts'
import { detectProtocol } from './server-protocol.ts'
import { problemText, refuse, refuseClient } from './server-refuse.ts'

type Listener = (request: IncomingMessage, response: ServerResponse) => void

/** An HTTP server that can stop without losing a request. */
export interface DrainableServer {
  readonly node: HttpServer | HttpsServer
  readonly connections: number
  /** Requests being served. */
  readonly requests: number
  readonly isDraining: boolean
  /**
   * Resolves to the port.
   *
   * @throws {ServiceError} `FAIRLEAD_SERVICE_LISTEN`
   */
  listen(port: number, host: string): Promise<number>
  /**
   * The connections there are end with their next response (`Connection: close`, GOAWAY). Later ones do not: a client that
   * comes back here, because it knows of no other place, would open a connection per request.
   */
  announceClose(): void
  /**
   * Accepts no more connections; those there are live on until their next response. Those that have been waiting to be accepted
   * are served, unless the signal aborts.
   */
  stopAccepting(options?: { readonly signal?: AbortSignal | undefined }): Promise<void>
  /** Ends WebSockets and event streams, each after a random part of `spreadMs`, so that not all come back at once. */
  sayGoodbye(spreadMs: number): void
  /** Closes connections on which nothing is going on and nothing has begun to arrive. */
  closeIdle(): void
  /** Resolves when the last connection is gone. */
  whenClosed(): Promise<void>
  /** Cuts what is left. */
  closeAll(): void
  /**
   * New connections get this certificate; those there are keep theirs.
   *
   * @throws {ServiceError} `FAIRLEAD_SERVICE_TLS`; the old certificate stays in use.
   */
  renewTls(tls: ServerTls): void
}

/**
 * A server on one port for HTTP/1.1, and as wanted TLS, HTTP/2 and WebSockets.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_TLS`
 */
export function createDrainableServer(handle: Listener, options: ServerOptions = {}): DrainableServer {
  const connections = new Set<Connection>()
  const emptied = Promise.withResolvers<void>()
  const headersTimeoutMs = options.headersTimeoutMs ?? 10_000
  const maxConnections = options.maxConnections ?? Infinity
  const maxRequests = options.maxRequestsPerSocket ?? Infinity
  let isDraining = false
  let isClosed = false
  let goodbyeSpreadMs: number | undefined
  let accepted = 0
  let refusing = 0

  const tell = (refusal: Refusal | undefined): void => {
    if (refusal !== undefined) options.onRefused?.(refusal)
  }
  const serve: Listener = (request, response) => {
    const connection = connectionOf(request.socket)
    if (connection instanceof Http1Connection && !connection.begin(response)) return
    if (request.headers.host === undefined && request.httpVersion === '1.1') refuseHostless(response, tell)
    else handle(request, response)
  }
  const node = createNodeServer(options, serve)
  const h2 = options.http2
    ? createHttp2Host(handle, options, () => tell({ status: 408, reason: 'timeout' }))
    : undefined

  const settle = (): void => {
    if (isClosed && connections.size === 0) emptied.resolve()
  }
  const add = (connection: Connection): void => {
    connections.add(connection)
    if (goodbyeSpreadMs !== undefined) connection.sayGoodbye(0)
    if (isClosed) connection.leave()
  }
  const remove = (connection: Connection): void => {
    connections.delete(connection)
    settle()
  }

  /** `pending` becomes a connection of a known protocol. */
  const open = (pending: PendingConnection, socket: Socket, protocol: 'h2' | 'http/1.1'): void => {
    connections.delete(pending)
    let connection: Connection
    if (protocol === 'h2' && h2 !== undefined) connection = h2.accept(socket)
    else connection = openHttp1(socket)
    add(connection)
    socket.once('close', () => remove(connection))
  }
  const openHttp1 = (socket: Socket): Http1Connection => {
    const connection = new Http1Connection(socket, maxRequests)
    bindConnection(socket, connection)
    listenHttp1.call(node, socket)
    // Whoever looked at its first bytes has paused it, and a listener for data does not undo that.
    if (socket.isPaused()) socket.resume()
    return connection
  }

  // Node's own listener is called by ours: after the bookkeeping, and only for what speaks HTTP/1.1.
  const listenHttp1 = takeListener(node, options.tls ? 'secureConnection' : 'connection')
  const listenTls = options.tls ? takeListener(node, 'connection') : undefined
  /** Within their TLS handshake, by the peer's address: Node does not tell which socket became which. */
  const handshakes = new Map<string, PendingConnection>()

  const onConnection = (socket: Socket): void => {
    accepted += 1
    if (connections.size >= maxConnections) {
      tell(turnAway(socket))
      return
    }
    if (listenTls !== undefined) {
      const pending = addPending(socket)
      const peer = peerOf(socket)
      handshakes.set(peer, pending)
      socket.once('close', () => handshakes.delete(peer))
      listenTls.call(node, socket)
    } else if (h2 === undefined) {
      const connection = openHttp1(socket)
      add(connection)
      socket.once('close', () => remove(connection))
    } else {
      const pending = addPending(socket)
      detectProtocol(socket, headersTimeoutMs, {
        onDetected: (protocol) => open(pending, socket, protocol),
        onTimeout() {
          refuse(socket, 408, 'The request did not arrive in time')
          tell({ status: 408, reason: 'timeout' })
        },
      })
    }
  }
  const addPending = (socket: Socket): PendingConnection => {
    const pending = new PendingConnection(socket)
    add(pending)
    socket.once('close', () => remove(pending))
    return pending
  }
  const turnAway = (socket: Socket): Refusal => {
    // An answer costs a connection for a moment; a flood is not worth that, nor is a handshake.
    if (listenTls !== undefined || refusing >= 64) {
      socket.destroy()
      return { status: undefined, reason: 'too-many-connections' }
    }
    refusing += 1
    socket.once('close', () => (refusing -= 1))
    refuse(socket, 503, 'There are too many connections', { 'retry-after': 1 })
    return { status: 503, reason: 'too-many-connections' }
  }
  node.on('connection', onConnection)
  node.on('secureConnection', (socket: TLSSocket) => {
    const pending = handshakes.get(peerOf(socket)) ?? addPending(socket)
    open(pending, socket, socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1')
  })
  node.on('clientError', (error, socket) => tell(refuseClient(error, socket)))
  node.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const connection = connectionOf(socket)
    if (!(connection instanceof Http1Connection) || options.upgrade === undefined) {
      socket.destroy()
      return
    }
    connection.isUpgraded = true
    const refuseIt = (status: number, detail: string): void =>
      refuse(socket, status, detail, status === 503 ? { 'retry-after': 1 } : {})
    if (connection.isGone) {
      refuseIt(503, 'The service is stopping')
      return
    }
    void giveAway(options.upgrade, {
      request,
      socket,
      head,
      refuse: refuseIt,
      onLeave: (farewell) => void connection.onLeave(farewell),
    })
  })
  const sweep = h2 === undefined ? undefined : setInterval(() => endSlow(connections, options), 1000)
  sweep?.unref()

  const announce = (): void => {
    isDraining = true
    for (const connection of connections) connection.leave()
  }

  return {
    node,
    get connections() {
      return connections.size
    },
    get requests() {
      let count = 0
      for (const { requests } of connections) count += requests
      return count
    },
    get isDraining() {
      return isDraining
    },
    listen: (port, host) => listen(node, port, host),
    announceClose: announce,
    async stopAccepting({ signal } = {}) {
      if (isClosed) return
      // Closing the listener makes the kernel reset connections that are established but not accepted yet, and libuv accepts
      // one per turn of the event loop: on a busy service the last ones wait for long. A turn without one means that none
      // is left. A flood of new ones never ends; it is cut after a second, in which a machine that has no time for us has
      // not got to those who were waiting before: then after as many turns as can have been waiting, or five seconds.
      const startedAt = performance.now()
      const isCut = (turns: number): boolean => {
        if (signal?.aborted === true) return true
        const tookMs = performance.now() - startedAt
        return (tookMs > 1000 && turns > longestQueue) || tookMs > 5000
      }
      // Called while events are being handled, the first turn ends before the kernel has been asked again.
      await nextTurn()
      for (let before = -1, turns = 0; before !== accepted && !isCut(turns); turns += 1) {
        before = accepted
        await nextTurn()
      }
      // In the same turn, and not before: who is told to go away comes back on a new connection while it can.
      announce()
      isClosed = true
      // Not http.Server's close: that one destroys idle keep-alive connections at once, into which a client may just be
      // sending, and never tells busy ones to go away.
      NetServer.prototype.close.call(node)
      settle()
    },
    sayGoodbye(spreadMs) {
      goodbyeSpreadMs = spreadMs
      for (const connection of connections) connection.sayGoodbye(spreadMs)
    },
    closeIdle() {
      for (const connection of connections) connection.closeIdle()
    },
    whenClosed: () => emptied.promise,
    closeAll() {
      // Also ends http.Server's own timer, which the plain close left running.
      node.close(() => {})
      clearInterval(sweep)
      isClosed = true
      for (const connection of connections) connection.destroy()
      settle()
    },
    renewTls(tls) {
      try {
        // `node` is an HTTPS server when there was TLS to begin with.
        if (!('setSecureContext' in node)) throw new TypeError('the server was created without TLS')
        node.setSecureContext(tls)
      } catch (error) {
        throw tlsInvalid(error)
      }
    },
  }
}

/** What Node asks the kernel for, where nothing else is said. */
const longestQueue = 511

type Listening = (this: HttpServer | HttpsServer, socket: Socket) => void

function createNodeServer(options: ServerOptions, serve: Listener): HttpServer | HttpsServer {
  const requestTimeoutMs = options.requestTimeoutMs ?? 60_000
  // Node insists on that order.
  const headersTimeoutMs = Math.min(options.headersTimeoutMs ?? 10_000, requestTimeoutMs)
  const nodeOptions: NodeOptions = {
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? 65_000,
    maxHeaderSize: options.maxHeaderBytes ?? 16 * 1024,
    // How often the two timeouts are looked at; Node's 30 s would make a limit of 10 s one of 40 s.
    connectionsCheckingInterval: Math.min(1000, headersTimeoutMs),
    noDelay: true,
    // Whatever flags the process was started with: two readings of one request are how requests are smuggled.
    insecureHTTPParser: false,
    // Done here, with an answer that says why.
    requireHostHeader: false,
    shouldUpgradeCallback: (request) => options.upgrade !== undefined && isWebSocket(request),
  }
  return options.tls
    ? createTlsServer(options, options.tls, nodeOptions, serve)
    : nodeHttp().createServer(nodeOptions, serve)
}

function createTlsServer(
  options: ServerOptions,
  tls: ServerTls,
  nodeOptions: NodeOptions,
  serve: Listener,
): HttpsServer {
  try {
    return nodeHttps().createServer(
      {
        ...nodeOptions,
        ...tls,
        ALPNProtocols: options.http2 ? ['h2', 'http/1.1'] : ['http/1.1'],
        handshakeTimeout: nodeOptions.headersTimeout,
      },
      serve,
    )
  } catch (error) {
    throw tlsInvalid(error)
  }
}

function isWebSocket(request: IncomingMessage): boolean {
  // While an answer is on its way the socket is not free to be given away.
  return (
    request.method === 'GET' &&
    request.headers.upgrade?.toLowerCase() === 'websocket' &&
    connectionOf(request.socket)?.requests === 0
  )
}

async function giveAway(
  handle: NonNullable<ServerOptions['upgrade']>,
  upgrade: Parameters<NonNullable<ServerOptions['upgrade']>>[0],
): Promise<void> {
  const ignore = (): void => {}
  // The peer may reset the connection while the handler still thinks about it.
  upgrade.socket.on('error', ignore)
  try {
    await handle(upgrade)
  } catch {
    upgrade.refuse(500, 'The connection could not be upgraded')
  }
}

function refuseHostless(response: ServerResponse, tell: (refusal: Refusal) => void): void {
  response.writeHead(400, { connection: 'close', 'content-type': 'application/problem+json' })
  response.end(problemText(400, 'The request has no Host header'))
  tell({ status: 400, reason: 'bad-request' })
}

function endSlow(connections: Iterable<Connection>, { requestTimeoutMs = 60_000 }: ServerOptions): void {
  const now = performance.now()
  for (const connection of connections)
    if (connection instanceof Http2Connection) connection.endSlow(requestTimeoutMs, now)
}

/** Takes Node's own listener off, for ours to call. */
function takeListener(server: HttpServer | HttpsServer, event: 'connection' | 'secureConnection'): Listening {
  const listeners: Function[] = (server as NetServer).listeners(event)
  const own = listeners[0] as Listening
  server.removeListener(event, own)
  return own
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}

async function listen(server: NetServer, port: number, host: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen({ port, host }, resolve)
  try {
    await promise
  } catch (error) {
    throw listenFailed(`${host}:${port}`, error)
  } finally {
    server.removeListener('error', reject)
  }
  // A listening TCP server's address is neither null nor a pipe's name.
  return (server.address() as AddressInfo).port
}
