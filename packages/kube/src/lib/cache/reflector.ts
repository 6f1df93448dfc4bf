import { isGone, isInvalid, KubeError } from '../client/kube-error.ts'
import type { KubeResource, ResourceClient, SelectionOptions } from '../client/resource.ts'
import { backoffMs, jitter } from '../controller/backoff.ts'
import { pause } from '../controller/clock.ts'
import type { Clock } from '../controller/clock.ts'

/** Who is told what a collection holds. */
export interface ReflectorSink<T> {
  /** The form in which an object is kept, made as it arrives: a collection half read takes no more than a whole one. */
  prepare(object: T): T
  /** Everything there is, prepared; at the beginning and after a gap. */
  replace(objects: readonly T[]): void
  put(object: T): void
  remove(object: T): void
  /** The version reached. */
  reach(version: string): void
}

export interface ReflectorOptions {
  readonly selection: Omit<SelectionOptions, 'signal'>
  /** Begin with a watch that tells the state first (KEP-3157) where the server can. */
  readonly watchList: boolean
  /** Milliseconds without event or bookmark after which a watch counts as lost. */
  readonly idleMs: number
  readonly signal: AbortSignal
  readonly clock: Clock
  readonly onError: ((error: unknown) => void) | undefined
}

/** Delays between attempts to reach the server. */
const retryBaseMs = 100
const retryMaxMs = 30_000
/** A server that knows no WatchList sends the state and then nothing, not even the mark of its end. */
const initialIdleMs = 10_000
const pageSize = 500

/**
 * Tells `sink` the state of a collection and every change of it, until `signal` aborts: one streaming list, or list and watch;
 * watch again when the server ends it or nothing is heard of it; state again when the version is gone (410). Failures are
 * retried without end, with back-off, or when the server says.
 */
export async function runReflector<T extends KubeResource>(
  resource: ResourceClient<T>,
  sink: ReflectorSink<T>,
  options: ReflectorOptions,
): Promise<void> {
  const { signal, clock, onError } = options
  let version: string | undefined
  let isSynced = false
  let streams = options.watchList
  let failures = 0
  let progressed = false

  function reach(next: string | undefined): void {
    progressed = true
    if (next !== undefined) {
      version = next
      sink.reach(next)
    }
  }

  function begin(objects: readonly T[], at: string | undefined): void {
    sink.replace(objects)
    isSynced = true
    reach(at)
  }

  /** The first list may come from the server's cache (version 0); one after a gap must be current. */
  async function list(): Promise<void> {
    const selection = { ...options.selection, signal, resourceVersion: isSynced ? undefined : '0' }
    const [items, at] = await listPages(resource, selection, sink)
    begin(items, at)
  }

  /** Watches until the server ends the watch. Returns whether the watch has fallen silent. */
  async function follow(): Promise<boolean> {
    const initial = streams && version === undefined ? new Map<string, T>() : undefined
    let isInitial = initial !== undefined
    const silence = createSilence(clock, signal, isInitial ? initialIdleMs : options.idleMs)
    try {
      for await (const { type, object } of resource.watch({
        ...options.selection,
        resourceVersion: version,
        // Servers end watches at their own time; asking for different times keeps many clients from returning at once.
        timeoutSeconds: Math.round(jitter(400)),
        allowBookmarks: true,
        sendInitialEvents: isInitial ? true : undefined,
        signal: silence.signal,
      })) {
        silence.touch()
        if (!isInitial) {
          if (type === 'DELETED') sink.remove(object)
          else if (type !== 'BOOKMARK') sink.put(object)
          reach(object.metadata?.resourceVersion)
        } else if (type !== 'BOOKMARK') {
          collect(initial, type, object, sink)
        } else if (object.metadata?.annotations?.['k8s.io/initial-events-end'] === 'true') {
          isInitial = false
          silence.limit(options.idleMs)
          begin([...(initial?.values() ?? [])], object.metadata.resourceVersion)
          initial?.clear()
        }
      }
    } catch (error) {
      if (!silence.isSilent || signal.aborted) {
        throw error
      }
    } finally {
      silence.end()
    }
    return silence.isSilent
  }

  while (!signal.aborted) {
    const startedAt = clock.now()
    let retryAfterMs = 0
    progressed = false
    try {
      if (version === undefined && !streams) {
        await list()
      }
      const isSilent = await follow()
      streams &&= !(isSilent && version === undefined)
      failures = progressed || isSilent || clock.now() - startedAt > retryMaxMs ? 0 : failures + 1
    } catch (error) {
      if (signal.aborted) {
        return
      }
      if (streams && version === undefined && isRefusal(error)) {
        streams = false
        continue
      }
      if (isGone(error)) {
        version = undefined
      } else {
        onError?.(error)
      }
      retryAfterMs = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0
      failures = progressed ? 1 : failures + 1
    }
    if (failures > 0) {
      const delayMs = jitter(backoffMs(failures, retryBaseMs, retryMaxMs))
      await pause(clock, Math.max(delayMs, Math.min(retryAfterMs, retryMaxMs)), signal)
    }
  }
}

/** Servers without WatchList call its parameters invalid. */
function isRefusal(error: unknown): boolean {
  return isInvalid(error) || (error instanceof KubeError && error.httpStatus === 400)
}

function collect<T extends KubeResource>(
  initial: Map<string, T> | undefined,
  type: string,
  object: T,
  sink: ReflectorSink<T>,
): void {
  const key = `${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`
  if (type === 'DELETED') initial?.delete(key)
  else initial?.set(key, sink.prepare(object))
}

/** The collection in pages, for version 0 at once; anew without pages when its version is gone before the last. */
async function listPages<T extends KubeResource>(
  resource: ResourceClient<T>,
  selection: SelectionOptions,
  sink: ReflectorSink<T>,
): Promise<[items: T[], version: string | undefined]> {
  const limit = selection.resourceVersion === undefined ? pageSize : undefined
  const first = await resource.list({ ...selection, limit })
  const prepare = (object: T): T => sink.prepare(object)
  const items = first.items.map(prepare)
  try {
    for (let next = first.metadata.continue; next !== undefined && next !== '';) {
      const page = await resource.list({ ...selection, resourceVersion: undefined, limit, continue: next })
      for (const item of page.items) items.push(prepare(item))
      next = page.metadata.continue
    }
    return [items, first.metadata.resourceVersion]
  } catch (error) {
    if (!isGone(error)) {
      throw error
    }
    const whole = await resource.list(selection)
    return [whole.items.map(prepare), whole.metadata.resourceVersion]
  }
}

/** Ends a watch of which nothing is heard: one timer, however many events. */
interface Silence {
  /** Aborts when it was silent for too long, and with the outer signal. */
  readonly signal: AbortSignal
  readonly isSilent: boolean
  touch(): void
  limit(idleMs: number): void
  end(): void
}

function createSilence(clock: Clock, outer: AbortSignal, firstLimitMs: number): Silence {
  const controller = new AbortController()
  let idleMs = firstLimitMs
  let heardAt = clock.now()
  let isSilent = false
  let cancel = (): void => {}
  const abort = (): void => {
    cancel()
    controller.abort(outer.reason)
  }
  const check = (): void => {
    const leftMs = heardAt + idleMs - clock.now()
    if (leftMs <= 0) {
      isSilent = true
      controller.abort()
    } else {
      cancel = clock.schedule(leftMs, check)
    }
  }
  cancel = clock.schedule(idleMs, check)
  if (outer.aborted) abort()
  outer.addEventListener('abort', abort, { once: true })
  return {
    signal: controller.signal,
    get isSilent() {
      return isSilent
    },
    touch() {
      heardAt = clock.now()
    },
    limit(ms) {
      idleMs = ms
      cancel()
      cancel = clock.schedule(ms, check)
    },
    end() {
      cancel()
      outer.removeEventListener('abort', abort)
    },
  }
}
