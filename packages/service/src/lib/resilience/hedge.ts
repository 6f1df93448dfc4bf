import type { Attempt, RunningAttempt } from './attempt.ts'
import type { Clock } from './clock.ts'
import { checkNumber } from './errors.ts'
import { createRetryBudget } from './retry.ts'
import type { RetryBudget, RetryBudgetOptions } from './retry.ts'
import { Timed } from './timer-wheel.ts'
import type { TimerWheel } from './timer-wheel.ts'

export interface HedgeOptions {
  /**
   * How long a try may take before another one is started beside it: milliseconds, or `p95` of the tries seen so far (none is
   * started before 20 were seen). Up to 10 ms later than that. Default `p95`.
   */
  readonly afterMs?: number | 'p95' | undefined
  /** Tries under way at once. Default 2. */
  readonly maxAttempts?: number | undefined
  /** Default: 10% of the calls and 1 per second. */
  readonly budget?: RetryBudget | RetryBudgetOptions | undefined
}

/** When to start a second try, and whether that may be. */
export interface HedgePlan {
  readonly maxAttempts: number
  readonly budget: RetryBudget
  /** Infinity: not at all. */
  delayMs(): number
  /** Whether it wants to know how long tries take. */
  readonly isLearning: boolean
  observe(durationMs: number): void
}

/** @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY` */
export function createHedgePlan(options: HedgeOptions): HedgePlan {
  const { budget, afterMs } = options
  const latency = afterMs === undefined || afterMs === 'p95' ? createLatency(0.95) : undefined
  const fixedMs = typeof afterMs === 'number' ? checkNumber('a hedge', 'afterMs', afterMs, 0) : Infinity
  return {
    maxAttempts: checkNumber('a hedge', 'maxAttempts', options.maxAttempts ?? 2, 2, 10),
    budget:
      budget !== undefined && 'withdraw' in budget
        ? budget
        : createRetryBudget({ ratio: 0.1, minPerSecond: 1, burst: 20, ...budget }),
    isLearning: latency !== undefined,
    delayMs: () => latency?.quantile() ?? fixedMs,
    observe: (durationMs) => latency?.observe(durationMs),
  }
}

/** What the hedged runs of a pipeline have in common: one object, so that a run is small. */
export interface HedgeHost {
  readonly plan: HedgePlan
  readonly clock: Clock
  readonly wheel: TimerWheel
  /** Begins another try beside `first`. */
  another<T>(first: RunningAttempt<T>, startedAt: number, now: number, deadline: number): RunningAttempt<T>
}

/** Tries beside each other: the first result wins, the last error if all fail. Expires when it is time for another. */
export class HedgedRun<T> extends Timed {
  readonly #host: HedgeHost
  readonly #work: (attempt: Attempt) => T | Promise<T>
  readonly #first: RunningAttempt<T>
  readonly #startedAt: number
  readonly #deadline: number
  #isFirstRunning = true
  /** The tries beside the first. Nearly every call has none, and no list is made for it. */
  #others: RunningAttempt<T>[] = none
  // Before `run` nobody waits for either.
  #resolve: (value: T) => void = ignore
  #reject: (reason: unknown) => void = ignore

  constructor(
    host: HedgeHost,
    work: (attempt: Attempt) => T | Promise<T>,
    first: RunningAttempt<T>,
    startedAt: number,
    deadline: number,
  ) {
    super()
    this.#host = host
    this.#work = work
    this.#first = first
    this.#startedAt = startedAt
    this.#deadline = deadline
  }

  /** `now` is when the first try begins. */
  run(now: number): Promise<T> {
    this.#host.plan.budget.deposit()
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.#launch(this.#first, now)
    })
  }

  expire(now: number): void {
    const { plan } = this.#host
    if (!plan.budget.withdraw(now)) return
    const attempt = this.#host.another(this.#first, this.#startedAt, now, this.#deadline)
    this.#others = [...this.#others, attempt]
    this.#launch(attempt, now)
  }

  /** Ends all tries. */
  abort(reason: unknown): void {
    this.#host.wheel.clear(this)
    const running = this.#isFirstRunning ? [this.#first, ...this.#others] : this.#others
    this.#isFirstRunning = false
    this.#others = none
    for (const attempt of running) {
      this.#host.wheel.clear(attempt)
      attempt.abort(reason)
    }
    this.#reject(reason)
  }

  get #count(): number {
    return this.#others.length + (this.#isFirstRunning ? 1 : 0)
  }

  #launch(attempt: RunningAttempt<T>, now: number): void {
    // Without a deadline nothing but the work itself ends a try early.
    const result = attempt.deadline < Infinity ? attempt.run(this.#work) : this.#begin(attempt)
    result.then(
      (value) => this.#win(attempt, value, now),
      (error: unknown) => this.#lose(attempt, error),
    )
    const delayMs = this.#host.plan.delayMs()
    if (this.#count < this.#host.plan.maxAttempts && delayMs < Infinity) this.#host.wheel.set(this, now + delayMs, now)
  }

  #begin(attempt: RunningAttempt<T>): Promise<T> {
    try {
      const result = this.#work(attempt)
      return result instanceof Promise ? result : Promise.resolve(result)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #win(attempt: RunningAttempt<T>, value: T, since: number): void {
    if (this.#host.plan.isLearning) this.#host.plan.observe(this.#host.clock.now() - since)
    this.#remove(attempt)
    this.#resolve(value)
    if (this.#count > 0) this.abort(new Error('Another try was quicker'))
    else this.#host.wheel.clear(this)
  }

  #lose(attempt: RunningAttempt<T>, error: unknown): void {
    this.#remove(attempt)
    if (this.#count > 0) return
    this.#host.wheel.clear(this)
    this.#reject(error)
  }

  #remove(attempt: RunningAttempt<T>): void {
    this.#host.wheel.clear(attempt)
    if (attempt === this.#first) this.#isFirstRunning = false
    else this.#others = this.#others.filter((other) => other !== attempt)
  }
}

/** Shared and never written to: a list is made anew with each change. */
const none: never[] = []

function ignore(): void {}

const kept = 256
const leastSamples = 20

/** A quantile of the last 256 durations, sorted anew once per 32. */
function createLatency(share: number): { quantile(): number; observe(durationMs: number): void } {
  const samples = new Float64Array(kept)
  let count = 0
  let value = Infinity
  return {
    quantile: () => value,
    observe(durationMs) {
      samples[count % kept] = durationMs
      count += 1
      if (count < leastSamples || (count > leastSamples && count % 32 !== 0)) return
      const sorted = samples.slice(0, Math.min(count, kept)).toSorted()
      value = sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Infinity
    },
  }
}
