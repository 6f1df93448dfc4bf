import { storageGone } from '../errors.ts'
import type { Entry } from './collection.ts'
import type { Operation } from './record.ts'

/** One committed change, as every watcher of its resource is told. */
export interface StoreEvent {
  readonly revision: number
  readonly operation: Operation
  /** The new version; for a deletion the object's last state at the revision of the deletion. */
  readonly entry: Entry
  /** The version before; undefined when the object was created. */
  readonly previous: Entry | undefined
}

export interface HistoryLimits {
  readonly events: number
  readonly bytes: number
}

/**
 * The latest changes in order; the oldest fall out when there are too many or they hold too many bytes. Bytes are those
 * of versions that only history still holds: what is current is there anyway.
 */
export class History {
  readonly #limits: HistoryLimits
  #events: StoreEvent[] = []
  /** Events before this index have fallen out; the array is shortened now and then. */
  #start = 0
  #bytes = 0
  #compacted: number

  constructor(limits: HistoryLimits, compacted: number) {
    this.#limits = limits
    this.#compacted = compacted
  }

  /** Changes up to and including this revision are forgotten. */
  get compacted(): number {
    return this.#compacted
  }

  push(event: StoreEvent): void {
    this.#events.push(event)
    this.#bytes += heldBytes(event)
    while (this.#events.length - this.#start > this.#limits.events || this.#bytes > this.#limits.bytes) this.#forget()
    if (this.#start > 1024 && this.#start > this.#events.length / 2) {
      this.#events = this.#events.slice(this.#start)
      this.#start = 0
    }
  }

  /** Forgets every change up to `revision`. */
  compact(revision: number): void {
    for (let first = this.#events[this.#start]; first !== undefined && first.revision <= revision;) {
      this.#forget()
      first = this.#events[this.#start]
    }
    this.#compacted = Math.max(this.#compacted, revision)
  }

  /** The changes after `revision`, oldest first; throws `FAIRLEAD_CLUSTER_STORAGE_GONE` when some are forgotten. */
  since(revision: number): readonly StoreEvent[] {
    if (revision < this.#compacted) throw storageGone(revision, this.#compacted)
    let low = this.#start
    let high = this.#events.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#events[middle]?.revision ?? 0) <= revision) low = middle + 1
      else high = middle
    }
    return this.#events.slice(low)
  }

  #forget(): void {
    const event = this.#events[this.#start]
    if (event === undefined) return
    this.#bytes -= heldBytes(event)
    this.#compacted = event.revision
    this.#start += 1
  }
}

function heldBytes({ operation, entry, previous }: StoreEvent): number {
  return (previous?.size ?? 0) + (operation === 'delete' ? entry.size : 0)
}
