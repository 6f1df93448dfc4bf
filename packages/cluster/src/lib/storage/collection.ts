import { SortedIds } from './sorted-ids.ts'

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
  readonly #ids = new SortedIds()

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
    const { size } = this.#entries
    this.#entries.set(entry.id, entry)
    if (this.#entries.size > size) this.#ids.add(entry.id)
  }

  delete(id: string): void {
    if (this.#entries.delete(id)) this.#ids.remove(id)
  }

  /** Entries whose id starts with `prefix`, from the first id greater than `after` on. */
  *range(prefix: string, after?: string): Generator<Entry> {
    const start = after === undefined || after < prefix ? prefix : `${after}\0`
    for (const id of this.#ids.from(start)) {
      if (!id.startsWith(prefix)) return
      const entry = this.#entries.get(id)
      if (entry !== undefined) yield entry
    }
  }
}
