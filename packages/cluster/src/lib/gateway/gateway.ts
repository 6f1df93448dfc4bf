import { createEventRecorder } from '@fairlead/kube/controller'
import type { KubeClient, KubeResource } from '@fairlead/kube'
import { compileWorld } from './compile/compile.ts'
import type { Compiled } from './compile/compile.ts'
import { installClasses, installDefinitions } from './definitions/install.ts'
import type { World } from './objects.ts'
import type { ObserversOptions } from './observers.ts'
import type { Access } from './plane/access.ts'
import type { ListenerOutcome } from './plane/plane.ts'
import type { Serving } from './serving.ts'
import { openSources } from './sources.ts'
import { writeStatuses } from './status-writer.ts'

/** Whom its client acts as: the role `fairlead:gateway` is bound to this user. */
export const gatewayUser = 'system:fairlead-gateway'

/** Where the traffic of a Service's port is to go instead of to its endpoints. */
export interface Redirect {
  readonly ip: string
  readonly port: number
}

/** The embedded gateway: serves what Ingress, Gateway API and Istio objects of the cluster ask for. */
export interface Gateway {
  /** Resolves when everything seen so far is in force. */
  settled(): Promise<void>
  close(options?: { readonly graceMs?: number | undefined }): Promise<void>
}

export interface GatewayOptions {
  readonly client: KubeClient
  /** Where it listens for clients outside of the cluster. Default 127.0.0.1. */
  readonly host?: string | undefined
  /** Where it listens for pods: the host as they see it. */
  readonly meshHost: string
  /** Asked before an endpoint is chosen. Default: everybody may reach everything. */
  readonly access?: Access | undefined
  /** Who is told of requests besides the metrics. Default: nobody. */
  readonly observers?: Pick<ObserversOptions, 'accessLog' | 'telemetry'> | undefined
  /**
   * Makes traffic to Services go elsewhere, by `namespace/name/port`; replaces what was told before. Resolves when that is in force.
   */
  readonly redirect: (redirects: ReadonlyMap<string, Redirect>) => Promise<void>
  /** Told of background work that failed and is tried again. */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** A port that is taken is asked for again so often. */
const retryMs = 2_000

/** Resolves when the kinds it reads are installed and what is there already is served. */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const { client, host = '127.0.0.1', meshHost, access, redirect, onError } = options
  await installDefinitions(client)
  const stop = new AbortController()
  let serving: Serving | undefined
  const events = createEventRecorder(client, 'fairlead-gateway', { onError })
  const sources = openSources({ client, host, meshHost, signal: stop.signal, onChange: start, onError })
  let redirects: ReadonlyMap<string, Redirect> = new Map()
  let isStale = true
  let working: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let closed: Promise<void> | undefined

  function start(): void {
    isStale = true
    if (stop.signal.aborted) return
    working ??= work().finally(() => {
      working = undefined
      if (isStale) start()
    })
  }

  async function work(): Promise<void> {
    // One turn later: what changes together is compiled once.
    await new Promise((resolve) => setImmediate(resolve))
    while (isStale && !stop.signal.aborted) {
      isStale = false
      try {
        await follow(await sources.world())
      } catch (error) {
        if (stop.signal.aborted) return
        onError?.(error)
        retry()
      }
    }
  }

  async function follow(world: World): Promise<void> {
    const compiled = compileWorld(world)
    const { routing } = compiled
    if (routing.listeners.size > 0) serving ??= await startServing()
    const outcomes = serving?.plane.outcomes ?? new Map<string, ListenerOutcome>()
    // Traffic leaves listeners before they close, and comes to them when they are open.
    await redirectTo(new Map([...redirects].filter(([key]) => compiled.mesh.has(key))))
    await serving?.plane.apply(routing)
    await redirectTo(redirectsOf(compiled, outcomes, meshHost))
    if ([...outcomes.values()].some((outcome) => 'problem' in outcome)) retry()
    tell(compiled, outcomes)
    await writeStatuses(client, world, compiled, outcomes)
  }

  async function startServing(): Promise<Serving> {
    const { openServing } = await import('./serving.ts')
    const { observers } = options
    return await openServing({ client, host: meshHost, access, observers, signal: stop.signal, onError })
  }

  async function redirectTo(next: ReadonlyMap<string, Redirect>): Promise<void> {
    const isSame =
      next.size === redirects.size && [...next].every(([key, one]) => redirects.get(key)?.port === one.port)
    if (isSame) return
    redirects = next
    await redirect(next)
  }

  function retry(): void {
    clearTimeout(timer)
    timer = setTimeout(start, retryMs)
    timer.unref()
  }

  function tell({ ingresses, routing }: Compiled, outcomes: ReadonlyMap<string, ListenerOutcome>): void {
    for (const { ingress, listeners, problems } of ingresses) {
      const failed = listeners.flatMap((key) => problemOf(outcomes.get(routing.listeners.get(key)?.key ?? key)))
      for (const message of [...problems, ...failed]) {
        events.record(named(ingress, 'networking.k8s.io/v1', 'Ingress'), {
          type: 'Warning',
          reason: 'NotServed',
          message,
        })
      }
    }
  }

  await sources.start()
  await installClasses(client)
  start()
  await settled()
  async function settled(): Promise<void> {
    const now = working
    if (now === undefined) return
    await now
    await settled()
  }

  async function close(closing?: { readonly graceMs?: number | undefined }): Promise<void> {
    clearTimeout(timer)
    stop.abort()
    await working
    // Pods may go on without us: their calls go to endpoints again.
    await redirectTo(new Map()).catch((error: unknown) => onError?.(error))
    await serving?.close(closing)
    await events.flush()
  }

  return {
    settled,
    close: (closing) => (closed ??= close(closing)),
  }
}

function redirectsOf(
  { mesh }: Compiled,
  outcomes: ReadonlyMap<string, ListenerOutcome>,
  ip: string,
): Map<string, Redirect> {
  const found = new Map<string, Redirect>()
  for (const [key, listener] of mesh) {
    const outcome = outcomes.get(listener)
    if (outcome !== undefined && 'port' in outcome) found.set(key, { ip, port: outcome.port })
  }
  return found
}

function problemOf(outcome: ListenerOutcome | undefined): string[] {
  return outcome !== undefined && 'problem' in outcome ? [outcome.problem] : []
}

/** Objects of a list carry no kind of their own; an Event needs one to refer to. */
function named(object: KubeResource, apiVersion: string, kind: string): KubeResource {
  return { ...object, apiVersion, kind }
}
