import { isGone } from '../client/kube-error.ts'
import type { KubeResource, ResourceClient, SelectionOptions } from '../client/resource.ts'
import type { WatchEvent } from '../client/watch.ts'
import { backoffMs, jitter } from '../controller/backoff.ts'
import { pause, systemClock } from '../controller/clock.ts'
import type { Clock } from '../controller/clock.ts'
import { Store } from './store.ts'
import type { IndexFunction } from './store.ts'

/** What happened to an object. After a gap in the watch, changes in between are told as one. */
export type InformerEvent = 'add' | 'update' | 'delete'

/** Called in the order of the changes, before the next is read; `old` is given for `update`. */
export type InformerHandler<T> = (event: InformerEvent, object: T, old?: T) => void

/** A local copy of a collection, kept current by a watch. Its objects are shared and deeply frozen: copy before changing one. */
export interface Informer<T extends KubeResource> {
  /** Lists and begins to watch; resolves when the copy is complete, rejects when the signal aborts first. Later calls share the first. */
  start(): Promise<void>
  readonly isSynced: boolean
  /** `namespace` is undefined for kinds without. */
  get(namespace: string | undefined, name: string): T | undefined
  list(namespace?: string): T[]
  /** Adds an index; its keys are kept current from now on. */
  index(name: string, keysOf: IndexFunction<T>): void
  byIndex(name: string, key: string): T[]
  /** Tells `handler` of everything there is (as `add`) and of every change; the function returned ends that. */
  on(handler: InformerHandler<T>): () => void
}

export interface InformerOptions {
  /** Default: all namespaces. */
  readonly namespace?: string | undefined
  readonly labelSelector?: string | undefined
  readonly fieldSelector?: string | undefined
  /** Keep only `PartialObjectMetadata`. */
  readonly metadataOnly?: boolean | undefined
  /** Ends the watch. */
  readonly signal: AbortSignal
  /** Told of failures that are being retried, and of handlers that threw. Default: nobody. */
  readonly onError?: ((error: unknown) => void) | undefined
  readonly clock?: Clock | undefined
}

/** Delays between attempts to reach the server. */
const retryBaseMs = 100
const retryMaxMs = 30_000

/**
 * Keeps a local copy of a collection: list, watch from the list's version, watch again when the server ends it, list
 * again when the version is gone (410). Failures are retried without end, with back-off.
 */
export function createInformer<T extends KubeResource>(
  resource: ResourceClient<T>,
  options: InformerOptions,
): Informer<T> {
  const { signal, onError, clock = systemClock } = options
  const store = new Store<T>()
  const handlers = new Set<InformerHandler<T>>()
  const synced = Promise.withResolvers<void>()
  let isSynced = false
  let started: Promise<void> | undefined

  const selection: SelectionOptions = {
    ...(options.namespace === undefined ? { allNamespaces: true } : { namespace: options.namespace }),
    labelSelector: options.labelSelector,
    fieldSelector: options.fieldSelector,
    metadataOnly: options.metadataOnly,
    signal,
  }

  function emit(event: InformerEvent, object: T, old?: T): void {
    for (const handler of handlers) {
      tell(handler, event, object, old)
    }
  }

  function tell(handler: InformerHandler<T>, event: InformerEvent, object: T, old?: T): void {
    try {
      handler(event, object, old)
    } catch (error) {
      onError?.(error)
    }
  }

  function put(object: T): void {
    const known = store.get(object.metadata?.namespace, object.metadata?.name ?? '')
    if (known !== undefined && known.metadata?.uid !== object.metadata?.uid) {
      // Deleted and made anew while nobody watched: another object of the same name.
      remove(known)
    }
    const old = store.set(object)
    if (old === undefined) {
      emit('add', object)
    } else if (old.metadata?.resourceVersion !== object.metadata?.resourceVersion) {
      emit('update', object, old)
    }
  }

  function remove(object: T): void {
    if (store.delete(object) !== undefined) {
      emit('delete', object)
    }
  }

  function replaceAll(objects: readonly T[]): void {
    const kept = new Set(objects.map(keyOf))
    for (const object of store.list()) {
      if (!kept.has(keyOf(object))) {
        remove(object)
      }
    }
    for (const object of objects) {
      put(object)
    }
  }

  function apply({ type, object }: WatchEvent<T>): void {
    if (type === 'DELETED') {
      remove(object)
    } else if (type !== 'BOOKMARK') {
      put(object)
    }
  }

  /** The first list may come from the server's cache (version 0); one after a gap must be current. */
  async function list(): Promise<string | undefined> {
    const { items, metadata } = await resource.list({ ...selection, resourceVersion: isSynced ? undefined : '0' })
    replaceAll(items)
    return metadata.resourceVersion
  }

  /** Watches until the server ends the watch; returns the last version seen. */
  async function follow(from: string | undefined, seen: (version: string | undefined) => void): Promise<void> {
    // Servers end watches at their own time; asking for different times keeps many clients from returning at once.
    const timeoutSeconds = Math.round(jitter(400))
    for await (const event of resource.watch({
      ...selection,
      resourceVersion: from,
      timeoutSeconds,
      allowBookmarks: true,
    })) {
      apply(event)
      seen(event.object.metadata?.resourceVersion)
    }
  }

  async function run(): Promise<void> {
    let version: string | undefined
    let failures = 0
    while (!signal.aborted) {
      const startedAt = clock.now()
      let progressed = false
      try {
        if (version === undefined) {
          version = await list()
          progressed = true
          isSynced = true
          synced.resolve()
        }
        await follow(version, (next) => {
          version = next ?? version
          progressed = true
        })
        failures = progressed || clock.now() - startedAt > retryMaxMs ? 0 : failures + 1
      } catch (error) {
        if (signal.aborted) {
          break
        }
        if (isGone(error)) {
          version = undefined
        } else {
          onError?.(error)
        }
        failures = progressed ? 1 : failures + 1
      }
      if (failures > 0) {
        await pause(clock, jitter(backoffMs(failures, retryBaseMs, retryMaxMs)), signal)
      }
    }
    const reason: unknown = signal.reason
    synced.reject(reason)
  }

  return {
    get isSynced() {
      return isSynced
    },
    start() {
      if (started === undefined) {
        started = synced.promise
        // Whoever awaits start() hears of an abort; one that is not awaited must not end the process.
        started.catch(() => {})
        void run()
      }
      return started
    },
    get: (namespace, name) => store.get(namespace, name),
    list: (namespace) => store.list(namespace),
    index: (name, keysOf) => store.addIndex(name, keysOf),
    byIndex: (name, key) => store.byIndex(name, key),
    on(handler) {
      for (const object of store.list()) {
        tell(handler, 'add', object)
      }
      handlers.add(handler)
      return () => {
        handlers.delete(handler)
      }
    },
  }
}

function keyOf({ metadata }: KubeResource): string {
  return `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`
}
