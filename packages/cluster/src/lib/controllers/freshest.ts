import type { KubeResource } from '@fairlead/kube'
import type { Informer } from '@fairlead/kube/cache'
import { keyOf, parseKey } from '@fairlead/kube/controller'

/** An informer's cache, overlaid with the controller's own writes until the watch has brought them. */
export interface Freshest<T extends KubeResource> {
  get(key: string): T | undefined
  /** Remembers the server's answer to a write until the cache has it. */
  put(object: T): void
}

export function createFreshest<T extends KubeResource>(informer: Informer<T>): Freshest<T> {
  const written = new Map<string, T>()
  informer.on((_event, object) => {
    const key = keyOf(object)
    const own = written.get(key)
    if (own !== undefined && !isNewer(own, object)) written.delete(key)
  })
  return {
    get(key) {
      const { namespace, name } = parseKey(key)
      const cached = informer.get(namespace, name)
      const own = written.get(key)
      return cached !== undefined && own !== undefined && isNewer(own, cached) ? own : cached
    },
    put(object) {
      const { namespace, name = '' } = object.metadata ?? {}
      const cached = informer.get(namespace, name)
      if (cached !== undefined && isNewer(object, cached)) written.set(keyOf(object), object)
    },
  }
}

/** Versions of one object are comparable numbers (KEP-5504). */
function isNewer(object: KubeResource, other: KubeResource): boolean {
  return (
    object.metadata?.uid === other.metadata?.uid &&
    Number(object.metadata?.resourceVersion) > Number(other.metadata?.resourceVersion)
  )
}
