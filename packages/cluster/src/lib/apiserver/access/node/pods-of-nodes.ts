import type { Pod } from '@fairlead/kube/types/core-v1'
import type { KubeObject } from '@fairlead/kube/types'

import type { Entry } from '../../../storage/collection.ts'
import type { Store, Subscription } from '../../../storage/store.ts'
import { attributesOf, knownResource, readObject } from '../../resource.ts'
import type { Resource } from '../../resource.ts'
import { referencesOf } from './references.ts'
import type { Referenced } from './references.ts'

/** Which pods are bound to which node, and what they name. Starts to follow the store when first asked. */
export class PodsOfNodes {
  readonly #store: Store
  readonly #pods: Resource = knownResource('', 'v1', 'pods')
  readonly #references = new WeakMap<Entry, ReadonlySet<string>>()
  #nodes: Map<string, Map<string, Entry>> | undefined
  #subscription: Subscription | undefined

  constructor(store: Store) {
    this.#store = store
  }

  close(): void {
    this.#subscription?.unsubscribe()
  }

  /** Whether the pod `namespace/name` is bound to the node. */
  hasPod(nodeName: string, namespace: string, name: string): boolean {
    return this.#of(nodeName)?.has(`${namespace}/${name}`) ?? false
  }

  /** Whether a pod bound to the node names this object. */
  refersTo(nodeName: string, kind: Referenced, namespace: string, name: string): boolean {
    const wanted = `${kind}/${name}`
    for (const [id, entry] of this.#of(nodeName) ?? none) {
      if (id.startsWith(`${namespace}/`) && this.#referencesOf(entry).has(wanted)) return true
    }
    return false
  }

  #of(nodeName: string): ReadonlyMap<string, Entry> | undefined {
    this.#nodes ??= this.#follow()
    return this.#nodes.get(nodeName)
  }

  /** Parsed at most once per version of a pod. */
  #referencesOf(entry: Entry): ReadonlySet<string> {
    let references = this.#references.get(entry)
    if (references === undefined) {
      references = referencesOf(readObject(this.#pods, entry) as KubeObject & Pod)
      this.#references.set(entry, references)
    }
    return references
  }

  #follow(): Map<string, Map<string, Entry>> {
    const nodes = new Map<string, Map<string, Entry>>()
    const nodeOf = (entry: Entry): string => attributesOf(this.#pods, entry).fields['spec.nodeName'] ?? ''
    function put(entry: Entry): void {
      const nodeName = nodeOf(entry)
      if (nodeName === '') return
      const pods = nodes.get(nodeName) ?? new Map<string, Entry>()
      nodes.set(nodeName, pods.set(entry.id, entry))
    }
    for (const entry of this.#store.list(this.#pods.collection)) put(entry)
    this.#subscription = this.#store.subscribe(this.#pods.collection, undefined, ({ operation, entry, previous }) => {
      // A pod never moves: its node is set once.
      if (operation === 'put') put(entry)
      else if (previous !== undefined) nodes.get(nodeOf(previous))?.delete(entry.id)
    })
    return nodes
  }
}

const none: ReadonlyMap<string, Entry> = new Map()
