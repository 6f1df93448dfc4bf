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

/** Tries beside each other: the first result wins, the last error if all fail. Expires when it is time for another. */
export class HedgedRun<T> extends Timed {
  readonly #plan: HedgePlan
  readonly #clock: Clock
  readonly #wheel: TimerWheel
  readonly #work: (attempt: Attempt) => T | Promise<T>
  readonly #another: (now: number) => RunningAttempt<T>
  readonly #running: RunningAttempt<T>[] = []
  #resolve: (value: T) => void = () => {}
  #reject: (reason: unknown) => void = () => {}

  constructor(
    plan: HedgePlan,
    clock: Clock,
    wheel: TimerWheel,
    work: (attempt: Attempt) => T | Promise<T>,
    another: (now: number) => RunningAttempt<T>,
  ) {
    super()
    this.#plan = plan
    this.#clock = clock
    this.#wheel = wheel
    this.#work = work
    this.#another = another
  }

  /** `now` is when the first try begins. */
  run(first: RunningAttempt<T>, now: number): Promise<T> {
    this.#plan.budget.deposit()
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.#launch(first, now)
    })
  }

  expire(now: number): void {
    if (this.#plan.budget.withdraw(now)) this.#launch(this.#another(now), now)
  }

  /** Ends all tries. */
  abort(reason: unknown): void {
    this.#wheel.clear(this)
    for (const attempt of this.#running.splice(0)) {
      this.#wheel.clear(attempt)
      attempt.abort(reason)
    }
    this.#reject(reason)
  }

  #launch(attempt: RunningAttempt<T>, now: number): void {
    this.#running.push(attempt)
    // Without a deadline nothing but the work itself ends a try early.
    const result = attempt.deadline < Infinity ? attempt.run(this.#work) : this.#begin(attempt)
    result.then(
      (value) => this.#win(attempt, value, now),
      (error: unknown) => this.#lose(attempt, error),
    )
    const delayMs = this.#plan.delayMs()
    if (this.#running.length < this.#plan.maxAttempts && delayMs < Infinity) this.#wheel.set(this, now + delayMs, now)
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
    if (this.#plan.isLearning) this.#plan.observe(this.#clock.now() - since)
    this.#remove(attempt)
    this.#resolve(value)
    if (this.#running.length > 0) this.abort(new Error('Another try was quicker'))
    else this.#wheel.clear(this)
  }

  #lose(attempt: RunningAttempt<T>, error: unknown): void {
    this.#remove(attempt)
    if (this.#running.length > 0) return
    this.#wheel.clear(this)
    this.#reject(error)
  }

  #remove(attempt: RunningAttempt<T>): void {
    this.#wheel.clear(attempt)
    const index = this.#running.indexOf(attempt)
    if (index !== -1) this.#running.splice(index, 1)
  }
}

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
