import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import type { Backend } from './service-ports.ts'

/** A listening address that passes connections on. */
export interface TcpProxy {
  readonly port: number
  /** Connections open now. */
  readonly connectionCount: number
  /** Stops listening at once, ends what is still open after `graceMs` (default 0). */
  close(options?: { readonly graceMs?: number | undefined }): Promise<void>
}

/** Options of {@link openTcpProxy}. */
export interface TcpProxyOptions {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  /** The endpoints for a new connection, asked each time; a connection once made keeps its endpoint until it ends. */
  readonly backends: (client: string) => readonly Backend[]
  /** Asked with the address of each client; the connections of others are reset. Default: everybody may. */
  readonly isAllowed?: ((client: string) => boolean) | undefined
  /** How long a client, by its address, keeps its endpoint; asked with each connection. Default: not at all. */
  readonly affinitySeconds?: (() => number | undefined) | undefined
  /** Told of each connection to an endpoint, before anything is sent on it, with the address of the client it is made for. */
  readonly onPass?: ((connection: Socket, client: string) => void) | undefined
  /** How long one endpoint may take to accept. Default 2,000. */
  readonly connectTimeoutMs?: number | undefined
}

const keepAliveMs = 15_000

/**
 * Opens a listener that passes each connection to the next endpoint in turn, or to another one when that refuses. With no
 * endpoint the connection is reset. Rejects as `listen` does (`EADDRINUSE`, `EACCES`).
 */
export async function openTcpProxy(options: TcpProxyOptions): Promise<TcpProxy> {
  const { connectTimeoutMs = 2_000 } = options
  const open = new Set<Socket>()
  const sticky = createAffinity()
  let turn = 0
  // Paused: nothing is read before there is somewhere to send it, so memory stays bounded by the kernel's buffers.
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true })
  server.on('connection', (client) => {
    open.add(client)
    client.setKeepAlive(true, keepAliveMs)
    client.on('error', () => {})
    client.on('close', () => open.delete(client))
    void pass(client)
  })
  server.listen({ host: options.host, port: options.port, backlog: 1024 })
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : options.port

  async function pass(client: Socket): Promise<void> {
    const address = (client.remoteAddress ?? '').replace(/^::ffff:/, '')
    if (options.isAllowed?.(address) === false) return void client.resetAndDestroy()
    const backends = options.backends(address)
    const seconds = options.affinitySeconds?.()
    const kept = seconds === undefined ? -1 : sticky.find(address, backends)
    const first = kept === -1 ? turn++ : kept
    for (let i = 0; i < backends.length; i++) {
      const backend = backends[(first + i) % backends.length]
      const upstream = backend === undefined ? undefined : await reach(backend, connectTimeoutMs)
      if (backend === undefined || upstream === undefined) continue
      if (seconds !== undefined) sticky.keep(address, backend, seconds)
      if (client.destroyed) upstream.destroy()
      else {
        options.onPass?.(upstream, address)
        join(client, upstream)
      }
      return
    }
    client.resetAndDestroy()
  }

  return {
    port,
    get connectionCount() {
      return open.size
    },
    async close({ graceMs = 0 } = {}) {
      const closed = once(server, 'close')
      server.close()
      const timer = setTimeout(() => {
        for (const client of open) client.destroy()
      }, graceMs)
      await closed
      clearTimeout(timer)
    },
  }
}

/** As many clients as anybody has; the one not seen for longest is forgotten first. */
const mostSticky = 10_000

/** Which client was sent where, until when. */
function createAffinity(): {
  /** Index of the endpoint the client keeps; -1 for none. */
  find(client: string, backends: readonly Backend[]): number
  keep(client: string, backend: Backend, seconds: number): void
} {
  const clients = new Map<string, Backend & { readonly until: number }>()
  return {
    find(client, backends) {
      const last = clients.get(client)
      if (last === undefined || Date.now() >= last.until) return -1
      return backends.findIndex(({ ip, port }) => ip === last.ip && port === last.port)
    },
    keep(client, { ip, port }, seconds) {
      clients.delete(client)
      clients.set(client, { ip, port, until: Date.now() + seconds * 1000 })
      const [oldest] = clients.size > mostSticky ? clients.keys() : []
      if (oldest !== undefined) clients.delete(oldest)
    },
  }
}

/** Connects; undefined when the endpoint refuses or does not answer in time. */
function reach({ ip, port }: Backend, timeoutMs: number): Promise<Socket | undefined> {
  const { promise, resolve } = Promise.withResolvers<Socket | undefined>()
  const socket = connect({
    host: ip,
    port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveMs,
  })
  const timer = setTimeout(() => socket.destroy(new Error('no answer in time')), timeoutMs)
  const settle = (result: Socket | undefined): void => {
    clearTimeout(timer)
    socket.off('error', fail)
    socket.on('error', () => {})
    resolve(result)
  }
  const fail = (): void => settle(undefined)
  socket.once('error', fail)
  socket.once('connect', () => settle(socket))
  return promise
}

/** Joins two sockets: the end of one direction ends that direction only, a reset of one side resets the other. */
function join(client: Socket, upstream: Socket): void {
  client.pipe(upstream)
  upstream.pipe(client)
  tieTo(client, upstream)
  tieTo(upstream, client)
}

function tieTo(one: Socket, other: Socket): void {
  one.on('close', (hadError) => {
    if (other.destroyed) return
    if (hadError) other.resetAndDestroy()
    // Closed without an error yet before its end was read: nobody takes the rest.
    else if (!one.readableEnded || !one.writableFinished) other.destroy()
  })
}
