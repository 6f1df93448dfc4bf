import { createServer, Server as HttpServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Server as NetServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { listenFailed } from '../errors.ts'

export interface ServerLimits {
  /** To receive all headers of a request. Default 10000. */
  readonly headersTimeoutMs?: number | undefined
  /** To receive a whole request. Default 60000. */
  readonly requestTimeoutMs?: number | undefined
  /**
   * How long an idle connection is kept. Default 65000: longer than the 60 s of most load balancers, because whoever keeps a
   * connection longer than its peer sends requests into connections that are just being closed.
   */
  readonly keepAliveTimeoutMs?: number | undefined
  /** All headers of a request together. Default 16384. */
  readonly maxHeaderBytes?: number | undefined
}

/** An HTTP/1.1 server that can stop without losing a request. */
export interface DrainableServer {
  readonly node: HttpServer
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
   * Responses on the connections there are now say `Connection: close`. Later ones do not: a client that comes back here, because it
   * knows of no other place, would open a connection per request.
   */
  announceClose(): void
  /** Accepts no more connections; those there are live on until their next response, which says `Connection: close`. */
  stopAccepting(): Promise<void>
  /** Closes connections on which nothing is going on and nothing has begun to arrive. */
  closeIdle(): void
  /** Resolves when the last connection is gone. */
  whenClosed(): Promise<void>
  /** Cuts what is left. */
  closeAll(): void
}

export function createDrainableServer(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
  limits: ServerLimits = {},
): DrainableServer {
  const connections = new Map<Socket, ConnectionUse>()
  const emptied = Promise.withResolvers<void>()
  let isDraining = false
  let isClosed = false
  let accepted = 0

  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    const use = connections.get(request.socket)
    if (use !== undefined) track(use, request, response)
    if (use?.isLeaving) response.setHeader('connection', 'close')
    handle(request, response)
  }
  const settle = (): void => {
    if (isClosed && connections.size === 0) emptied.resolve()
  }
  const announce = (): void => {
    isDraining = true
    for (const use of connections.values()) {
      use.isLeaving = true
      for (const response of use.active) if (!response.headersSent) response.setHeader('connection', 'close')
    }
  }
  const node = createServer(
    {
      headersTimeout: limits.headersTimeoutMs ?? 10_000,
      requestTimeout: limits.requestTimeoutMs ?? 60_000,
      keepAliveTimeout: limits.keepAliveTimeoutMs ?? 65_000,
      maxHeaderSize: limits.maxHeaderBytes ?? 16 * 1024,
      // How often the two timeouts are looked at; Node's 30 s would make a limit of 10 s one of 40 s.
      connectionsCheckingInterval: Math.min(1000, limits.headersTimeoutMs ?? 1000),
      noDelay: true,
    },
    serve,
  )
  node.on('connection', (socket: Socket) => {
    accepted += 1
    connections.set(socket, { active: new Set(), quietAtBytes: 0, isLeaving: false })
    socket.once('close', () => {
      connections.delete(socket)
      settle()
    })
  })

  return {
    node,
    get connections() {
      return connections.size
    },
    get requests() {
      let count = 0
      for (const { active } of connections.values()) count += active.size
      return count
    },
    get isDraining() {
      return isDraining
    },
    listen: (port, host) => listen(node, port, host),
    announceClose: announce,
    async stopAccepting() {
      if (isClosed) return
      // Closing the listener makes the kernel reset connections that are established but not accepted yet, and libuv accepts
      // one per turn of the event loop: on a busy service the last ones wait for long. A turn without one means that none
      // is left. A flood of new ones never ends; it is cut after a second.
      const until = performance.now() + 1000
      // Called while events are being handled, the first turn ends before the kernel has been asked again.
      await nextTurn()
      for (let before = -1; before !== accepted && performance.now() < until;) {
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
    closeIdle() {
      for (const [socket, use] of connections) if (isIdle(socket, use)) socket.destroySoon()
    },
    whenClosed: () => emptied.promise,
    closeAll() {
      // Also ends http.Server's own timer, which the plain close left running.
      HttpServer.prototype.close.call(node, () => {})
      isClosed = true
      for (const socket of connections.keys()) socket.destroy()
      settle()
    },
  }
}

interface ConnectionUse {
  readonly active: Set<ServerResponse>
  /** Bytes received when the last response was done: more than that means another request has begun to arrive. */
  quietAtBytes: number
  /** Its next response is its last. */
  isLeaving: boolean
}

function track(use: ConnectionUse, request: IncomingMessage, response: ServerResponse): void {
  use.active.add(response)
  response.once('close', () => {
    use.active.delete(response)
    use.quietAtBytes = request.socket.bytesRead
  })
}

function isIdle(socket: Socket, use: ConnectionUse): boolean {
  return use.active.size === 0 && socket.bytesRead <= use.quietAtBytes
}

async function listen(server: HttpServer, port: number, host: string): Promise<number> {
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
