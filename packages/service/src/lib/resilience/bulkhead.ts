import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { BulkheadFullError, checkNumber, TimeoutError } from './errors.ts'
import { Timed, wheelOf } from './timer-wheel.ts'

export interface BulkheadOptions {
  /** In errors and metrics. Default `bulkhead`. */
  readonly name?: string | undefined
  /** Calls under way at once. */
  readonly maxConcurrent: number
  /** Calls that wait for a place. Default 0: none waits. */
  readonly maxQueue?: number | undefined
  /**
   * Who is served first: `fifo` (default), or `lifo`: under overload the newest call, whose caller most probably still waits.
   * A full LIFO queue drops its oldest call in favour of the new one.
   */
  readonly order?: 'fifo' | 'lifo' | undefined
  readonly clock?: Clock | undefined
}

/** Bounds how many calls are under way. */
export interface Bulkhead {
  readonly name: string
  readonly active: number
  readonly queued: number
  readonly maxConcurrent: number
  /** Takes a place if there is one. Whoever took one gives it back with {@link leave}. */
  tryEnter(): boolean
  /**
   * Takes a place, waiting for it in the queue until `deadline` or until `signal` aborts.
   *
   * @throws {BulkheadFullError}
   * @throws {TimeoutError}
   */
  enter(options?: { readonly deadline?: number | undefined; readonly signal?: AbortSignal | undefined }): Promise<void>
  leave(): void
  /** @throws {BulkheadFullError} */
  execute<T>(work: () => T | Promise<T>): Promise<T>
  health(): { readonly status: 'up' | 'degraded'; readonly active: number; readonly queued: number }
}

/** @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY` */
export function createBulkhead(options: BulkheadOptions): Bulkhead {
  return new QueueingBulkhead(options)
}

class QueueingBulkhead implements Bulkhead {
  readonly name: string
  readonly maxConcurrent: number
  readonly #maxQueue: number
  readonly #isLifo: boolean
  readonly #clock: Clock
  /** In order of arrival. */
  readonly #queue: Waiter[] = []
  #active = 0

  constructor(options: BulkheadOptions) {
    this.name = options.name ?? 'bulkhead'
    this.maxConcurrent = checkNumber('a bulkhead', 'maxConcurrent', options.maxConcurrent, 1)
    this.#maxQueue = checkNumber('a bulkhead', 'maxQueue', options.maxQueue ?? 0, 0)
    this.#isLifo = options.order === 'lifo'
    this.#clock = options.clock ?? systemClock
  }

  get active(): number {
    return this.#active
  }

  get queued(): number {
    return this.#queue.length
  }

  tryEnter(): boolean {
    if (this.#active >= this.maxConcurrent) return false
    this.#active += 1
    return true
  }

  async enter(options: { deadline?: number | undefined; signal?: AbortSignal | undefined } = {}): Promise<void> {
    options.signal?.throwIfAborted()
    if (this.tryEnter()) return
    if (this.#queue.length >= this.#maxQueue) this.#makeRoom()
    const now = this.#clock.now()
    const waiter = new Waiter(this, now)
    const abort = (): void => this.giveUp(waiter, options.signal?.reason)
    this.#queue.push(waiter)
    if (options.deadline !== undefined && options.deadline < Infinity)
      wheelOf(this.#clock).set(waiter, options.deadline, now)
    options.signal?.addEventListener('abort', abort, { once: true })
    try {
      await waiter.promise
    } finally {
      wheelOf(this.#clock).clear(waiter)
      options.signal?.removeEventListener('abort', abort)
    }
  }

  leave(): void {
    const next = this.#isLifo ? this.#queue.pop() : this.#queue.shift()
    if (next === undefined) {
      this.#active -= 1
      return
    }
    // The place goes from one to the other: nobody who comes now can take it.
    next.resolve()
  }

  /** Takes a waiter out of the queue at once: a place must not be handed to one who has gone. */
  giveUp(waiter: Waiter, reason: unknown): void {
    const index = this.#queue.indexOf(waiter)
    if (index === -1) return
    this.#queue.splice(index, 1)
    waiter.reject(reason)
  }

  async execute<T>(work: () => T | Promise<T>): Promise<T> {
    if (!this.tryEnter()) await this.enter()
    try {
      return await work()
    } finally {
      this.leave()
    }
  }

  health(): { status: 'up' | 'degraded'; active: number; queued: number } {
    return { status: this.#queue.length > 0 ? 'degraded' : 'up', active: this.#active, queued: this.#queue.length }
  }

  #makeRoom(): void {
    const oldest = this.#isLifo ? this.#queue[0] : undefined
    const full = new BulkheadFullError(this.name, this.maxConcurrent)
    if (oldest === undefined) throw full
    this.giveUp(oldest, full)
  }
}

class Waiter extends Timed {
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
  readonly #bulkhead: QueueingBulkhead
  readonly #since: number

  constructor(bulkhead: QueueingBulkhead, since: number) {
    super()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.promise = promise
    this.resolve = resolve
    this.reject = reject
    this.#bulkhead = bulkhead
    this.#since = since
  }

  expire(now: number): void {
    this.#bulkhead.giveUp(this, new TimeoutError(this.#bulkhead.name, 'total', now - this.#since))
  }
}
