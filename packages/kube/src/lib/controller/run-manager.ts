import { createInformers } from '../cache/informers.ts'
import type { Informers } from '../cache/informers.ts'
import type { KubeClient } from '../client/client.ts'
import type { Clock } from './clock.ts'
import { runAsLeader } from './run-as-leader.ts'
import type { LeaderOptions } from './run-as-leader.ts'
import { runController } from './run-controller.ts'
import type { ControllerOptions } from './run-controller.ts'

/** A controller as a manager runs it. */
export type ManagedController = Omit<ControllerOptions, 'signal' | 'graceMs' | 'clock'>

export interface ManagerOptions {
  /** Makes the controllers from what they share; called once. */
  readonly controllers: (shared: {
    readonly client: KubeClient
    readonly informers: Informers
  }) => readonly ManagedController[]
  /** Let only one of several managers work. The others keep their caches warm. Default: none. */
  readonly leaderElection?: Omit<LeaderOptions, 'signal' | 'clock' | 'onError'> | undefined
  /** How long reconciles under way may go on once `signal` aborts; then their own signal aborts. Default 30,000. */
  readonly graceMs?: number | undefined
  /** Called when the caches are complete, before work begins. */
  readonly onReady?: (() => void) | undefined
  /** Told of what is being retried: watches, leases, and reconciles of controllers that have no `onError`. */
  readonly onError?: ((error: unknown) => void) | undefined
  readonly signal: AbortSignal
  readonly clock?: Clock | undefined
}

/**
 * Runs controllers on one set of informers until `signal` aborts, in order: caches, lease, controllers. At the end the other way
 * round: no new work, reconciles under way end, the lease is given back, the watches close. A lease that is lost stops work at
 * once. Rejects when a controller cannot start.
 */
export async function runManager(client: KubeClient, options: ManagerOptions): Promise<void> {
  const { signal, clock, onError, leaderElection, graceMs = 30_000 } = options
  const watching = new AbortController()
  const informers = createInformers(client, { signal: watching.signal, onError, clock })
  const controllers = options.controllers({ client, informers })

  async function work(term: AbortSignal): Promise<void> {
    const failed = new AbortController()
    const stop = AbortSignal.any([term, failed.signal])
    // Whoever lost the lease has no time left: another begins soon.
    const isLost = (): boolean => !signal.aborted
    const running = controllers.map(async (controller) => {
      try {
        await runController({
          onError,
          ...controller,
          signal: stop,
          graceMs: () => (isLost() ? 0 : graceMs),
          clock,
        })
      } catch (error) {
        failed.abort(error)
        throw error
      }
    })
    await Promise.allSettled(running)
    await Promise.all(running)
  }

  const endEarly = Promise.withResolvers<void>()
  const abort = (): void => endEarly.resolve()
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  try {
    await Promise.race([informers.start(), endEarly.promise])
    if (signal.aborted) return
    options.onReady?.()
    await (leaderElection === undefined
      ? work(signal)
      : runAsLeader(client, { ...leaderElection, signal, clock, onError }, work))
  } finally {
    signal.removeEventListener('abort', abort)
    watching.abort()
  }
}
