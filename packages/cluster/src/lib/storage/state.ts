import { storageGone } from '../errors.ts'
import { Collection } from './collection.ts'
import type { Entry } from './collection.ts'
import { History } from './history.ts'
import type { HistoryLimits, StoreEvent } from './history.ts'
import { Pages } from './pages.ts'
import type { LogRecord, Operation } from './record.ts'
import { SharedFields } from './shared-fields.ts'
import { StoredEntry } from './stored-entry.ts'

export interface ListOptions {
  /** Only ids that start with this, such as `<namespace>/`. */
  prefix?: string | undefined
  /** Only ids after this one. */
  after?: string | undefined
  /** The state at this revision instead of now; throws `FAIRLEAD_CLUSTER_STORAGE_GONE` when that is forgotten. */
  revision?: number | undefined
}

/** What a store shows: the objects at the newest visible revision and the changes that led there. */
export class State {
  readonly #collections = new Map<string, Collection>()
  readonly #history: History
  readonly #fields = new SharedFields()
  readonly #pages = new Pages()
  #revision = 0
  #liveBytes = 0

  constructor(limits: HistoryLimits) {
    this.#history = new History(limits, 0)
  }

  get revision(): number {
    return this.#revision
  }

  /** History before this is forgotten. */
  get compacted(): number {
    return this.#history.compacted
  }

  /** Size of all objects as they are now. */
  get liveBytes(): number {
    return this.#liveBytes
  }

  /** The objects themselves. */
  get objects(): number {
    let sum = 0
    for (const collection of this.#collections.values()) sum += collection.size
    return sum
  }

  get(resource: string, id: string): Entry | undefined {
    return this.#collections.get(resource)?.get(id)
  }

  count(resource: string): number {
    return this.#collections.get(resource)?.size ?? 0
  }

  list(resource: string, options: ListOptions = {}): Iterable<Entry> {
    const { prefix = '', after, revision } = options
    if (revision !== undefined && revision < this.#revision) return this.#past(resource, revision, prefix, after)
    return this.#collections.get(resource)?.range(prefix, after) ?? []
  }

  /** The changes of `resource` after `revision`; throws `FAIRLEAD_CLUSTER_STORAGE_GONE` when some are forgotten. */
  since(resource: string, revision: number): StoreEvent[] {
    if (revision >= this.#revision) return []
    return this.#history.since(revision).filter((event) => event.entry.resource === resource)
  }

  compact(revision: number): void {
    this.#history.compact(Math.min(revision, this.#revision))
  }

  /** Makes one change; what comes back is what watchers are told. */
  apply(operation: Operation, entry: StoredEntry): StoreEvent {
    const collection = this.#collection(entry.resource)
    const previous = collection.get(entry.id)
    if (operation === 'put') collection.set(entry)
    else collection.delete(entry.id)
    this.#liveBytes += (operation === 'put' ? entry.size : 0) - (previous?.size ?? 0)
    const event: StoreEvent = { revision: entry.revision, operation, entry, previous }
    this.#history.push(event)
    this.#revision = entry.revision
    return event
  }

  /** Starts from the state at `revision`, of which `load` brings the objects. There is no history before it. */
  startAt(revision: number): void {
    this.#revision = revision
    this.#history.compact(revision)
  }

  /** An object of the state that is started from. The bytes of the record are the caller's again afterwards. */
  load(record: LogRecord): void {
    const entry = this.#toEntry(record)
    this.#collection(entry.resource).set(entry)
    this.#liveBytes += entry.size
  }

  /** A change of the log, made again; its bytes too are the caller's again. */
  replay(record: LogRecord): void {
    this.apply(record.operation, this.#toEntry(record))
  }

  /** Every object as a record of the log. */
  *records(): Generator<LogRecord> {
    for (const [resource, collection] of this.#collections) {
      for (const entry of collection.range('')) yield new EntryRecord(keyOf(resource, entry.id), entry)
    }
  }

  /** Copies objects out of buffers that hold more of what is gone than of what is still here. */
  releaseSlack(): void {
    const used = new Map<ArrayBufferLike, number>()
    for (const { buffer, ownSize } of this.#entries()) used.set(buffer, (used.get(buffer) ?? 0) + ownSize)
    for (const entry of this.#entries()) {
      const { buffer } = entry
      if ((used.get(buffer) ?? 0) < buffer.byteLength / 2) entry.moveOut()
    }
  }

  /**
   * Keeps what the objects written after `revision` have in common with others only once. Those that have been replaced
   * since are not worth it. About a millisecond between two steps, for whoever has other work.
   */
  *foldSince(revision: number): Generator<void> {
    const written = this.#history.since(Math.max(revision, this.#history.compacted))
    for (const [index, { entry }] of written.entries()) {
      const current = this.#collections.get(entry.resource)?.get(entry.id)
      if (current === entry && isFoldable(entry.resource)) current.fold(this.#fields)
      if (index % foldsPerStep === foldsPerStep - 1) yield
    }
  }

  *#entries(): Generator<StoredEntry> {
    for (const collection of this.#collections.values()) yield* collection.range('')
  }

  /** The collection as it was at `revision`: today's, with what has changed since as it was before its first change. */
  *#past(resource: string, revision: number, prefix: string, after: string | undefined): Generator<Entry> {
    if (revision < this.#history.compacted) throw storageGone(revision, this.#history.compacted)
    const before = new Map<string, Entry | undefined>()
    for (const { entry, previous } of this.#history.since(revision)) {
      if (entry.resource === resource && !before.has(entry.id)) before.set(entry.id, previous)
    }
    const changed = [...before.values()]
      .filter((entry) => entry !== undefined)
      .filter(({ id }) => id.startsWith(prefix) && (after === undefined || id > after))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
    let next = 0
    for (const entry of this.#collection(resource).range(prefix, after)) {
      for (let old = changed[next]; old !== undefined && old.id <= entry.id; old = changed[(next += 1)]) yield old
      if (!before.has(entry.id)) yield entry
    }
    yield* changed.slice(next)
  }

  #collection(resource: string): Collection {
    let collection = this.#collections.get(resource)
    if (collection === undefined) {
      collection = new Collection(resource)
      this.#collections.set(resource, collection)
    }
    return collection
  }

  #toEntry({ key, revision, bytes }: LogRecord): StoredEntry {
    const at = key.indexOf(' ')
    // One string for all entries of a resource, instead of one each.
    const { resource } = this.#collection(key.slice(0, at))
    const entry = new StoredEntry(resource, key.slice(at + 1), revision, bytes)
    entry.fold(isFoldable(resource) ? this.#fields : undefined, (size) => this.#pages.take(size))
    return entry
  }
}

/** The key of an object in the log. Neither resources nor ids hold a space. */
export function keyOf(resource: string, id: string): string {
  return `${resource} ${id}`
}

/** An entry as the log holds it; the bytes are put together only when they are written. */
class EntryRecord implements LogRecord {
  readonly operation = 'put'
  readonly key: string
  readonly #entry: Entry

  constructor(key: string, entry: Entry) {
    this.key = key
    this.#entry = entry
  }

  get revision(): number {
    return this.#entry.revision
  }

  get bytes(): Buffer {
    return this.#entry.bytes
  }
}

const foldsPerStep = 400

/**
 * Groups with a dot may be those of definitions (which have to have one): how a version of those looks at an object is
 * remembered by its bytes, which therefore stay the same ones.
 */
function isFoldable(resource: string): boolean {
  return !resource.includes('.')
}
