import type { KubeResource, ResourceClient } from '../client/resource.ts'
import { systemClock } from '../controller/clock.ts'
import type { Clock } from '../controller/clock.ts'
import { runReflector } from './reflector.ts'
import { Store } from './store.ts'
import type { IndexFunction } from './store.ts'
import { ValuePool } from './value-pool.ts'

/** What happened to an object. After a gap in the watch, changes in between are told as one. */
export type InformerEvent = 'add' | 'update' | 'delete'

/**
 * Called in the order of the changes, before the next is read; `old` is given for `update`. Parts that did not change are the same
 * objects in both (`old.spec === object.spec`); at a resync both are one object.
 */
export type InformerHandler<T> = (event: InformerEvent, object: T, old?: T) => void

/** A local copy of a collection, kept current by a watch. Its objects are shared and deeply frozen: copy before changing one. */
export interface Informer<T extends KubeResource> {
  /** Lists and begins to watch; resolves when the copy is complete, rejects when the signal aborts first. Later calls share the first. */
  start(): Promise<void>
  readonly isSynced: boolean
  /** The version the copy has reached; undefined before the first. */
  readonly resourceVersion: string | undefined
  /** `namespace` is undefined for kinds without. */
  get(namespace: string | undefined, name: string): T | undefined
  list(namespace?: string): T[]
  /** Adds an index; its keys are kept current from now on. */
  index(name: string, keysOf: IndexFunction<T>): void
  byIndex(name: string, key: string): T[]
  /** Tells `handler` of everything there is (as `add`) and of every change; the function returned ends that. */
  on(handler: InformerHandler<T>): () => void
}

export interface InformerOptions<T extends KubeResource = KubeResource> {
  /** Default: all namespaces. */
  readonly namespace?: string | undefined
  readonly labelSelector?: string | undefined
  readonly fieldSelector?: string | undefined
  /** Keep only `PartialObjectMetadata`. */
  readonly metadataOnly?: boolean | undefined
  /** Changes objects before they are kept, such as by dropping what nobody reads. May change the one it is given. */
  readonly transform?: ((object: T) => T) | undefined
  /** Tell handlers of everything again, as `update`, so often. Default: never. */
  readonly resyncMs?: number | undefined
  /** Begin by a watch that tells the state first (KEP-3157), with a list where the server cannot. Default true. */
  readonly watchList?: boolean | undefined
  /** Milliseconds without event or bookmark after which the watch is made anew. Servers send a bookmark each minute. Default 150,000. */
  readonly idleMs?: number | undefined
  /** Where equal parts of objects are shared. Default: one of the informer's own. */
  readonly pool?: ValuePool | undefined
  /** Ends the watch. */
  readonly signal: AbortSignal
  /** Told of failures that are being retried, and of handlers that threw. Default: nobody. */
  readonly onError?: ((error: unknown) => void) | undefined
  readonly clock?: Clock | undefined
}

/**
 * Keeps a local copy of a collection by a streaming list, or list and watch. Failures are retried without end, with back-off;
 * a gap in the watch (410, silence, lost connections) is closed by telling the difference.
 */
export function createInformer<T extends KubeResource>(
  resource: ResourceClient<T>,
  options: InformerOptions<T>,
): Informer<T> {
  const { signal, onError, clock = systemClock, transform, resyncMs, pool = new ValuePool() } = options
  const store = new Store<T>()
  const handlers = new Set<InformerHandler<T>>()
  const synced = Promise.withResolvers<void>()
  let isSynced = false
  let resourceVersion: string | undefined
  let started: Promise<void> | undefined

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

  function known({ metadata }: T): T | undefined {
    return store.get(metadata?.namespace, metadata?.name ?? '')
  }

  function keep(object: T, old: T | undefined): T {
    return pool.share(transform === undefined ? object : transform(object), old)
  }

  function prepare(received: T): T {
    const old = known(received)
    return old !== undefined && isVersionOf(received, old) ? old : keep(received, old)
  }

  function place(object: T): void {
    let old = known(object)
    if (old === object || (old !== undefined && isVersionOf(object, old))) {
      return
    }
    if (old !== undefined && old.metadata?.uid !== object.metadata?.uid) {
      // Deleted and made anew while nobody watched: another object of the same name.
      forget(old)
      old = undefined
    }
    store.set(object)
    if (old === undefined) {
      emit('add', object)
    } else {
      emit('update', object, old)
    }
  }

  function forget(object: T): void {
    if (store.delete(object) !== undefined) {
      emit('delete', object)
    }
  }

  function replace(objects: readonly T[]): void {
    const kept = new Set(objects.map(keyOf))
    for (const object of store.list()) {
      if (!kept.has(keyOf(object))) {
        forget(object)
      }
    }
    for (const object of objects) {
      place(object)
    }
    isSynced = true
    synced.resolve()
  }

  function resync(everyMs: number): void {
    for (const object of store.list()) {
      emit('update', object, object)
    }
    schedule(everyMs)
  }

  function schedule(everyMs: number): void {
    const cancel = clock.schedule(everyMs, () => {
      signal.removeEventListener('abort', cancel)
      resync(everyMs)
    })
    signal.addEventListener('abort', cancel, { once: true })
  }

  async function run(): Promise<void> {
    const { namespace, labelSelector, fieldSelector, metadataOnly } = options
    const where = namespace === undefined ? { allNamespaces: true } : { namespace }
    if (resyncMs !== undefined) schedule(resyncMs)
    await runReflector<T>(
      resource,
      {
        prepare,
        replace,
        put: (object) => place(prepare(object)),
        remove: (object) => forget(keep(object, known(object))),
        reach(version) {
          resourceVersion = version
        },
      },
      {
        selection: { ...where, labelSelector, fieldSelector, metadataOnly },
        watchList: options.watchList ?? true,
        idleMs: options.idleMs ?? 150_000,
        signal,
        clock,
        onError,
      },
    )
    synced.reject(signal.reason as unknown)
  }

  return {
    get isSynced() {
      return isSynced
    },
    get resourceVersion() {
      return resourceVersion
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

/** Whether a list or an early event brings what is known. */
function isVersionOf({ metadata }: KubeResource, known: KubeResource): boolean {
  return (
    metadata?.resourceVersion !== undefined &&
    metadata.resourceVersion === known.metadata?.resourceVersion &&
    metadata.uid === known.metadata.uid
  )
}
