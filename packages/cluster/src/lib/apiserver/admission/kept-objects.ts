import type { KubeObject } from '@fairlead/kube/types'

import type { Entry } from '../../storage/collection.ts'
import type { Store } from '../../storage/store.ts'
import { idOf, readObject } from '../resource.ts'
import type { Resource } from '../resource.ts'

/** Objects that plugins look at again and again: parsed once per version, and not to be changed. */
export class KeptObjects<T extends KubeObject> {
  readonly #store: Store
  readonly #resource: Resource
  readonly #parsed = new WeakMap<Entry, T>()

  constructor(store: Store, resource: Resource) {
    this.#store = store
    this.#resource = resource
  }

  get(namespace: string, name: string): T | undefined {
    const entry = this.#store.get(this.#resource.collection, idOf(namespace, name))
    return entry === undefined ? undefined : this.#read(entry)
  }

  /** All objects, or those of one namespace. */
  list(namespace = ''): T[] {
    const { collection } = this.#resource
    if (this.#store.count(collection) === 0) return []
    const prefix = namespace === '' ? '' : `${namespace}/`
    return Array.from(this.#store.list(collection, { prefix }), (entry) => this.#read(entry))
  }

  #read(entry: Entry): T {
    let object = this.#parsed.get(entry)
    if (object === undefined) {
      // The proof of the cast: the objects of a collection are of the kind of its resource.
      object = readObject(this.#resource, entry) as T
      this.#parsed.set(entry, object)
    }
    return object
  }
}
