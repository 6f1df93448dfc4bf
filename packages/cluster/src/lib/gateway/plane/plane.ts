import type { ListenerConfig, Routing } from '../model.ts'
import type { Access } from './access.ts'
import { createClusters } from './clusters.ts'
import { openListener } from './listener.ts'
import type { Listener } from './listener.ts'
import { createGatewayMetrics } from './metrics.ts'
import type { GatewayMetrics } from './metrics.ts'
import type { PlaneContext } from './route-state.ts'
import type { Observers } from './served.ts'

/** How a wanted listener fares. */
export type ListenerOutcome = { readonly port: number } | { readonly problem: string; readonly code: string }

/** The part that moves requests: listens as the routing says and follows its changes without losing any. */
export interface DataPlane {
  readonly metrics: GatewayMetrics
  /** By key of the listener; those that are still being opened are absent. */
  readonly outcomes: ReadonlyMap<string, ListenerOutcome>
  /** Puts a routing in force; resolves when its listeners are open or known to fail. Calls are worked off in order. */
  apply(routing: Routing): Promise<void>
  close(options?: { readonly graceMs?: number | undefined }): Promise<void>
}

export interface DataPlaneOptions {
  readonly random?: (() => number) | undefined
  readonly metrics?: GatewayMetrics | undefined
  /** Default: nobody but the metrics. */
  readonly observers?: Observers | undefined
  /** How long a client may take for the head of a request. Default 60,000. */
  readonly headTimeoutMs?: number | undefined
  /** How long a client may let its body or the answer it reads rest, and a connection of HTTP/2 be silent. Default 300,000. */
  readonly idleTimeoutMs?: number | undefined
  /** Absent: everybody may reach everything. */
  readonly access?: Access | undefined
  readonly onError?: ((error: unknown) => void) | undefined
}

/** How long connections to a listener that is wanted no more may go on. */
const drainMs = 30_000

export function openDataPlane(options: DataPlaneOptions = {}): DataPlane {
  const { random = Math.random, metrics = createGatewayMetrics(), access, onError } = options
  const { headTimeoutMs = 60_000, idleTimeoutMs = 300_000 } = options
  const context: PlaneContext = {
    clusters: createClusters(),
    metrics,
    observers: options.observers,
    random,
    headTimeoutMs,
    idleTimeoutMs,
    access,
    onError,
  }
  const listeners = new Map<string, { kind: string; listener: Listener }>()
  const outcomes = new Map<string, ListenerOutcome>()
  const closing = new Set<Listener>()
  let queue: Promise<void> = Promise.resolve()

  function drop(key: string, graceMs: number): void {
    const listener = listeners.get(key)?.listener
    listeners.delete(key)
    outcomes.delete(key)
    if (listener === undefined) return
    closing.add(listener)
    void listener.close(graceMs).finally(() => closing.delete(listener))
  }

  async function work(routing: Routing): Promise<void> {
    // What goes keeps the clusters there were. Clusters and rules change in one turn: no request sees one without the other.
    for (const [key, { kind }] of listeners) if (routing.listeners.get(key)?.kind !== kind) drop(key, drainMs)
    context.clusters.apply(routing.clusters)
    for (const key of outcomes.keys()) if (!routing.listeners.has(key)) outcomes.delete(key)
    for (const config of routing.listeners.values()) listeners.get(config.key)?.listener.update(config)
    for (const config of routing.listeners.values()) if (!listeners.has(config.key)) await open(config)
  }

  async function open(config: ListenerConfig): Promise<void> {
    for (const port of portsToTry(config)) {
      try {
        const listener = await openListener(context, config, port)
        listeners.set(config.key, { kind: config.kind, listener })
        outcomes.set(config.key, { port: listener.port })
        return
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? String(error.code) : ''
        outcomes.set(config.key, { problem: explain(config, port, error), code })
      }
    }
  }

  return {
    metrics,
    outcomes,
    apply(routing) {
      const turn = queue.then(() => work(routing))
      // A routing that cannot be put in force does not keep the next one from it.
      queue = turn.catch(() => {})
      return turn
    },
    async close({ graceMs = 0 } = {}) {
      await queue
      for (const key of listeners.keys()) drop(key, graceMs)
      // Those that went before had longer; now they have no more time than the others.
      await Promise.all([...closing].map((listener) => listener.close(graceMs)))
      await context.clusters.close()
    },
  }
}

/** 80 needs privileges and may be another program's: browsers take 8080 as well. */
function portsToTry({ port, isFlexible }: ListenerConfig): number[] {
  if (!isFlexible) return [port]
  return [port, ...(port === 80 ? [8080] : port === 443 ? [8443] : []), 0]
}

function explain({ host }: ListenerConfig, port: number, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE')
    return `Cannot listen on ${host}:${port}: another program uses the port; stop it, or choose another`
  if (code === 'EACCES')
    return `Cannot listen on ${host}:${port}: ports below 1024 need privileges; choose a higher one`
  return `Cannot listen on ${host}:${port}: ${error instanceof Error ? error.message : String(error)}`
}
