import type { KubeResource } from '../client/resource.ts'

/** Names the keys an object is found under in an index. */
export type IndexFunction<T> = (object: T) => readonly string[]

/** Objects by namespace and name, with indexes kept in step. */
export class Store<T extends KubeResource> {
  readonly #namespaces = new Map<string, Map<string, T>>()
  readonly #indexes = new Map<string, Index<T>>()

  get(namespace: string | undefined, name: string): T | undefined {
    return this.#namespaces.get(namespace ?? '')?.get(name)
  }

  list(namespace?: string): T[] {
    if (namespace !== undefined) {
      return [...(this.#namespaces.get(namespace)?.values() ?? [])]
    }
    return [...this.#namespaces.values()].flatMap((objects) => [...objects.values()])
  }

  /** Stores `object`; returns what it replaced. */
  set(object: T): T | undefined {
    const [namespace, name] = addressOf(object)
    let objects = this.#namespaces.get(namespace)
    if (objects === undefined) {
      objects = new Map()
      this.#namespaces.set(namespace, objects)
    }
    const old = objects.get(name)
    objects.set(name, object)
    for (const index of this.#indexes.values()) {
      index.replace(old, object)
    }
    return old
  }

  /** Forgets the object of this address; returns it. */
  delete(object: T): T | undefined {
    const [namespace, name] = addressOf(object)
    const objects = this.#namespaces.get(namespace)
    const old = objects?.get(name)
    if (objects === undefined || old === undefined) {
      return undefined
    }
    objects.delete(name)
    if (objects.size === 0) {
      this.#namespaces.delete(namespace)
    }
    for (const index of this.#indexes.values()) {
      index.replace(old, undefined)
    }
    return old
  }

  addIndex(name: string, keysOf: IndexFunction<T>): void {
    const index = new Index(keysOf)
    for (const object of this.list()) {
      index.replace(undefined, object)
    }
    this.#indexes.set(name, index)
  }

  byIndex(name: string, key: string): T[] {
    const index = this.#indexes.get(name)
    if (index === undefined) {
      throw new RangeError(`Cannot read index "${name}": it was not added`)
    }
    return index.get(key)
  }
}

class Index<T> {
  readonly #keysOf: IndexFunction<T>
  readonly #sets = new Map<string, Set<T>>()

  constructor(keysOf: IndexFunction<T>) {
    this.#keysOf = keysOf
  }

  get(key: string): T[] {
    return [...(this.#sets.get(key) ?? [])]
  }

  replace(old: T | undefined, object: T | undefined): void {
    for (const key of old === undefined ? [] : this.#keysOf(old)) {
      const set = this.#sets.get(key)
      if (old !== undefined && set?.delete(old) === true && set.size === 0) {
        this.#sets.delete(key)
      }
    }
    for (const key of object === undefined ? [] : this.#keysOf(object)) {
      const set = this.#sets.get(key)
      if (object !== undefined && set === undefined) {
        this.#sets.set(key, new Set([object]))
      } else if (object !== undefined) {
        set?.add(object)
      }
    }
  }
}

function addressOf({ metadata }: KubeResource): [namespace: string, name: string] {
  return [metadata?.namespace ?? '', metadata?.name ?? '']
}
