import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { BreakerOpenError, checkNumber, TooManyRequestsError } from './errors.ts'

export type BreakerState = 'closed' | 'half-open' | 'open'

/** What a breaker has counted in its present generation. */
export interface BreakerCounts {
  readonly requests: number
  readonly totalSuccesses: number
  readonly totalFailures: number
  /** Results that were neither: see {@link BreakerOptions.isExcluded}. */
  readonly totalExclusions: number
  readonly consecutiveSuccesses: number
  readonly consecutiveFailures: number
}

/** When failures are too many. Each member that is there suffices; a ratio waits for `minimumRequests` (default 1). */
export interface BreakerTrip {
  readonly consecutiveFailures?: number | undefined
  /** Failures to requests, from 0 to 1. */
  readonly failureRatio?: number | undefined
  readonly minimumRequests?: number | undefined
}

/**
 * Settings of a circuit breaker, by the names and with the meaning they have in github.com/sony/gobreaker.
 */
export interface BreakerOptions {
  /** In errors, events and metrics. Default `breaker`. */
  readonly name?: string | undefined
  /** Calls let through while half-open; as many successes in a row close it. Default 1. */
  readonly maxRequests?: number | undefined
  /** After how long a closed breaker forgets what it counted. Default 0: never. */
  readonly intervalMs?: number | undefined
  /** Forgets in steps of this length instead, so that `intervalMs` is a rolling window. Default 0: all at once. */
  readonly bucketMs?: number | undefined
  /** How long it stays open before it lets calls through to try. Default 60,000. */
  readonly timeoutMs?: number | undefined
  /** Asked after each failure while closed. Default: more than 5 failures in a row. */
  readonly readyToTrip?: BreakerTrip | ((counts: BreakerCounts) => boolean) | undefined
  readonly onStateChange?: ((change: BreakerChange) => void) | undefined
  /** Whether a thrown value is a success for the breaker, such as an answer 404. Default: none is. */
  readonly isSuccessful?: ((error: unknown) => boolean) | undefined
  /** Whether a thrown value says nothing either way, such as a caller that gave up. Default: none. */
  readonly isExcluded?: ((error: unknown) => boolean) | undefined
  readonly clock?: Clock | undefined
}

export interface BreakerChange {
  readonly name: string
  readonly from: BreakerState
  readonly to: BreakerState
}

/** Refuses calls while they would probably fail. */
export interface Breaker {
  readonly name: string
  readonly state: BreakerState
  readonly counts: BreakerCounts
  /**
   * Runs `work` unless the breaker refuses.
   *
   * @throws {BreakerOpenError}
   * @throws {TooManyRequestsError}
   */
  execute<T>(work: () => T | Promise<T>): Promise<T>
  /** For callers that make the call themselves: hand the ticket back with the result. Throws as {@link execute}. */
  enter(now?: number, cause?: unknown): BreakerTicket
  leave(ticket: BreakerTicket, result: 'success' | 'failure' | 'excluded', now?: number): void
  /** What the breaker takes a thrown value for. */
  resultOf(error: unknown): 'success' | 'failure' | 'excluded'
  /** Adds a listener to state changes; returns what removes it. */
  onStateChange(listener: (change: BreakerChange) => void): () => void
  health(): { readonly status: 'up' | 'degraded'; readonly state: BreakerState; readonly counts: BreakerCounts }
}

/** Says in which generation a call began: results of an earlier one are not counted. */
export interface BreakerTicket {
  readonly generation: number
}

/**
 * A circuit breaker with the states and counting of gobreaker: each change of state and each interval begins a new generation
 * with counts of zero, and a result counts only in the generation its call began in.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function createBreaker(options: BreakerOptions = {}): Breaker {
  return new CountingBreaker(options)
}

class Counts implements BreakerCounts {
  requests = 0
  totalSuccesses = 0
  totalFailures = 0
  totalExclusions = 0
  consecutiveSuccesses = 0
  consecutiveFailures = 0

  copy(): BreakerCounts {
    const { requests, totalSuccesses, totalFailures, totalExclusions, consecutiveSuccesses, consecutiveFailures } = this
    return { requests, totalSuccesses, totalFailures, totalExclusions, consecutiveSuccesses, consecutiveFailures }
  }

  add(result: 'success' | 'failure' | 'excluded'): void {
    if (result === 'success') {
      this.totalSuccesses += 1
      this.consecutiveSuccesses += 1
      this.consecutiveFailures = 0
    } else if (result === 'failure') {
      this.totalFailures += 1
      this.consecutiveFailures += 1
      this.consecutiveSuccesses = 0
    } else this.totalExclusions += 1
  }
}

/** A ticket, and what was counted of the calls that hold it. */
class Bucket implements BreakerTicket {
  readonly counts = new Counts()
  readonly generation: number
  readonly age: number

  constructor(generation: number, age: number) {
    this.generation = generation
    this.age = age
  }
}

class CountingBreaker implements Breaker {
  readonly name: string
  readonly #clock: Clock
  readonly #maxRequests: number
  readonly #intervalMs: number
  readonly #bucketMs: number
  readonly #bucketCount: number
  readonly #timeoutMs: number
  readonly #readyToTrip: (counts: BreakerCounts) => boolean
  readonly #isSuccessful: ((error: unknown) => boolean) | undefined
  readonly #isExcluded: ((error: unknown) => boolean) | undefined
  readonly #listeners = new Set<(change: BreakerChange) => void>()
  #state: BreakerState = 'closed'
  #generation = 0
  #startedAt = 0
  /** When closed: the end of the interval. When open: of the timeout. */
  #expiresAt = Infinity
  #counts = new Counts()
  #current: Bucket
  /** By age modulo their number; only for a rolling window. */
  readonly #buckets: (Bucket | undefined)[] = []

  constructor(options: BreakerOptions) {
    const check = (
      option: 'maxRequests' | 'intervalMs' | 'bucketMs' | 'timeoutMs',
      value: number,
      min: number,
    ): number => checkNumber('a circuit breaker', option, options[option] ?? value, min)
    this.name = options.name ?? 'breaker'
    this.#clock = options.clock ?? systemClock
    this.#maxRequests = check('maxRequests', 1, 1)
    this.#timeoutMs = check('timeoutMs', 60_000, 1)
    const intervalMs = check('intervalMs', 0, 0)
    const bucketMs = check('bucketMs', 0, 0)
    this.#bucketCount = bucketMs > 0 && intervalMs > 0 ? Math.ceil(intervalMs / bucketMs) : 1
    this.#bucketMs = bucketMs > 0 ? bucketMs : intervalMs
    this.#intervalMs = this.#bucketCount > 1 ? this.#bucketCount * bucketMs : intervalMs
    this.#readyToTrip = toReadyToTrip(options.readyToTrip)
    this.#isSuccessful = options.isSuccessful
    this.#isExcluded = options.isExcluded
    if (options.onStateChange) this.#listeners.add(options.onStateChange)
    this.#current = this.#newGeneration(this.#clock.now())
  }

  get state(): BreakerState {
    this.#refresh(this.#clock.now())
    return this.#state
  }

  get counts(): BreakerCounts {
    return this.#counts.copy()
  }

  async execute<T>(work: () => T | Promise<T>): Promise<T> {
    const ticket = this.enter()
    try {
      const value = await work()
      this.leave(ticket, 'success')
      return value
    } catch (error) {
      this.leave(ticket, this.resultOf(error))
      throw error
    }
  }

  enter(now: number = this.#now(), cause?: unknown): BreakerTicket {
    this.#refresh(now)
    if (this.#state !== 'closed') {
      if (this.#state === 'open') throw new BreakerOpenError(this.name, Math.max(0, this.#expiresAt - now), cause)
      if (this.#counts.requests - this.#counts.totalExclusions >= this.#maxRequests)
        throw new TooManyRequestsError(this.name, cause)
    }
    this.#counts.requests += 1
    if (this.#bucketCount > 1) this.#current.counts.requests += 1
    return this.#current
  }

  leave(ticket: BreakerTicket, result: 'success' | 'failure' | 'excluded', now: number = this.#now()): void {
    this.#refresh(now)
    if (ticket.generation !== this.#generation) return
    if (this.#bucketCount > 1) {
      // A ticket is always one of our buckets.
      const bucket = ticket as Bucket
      if (this.#current.age - bucket.age >= this.#bucketCount) return
      bucket.counts.add(result)
    }
    if (this.#state === 'half-open' && result === 'failure') return this.#setState('open', now)
    this.#counts.add(result)
    if (this.#state === 'half-open') {
      if (result === 'success' && this.#counts.consecutiveSuccesses >= this.#maxRequests) this.#setState('closed', now)
    } else if (result === 'failure' && this.#readyToTrip(this.#counts)) this.#setState('open', now)
  }

  resultOf(error: unknown): 'success' | 'failure' | 'excluded' {
    if (this.#isExcluded?.(error)) return 'excluded'
    return this.#isSuccessful?.(error) ? 'success' : 'failure'
  }

  onStateChange(listener: (change: BreakerChange) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  health(): { status: 'up' | 'degraded'; state: BreakerState; counts: BreakerCounts } {
    const { state, counts } = this
    return { status: state === 'closed' ? 'up' : 'degraded', state, counts }
  }

  /** Without an interval a closed breaker has no use for the time, which costs as much to ask as all the rest. */
  #now(): number {
    return this.#state === 'open' || this.#intervalMs > 0 ? this.#clock.now() : 0
  }

  #refresh(now: number): void {
    if (this.#state === 'closed') {
      if (this.#expiresAt < now) this.#current = this.#newGeneration(now)
      else if (this.#bucketCount > 1) this.#roll(Math.max(0, Math.floor((now - this.#startedAt) / this.#bucketMs)))
    } else if (this.#state === 'open' && this.#expiresAt < now) this.#setState('half-open', now)
  }

  #setState(to: BreakerState, givenNow: number): void {
    // Nobody asked for the time while it made no difference.
    const now = this.#intervalMs > 0 ? givenNow : this.#clock.now()
    const from = this.#state
    this.#state = to
    this.#current = this.#newGeneration(now)
    for (const listener of this.#listeners) listener({ name: this.name, from, to })
  }

  #newGeneration(now: number): Bucket {
    this.#generation += 1
    this.#startedAt = now
    this.#counts = new Counts()
    this.#buckets.length = 0
    if (this.#state === 'open') this.#expiresAt = now + this.#timeoutMs
    else if (this.#state === 'closed' && this.#intervalMs > 0 && this.#bucketCount === 1)
      this.#expiresAt = now + this.#intervalMs
    else this.#expiresAt = Infinity
    return (this.#buckets[0] = new Bucket(this.#generation, 0))
  }

  #roll(age: number): void {
    const steps = age - this.#current.age
    if (steps <= 0) return
    if (steps >= this.#bucketCount) {
      this.#counts = new Counts()
      this.#buckets.length = 0
    } else for (let step = this.#current.age + 1; step <= age; step += 1) this.#forget(step % this.#bucketCount)
    this.#current = new Bucket(this.#generation, age)
    this.#buckets[age % this.#bucketCount] = this.#current
  }

  #forget(oldest: number): void {
    const bucket = this.#buckets[oldest]
    if (bucket === undefined) return
    const total = this.#counts
    const gone = bucket.counts
    // A row that fills the whole window loses what it had in the oldest bucket; a shorter one began later.
    const rest = (of: 'totalSuccesses' | 'totalFailures'): number => total[of] - gone[of]
    if (total.consecutiveSuccesses === gone.consecutiveSuccesses + rest('totalSuccesses'))
      total.consecutiveSuccesses -= gone.consecutiveSuccesses
    if (total.consecutiveFailures === gone.consecutiveFailures + rest('totalFailures'))
      total.consecutiveFailures -= gone.consecutiveFailures
    total.requests -= gone.requests
    total.totalSuccesses -= gone.totalSuccesses
    total.totalFailures -= gone.totalFailures
    total.totalExclusions -= gone.totalExclusions
    this.#buckets[oldest] = undefined
  }
}

function toReadyToTrip(trip: BreakerOptions['readyToTrip']): (counts: BreakerCounts) => boolean {
  if (typeof trip === 'function') return trip
  if (trip === undefined) return (counts) => counts.consecutiveFailures > 5
  const consecutive = checkNumber('a circuit breaker', 'consecutiveFailures', trip.consecutiveFailures ?? Infinity, 1)
  const ratio = checkNumber('a circuit breaker', 'failureRatio', trip.failureRatio ?? 2, 0)
  const minimum = checkNumber('a circuit breaker', 'minimumRequests', trip.minimumRequests ?? 1, 1)
  return (counts) =>
    counts.consecutiveFailures >= consecutive ||
    (counts.requests >= minimum && counts.totalFailures / counts.requests >= ratio)
}
