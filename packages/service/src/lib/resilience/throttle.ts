import type { Breaker, BreakerChange, BreakerCounts, BreakerTicket } from './breaker.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { BreakerOpenError, checkNumber } from './errors.ts'

export interface ThrottleOptions {
  /** In errors and metrics. Default `throttle`. */
  readonly name?: string | undefined
  /** How many requests are sent per accepted one before they are refused. Default 1.5. */
  readonly multiplier?: number | undefined
  /** Default 10,000. */
  readonly windowMs?: number | undefined
  /** So many failures in a window are always permitted. Default 5. */
  readonly protection?: number | undefined
  readonly isSuccessful?: ((error: unknown) => boolean) | undefined
  readonly isExcluded?: ((error: unknown) => boolean) | undefined
  readonly clock?: Clock | undefined
  /** From 0 to 1. Default `Math.random`. */
  readonly random?: (() => number) | undefined
}

const bucketCount = 40

/**
 * Refuses a share of calls that grows with the share that fails, in place of all or none: client-side throttling of the SRE
 * book (chapter 21, Handling Overload), where a call is refused with probability (requests - k * accepts) / (requests + 1).
 * Goes wherever a {@link Breaker} does; its state is `half-open` while it refuses some calls.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function createThrottle(options: ThrottleOptions = {}): Breaker {
  return new Throttle(options)
}

class Throttle implements Breaker {
  readonly name: string
  readonly #clock: Clock
  readonly #random: () => number
  readonly #multiplier: number
  readonly #protection: number
  readonly #bucketMs: number
  readonly #isSuccessful: ((error: unknown) => boolean) | undefined
  readonly #isExcluded: ((error: unknown) => boolean) | undefined
  readonly #requestsOf = new Float64Array(bucketCount)
  readonly #acceptsOf = new Float64Array(bucketCount)
  #requests = 0
  #accepts = 0
  #age: number

  constructor(options: ThrottleOptions) {
    this.name = options.name ?? 'throttle'
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? Math.random
    this.#multiplier = checkNumber('a throttle', 'multiplier', options.multiplier ?? 1.5, 1)
    this.#protection = checkNumber('a throttle', 'protection', options.protection ?? 5, 0)
    this.#bucketMs = checkNumber('a throttle', 'windowMs', options.windowMs ?? 10_000, 1) / bucketCount
    this.#isSuccessful = options.isSuccessful
    this.#isExcluded = options.isExcluded
    this.#age = Math.floor(this.#clock.now() / this.#bucketMs)
  }

  get state(): 'closed' | 'half-open' {
    this.#roll(this.#clock.now())
    return this.#refusal() > 0 ? 'half-open' : 'closed'
  }

  get counts(): BreakerCounts {
    const totalFailures = this.#requests - this.#accepts
    return {
      requests: this.#requests,
      totalSuccesses: this.#accepts,
      totalFailures,
      totalExclusions: 0,
      consecutiveSuccesses: 0,
      consecutiveFailures: 0,
    }
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

  enter(now: number = this.#clock.now(), cause?: unknown): BreakerTicket {
    this.#roll(now)
    const refusal = this.#refusal()
    if (refusal > 0 && this.#random() < refusal) {
      // A refused call counts as one that was not accepted: demand is what the share is of.
      this.#count(this.#requestsOf, 1)
      this.#requests += 1
      throw new BreakerOpenError(this.name, undefined, cause)
    }
    return ticket
  }

  leave(_ticket: BreakerTicket, result: 'success' | 'failure' | 'excluded', now: number = this.#clock.now()): void {
    if (result === 'excluded') return
    this.#roll(now)
    this.#count(this.#requestsOf, 1)
    this.#requests += 1
    if (result === 'failure') return
    this.#count(this.#acceptsOf, 1)
    this.#accepts += 1
  }

  resultOf(error: unknown): 'success' | 'failure' | 'excluded' {
    if (this.#isExcluded?.(error)) return 'excluded'
    return this.#isSuccessful?.(error) ? 'success' : 'failure'
  }

  onStateChange(_listener: (change: BreakerChange) => void): () => void {
    // It has no states to change between, only a share.
    return () => {}
  }

  health(): { status: 'up' | 'degraded'; state: 'closed' | 'half-open'; counts: BreakerCounts } {
    const { state, counts } = this
    return { status: state === 'closed' ? 'up' : 'degraded', state, counts }
  }

  #refusal(): number {
    const excess = this.#requests - this.#protection - this.#multiplier * this.#accepts
    return excess <= 0 ? 0 : excess / (this.#requests + 1)
  }

  #count(counts: Float64Array, amount: number): void {
    const index = this.#age % bucketCount
    counts[index] = (counts[index] ?? 0) + amount
  }

  #roll(now: number): void {
    const age = Math.floor(now / this.#bucketMs)
    const steps = Math.min(age - this.#age, bucketCount)
    for (let step = 1; step <= steps; step += 1) {
      const index = (age - steps + step) % bucketCount
      this.#requests -= this.#requestsOf[index] ?? 0
      this.#accepts -= this.#acceptsOf[index] ?? 0
      this.#requestsOf[index] = 0
      this.#acceptsOf[index] = 0
    }
    if (steps > 0) this.#age = age
  }
}

/** There are no generations to tell apart. */
const ticket: BreakerTicket = { generation: 0 }
