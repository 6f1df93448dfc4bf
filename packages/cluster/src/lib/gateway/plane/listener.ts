import { once } from 'node:events'
import type { Server } from 'node:http'
import type { ServerHttp2Session } from 'node:http2'
import { connect, createServer as createTcpServer } from 'node:net'
import type { Socket } from 'node:net'
import { pipeline } from 'node:stream'
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { findHost } from '../hostname.ts'
import type { Certificate, ListenerConfig } from '../model.ts'
import { permissionAt } from './access.ts'
import { nextCandidate } from './clusters.ts'
import { nodeHttp2 } from './http2.ts'
import { sourceOf } from './incoming.ts'
import type { Incoming, Outgoing } from './incoming.ts'
import { compileRules } from './route-state.ts'
import type { ListenerState, PlaneContext } from './route-state.ts'
import { serve } from './serve.ts'
import { sniff } from './sniff.ts'
import { upgrade } from './upgrade.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { createServer: createHttpServer } = process.getBuiltinModule('node:http')

/** A port that is being listened on. */
export interface Listener {
  readonly port: number
  /** New rules and certificates, for the next request and the next connection. */
  update(config: ListenerConfig): void
  /** Takes no more connections; those open get `graceMs` to end their requests. Called again: the shorter of both. */
  close(graceMs: number): Promise<void>
}

const maxHeaderSize = 64 * 1024

/** Listens on `port` of the config's host. Rejects as `listen` does. */
export async function openListener(context: PlaneContext, config: ListenerConfig, port: number): Promise<Listener> {
  const state: ListenerState = {
    key: config.key,
    port,
    isMesh: config.kind === 'mesh',
    scheme: config.kind === 'https' ? 'https' : 'http',
    passthrough: config.passthrough,
    isClosing: false,
    cluster: (key) => context.clusters.get(key),
    ...compileRules(config, context.random),
  }
  const handle = (request: Incoming, response: Outgoing): void => serve(context, state, request, response)
  const parts =
    config.kind === 'https' ? createSecure(context, state, handle, config) : createPlain(context, state, handle)
  const sockets = new Set<Socket>()
  parts.server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  parts.server.listen({ host: config.host, port, backlog: 4096 })
  await once(parts.server, 'listening')
  const address = parts.server.address()
  if (typeof address === 'object' && address !== null) state.port = address.port
  function stop(graceMs: number): Promise<unknown> {
    state.isClosing = true
    state.cluster = context.clusters.freeze()
    const gone = once(parts.server, 'close')
    parts.server.close()
    parts.drain(graceMs)
    return gone.finally(() => parts.end())
  }

  let stopped: Promise<unknown> | undefined
  return {
    port: state.port,
    update(next) {
      Object.assign(state, compileRules(next, context.random), { passthrough: next.passthrough })
      parts.update(next)
    },
    async close(graceMs) {
      const timer = setTimeout(() => {
        for (const socket of sockets) socket.destroy()
      }, graceMs)
      await (stopped ??= stop(graceMs))
      clearTimeout(timer)
    },
  }
}

interface Parts {
  readonly server: ReturnType<typeof createTcpServer>
  update(config: ListenerConfig): void
  /** Asks clients to go after their next answer; without a grace, those that are idle have to go at once. */
  drain(graceMs: number): void
  /** The last connection has gone. */
  end(): void
}

type Handle = (request: Incoming, response: Outgoing) => void

/** HTTP/1.1 and HTTP/2 with prior knowledge on one port; on mesh ports anything else too, which is passed through. */
function createPlain(context: PlaneContext, state: ListenerState, handle: Handle): Parts {
  const http1 = createHttp1(context, state, handle)
  const http2 = nodeHttp2().createServer({ settings: http2Settings }, handle)
  const sessions = followSessions(http2)
  const server = createTcpServer({ noDelay: true, keepAlive: true }, (socket) => {
    const hand = (spoken: 'http1' | 'http2' | 'other'): void => {
      if (spoken === 'http2') http2.emit('connection', socket)
      else if (spoken === 'http1' || !state.isMesh) http1.emit('connection', socket)
      else passThrough(context, state, socket)
    }
    sniff(socket, hand, state.isMesh ? {} : { headTimeoutMs: context.headTimeoutMs })
  })
  return {
    server,
    update() {},
    drain(graceMs) {
      if (graceMs === 0) http1.closeIdleConnections()
      for (const session of sessions) session.close()
    },
    // Ends its checks for slow clients.
    end: () => void http1.close(),
  }
}

function createHttp1(context: PlaneContext, state: ListenerState, handle: Handle): Server {
  const server = createHttpServer(
    {
      maxHeaderSize,
      noDelay: true,
      keepAliveTimeout: 75_000,
      // Uploads and streams may last; what must not is a head.
      requestTimeout: 0,
      headersTimeout: context.headTimeoutMs,
      connectionsCheckingInterval: Math.min(context.headTimeoutMs, 30_000),
      // Clients may offer HTTP/2 by it, which nobody has to take.
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() !== 'h2c',
    },
    handle,
  )
  server.on('upgrade', (request, socket, head) => upgrade(context, state, request, socket, head))
  // It is given its connections and listens nowhere, and would otherwise not check how long heads take.
  server.emit('listening')
  return server
}

function createSecure(context: PlaneContext, state: ListenerState, handle: Handle, config: ListenerConfig): Parts {
  let contexts = secureContexts(config.certificates)
  const server = nodeHttp2().createSecureServer(
    {
      allowHTTP1: true,
      ...ofHttp1,
      settings: http2Settings,
      minVersion: 'TLSv1.2',
      SNICallback: (name, done) => done(null, findHost(contexts, name.toLowerCase())),
      // For clients that name no server.
      ...fallbackOf(config.certificates),
    },
    handle,
  )
  // Options of the HTTP/1.1 side, which its types leave out.
  Object.assign(server, { keepAliveTimeout: 75_000, requestTimeout: 0, headersTimeout: context.headTimeoutMs })
  const sessions = followSessions(server)
  server.on('upgrade', (request, socket, head) => upgrade(context, state, request, socket, head))
  server.on('tlsClientError', () => {})
  return {
    server,
    update({ certificates }) {
      contexts = secureContexts(certificates)
      server.setSecureContext(fallbackOf(certificates))
    },
    drain() {
      for (const session of sessions) session.close()
    },
    end() {},
  }
}

/** Understood, and left out by its types. */
const ofHttp1 = { maxHeaderSize }

const http2Settings = { maxConcurrentStreams: 256, initialWindowSize: 1 << 20 }

function secureContexts(certificates: readonly Certificate[]): Map<string, SecureContext> {
  const found = new Map<string, SecureContext>()
  for (const { hostname, cert, key } of certificates) {
    if (!found.has(hostname)) found.set(hostname, createSecureContext({ cert, key }))
  }
  return found
}

function fallbackOf(certificates: readonly Certificate[]): { cert?: string; key?: string } {
  const chosen = certificates.find(({ hostname }) => hostname === '*') ?? certificates[0]
  return chosen === undefined ? {} : { cert: chosen.cert, key: chosen.key }
}

function followSessions(server: {
  on(event: 'session', handler: (session: ServerHttp2Session) => void): unknown
}): Set<ServerHttp2Session> {
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('error', () => {})
    session.on('close', () => sessions.delete(session))
  })
  return sessions
}

/** A connection of another protocol goes to an endpoint as it is. */
function passThrough(context: PlaneContext, state: ListenerState, client: Socket): void {
  const live = state.passthrough === undefined ? undefined : state.cluster(state.passthrough)
  const permits = permissionAt(context.access, sourceOf(client, context.access), state)
  const candidate =
    live === undefined
      ? undefined
      : nextCandidate(live, { hash: undefined, tried: undefined, random: context.random, permits })
  if (candidate === undefined || live === undefined) {
    client.resetAndDestroy()
    return
  }
  const { ip, port } = candidate.endpoint
  const server = connect({ host: ip, port, noDelay: true, keepAlive: true, allowHalfOpen: true })
  const timer = setTimeout(
    () => server.destroy(new Error('no connection in time')),
    live.cluster.policy.connectTimeoutMs,
  )
  server.once('connect', () => clearTimeout(timer))
  server.once('close', () => clearTimeout(timer))
  pipeline(client, server, () => {})
  pipeline(server, client, () => {})
}
