import type { KubeClient } from '../client/client.ts'
import type { KubeResource, ResourceClient } from '../client/resource.ts'
import type { KindMap, KubeObject } from '../../types.ts'
import { createInformer } from './informer.ts'
import type { Informer, InformerOptions } from './informer.ts'
import { ValuePool } from './value-pool.ts'

/** What tells informers of one kind apart: two with the same selection are one. */
export type InformerSelection = Pick<InformerOptions, 'namespace' | 'labelSelector' | 'fieldSelector' | 'metadataOnly'>

/** Informers that are shared: whoever asks for the same objects gets the same copy, kept by one watch. */
export interface Informers {
  resource<K extends keyof KindMap>(kind: K, selection?: InformerSelection): Informer<KindMap[K]>
  object(apiVersion: string, kind: string, selection?: InformerSelection): Informer<KubeObject>
  /** Starts those asked for so far; resolves when all of them are complete. */
  start(): Promise<void>
}

/** Informers of a client that end with `signal` and share equal parts of their objects. Give selectors in one spelling: they are compared as text. */
export function createInformers(
  client: KubeClient,
  options: Pick<InformerOptions, 'signal' | 'onError' | 'clock' | 'resyncMs' | 'watchList' | 'idleMs'>,
): Informers {
  const pool = new ValuePool()
  // The key names the kind, and with it the type.
  const informers = new Map<string, Informer<never>>()

  function shared<T extends KubeResource>(resource: ResourceClient<T>, selection: InformerSelection): Informer<T> {
    const { namespace, labelSelector, fieldSelector, metadataOnly = false } = selection
    const parts = [resource.apiVersion, resource.kind, namespace, labelSelector, fieldSelector, metadataOnly]
    const key = JSON.stringify(parts)
    const known = informers.get(key)
    if (known !== undefined) {
      return known
    }
    const informer = createInformer(resource, { ...options, ...selection, pool })
    informers.set(key, informer as unknown as Informer<never>)
    return informer
  }

  return {
    resource: (kind, selection = {}) => shared(client.resource(kind), selection),
    object: (apiVersion, kind, selection = {}) => shared(client.object(apiVersion, kind), selection),
    async start() {
      await Promise.all([...informers.values()].map((informer) => informer.start()))
    },
  }
}
