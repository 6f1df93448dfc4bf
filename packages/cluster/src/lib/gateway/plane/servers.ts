import type { IncomingMessage, Server } from 'node:http'
import type { Http2ServerResponse, ServerHttp2Session } from 'node:http2'
import { createServer as createTcpServer } from 'node:net'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { findHost } from '../hostname.ts'
import type { Certificate, ListenerConfig } from '../model.ts'
import { answer } from './answers.ts'
import { nodeHttp2 } from './http2.ts'
import { hasBody } from './incoming.ts'
import type { Incoming, Outgoing } from './incoming.ts'
import type { ListenerState, PlaneContext } from './route-state.ts'
import { sniff } from './sniff.ts'
import { refuse, upgrade } from './upgrade.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { createServer: createHttpServer } = process.getBuiltinModule('node:http')

const maxHeaderSize = 64 * 1024

/** The servers behind a port. */
export interface Parts {
  readonly server: ReturnType<typeof createTcpServer>
  /** Tells of connections of HTTP/2. */
  readonly sessions: SessionSource
  update(config: Pick<ListenerConfig, 'certificates'>): void
  /** Asks clients to go after their next answer; without a grace, those that are idle have to go at once. */
  drain(graceMs: number): void
  /** The last connection has gone. */
  end(): void
}

export type Handle = (request: Incoming, response: Outgoing) => void

/** HTTP/1.1 and HTTP/2 with prior knowledge on one port; on mesh ports anything else too, which is passed through. */
export function createPlain(
  context: PlaneContext,
  state: ListenerState,
  { handle, passThrough }: { readonly handle: Handle; readonly passThrough: (client: Socket) => void },
): Parts {
  const http1 = createHttp1(context, state, handle)
  const http2 = nodeHttp2().createServer(http2Options, handle)
  const sessions = followSessions(http2)
  const server = createTcpServer({ noDelay: true, keepAlive: true }, (socket) => {
    const hand = (spoken: 'http1' | 'http2' | 'other'): void => {
      if (spoken === 'http2') http2.emit('connection', socket)
      else if (spoken === 'http1' || !state.isMesh) http1.emit('connection', socket)
      else passThrough(socket)
    }
    sniff(socket, hand, state.isMesh ? {} : { headTimeoutMs: context.headTimeoutMs })
  })
  return {
    server,
    sessions: http2,
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
      connectionsCheckingInterval: checkingInterval(context),
      shouldUpgradeCallback: mayUpgrade,
    },
    handle,
  )
  server.on('upgrade', (request, socket, head) => upgrade(context, state, request, socket, head))
  server.on('connect', (_, socket) => refuse(socket, 405))
  // It is given its connections and listens nowhere, and would otherwise not check how long heads take.
  server.emit('listening')
  return server
}

/** HTTP/1.1 and HTTP/2 with TLS, as clients choose (ALPN). */
export function createSecure(
  context: PlaneContext,
  state: ListenerState,
  { handle, certificates: first }: { readonly handle: Handle; readonly certificates: readonly Certificate[] },
): Parts {
  let contexts = secureContexts(first)
  const server = nodeHttp2().createSecureServer(
    {
      allowHTTP1: true,
      ...ofHttp1,
      ...http2Options,
      handshakeTimeout: context.headTimeoutMs,
      minVersion: 'TLSv1.2',
      SNICallback: (name, done) => done(null, findHost(contexts, name.toLowerCase())),
      // For clients that name no server.
      ...fallbackOf(first),
    },
    handle,
  )
  // Options of the HTTP/1.1 side, which its types leave out.
  Object.assign(server, {
    keepAliveTimeout: 75_000,
    requestTimeout: 0,
    headersTimeout: context.headTimeoutMs,
    connectionsCheckingInterval: checkingInterval(context),
    shouldUpgradeCallback: mayUpgrade,
  })
  const sessions = followSessions(server)
  server.on('upgrade', (request, socket, head) => upgrade(context, state, request, socket, head))
  server.on('connect', (_: Incoming, client: Duplex | Http2ServerResponse) => {
    if ('stream' in client) answer(client, 405)
    else refuse(client, 405)
  })
  server.on('tlsClientError', () => {})
  return {
    server,
    sessions: server,
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

const http2Options = {
  settings: { maxConcurrentStreams: 256, initialWindowSize: 1 << 20, maxHeaderListSize: maxHeaderSize },
  // As many headers as by HTTP/1.1, within the same size.
  maxHeaderListPairs: 2_000,
}

function checkingInterval({ headTimeoutMs }: PlaneContext): number {
  return Math.min(headTimeoutMs, 30_000)
}

/**
 * Clients may offer HTTP/2 by it, which nobody has to take. With a body it is a request like others: nobody could tell where the body ends
 * and the other protocol begins.
 */
function mayUpgrade(request: IncomingMessage): boolean {
  return request.headers.upgrade?.toLowerCase() !== 'h2c' && !hasBody(request)
}

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

interface SessionSource {
  on(event: 'session', handler: (session: ServerHttp2Session) => void): unknown
}

/** Connections of HTTP/2 on which nothing is said for long are asked to go; streams under way on them end first. */
export function limitIdleness(sessions: SessionSource, idleTimeoutMs: number): void {
  sessions.on('session', (session) => session.setTimeout(idleTimeoutMs, () => session.close()))
}

function followSessions(server: SessionSource): Set<ServerHttp2Session> {
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('error', () => {})
    session.on('close', () => sessions.delete(session))
  })
  return sessions
}
