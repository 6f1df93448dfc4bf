/** One stored version of an object; the bytes are shared by every reader and never change. */
export interface Entry {
  readonly resource: string
  /** `<namespace>/<name>`, or `<name>` of an object without namespace. */
  readonly id: string
  readonly revision: number
  /** The serialised object. */
  readonly bytes: Buffer
  /** What a reader derived from the bytes and wants to keep as long as this version lives. */
  cache: unknown
}

/** The objects of one resource, in the order of their ids. */
export class Collection {
  readonly resource: string
  readonly #entries = new Map<string, Entry>()
  #ids: string[] = []

  constructor(resource: string) {
    this.resource = resource
  }

  get size(): number {
    return this.#entries.size
  }

  get(id: string): Entry | undefined {
    return this.#entries.get(id)
  }

  set(entry: Entry): void {
    if (!this.#entries.has(entry.id)) this.#insert(entry.id)
    this.#entries.set(entry.id, entry)
  }

  delete(id: string): void {
    if (!this.#entries.delete(id)) return
    const at = this.#lowerBound(id)
    this.#ids.splice(at, 1)
  }

  /** Entries whose id starts with `prefix`, from the first id greater than `after` on. */
  *range(prefix: string, after?: string): Generator<Entry> {
    let at = this.#lowerBound(prefix)
    if (after !== undefined) at = Math.max(at, this.#lowerBound(after + '\0'))
    for (; at < this.#ids.length; at += 1) {
      const id = this.#ids[at]
      if (id === undefined || !id.startsWith(prefix)) return
      const entry = this.#entries.get(id)
      if (entry !== undefined) yield entry
    }
  }

  #insert(id: string): void {
    const last = this.#ids.at(-1)
    if (last === undefined || last < id) this.#ids.push(id)
    else this.#ids.splice(this.#lowerBound(id), 0, id)
  }

  #lowerBound(id: string): number {
    let low = 0
    let high = this.#ids.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#ids[middle] ?? '') < id) low = middle + 1
      else high = middle
    }
    return low
  }
}
