import { RunningAttempt } from './attempt.ts'
import type { Attempt, AttemptOwner } from './attempt.ts'
import { checkNumber } from './errors.ts'
import { createRetryBudget } from './retry.ts'
import type { RetryBudget, RetryBudgetOptions } from './retry.ts'
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
  /** Infinity: not at all. What is learned changes it. */
  delayMs: number
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
    delayMs: fixedMs,
    observe(durationMs) {
      if (latency !== undefined) this.delayMs = latency(durationMs)
    },
  }
}

/** When a call began, and when it has to be done. */
export interface CallTimes {
  readonly startedAt: number
  readonly deadline: number
}

/** What the hedged calls of a pipeline have in common: one object, so that a call is small. */
export interface HedgeHost {
  readonly plan: HedgePlan
  readonly owner: AttemptOwner
  readonly wheel: TimerWheel
  /** Begins another try beside `first`. */
  another<T>(first: HedgedAttempt<T>, now: number): RunningAttempt<T>
}

/**
 * The first try of a hedged call, and what is known of those beside it: the first result wins, the last error if all fail. One
 * object for both, with one entry in the wheel: a call that is answered before it is time for another try, as nearly all are,
 * costs no more than one with a timeout.
 */
export class HedgedAttempt<T> extends RunningAttempt<T> {
  readonly #host: HedgeHost
  /** Of the call, where this try has times of its own. Numbers with fractions are objects to V8: few calls pay for these. */
  readonly #call: CallTimes | undefined
  /** When the try began that gives the result; undefined while nobody wants to know. */
  #since: number | undefined
  #state: 'running' | 'lost' | 'over' = 'running'
  /** The tries beside this one. Nearly every call has none, and no list is made for it. */
  #others: readonly RunningAttempt<T>[] = none
  #work: ((attempt: Attempt) => T | Promise<T>) | undefined
  #result: Promise<T> | undefined
  #resolve: ((value: T) => void) | undefined

  /** `startedAt` and `deadline` are of the call, `now` and `attemptMs` of this try. */
  constructor(host: HedgeHost, number: number, startedAt: number, now: number, deadline: number, attemptMs: number) {
    const isTotal = deadline <= now + attemptMs
    super(host.owner, number, isTotal ? startedAt : now, isTotal ? deadline : now + attemptMs, isTotal)
    this.#host = host
    this.#call = isTotal ? undefined : { startedAt, deadline }
    this.#since = host.plan.isLearning ? now : undefined
    this.#arm(now, 1)
  }

  get call(): CallTimes {
    return this.#call ?? { startedAt: this.startedAt, deadline: this.deadline }
  }

  override run(work: (attempt: Attempt) => T | Promise<T>): Promise<T> {
    this.#host.plan.budget.deposit()
    return new Promise<T>((resolve, reject) => {
      this.#work = work
      this.#resolve = resolve
      this.rejectRun = reject
      const result = work(this)
      // Straight to whoever waits: that it has won is of interest only once there are others.
      if (result instanceof Promise) {
        this.#result = result
        result.then(resolve, (error: unknown) => this.#loseFirst(error))
      } else resolve(result)
    })
  }

  override expire(now: number): void {
    if (this.#state === 'running' && now >= this.deadline) {
      const reason = this.timeoutAt(now)
      this.cancel(reason)
      this.#loseFirst(reason)
      if (this.#others.length > 0) this.#arm(now, this.#others.length)
      return
    }
    if (this.#host.plan.budget.withdraw(now)) this.#hedge(now)
    // What is left to wait for is the end of this try.
    else if (this.#state === 'running' && this.deadline < Infinity) this.#host.wheel.set(this, this.deadline, now)
  }

  /** Ends all tries. */
  override abort(reason: unknown): void {
    this.#host.wheel.clear(this)
    this.#cancelAll(reason)
    this.rejectRun?.(reason)
  }

  /** The call has its result, or has none: tries that are still under way end. */
  override finish(isSuccess: boolean): void {
    const { plan, owner } = this.#host
    if (isSuccess && this.#since !== undefined) plan.observe(owner.clock.now() - this.#since)
    if (this.#others !== none) this.#cancelAll(new Error('Another try was quicker'))
  }

  #hedge(now: number): void {
    const [work, attempt] = [this.#work, this.#host.another(this, now)]
    if (work === undefined) return
    if (this.#others === none)
      this.#result?.then(
        () => this.#winFirst(),
        () => {},
      )
    this.#others = [...this.#others, attempt]
    attempt.run(work).then(
      (value) => this.#win(attempt, value, now),
      (error: unknown) => this.#lose(attempt, error),
    )
    this.#arm(now, this.#others.length + (this.#state === 'running' ? 1 : 0))
  }

  /** For the next try, or the end of this one, whichever is first. */
  #arm(now: number, running: number): void {
    const { plan, wheel } = this.#host
    const hedgeAt = running < plan.maxAttempts ? now + plan.delayMs : Infinity
    const due = this.deadline < hedgeAt && this.#state === 'running' ? this.deadline : hedgeAt
    if (due < Infinity) wheel.set(this, due, now)
  }

  /** Called in the turn of its result, before any other try can have one: what has won is not aborted. */
  #winFirst(): void {
    this.#state = 'over'
  }

  #win(attempt: RunningAttempt<T>, value: T, since: number): void {
    this.#remove(attempt)
    if (this.#state === 'over') return
    if (this.#host.plan.isLearning) this.#since = since
    this.#cancelAll(new Error('Another try was quicker'))
    this.#state = 'over'
    this.#resolve?.(value)
  }

  #loseFirst(error: unknown): void {
    if (this.#state !== 'running') return
    this.#state = 'lost'
    this.#settleLost(error)
  }

  #lose(attempt: RunningAttempt<T>, error: unknown): void {
    this.#remove(attempt)
    this.#settleLost(error)
  }

  #settleLost(error: unknown): void {
    if (this.#state === 'running' || this.#others.length > 0) return
    this.#host.wheel.clear(this)
    this.rejectRun?.(error)
  }

  #cancelAll(reason: unknown): void {
    const others = this.#others
    this.#others = none
    for (const attempt of others) {
      this.#host.wheel.clear(attempt)
      attempt.abort(reason)
    }
    if (this.#state !== 'running') return
    this.#state = 'lost'
    this.cancel(reason)
  }

  #remove(attempt: RunningAttempt<T>): void {
    this.#host.wheel.clear(attempt)
    this.#others = this.#others.filter((other) => other !== attempt)
  }
}

/** Shared and never written to: a list is made anew with each change. */
const none: readonly never[] = []

const kept = 256
const leastSamples = 20

/** Takes a duration, gives a quantile of the last 256: sorted anew once per 128, at first per 32. */
function createLatency(share: number): (durationMs: number) => number {
  const samples = new Float64Array(kept)
  let count = 0
  let value = Infinity
  return (durationMs) => {
    samples[count % kept] = durationMs
    count += 1
    if (count < leastSamples || (count > leastSamples && count % (count < kept ? 32 : 128) !== 0)) return value
    const sorted = samples.slice(0, Math.min(count, kept)).toSorted()
    value = sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Infinity
    return value
  }
}
