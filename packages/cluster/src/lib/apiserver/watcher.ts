import { codeOf } from '../errors.ts'
import type { Entry } from '../storage/collection.ts'
import type { Store } from '../storage/store.ts'
import type { Frame, Sink } from './exchange.ts'
import type { FanOut, Follower, Following, SharedEvent } from './fan-out.ts'
import type { Format } from './negotiate.ts'
import type { Resource } from './resource.ts'
import type { Selection } from './selection.ts'
import { expired } from './status.ts'
import type { StatusError } from './status.ts'
import { bookmarkFrame, errorFrame, frameOf, initialEndLine, shapeOf, stateLine } from './watch-frames.ts'

export interface WatchPlan {
  readonly selection: Selection
  /** Changes after this; undefined: the state of now first. */
  readonly since: number | undefined
  /** The state of now is not shown before the store has reached this. */
  readonly notBefore: number
  readonly hasBookmarks: boolean
  /** Whether the end of the state is marked by a bookmark. */
  readonly marksInitialEnd: boolean
  readonly timeoutMs: number
}

/** What is watched, and how it is shown. */
export interface Watched {
  readonly store: Store
  readonly fanOut: FanOut
  readonly resource: Resource
  readonly plan: WatchPlan
  readonly format: Format
  readonly onError: (error: unknown) => void
  /** Counts what watchers of the resource are sent. */
  readonly counted: { events: number }
}

/** A watcher this far behind is told to list again, so that one slow client cannot fill the memory. */
const waitingLimitBytes = 16 << 20
const stateSliceBytes = 1 << 20
const bookmarkEveryMs = 60_000

/** One watch while it lasts; there may be thousands. */
export class Watcher implements Follower {
  readonly isLocal: boolean
  readonly #watched: Watched
  readonly #sink: Sink
  #format: Format
  #shape: string
  readonly #ended: PromiseWithResolvers<'over' | 'slow'> = Promise.withResolvers()
  #isOver = false
  /** Up to here the client knows what it selected. */
  #sent: number
  /** Events that wait until the state has been sent. */
  #held: SharedEvent[] | undefined = []
  /** Events of a version that a webhook converts wait for it, and for each other. */
  #prepared: Promise<void> | undefined
  #preparing = 0

  constructor(watched: Watched, sink: Sink) {
    this.#watched = watched
    this.#sink = sink
    this.isLocal = sink.isLocal
    this.#format = watched.format
    this.#shape = shapeOf(watched.resource, watched.format)
    this.#sent = watched.store.revision
  }

  /** The state first when asked for, then every change, until the client leaves or the time is over. */
  async run(signal: AbortSignal): Promise<void> {
    const { resource, plan, format } = this.#watched
    const begun = this.#begin()
    if (begun instanceof Error) return this.#sink.writeFrames([errorFrame(begun, format)])
    const { following, entries } = begun
    const end = (): void => this.#end('over')
    const timer = setTimeout(end, Math.min(plan.timeoutMs, 2 ** 31 - 1))
    let bookmarks: NodeJS.Timeout | undefined
    signal.addEventListener('abort', end)
    // A definition that changed: clients list again and see its objects as they are now.
    resource.retired?.addEventListener('abort', end)
    try {
      if (plan.since === undefined) await this.#sendState(entries, signal)
      this.#release(following.backlog)
      // Only now: a bookmark promises that everything before it has been sent.
      if (plan.hasBookmarks) bookmarks = setInterval(() => this.#bookmark(following), bookmarkEveryMs)
      if (signal.aborted) end()
      if ((await this.#ended.promise) === 'slow') await this.#refuse()
    } finally {
      clearTimeout(timer)
      clearInterval(bookmarks)
      resource.retired?.removeEventListener('abort', end)
      following.stop()
    }
  }

  tell(events: readonly SharedEvent[]): void {
    if (this.#isOver) return
    if (this.#held !== undefined) for (const event of events) this.#held.push(event)
    else if (this.#watched.resource.form.prepare === undefined) this.#send(events)
    else this.#prepared = this.#sendPrepared(events, this.#prepared)
  }

  /** Subscribes and reads the state in one step. */
  #begin(): { following: Following; entries: readonly Entry[] } | StatusError {
    const { store, fanOut, resource, plan } = this.#watched
    const { since, selection } = plan
    if (since !== undefined && since > store.revision) {
      // No write of this store: following from there would pass over all that it has.
      return expired(`resource version ${since} is not known, the newest is ${store.revision}`)
    }
    try {
      const following = fanOut.follow(resource.collection, since, this)
      const entries = since === undefined ? [...store.list(resource.collection, { prefix: selection.prefix })] : []
      return { following, entries }
    } catch (error) {
      if (codeOf(error) !== 'FAIRLEAD_CLUSTER_STORAGE_GONE') throw error
      return expired(`too old resource version: ${since} (${store.compactedRevision})`)
    }
  }

  async #sendState(entries: readonly Entry[], signal: AbortSignal): Promise<void> {
    const { store, resource, plan } = this.#watched
    const { revision } = store
    if (resource.form.prepare !== undefined) await resource.form.prepare(entries.map(({ bytes }) => bytes))
    for (const entry of entries) {
      if (signal.aborted) return
      if (!plan.selection.matches(entry)) continue
      this.#watched.counted.events += 1
      this.#sink.write(stateLine(resource, entry, this.#format))
      this.#toldColumns()
      if (this.#sink.waitingBytes > stateSliceBytes) await this.#sink.drained()
    }
    if (plan.marksInitialEnd) this.#sink.write(initialEndLine(resource, revision, this.#format))
  }

  #release(backlog: readonly SharedEvent[]): void {
    const held = this.#held ?? []
    this.#held = undefined
    this.tell(backlog)
    this.tell(held)
  }

  async #sendPrepared(events: readonly SharedEvent[], before: Promise<void> | undefined): Promise<void> {
    this.#preparing += 1
    try {
      await before
      const entries = events.flatMap(({ event }) =>
        [event.entry, event.previous].filter((entry) => entry !== undefined),
      )
      await this.#watched.resource.form.prepare?.(entries.map(({ bytes }) => bytes))
    } catch (error) {
      return this.#fail(error)
    } finally {
      this.#preparing -= 1
    }
    this.#send(events)
  }

  #send(events: readonly SharedEvent[]): void {
    if (this.#isOver) return
    try {
      const frames = this.#framesOf(events)
      if (frames.length === 0) return
      this.#watched.counted.events += frames.length
      this.#sink.writeFrames(frames)
      if (this.#sink.waitingBytes > waitingLimitBytes) this.#end('slow')
    } catch (error) {
      // Called from inside the write that is told, or for many watchers: a fault here must not be theirs.
      this.#fail(error)
    }
  }

  #framesOf(events: readonly SharedEvent[]): Frame[] {
    const { resource, plan } = this.#watched
    const frames: Frame[] = []
    for (const shared of events) {
      const frame = frameOf(resource, plan.selection, shared, this.#shape, this.#format)
      if (frame === undefined) continue
      frames.push(frame)
      this.#toldColumns()
      this.#sent = shared.event.revision
    }
    return frames
  }

  /** The first table of a watch tells its columns, those after it only rows. */
  #toldColumns(): void {
    if (this.#format.shape !== 'table' || this.#format.isHeadless === true) return
    this.#format = { ...this.#format, isHeadless: true }
    this.#shape = shapeOf(this.#watched.resource, this.#format)
  }

  #fail(error: unknown): void {
    this.#watched.onError(error)
    this.#end('over')
  }

  #end(why: 'over' | 'slow'): void {
    this.#isOver = true
    this.#ended.resolve(why)
  }

  #bookmark(following: Following): void {
    const { store, resource } = this.#watched
    // A bookmark would pass over what is still on its way.
    if (following.isBehind || this.#preparing > 0 || store.revision <= this.#sent) return
    this.#sink.writeFrames([bookmarkFrame(resource, store.revision, this.#format)])
    this.#sent = store.revision
  }

  /** Lets the client read what it was sent, then tells it that it fell behind. */
  async #refuse(): Promise<void> {
    await this.#sink.drained()
    const error = expired('too old resource version: the watcher fell too far behind')
    this.#sink.writeFrames([errorFrame(error, this.#watched.format)])
  }
}
