import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { pipeline } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import type { ListenerConfig } from '../model.ts'
import { permissionAt } from './access.ts'
import { nextCandidate } from './clusters.ts'
import { sourceOf } from './incoming.ts'
import type { Incoming, Outgoing } from './incoming.ts'
import { compileRules } from './route-state.ts'
import type { ListenerState, PlaneContext } from './route-state.ts'
import { serve } from './serve.ts'
import { createPlain, createSecure, limitIdleness } from './servers.ts'
import { tlsOptions } from './upstream-tls.ts'

/** A port that is being listened on. */
export interface Listener {
  readonly port: number
  /** New rules and certificates, for the next request and the next connection. */
  update(config: ListenerConfig): void
  /** Takes no more connections; those open get `graceMs` to end their requests. Called again: the shorter of both. */
  close(graceMs: number): Promise<void>
}

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
    config.kind === 'https'
      ? createSecure(context, state, { handle, certificates: config.certificates })
      : createPlain(context, state, { handle, passThrough: (client) => passThrough(context, state, client) })
  limitIdleness(parts.sessions, context.idleTimeoutMs)
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
  const { tls } = live.cluster
  const to = { host: ip, port, noDelay: true, keepAlive: true, allowHalfOpen: true }
  const server = tls === undefined ? connect(to) : connectTls({ ...to, ...tlsOptions(tls) })
  // Two pipelines listen to each: more than the ten that are taken for a leak.
  for (const socket of [client, server]) socket.setMaxListeners(0)
  const timer = setTimeout(
    () => server.destroy(new Error('no connection in time')),
    live.cluster.policy.connectTimeoutMs,
  )
  server.once('connect', () => clearTimeout(timer))
  server.once('close', () => clearTimeout(timer))
  pipeline(client, server, () => {})
  pipeline(server, client, () => {})
}
