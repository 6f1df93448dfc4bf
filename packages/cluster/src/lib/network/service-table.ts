import type { Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { servedPorts, serviceNameLabel } from './service-ports.ts'
import type { Backend, NodePlace, ServedPort } from './service-ports.ts'

/** What the table needs of an informer: a handler is told of what there is (as `add`), then of every change. */
export interface ObjectSource<T> {
  on(handler: (event: 'add' | 'update' | 'delete', object: T, old?: T) => void): unknown
}

/** A Service with what stands behind it. */
export interface ServiceEntry {
  readonly service: Service
  readonly slices: readonly EndpointSlice[]
  readonly ports: readonly ServedPort[]
}

/** All Services of the cluster, kept joined with their EndpointSlices. */
export interface ServiceTable {
  /** By `namespace/name`. */
  readonly entries: ReadonlyMap<string, ServiceEntry>
  /** Calls `handler` with the keys that changed, at most once per turn of the event loop. Deleted ones are no longer in `entries`. */
  onChange(handler: (keys: readonly string[]) => void): void
  /**
   * Has connections to Service ports go elsewhere than to their endpoints, by `namespace/name/port`; replaces what was told before. The
   * endpoints stay in the entries, for when this process is gone.
   */
  redirect(redirects: ReadonlyMap<string, Backend>): void
  /** Resolves when every change seen so far has been handed to the handlers. */
  settled(): Promise<void>
  close(): void
}

/** Joins two synced informers into a table; later changes arrive by their events. */
export function createServiceTable(
  services: ObjectSource<Service>,
  slices: ObjectSource<EndpointSlice>,
  nodes: readonly NodePlace[] = [],
): ServiceTable {
  const serviceObjects = new Map<string, Service>()
  const sliceObjects = new Map<string, Map<string, EndpointSlice>>()
  const entries = new Map<string, ServiceEntry>()
  const handlers: ((keys: readonly string[]) => void)[] = []
  const dirty = new Set<string>()
  let redirects: ReadonlyMap<string, Backend> = new Map()
  let scheduled: NodeJS.Immediate | undefined
  let closed = false

  function touch(key: string): void {
    if (closed) return
    dirty.add(key)
    // One turn later: a rolling update changes several slices in a burst and shall cost one rule update.
    scheduled ??= setImmediate(flush)
  }

  function flush(): void {
    scheduled = undefined
    const keys = [...dirty]
    dirty.clear()
    for (const key of keys) refresh(key)
    for (const handler of handlers) handler(keys)
  }

  function refresh(key: string): void {
    const service = serviceObjects.get(key)
    if (service === undefined) {
      entries.delete(key)
      return
    }
    const own = [...(sliceObjects.get(key)?.values() ?? [])]
    const ports = servedPorts(service, own, nodes).map((port) => elsewhere(port, redirects.get(`${key}/${port.port}`)))
    entries.set(key, { service, slices: own, ports })
  }

  function putService(object: Service, gone: boolean): void {
    const key = keyOf(object.metadata?.namespace, object.metadata?.name)
    if (gone) serviceObjects.delete(key)
    else serviceObjects.set(key, object)
    touch(key)
  }

  function putSlice(object: EndpointSlice, gone: boolean): void {
    const owner = ownerOf(object)
    if (owner === undefined) return
    const name = object.metadata?.name ?? ''
    const group = sliceObjects.get(owner) ?? new Map<string, EndpointSlice>()
    if (gone) group.delete(name)
    else group.set(name, object)
    if (group.size === 0) sliceObjects.delete(owner)
    else sliceObjects.set(owner, group)
    touch(owner)
  }

  services.on((event, object) => putService(object, event === 'delete'))
  slices.on((event, object, old) => {
    // A slice may be given to another Service by its label.
    if (old !== undefined && ownerOf(old) !== ownerOf(object)) putSlice(old, true)
    putSlice(object, event === 'delete')
  })
  // What there is already is in the table when this returns; the scheduled notice tells nobody anything new.
  for (const key of dirty) refresh(key)

  return {
    entries,
    onChange: (handler) => void handlers.push(handler),
    redirect(next) {
      const changed = [...redirects, ...next].filter(([key]) => redirects.get(key) !== next.get(key))
      redirects = next
      for (const [key] of changed) touch(key.slice(0, key.lastIndexOf('/')))
    },
    async settled() {
      if (scheduled !== undefined) await new Promise((resolve) => setImmediate(resolve))
    },
    close() {
      closed = true
      clearImmediate(scheduled)
    },
  }
}

function elsewhere(port: ServedPort, redirect: Backend | undefined): ServedPort {
  return redirect === undefined || port.protocol !== 'tcp' ? port : { ...port, redirect }
}

function keyOf(namespace = '', name = ''): string {
  return `${namespace}/${name}`
}

function ownerOf({ metadata }: EndpointSlice): string | undefined {
  const name = metadata?.labels?.[serviceNameLabel]
  return name === undefined ? undefined : keyOf(metadata?.namespace, name)
}
