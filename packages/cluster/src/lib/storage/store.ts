import { mkdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'

import { storageClosed, storageConflict, storageGone } from '../errors.ts'
import { Collection } from './collection.ts'
import type { Entry } from './collection.ts'
import { Committer } from './committer.ts'
import { disk as realDisk, syncDirectory } from './disk.ts'
import type { Disk } from './disk.ts'
import { History } from './history.ts'
import type { HistoryLimits, StoreEvent } from './history.ts'
import { lockDirectory } from './lock.ts'
import { Log } from './log.ts'
import { encodeRecord } from './record.ts'
import type { LogRecord, Operation } from './record.ts'
import { recover } from './recovery.ts'
import type { Recovered } from './recovery.ts'
import { segmentName } from './segment.ts'
import { removeOtherSnapshots, writeSnapshot } from './snapshot.ts'

/**
 * `strict`: a write is on disk before it is acknowledged or seen by anyone. `relaxed`: it is in the kernel's hands, and
 * on disk within 100 ms; a killed process loses nothing, a power cut the last moment. `memory`: nothing is kept.
 */
export type Durability = 'strict' | 'relaxed' | 'memory'

export interface StoreOptions {
  /** The data directory; made when missing. Not used with `memory`. */
  dir: string
  /** Default `strict`. */
  durability?: Durability | undefined
  /** How much history watchers may ask for. Default 16,384 changes or 32 MiB. */
  history?: HistoryLimits | undefined
  /** Size of a log segment in bytes. Default 8 MiB (the very first is 1 MiB, to start fast). */
  segmentBytes?: number | undefined
  /** A snapshot replaces the log when the log is larger than this and than the objects themselves. Default 32 MiB. */
  snapshotAfterBytes?: number | undefined
  /** Told of syncs in the background (`relaxed`) that the disk refused; they are tried again. Default: nobody. */
  onError?: ((error: unknown) => void) | undefined
  /** The file operations; a test passes failing ones. */
  disk?: Disk | undefined
}

/** What becomes of an object, as decided by {@link Store.transact}. */
export interface Change {
  readonly operation: Operation
  /** The object as stored at `revision`, which is written into it. For a deletion its last state. */
  encode(revision: number): Buffer
  /** Kept with the new version, see {@link Entry.cache}. */
  readonly cache?: unknown
}

export interface ListOptions {
  /** Only ids that start with this, such as `<namespace>/`. */
  prefix?: string | undefined
  /** Only ids after this one. */
  after?: string | undefined
  /** The state at this revision instead of now; throws `FAIRLEAD_CLUSTER_STORAGE_GONE` when that is forgotten. */
  revision?: number | undefined
}

export interface Subscription {
  /** The changes after the revision asked for that had been committed when subscribing. */
  readonly backlog: readonly StoreEvent[]
  unsubscribe(): void
}

/**
 * Objects by resource and id, under one revision that every write increases by one. Reads are synchronous and see
 * only what is durable. Writes to the same object happen one after the other.
 */
export interface Store {
  /** The revision of the newest visible write. */
  readonly revision: number
  /** Watches and exact lists can go back to this revision. */
  readonly compactedRevision: number
  get(resource: string, id: string): Entry | undefined
  list(resource: string, options?: ListOptions): Iterable<Entry>
  count(resource: string): number
  /**
   * Shows `decide` the current version, when no write to it is on its way, and makes the change it returns in one step:
   * nothing happens in between. Resolves when that is durable and visible; without a change, at once.
   */
  transact(
    resource: string,
    id: string,
    decide: (current: Entry | undefined) => Change | undefined,
  ): Promise<Entry | undefined>
  /** Stores an object; with `expected`, only if it is at that revision (0: not there). */
  put(resource: string, id: string, encode: (revision: number) => Buffer, expected?: number): Promise<Entry>
  /** Deletes an object and returns its last state; with `expected`, only if it is at that revision. */
  delete(resource: string, id: string, expected?: number): Promise<Entry | undefined>
  /** Tells `listener` about every later change of `resource` at the moment it becomes visible. */
  subscribe(resource: string, since: number | undefined, listener: (event: StoreEvent) => void): Subscription
  /** Forgets history up to `revision`. */
  compact(revision: number): void
  /** Ends when every write is done; later ones fail. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Opens the store in `options.dir`, alone: a second process gets `FAIRLEAD_CLUSTER_STORAGE_LOCKED`. */
export async function openStore(options: StoreOptions): Promise<Store> {
  if (options.durability === 'memory') return new RevisionedStore(options, undefined, undefined, () => undefined)
  mkdirSync(options.dir, { recursive: true, mode: 0o700 })
  const unlock = lockDirectory(options.dir)
  try {
    const recovered = await recover(options.dir)
    const log = await openLog(options, recovered)
    return new RevisionedStore(options, recovered, log, unlock)
  } catch (error) {
    unlock()
    throw error
  }
}

const segmentDefault = 8 << 20
const firstSegmentBytes = 1 << 20
const snapshotDefault = 32 << 20
const historyDefault: HistoryLimits = { events: 16_384, bytes: 32 << 20 }
const relaxedSyncMs = 100

async function openLog(options: StoreOptions, recovered: Recovered): Promise<Log> {
  const log = new Log(
    options.dir,
    {
      disk: options.disk ?? realDisk,
      segmentBytes: options.segmentBytes ?? segmentDefault,
      firstSegmentBytes: Math.min(options.segmentBytes ?? firstSegmentBytes, firstSegmentBytes),
      sync: options.durability !== 'relaxed',
    },
    recovered.position,
  )
  if (recovered.position === undefined) await log.rotate(0)
  return log
}

class RevisionedStore implements Store {
  readonly #options: StoreOptions
  readonly #collections = new Map<string, Collection>()
  readonly #history: History
  readonly #listeners = new Map<string, Set<(event: StoreEvent) => void>>()
  readonly #pending = new Map<string, Promise<unknown>>()
  readonly #log: Log | undefined
  readonly #committer: Committer | undefined
  readonly #unlock: () => void
  readonly #segments: { sequence: number; bytes: number }[]
  #snapshot: Promise<void> | undefined
  #revision = 0
  #assigned = 0
  #liveBytes = 0
  #closed = false
  #syncTimer: NodeJS.Timeout | undefined

  constructor(options: StoreOptions, recovered: Recovered | undefined, log: Log | undefined, unlock: () => void) {
    this.#options = options
    this.#log = log
    this.#unlock = unlock
    this.#segments = (recovered?.segments ?? []).slice(0, -1)
    this.#history = new History(options.history ?? historyDefault, recovered?.baseRevision ?? 0)
    if (recovered !== undefined) this.#load(recovered)
    if (log === undefined) return
    this.#committer = new Committer(options.dir, log)
    this.#committer.onRotate = (completed) => this.#rotated(completed)
    if (options.durability === 'relaxed') this.#syncTimer = this.#syncNowAndThen(log)
  }

  get revision(): number {
    return this.#revision
  }

  get compactedRevision(): number {
    return this.#history.compacted
  }

  get(resource: string, id: string): Entry | undefined {
    return this.#collections.get(resource)?.get(id)
  }

  count(resource: string): number {
    return this.#collections.get(resource)?.size ?? 0
  }

  list(resource: string, options: ListOptions = {}): Iterable<Entry> {
    const { prefix = '', after, revision } = options
    const collection = this.#collections.get(resource)
    if (revision !== undefined && revision < this.#revision) {
      return this.#past(resource, revision).range(prefix, after)
    }
    return collection === undefined ? [] : collection.range(prefix, after)
  }

  async transact(
    resource: string,
    id: string,
    decide: (current: Entry | undefined) => Change | undefined,
  ): Promise<Entry | undefined> {
    const key = keyOf(resource, id)
    for (let earlier = this.#pending.get(key); earlier !== undefined; earlier = this.#pending.get(key)) {
      await earlier.catch(() => undefined)
    }
    if (this.#closed) throw storageClosed(this.#options.dir)
    const change = decide(this.get(resource, id))
    return change === undefined ? undefined : await this.#submit(resource, id, change)
  }

  async put(resource: string, id: string, encode: (revision: number) => Buffer, expected?: number): Promise<Entry> {
    const entry = await this.transact(resource, id, (current) => {
      this.#expect(resource, id, current, expected)
      return { operation: 'put', encode }
    })
    if (entry === undefined) throw storageClosed(this.#options.dir)
    return entry
  }

  async delete(resource: string, id: string, expected?: number): Promise<Entry | undefined> {
    return await this.transact(resource, id, (current) => {
      this.#expect(resource, id, current, expected)
      return current === undefined ? undefined : { operation: 'delete', encode: () => current.bytes }
    })
  }

  subscribe(resource: string, since: number | undefined, listener: (event: StoreEvent) => void): Subscription {
    const backlog =
      since === undefined || since >= this.#revision
        ? []
        : this.#history.since(since).filter((event) => event.entry.resource === resource)
    const listeners = this.#listeners.get(resource) ?? new Set()
    this.#listeners.set(resource, listeners)
    listeners.add(listener)
    return { backlog, unsubscribe: () => void listeners.delete(listener) }
  }

  compact(revision: number): void {
    this.#history.compact(Math.min(revision, this.#revision))
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#syncTimer)
    await this.#committer?.drained()
    await this.#snapshot
    if (this.#log !== undefined) {
      await this.#log.sync().catch(() => undefined)
      await this.#log.close()
    }
    this.#unlock()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #expect(resource: string, id: string, current: Entry | undefined, expected: number | undefined): void {
    const found = current?.revision ?? 0
    if (expected !== undefined && expected !== found) throw storageConflict(keyOf(resource, id), expected, found)
  }

  async #submit(resource: string, id: string, change: Change): Promise<Entry> {
    const revision = this.#assigned + 1
    const bytes = change.encode(revision)
    this.#assigned = revision
    const { operation } = change
    const entry: Entry = { resource, id, revision, bytes, cache: change.cache }
    const committer = this.#committer
    if (committer === undefined) {
      this.#apply(operation, entry)
      return entry
    }
    const key = keyOf(resource, id)
    const frame = encodeRecord({ revision, operation, key, bytes })
    const done = new Promise<Entry>((resolve, reject) => {
      committer.submit({
        frame,
        commit: () => {
          this.#pending.delete(key)
          this.#apply(operation, entry)
          resolve(entry)
        },
        fail: (error) => {
          this.#pending.delete(key)
          reject(error)
        },
      })
    })
    this.#pending.set(key, done)
    return await done
  }

  /** Makes a durable change visible and tells the watchers. */
  #apply(operation: Operation, entry: Entry): void {
    const event = this.#change(operation, entry)
    this.#revision = entry.revision
    const listeners = this.#listeners.get(entry.resource)
    if (listeners !== undefined) for (const listener of listeners) listener(event)
    // Shared by those told just now. What stays in history for latecomers is the object, not every form of it.
    event.cache = undefined
  }

  #change(operation: Operation, entry: Entry): StoreEvent {
    const collection = this.#collection(entry.resource)
    const previous = collection.get(entry.id)
    if (operation === 'put') collection.set(entry)
    else collection.delete(entry.id)
    this.#liveBytes += (operation === 'put' ? entry.bytes.length : 0) - (previous?.bytes.length ?? 0)
    const event: StoreEvent = { revision: entry.revision, operation, entry, previous, cache: undefined }
    this.#history.push(event)
    return event
  }

  #collection(resource: string): Collection {
    let collection = this.#collections.get(resource)
    if (collection === undefined) {
      collection = new Collection()
      this.#collections.set(resource, collection)
    }
    return collection
  }

  /** The collection as it was at `revision`: today's, with the changes since then undone from the newest back. */
  #past(resource: string, revision: number): Collection {
    if (revision < this.#history.compacted) throw storageGone(revision, this.#history.compacted)
    const past = new Collection()
    for (const entry of this.#collection(resource).range('')) past.set(entry)
    for (const { entry, previous } of this.#history.since(revision).toReversed()) {
      if (entry.resource !== resource) continue
      if (previous === undefined) past.delete(entry.id)
      else past.set(previous)
    }
    return past
  }

  #load(recovered: Recovered): void {
    for (const record of recovered.base) {
      const entry = toEntry(record)
      this.#collection(entry.resource).set(entry)
      this.#liveBytes += entry.bytes.length
    }
    for (const record of recovered.changes) this.#change(record.operation, toEntry(record))
    this.#revision = Math.max(recovered.baseRevision, recovered.changes.at(-1)?.revision ?? 0)
    this.#assigned = this.#revision
  }

  #rotated(completed: { sequence: number; bytes: number }): void {
    this.#segments.push(completed)
    const logBytes = this.#segments.reduce((sum, segment) => sum + segment.bytes, 0)
    const limit = Math.max(this.#options.snapshotAfterBytes ?? snapshotDefault, this.#liveBytes)
    if (logBytes < limit || this.#snapshot !== undefined) return
    // What is visible now is exactly what the completed segments hold: entries are collected before anything else runs.
    const records = [...this.#records()]
    const covered = this.#segments.length
    this.#snapshot = this.#replaceLog(this.#revision, completed.sequence + 1, records, covered)
      // A full disk keeps the log as it is; the next completed segment tries again.
      .catch(() => undefined)
      .finally(() => (this.#snapshot = undefined))
  }

  async #replaceLog(revision: number, firstSegment: number, records: LogRecord[], covered: number): Promise<void> {
    const { dir } = this.#options
    await writeSnapshot(dir, { revision, firstSegment, records })
    for (const segment of this.#segments.splice(0, covered)) {
      await rm(join(dir, segmentName(segment.sequence)), { force: true })
    }
    await removeOtherSnapshots(dir, revision)
    syncDirectory(dir)
  }

  *#records(): Generator<LogRecord> {
    for (const [resource, collection] of this.#collections) {
      for (const { id, revision, bytes } of collection.range('')) {
        yield { revision, operation: 'put', key: keyOf(resource, id), bytes }
      }
    }
  }

  #syncNowAndThen(log: Log): NodeJS.Timeout {
    // A power cut may now cost more than a moment: whoever runs this must hear of it.
    const timer = setInterval(() => void log.sync().catch(this.#options.onError ?? (() => undefined)), relaxedSyncMs)
    return timer.unref()
  }
}

// Neither resources nor ids hold a space.
function keyOf(resource: string, id: string): string {
  return `${resource} ${id}`
}

function toEntry(record: LogRecord): Entry {
  const at = record.key.indexOf(' ')
  const { revision, bytes } = record
  return { resource: record.key.slice(0, at), id: record.key.slice(at + 1), revision, bytes, cache: undefined }
}
