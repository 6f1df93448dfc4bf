import { mkdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { codeOf, storageClosed, storageConflict, storageFull, storageWrite } from '../errors.ts'
import type { Entry } from './collection.ts'
import { Committer } from './committer.ts'
import { disk as realDisk, syncDirectory } from './disk.ts'
import type { Disk } from './disk.ts'
import type { HistoryLimits, StoreEvent } from './history.ts'
import { lockDirectory } from './lock.ts'
import { Log } from './log.ts'
import type { LogPosition } from './log.ts'
import type { Operation } from './record.ts'
import { recover } from './recovery.ts'
import { finishRestore } from './restore.ts'
import { segmentName } from './segment.ts'
import { encodeSnapshot, removeOtherSnapshots, writeSnapshot } from './snapshot.ts'
import type { Snapshot } from './snapshot.ts'
import { keyOf, State } from './state.ts'
import { StoredEntry } from './stored-entry.ts'
import type { ListOptions } from './state.ts'
import { Turns } from './turns.ts'

export type { ListOptions } from './state.ts'

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

/** A copy of everything at one revision; see `restoreStore`. */
export interface Backup {
  readonly revision: number
  readonly objects: number
  /** The content of the file, about a megabyte at a time, its SHA-256 at the end. To be read once. */
  readonly chunks: Iterable<Buffer>
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
  /** The changes after `since`, oldest first; throws `FAIRLEAD_CLUSTER_STORAGE_GONE` when some are forgotten. */
  changes(resource: string, since: number): readonly StoreEvent[]
  /** Tells `listener` about every later change of `resource` at the moment it becomes visible. */
  subscribe(resource: string, since: number | undefined, listener: (event: StoreEvent) => void): Subscription
  /** The whole store as it is at this moment, as the bytes of a backup; writes go on while they are read. */
  backup(): Backup
  /** Forgets history up to `revision`. */
  compact(revision: number): void
  /** Ends when every write is done; later ones fail. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Opens the store in `options.dir`, alone: a second process gets `FAIRLEAD_CLUSTER_STORAGE_LOCKED`. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const state = new State(options.history ?? historyDefault)
  if (options.durability === 'memory') return new RevisionedStore(options, state)
  try {
    return await openOnDisk(options, state)
  } catch (error) {
    throw toOpenError(options.dir, error)
  }
}

async function openOnDisk(options: StoreOptions, state: State): Promise<Store> {
  finishRestore(options.dir)
  mkdirSync(options.dir, { recursive: true, mode: 0o700 })
  const unlock = lockDirectory(options.dir)
  try {
    const { position, segments } = await recover(options.dir, state)
    state.releaseSlack()
    const log = await openLog(options, position)
    return new RevisionedStore(options, state, { log, segments: segments.slice(0, -1), unlock })
  } catch (error) {
    unlock()
    throw error
  }
}

/** What the system says of a directory that cannot be used, with the way out. */
function toOpenError(dir: string, error: unknown): unknown {
  const code = codeOf(error) ?? ''
  if (code.startsWith('FAIRLEAD_')) return error
  if (code === 'ENOSPC') return storageFull(dir, error)
  return code === '' ? error : storageWrite(dir, error)
}

const segmentDefault = 8 << 20
const firstSegmentBytes = 1 << 20
const snapshotDefault = 32 << 20
const historyDefault: HistoryLimits = { events: 16_384, bytes: 32 << 20 }
const relaxedSyncMs = 100

async function openLog(options: StoreOptions, position: LogPosition | undefined): Promise<Log> {
  const log = new Log(
    options.dir,
    {
      disk: options.disk ?? realDisk,
      segmentBytes: options.segmentBytes ?? segmentDefault,
      firstSegmentBytes: Math.min(options.segmentBytes ?? firstSegmentBytes, firstSegmentBytes),
      sync: options.durability !== 'relaxed',
    },
    position,
  )
  if (position === undefined) await log.rotate(0)
  return log
}

/** Where a store keeps what it must not forget. */
interface Place {
  readonly log: Log
  /** Complete segments, oldest first. */
  readonly segments: { sequence: number; bytes: number }[]
  readonly unlock: () => void
}

class RevisionedStore implements Store {
  readonly #options: StoreOptions
  readonly #state: State
  readonly #place: Place | undefined
  readonly #committer: Committer | undefined
  readonly #listeners = new Map<string, Set<(event: StoreEvent) => void>>()
  readonly #turns = new Turns()
  #snapshot: Promise<void> | undefined
  #folding: Promise<void> | undefined
  #folded: number
  #assigned: number
  #closed = false
  #syncTimer: NodeJS.Timeout | undefined

  constructor(options: StoreOptions, state: State, place?: Place) {
    this.#options = options
    this.#state = state
    this.#assigned = state.revision
    this.#folded = state.revision
    this.#place = place
    if (place === undefined) return
    this.#committer = new Committer(options.dir, place.log)
    this.#committer.onRotate = (completed) => this.#rotated(place, completed)
    if (options.durability === 'relaxed') this.#syncTimer = this.#syncNowAndThen(place.log)
  }

  get revision(): number {
    return this.#state.revision
  }

  get compactedRevision(): number {
    return this.#state.compacted
  }

  get(resource: string, id: string): Entry | undefined {
    return this.#state.get(resource, id)
  }

  count(resource: string): number {
    return this.#state.count(resource)
  }

  list(resource: string, options: ListOptions = {}): Iterable<Entry> {
    return this.#state.list(resource, options)
  }

  transact(
    resource: string,
    id: string,
    decide: (current: Entry | undefined) => Change | undefined,
  ): Promise<Entry | undefined> {
    const key = keyOf(resource, id)
    const turn = this.#turns.enter(key)
    if (turn === undefined) return this.#transactNow(key, resource, id, decide)
    return turn.then(() => this.#transactNow(key, resource, id, decide))
  }

  /** Whose turn it is; gives the turn to the next one as soon as the change is visible, or when there is none. */
  #transactNow(
    key: string,
    resource: string,
    id: string,
    decide: (current: Entry | undefined) => Change | undefined,
  ): Promise<Entry | undefined> {
    return new Promise((resolve, reject) => {
      const done = (entry: Entry | undefined): void => {
        this.#turns.leave(key)
        resolve(entry)
      }
      const fail = (error: Error): void => {
        this.#turns.leave(key)
        reject(error)
      }
      try {
        if (this.#closed) throw storageClosed(this.#options.dir)
        const change = decide(this.get(resource, id))
        if (change === undefined) done(undefined)
        else this.#submit(key, resource, id, change, done, fail)
      } catch (error) {
        fail(error as Error)
      }
    })
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

  changes(resource: string, since: number): readonly StoreEvent[] {
    return this.#state.since(resource, since)
  }

  subscribe(resource: string, since: number | undefined, listener: (event: StoreEvent) => void): Subscription {
    const backlog = since === undefined ? [] : this.changes(resource, since)
    const listeners = this.#listeners.get(resource) ?? new Set()
    this.#listeners.set(resource, listeners)
    listeners.add(listener)
    return { backlog, unsubscribe: () => void listeners.delete(listener) }
  }

  backup(): Backup {
    const records = [...this.#state.records()]
    const { revision } = this.#state
    return { revision, objects: records.length, chunks: encodeSnapshot({ revision, firstSegment: 0, records }) }
  }

  compact(revision: number): void {
    this.#state.compact(revision)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#syncTimer)
    await this.#committer?.drained()
    await this.#snapshot
    await this.#folding
    if (this.#place === undefined) return
    const { log, unlock } = this.#place
    await log.sync().catch(() => undefined)
    await log.close()
    unlock()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #expect(resource: string, id: string, current: Entry | undefined, expected: number | undefined): void {
    const found = current?.revision ?? 0
    if (expected !== undefined && expected !== found) throw storageConflict(keyOf(resource, id), expected, found)
  }

  #submit(
    key: string,
    resource: string,
    id: string,
    change: Change,
    done: (entry: Entry) => void,
    fail: (error: Error) => void,
  ): void {
    const revision = this.#assigned + 1
    const bytes = change.encode(revision)
    this.#assigned = revision
    const { operation } = change
    const entry = new StoredEntry(resource, id, revision, bytes, change.cache)
    const committer = this.#committer
    if (committer === undefined) {
      this.#apply(operation, entry)
      return done(entry)
    }
    const commit = (): void => {
      this.#apply(operation, entry)
      done(entry)
    }
    committer.submit({ record: { revision, operation, key, bytes }, commit, fail })
  }

  /** Makes a durable change visible and tells the watchers. */
  #apply(operation: Operation, entry: StoredEntry): void {
    const event = this.#state.apply(operation, entry)
    const listeners = this.#listeners.get(entry.resource)
    if (listeners !== undefined) for (const listener of listeners) listener(event)
  }

  #rotated(place: Place, completed: { sequence: number; bytes: number }): void {
    const { segments } = place
    segments.push(completed)
    this.#folding ??= this.#fold().finally(() => (this.#folding = undefined))
    const logBytes = segments.reduce((sum, segment) => sum + segment.bytes, 0)
    const limit = Math.max(this.#options.snapshotAfterBytes ?? snapshotDefault, this.#state.liveBytes)
    if (logBytes < limit || this.#snapshot !== undefined) return
    // What is visible now is exactly what the completed segments hold: entries are collected before anything else runs.
    const records = [...this.#state.records()]
    const snapshot = { revision: this.#state.revision, firstSegment: completed.sequence + 1, records }
    this.#snapshot = this.#replaceLog(snapshot, segments, segments.length)
      // A full disk keeps the log as it is; the next completed segment tries again.
      .catch(() => undefined)
      .finally(() => (this.#snapshot = undefined))
  }

  /** What is still current when a segment is full has come to stay: from then on it takes less memory. */
  async #fold(): Promise<void> {
    const since = this.#folded
    this.#folded = this.#state.revision
    for (const _step of this.#state.foldSince(since)) await nextTurn()
  }

  async #replaceLog(snapshot: Snapshot, segments: Place['segments'], covered: number): Promise<void> {
    const { dir } = this.#options
    await writeSnapshot(dir, snapshot)
    for (const segment of segments.splice(0, covered)) {
      await rm(join(dir, segmentName(segment.sequence)), { force: true })
    }
    await removeOtherSnapshots(dir, snapshot.revision)
    syncDirectory(dir)
  }

  #syncNowAndThen(log: Log): NodeJS.Timeout {
    // A power cut may now cost more than a moment: whoever runs this must hear of it.
    const timer = setInterval(() => void log.sync().catch(this.#options.onError ?? (() => undefined)), relaxedSyncMs)
    return timer.unref()
  }
}
