/** Values remembered per generation; two generations are kept. */
const generationSize = 8192
/** JSON.parse shares strings up to this length itself. */
const shortLength = 10
/** Longer ones (annotations with whole manifests) are rarely met twice: not worth remembering. */
const longLength = 512

interface PooledString {
  readonly text: string
  readonly hash: number
}

/**
 * Makes objects of a cache share what they have in common: pods of one ReplicaSet differ in a dozen strings, so containers,
 * volumes, tolerations, labels and managed fields exist once. Values are deeply frozen on their way in. What is remembered
 * is bounded, and forgotten when it was not met for a while; that costs sharing, never correctness.
 */
export class ValuePool {
  readonly #strings = new Generations<string, PooledString>()
  readonly #objects = new Generations<number, object>()
  #serial = 0
  /** Of the value visited last. */
  #hash = 0

  /**
   * The frozen form of `value`, made of parts of `previous` (its last version) and of values seen before wherever they are equal;
   * `previous` itself when nothing differs. Takes `value` over: its parts are replaced in place.
   */
  share<T extends object>(value: T, previous?: T): T {
    // An object with a resourceVersion of its own equals no other: only its parts are looked up.
    return this.#shareParts(value, previous, false) as T
  }

  #visit(value: unknown, previous: unknown): unknown {
    switch (typeof value) {
      case 'string':
        return this.#shareString(value)
      case 'object':
        if (value !== null) {
          return this.#shareParts(value, typeof previous === 'object' && previous !== null ? previous : undefined, true)
        }
        this.#hash = 1
        return value
      case 'number':
        this.#hash = mix(2, Number.isInteger(value) ? value : value * 0x10001)
        return value
      default:
        this.#hash = value === true ? 3 : 4
        return value
    }
  }

  #shareString(value: string): string {
    if (value.length <= shortLength) {
      this.#hash = hashText(value)
      return value
    }
    if (value.length > longLength) {
      this.#hash = mix(value.length, hashText(value.slice(-shortLength)))
      return value
    }
    let known = this.#strings.get(value)
    if (known === undefined) {
      known = { text: value, hash: mix(5, (this.#serial = (this.#serial + 1) | 0)) }
      this.#strings.set(value, known)
    }
    this.#hash = known.hash
    return known.text
  }

  #shareParts(value: object, previous: object | undefined, isPart: boolean): object {
    const parts = value as Record<string, unknown>
    const before = previous as Record<string, unknown> | undefined
    const isFrozen = Object.isFrozen(value)
    const keys = Object.keys(parts)
    let hash = mix(Array.isArray(value) ? 6 : 7, keys.length)
    let isPrevious = before !== undefined && Array.isArray(before) === Array.isArray(value)
    for (const key of keys) {
      // Assigning to this key would do something else.
      if (key === '__proto__') {
        return deepFreeze(value)
      }
      const old = before?.[key]
      const shared = this.#visit(parts[key], old)
      if (!isFrozen && (typeof shared === 'string' || shared !== parts[key])) {
        parts[key] = shared
      }
      isPrevious &&= shared === old
      hash = mix(mix(hash, hashText(key)), this.#hash)
    }
    this.#hash = hash
    if (isPrevious && before !== undefined && Object.keys(before).length === keys.length) {
      return before
    }
    if (isPart) {
      const known = this.#objects.get(hash)
      if (known !== undefined && isSame(known, value, keys)) {
        return known
      }
      this.#objects.set(hash, value)
    }
    return isFrozen ? value : Object.freeze(value)
  }
}

/** A map that forgets what was not asked for while as much again came in. */
class Generations<K, V> {
  #young = new Map<K, V>()
  #old = new Map<K, V>()

  get(key: K): V | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) {
      return young
    }
    const old = this.#old.get(key)
    if (old !== undefined) {
      this.set(key, old)
    }
    return old
  }

  set(key: K, value: V): void {
    this.#young.set(key, value)
    if (this.#young.size >= generationSize) {
      this.#old = this.#young
      this.#young = new Map()
    }
  }
}

/** Equal keys with identical values; their parts are shared already. */
function isSame(known: object, value: object, keys: readonly string[]): boolean {
  const [a, b] = [known as Record<string, unknown>, value as Record<string, unknown>]
  if (Array.isArray(known) !== Array.isArray(value) || Object.keys(known).length !== keys.length) {
    return false
  }
  // A value of JSON is never undefined: equal values are also present keys.
  for (const key of keys) {
    if (a[key] !== b[key]) return false
  }
  return true
}

function hashText(text: string): number {
  let hash = text.length
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x5bd1e995)
  }
  return hash
}

function mix(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ value, 0x9e3779b1)
  return (mixed ^ (mixed >>> 15)) | 0
}

function deepFreeze(value: object): object {
  if (!Object.isFrozen(value)) {
    Object.freeze(value)
    for (const part of Object.values(value) as unknown[]) {
      if (typeof part === 'object' && part !== null) {
        deepFreeze(part)
      }
    }
  }
  return value
}
