import type { StoreEvent } from '../storage/history.ts'
import type { Store } from '../storage/store.ts'
import type { Frame } from './exchange.ts'

/** What watchers of one shape are told of a change. */
export interface Frames {
  ADDED?: Frame
  MODIFIED?: Frame
  DELETED?: Frame
}

/** An event on its way to those who watch; what they are told of it is made once for all that are told the same. */
export interface SharedEvent {
  readonly event: StoreEvent
  readonly frames: Map<string, Frames>
}

/** Is told of the events of a resource, in their order. Throws nothing. */
export interface Follower {
  /** Told at the moment of the change; all others some turns later, with what came since. */
  readonly isLocal: boolean
  tell(events: readonly SharedEvent[]): void
}

export interface Following {
  /** The changes after the revision asked for that had been made before. */
  readonly backlog: readonly SharedEvent[]
  /** Whether there may be changes that the follower has not been told of. */
  readonly isBehind: boolean
  stop(): void
}

/** How long others wait for one slice; what the writes of it leave to do when they are done takes half as long again. */
const sliceMs = 4
/** Who writes waits for those who watch when they are this far behind, but only so many wait. */
const behind = { mostMs: 200, mostWaiting: 64 }
/** After a round so much time is left to others as it took, but no more than this. */
const restMs = { least: 1, most: 20 }
/** The clock is asked after so many. */
const step = 8

/**
 * Tells watchers what changes, all those of a resource in rounds: an event for 10,000 of them is a tenth of a second and more of
 * encryption and system calls. A round goes on for a few milliseconds at a time, with whoever asks for something else in
 * between, and the next one brings all that has changed meanwhile: each watcher gets it as one write.
 */
export class FanOut {
  readonly #store: Store
  readonly #feeds = new Map<string, Feed>()
  /** Those that have somebody to tell now. */
  readonly #busy: Feed[] = []

  constructor(store: Store) {
    this.#store = store
  }

  /** Tells `follower` of each change of `resource` after `since`, or from now on; throws what {@link Store.changes} throws. */
  follow(resource: string, since: number | undefined, follower: Follower): Following {
    const events = since === undefined ? [] : this.#store.changes(resource, since)
    const feed = this.#feeds.get(resource) ?? this.#open(resource)
    feed.add(follower, this.#store.revision)
    return {
      backlog: events.map((event) => ({ event, frames: new Map() })),
      get isBehind() {
        return feed.isBehind && !follower.isLocal
      },
      stop: () => {
        feed.remove(follower)
        if (feed.isEmpty && this.#feeds.get(resource) === feed) this.#close(resource, feed)
      },
    }
  }

  /**
   * Resolves when a change of `resource` may be made; undefined: at once. Without, a few writers would make every round longer
   * than the one before, until watchers are cut off.
   */
  room(resource: string): Promise<void> | undefined {
    return this.#feeds.get(resource)?.room()
  }

  #open(resource: string): Feed {
    const feed = new Feed()
    const subscription = this.#store.subscribe(resource, undefined, (event) => {
      feed.push({ event, frames: new Map() })
      this.#wake(feed)
    })
    feed.unsubscribe = () => subscription.unsubscribe()
    this.#feeds.set(resource, feed)
    return feed
  }

  #close(resource: string, feed: Feed): void {
    feed.unsubscribe()
    this.#feeds.delete(resource)
  }

  #wake(feed: Feed): void {
    if (feed.isAwake || !feed.isBehind) return
    feed.isAwake = true
    if (this.#busy.push(feed) === 1) this.#schedule()
  }

  #schedule(): void {
    setImmediate(() => this.#run())
  }

  /** One slice, in which the resources take turns. */
  #run(): void {
    let now = performance.now()
    const until = now + sliceMs
    for (let feed = this.#busy.shift(); feed !== undefined; feed = now < until ? this.#busy.shift() : undefined) {
      const startedAt = now
      const isDone = feed.tell(until)
      now = performance.now()
      feed.roundMs += now - startedAt
      if (isDone) this.#rest(feed)
      else this.#busy.push(feed)
    }
    if (this.#busy.length > 0) this.#schedule()
  }

  /** More comes together meanwhile; where one change does not take long, it does not have to. */
  #rest(feed: Feed): void {
    const ms = Math.min(feed.roundMs, restMs.most)
    feed.roundMs = 0
    const wake = (): void => {
      feed.isAwake = false
      this.#wake(feed)
    }
    if (ms < restMs.least) wake()
    else setTimeout(wake, ms)
  }
}

interface Round {
  readonly events: readonly SharedEvent[]
  readonly left: Iterator<[Follower, number], undefined>
}

/** The events of one resource, and who is told of them. */
class Feed {
  unsubscribe: () => void = () => undefined
  /** Queued, or resting. */
  isAwake = false
  /** What the round has taken until now. */
  roundMs = 0
  readonly #local = new Set<Follower>()
  /** With the revision at which each began: what is older it knows. */
  readonly #remote = new Map<Follower, number>()
  /** For the round that comes next. */
  #waiting: SharedEvent[] = []
  #waitingSince = 0
  /** When the oldest event happened that somebody has not been told of. */
  #behindSince = 0
  #round: Round | undefined
  /** Those who wait for the end of the round. */
  #writers: (() => void)[] = []

  get isEmpty(): boolean {
    return this.#local.size === 0 && this.#remote.size === 0
  }

  get isBehind(): boolean {
    return this.#round !== undefined || this.#waiting.length > 0
  }

  add(follower: Follower, revision: number): void {
    if (follower.isLocal) this.#local.add(follower)
    else this.#remote.set(follower, revision)
  }

  remove(follower: Follower): void {
    this.#local.delete(follower)
    this.#remote.delete(follower)
  }

  push(event: SharedEvent): void {
    const events = [event]
    for (const follower of this.#local) follower.tell(events)
    if (this.#remote.size === 0) return
    if (this.#waiting.push(event) > 1) return
    this.#waitingSince = performance.now()
    if (this.#round === undefined) this.#behindSince = this.#waitingSince
  }

  room(): Promise<void> | undefined {
    const isClose = !this.isBehind || performance.now() - this.#behindSince < behind.mostMs
    if (isClose || this.#writers.length >= behind.mostWaiting) return undefined
    return new Promise((resolve) => this.#writers.push(resolve))
  }

  /** Goes on with the round, or begins one; whether it is done. Who comes while it lasts is met at its end, and told nothing. */
  tell(until: number): boolean {
    const { events, left } = (this.#round ??= this.#begin())
    do {
      for (let count = 0; count < step; count += 1) {
        const { value } = left.next()
        if (value === undefined) return this.#end()
        const [follower, after] = value
        follower.tell(newerThan(events, after))
      }
    } while (performance.now() < until)
    return false
  }

  #begin(): Round {
    const events = this.#waiting
    this.#waiting = []
    return { events, left: this.#remote.entries() }
  }

  #end(): true {
    this.#round = undefined
    this.#behindSince = this.#waitingSince
    const writers = this.#writers
    this.#writers = []
    for (const proceed of writers) proceed()
    return true
  }
}

/** The same array for nearly all. */
function newerThan(events: readonly SharedEvent[], revision: number): readonly SharedEvent[] {
  if ((events[0]?.event.revision ?? 0) > revision) return events
  return events.filter(({ event }) => event.revision > revision)
}
