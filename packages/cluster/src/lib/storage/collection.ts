import { SortedIds } from './sorted-ids.ts'
import type { StoredEntry } from './stored-entry.ts'

/** Bytes that may be put together only where they are copied to. A `Buffer` is one. */
export interface Piece {
  readonly length: number
  /** Copies all of it to `target`, which has room; returns `length`. */
  copy(target: Buffer, targetStart?: number): number
}

/** One stored version of an object; what it says never changes. */
export interface Entry {
  readonly resource: string
  /** `<namespace>/<name>`, or `<name>` of an object without namespace. */
  readonly id: string
  readonly revision: number
  /**
   * The serialised object. Of a folded one each reading is a copy: whoever needs it twice keeps it, whoever remembers
   * something of this version does so by the entry.
   */
  readonly bytes: Buffer
  /** Length of `bytes`. */
  readonly size: number
  /** Whether parts of it are kept elsewhere, once for all objects that have them. */
  readonly isFolded: boolean
  /** The same as `bytes`, put together where it is copied to. */
  readonly piece: Piece
  /** What a reader derived from the bytes and wants to keep as long as this version lives. */
  cache: unknown
}

/** The objects of one resource, in the order of their ids. */
export class Collection {
  readonly resource: string
  readonly #entries = new Map<string, StoredEntry>()
  readonly #ids = new SortedIds()

  constructor(resource: string) {
    this.resource = resource
  }

  get size(): number {
    return this.#entries.size
  }

  get(id: string): StoredEntry | undefined {
    return this.#entries.get(id)
  }

  set(entry: StoredEntry): void {
    const { size } = this.#entries
    this.#entries.set(entry.id, entry)
    if (this.#entries.size > size) this.#ids.add(entry.id)
  }

  delete(id: string): void {
    if (this.#entries.delete(id)) this.#ids.remove(id)
  }

  /** Entries whose id starts with `prefix`, from the first id greater than `after` on. */
  *range(prefix: string, after?: string): Generator<StoredEntry> {
    const start = after === undefined || after < prefix ? prefix : `${after}\0`
    for (const id of this.#ids.from(start)) {
      if (!id.startsWith(prefix)) return
      const entry = this.#entries.get(id)
      if (entry !== undefined) yield entry
    }
  }
}
