import { keyOf } from '@fairlead/kube/controller'
import type { Clock } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { mayHelp } from './cluster-event.ts'
import type { ClusterEvent } from './cluster-event.ts'
import { Heap } from './heap.ts'
import { priorityOf } from './priority.ts'
import type { FilterName } from './rejection.ts'

/** The first wait after an attempt, doubled with each up to the longest. */
const firstBackoffMs = 1000
const longestBackoffMs = 10_000
/** After so long a pod is tried again although nothing has happened that should help it. */
const flushMs = 5 * 60_000

/** A pod that waits for a node. */
export interface QueuedPod {
  readonly key: string
  readonly pod: Pod
}

type State =
  /** To be tried now. */
  | 'active'
  /** To be tried when its wait is over; or before, when there is nothing else to do. */
  | 'backoff'
  /** To be tried when its wait is over: an error, not the cluster, was in the way. */
  | 'error'
  /** To be tried when something happens that may help. */
  | 'unschedulable'
  /** Not to be tried before its gates are gone. */
  | 'gated'
  /** With whoever took it. */
  | 'taken'

interface Entry {
  pod: Pod
  readonly key: string
  /** Of queueing. */
  readonly addedAt: number
  state: State
  /** Raised by each change of state: what a heap still holds of before is passed over. */
  turn: number
  rejections: number
  errors: number
  dueAt: number
  filters: ReadonlySet<FilterName>
  /** Something happened meanwhile that may help. */
  isWoken: boolean
}

interface Ticket {
  readonly entry: Entry
  readonly turn: number
  /** That of the entry at the time: a heap's order must not change below it. */
  readonly dueAt: number
}

/**
 * Pods that wait for a node: the most important first, then those that waited longest. A pod no node took waits for a {@link ClusterEvent}
 * that may help it, and the longer the more often it was tried.
 */
export class SchedulingQueue {
  readonly #clock: Clock
  readonly #entries = new Map<string, Entry>()
  /** Those an event may concern: thousands that are to be tried anyway are not gone through. */
  readonly #concerned = new Set<Entry>()
  readonly #active = new Heap<Ticket>(compareUrgency)
  readonly #waiting = { backoff: new Heap<Ticket>(compareDue), error: new Heap<Ticket>(compareDue) }
  readonly #flushes = new Heap<Ticket>(compareDue)
  #wake: (() => void) | undefined
  #cancelTimer: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Pods that wait, with those that are being tried. */
  get size(): number {
    return this.#entries.size
  }

  /** A pod without a node is there, or has changed. */
  set(pod: Pod, old?: Pod): void {
    const key = keyOf(pod)
    const known = this.#entries.get(key)
    const isGated = (pod.spec?.schedulingGates ?? []).length > 0
    if (known === undefined || known.pod.metadata?.uid !== pod.metadata?.uid) {
      this.delete(key)
      const entry = this.#createEntry(key, pod)
      this.#entries.set(key, entry)
      return isGated ? this.#move(entry, 'gated') : this.#activate(entry)
    }
    known.pod = pod
    if (known.state === 'gated' && !isGated) return this.#activate(known)
    // Its own status says nothing new.
    const isChanged = old !== undefined && (old.spec !== pod.spec || old.metadata?.labels !== pod.metadata?.labels)
    if (isChanged) this.#retryEntry(known)
  }

  delete(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    entry.turn += 1
    this.#concerned.delete(entry)
    this.#entries.delete(key)
  }

  /** The pod to be tried next; undefined when there is none now. */
  pop(): QueuedPod | undefined {
    this.#promoteDue()
    const ticket = takeValid(this.#active) ?? takeValid(this.#waiting.backoff)
    if (ticket === undefined) return undefined
    this.#move(ticket.entry, 'taken')
    ticket.entry.isWoken = false
    return { key: ticket.entry.key, pod: ticket.entry.pod }
  }

  /** Resolves when {@link pop} may have one. */
  async ready(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    this.#setTimer()
    const stop = (): void => resolve()
    signal.addEventListener('abort', stop)
    if (signal.aborted || this.#hasActive()) resolve()
    await promise
    // The signal lives as long as the cluster, and is waited on as often as there is nothing to do.
    signal.removeEventListener('abort', stop)
    this.#cancelTimer?.()
    this.#wake = undefined
  }

  /** No node took the pod, for what these filters said. */
  reject(key: string, filters: ReadonlySet<FilterName>): void {
    const entry = this.#taken(key)
    if (entry === undefined) return
    const now = this.#clock.now()
    entry.filters = filters
    entry.rejections += 1
    entry.errors = 0
    entry.dueAt = now + backoffOf(entry.rejections)
    if (entry.isWoken) return this.#await(entry, 'backoff')
    this.#move(entry, 'unschedulable')
    this.#flushes.push(ticketOf(entry))
  }

  /** Trying failed for a reason that has nothing to do with the pod's place. */
  fail(key: string): void {
    const entry = this.#taken(key)
    if (entry === undefined) return
    entry.errors += 1
    entry.dueAt = this.#clock.now() + backoffOf(entry.errors)
    this.#await(entry, 'error')
  }

  /** Tries the pod again now. */
  activate(key: string): void {
    const entry = this.#entries.get(key)
    if (entry !== undefined && entry.state !== 'gated') this.#retryEntry(entry)
  }

  /** Tries again those that an event may have helped. */
  happened(event: ClusterEvent): void {
    for (const entry of this.#concerned) {
      if (entry.state === 'unschedulable' && mayHelp(event, entry.pod, entry.filters)) this.#retryEntry(entry)
      else if (entry.state === 'taken') entry.isWoken = true
    }
  }

  /** What becomes of a pod means nothing to another that has its name by now. */
  #taken(key: string): Entry | undefined {
    const entry = this.#entries.get(key)
    return entry?.state === 'taken' ? entry : undefined
  }

  #createEntry(key: string, pod: Pod): Entry {
    return {
      key,
      pod,
      addedAt: this.#clock.now(),
      state: 'taken',
      turn: 0,
      rejections: 0,
      errors: 0,
      dueAt: 0,
      filters: new Set(),
      isWoken: false,
    }
  }

  #retryEntry(entry: Entry): void {
    if (entry.state === 'taken') entry.isWoken = true
    if (entry.state !== 'unschedulable') return
    if (entry.dueAt > this.#clock.now()) this.#await(entry, 'backoff')
    else this.#activate(entry)
  }

  #activate(entry: Entry): void {
    this.#move(entry, 'active')
    this.#active.push(ticketOf(entry))
    this.#wake?.()
  }

  #await(entry: Entry, state: 'backoff' | 'error'): void {
    this.#move(entry, state)
    this.#waiting[state].push(ticketOf(entry))
    this.#wake?.()
  }

  #move(entry: Entry, state: State): void {
    entry.state = state
    entry.turn += 1
    if (state === 'unschedulable' || state === 'taken') this.#concerned.add(entry)
    else this.#concerned.delete(entry)
  }

  #promoteDue(): void {
    const now = this.#clock.now()
    for (const heap of [this.#waiting.backoff, this.#waiting.error]) {
      for (let next = firstValid(heap); next !== undefined && next.dueAt <= now; next = firstValid(heap)) {
        this.#activate(next.entry)
      }
    }
    for (let next = firstValid(this.#flushes); next !== undefined; next = firstValid(this.#flushes)) {
      if (next.dueAt + flushMs > now) break
      this.#activate(next.entry)
    }
  }

  #hasActive(): boolean {
    return firstValid(this.#active) !== undefined || firstValid(this.#waiting.backoff) !== undefined
  }

  #setTimer(): void {
    this.#cancelTimer?.()
    const failed = firstValid(this.#waiting.error)?.dueAt ?? Infinity
    const flush = (firstValid(this.#flushes)?.dueAt ?? Infinity) + flushMs
    const dueAt = Math.min(failed, flush)
    if (dueAt === Infinity) return
    this.#cancelTimer = this.#clock.schedule(Math.max(0, dueAt - this.#clock.now()), () => this.#wake?.())
  }
}

function backoffOf(attempts: number): number {
  return Math.min(longestBackoffMs, firstBackoffMs * 2 ** (attempts - 1))
}

function compareUrgency({ entry: a }: Ticket, { entry: b }: Ticket): number {
  return priorityOf(b.pod) - priorityOf(a.pod) || a.addedAt - b.addedAt
}

function compareDue(a: Ticket, b: Ticket): number {
  return a.dueAt - b.dueAt
}

function ticketOf(entry: Entry): Ticket {
  return { entry, turn: entry.turn, dueAt: entry.dueAt }
}

/** What is on top of a heap, after what is there no more is thrown away. */
function firstValid(heap: Heap<Ticket>): Ticket | undefined {
  for (let ticket = heap.peek(); ticket !== undefined; ticket = heap.peek()) {
    if (ticket.entry.turn === ticket.turn) return ticket
    heap.pop()
  }
  return undefined
}

function takeValid(heap: Heap<Ticket>): Ticket | undefined {
  const ticket = firstValid(heap)
  if (ticket !== undefined) heap.pop()
  return ticket
}
