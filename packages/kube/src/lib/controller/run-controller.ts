import type { Informer, InformerEvent } from '../cache/informer.ts'
import { isConflict } from '../client/kube-error.ts'
import type { KubeResource } from '../client/resource.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { createWorkQueue } from './work-queue.ts'
import type { WorkQueue } from './work-queue.ts'

/** Where a controller's keys come from. Resolves once everything that exists has been told; `signal` says when nobody listens any more. */
export interface Source {
  start(add: (key: string) => void, signal?: AbortSignal): Promise<void>
}

/** What a reconcile may ask for. */
export interface ReconcileResult {
  /** Reconcile this key again after so many milliseconds, also when nothing changed. */
  readonly requeueAfterMs?: number | undefined
}

export interface ControllerOptions {
  /** For errors. */
  readonly name: string
  /** Start working when all of them have told what exists. */
  readonly sources: readonly Source[]
  /** Brings the world of one key to its desired state. Throwing means: again, later (5 ms doubled up to 60 s). */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<ReconcileResult | void>
  /** Keys worked on at the same time; one key never twice. Default 4. */
  readonly concurrency?: number | undefined
  /** Told of every failed reconcile but lost write races (409 Conflict), which are part of the game. */
  readonly onError?:
    | ((error: unknown, context: { readonly controller: string; readonly key: string }) => void)
    | undefined
  /** Takes no more keys once it aborts. */
  readonly signal: AbortSignal
  /** Milliseconds from then until the signal of reconciles under way aborts too; a function is asked at that time. Default 0. */
  readonly graceMs?: number | (() => number) | undefined
  /** Retries per second of all keys together, beyond a burst of 100. Default: unlimited, each key by its own back-off. */
  readonly retriesPerSecond?: number | undefined
  readonly clock?: Clock | undefined
}

/** The keys of an informer's objects, or of whatever they concern. Starts the informer. */
export function fromInformer<T extends KubeResource>(
  informer: Informer<T>,
  keysOf: (object: T, event: InformerEvent, old: T | undefined) => readonly string[],
): Source {
  return {
    start(add, signal) {
      const end = informer.on((event, object, old) => {
        for (const key of keysOf(object, event, old)) {
          add(key)
        }
      })
      // The informer may outlive the controller, as one does that is shared.
      signal?.addEventListener('abort', end, { once: true })
      return informer.start()
    },
  }
}

/** Runs `reconcile` for every key its sources name, until `signal` aborts; then waits for the reconciles under way. */
export async function runController(options: ControllerOptions): Promise<void> {
  const { signal, sources, concurrency = 4, clock = systemClock, retriesPerSecond } = options
  const queue = createWorkQueue({ clock, retriesPerSecond })
  const working = new AbortController()
  let cancelGrace = (): void => {}
  const close = (): void => {
    queue.close()
    const graceMs = typeof options.graceMs === 'function' ? options.graceMs() : (options.graceMs ?? 0)
    const abort = (): void => working.abort(signal.reason)
    if (graceMs > 0) cancelGrace = clock.schedule(graceMs, abort)
    else abort()
  }
  signal.addEventListener('abort', close, { once: true })
  if (signal.aborted) close()
  try {
    await Promise.all(sources.map((source) => source.start((key) => queue.add(key), signal)))
    await Promise.all(Array.from({ length: concurrency }, () => work(options, queue, working.signal)))
  } catch (error) {
    if (!signal.aborted) {
      throw error
    }
  } finally {
    queue.close()
    cancelGrace()
    signal.removeEventListener('abort', close)
  }
}

async function work(options: ControllerOptions, queue: WorkQueue, working: AbortSignal): Promise<void> {
  const { signal } = options
  for (let key = await queue.next(); key !== undefined && !signal.aborted; key = await queue.next()) {
    try {
      const result = await options.reconcile(key, working)
      queue.forget(key)
      if (result?.requeueAfterMs !== undefined) {
        queue.addAfter(key, result.requeueAfterMs)
      }
    } catch (error) {
      if (!signal.aborted) {
        queue.retry(key)
        if (!isConflict(error)) {
          options.onError?.(error, { controller: options.name, key })
        }
      }
    } finally {
      queue.done(key)
    }
  }
}

/** The key of an object: `namespace/name`, or `name` without a namespace. */
export function keyOf({ metadata }: KubeResource): string {
  const name = metadata?.name ?? ''
  return metadata?.namespace === undefined ? name : `${metadata.namespace}/${name}`
}

/** The parts of a key made by {@link keyOf}. */
export function parseKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf('/')
  return slash < 0
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) }
}
