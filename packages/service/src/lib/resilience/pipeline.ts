import type { Metrics } from '../metrics/metrics.ts'
import { RunningAttempt } from './attempt.ts'
import type { Attempt, AttemptOwner } from './attempt.ts'
import { createBreaker } from './breaker.ts'
import type { Breaker, BreakerOptions, BreakerTicket } from './breaker.ts'
import { createBulkhead } from './bulkhead.ts'
import type { Bulkhead, BulkheadOptions } from './bulkhead.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { createConcurrencyLimiter } from './concurrency.ts'
import type { ConcurrencyLimiter, ConcurrencyOptions, ConcurrencyPermit } from './concurrency.ts'
import { BulkheadFullError, checkNumber, isRejection, RateLimitedError, ShedError, TimeoutError } from './errors.ts'
import { createHedgePlan, HedgedAttempt } from './hedge.ts'
import type { HedgeHost, HedgeOptions } from './hedge.ts'
import type { LoadShedder } from './load-shedder.ts'
import { reportPipeline } from './metrics.ts'
import { createRateLimiter } from './rate-limit.ts'
import type { RateLimiter, RateLimitOptions } from './rate-limit.ts'
import { createRetryDecider } from './retry.ts'
import type { RetryDecider, RetryOptions } from './retry.ts'
import { wheelOf } from './timer-wheel.ts'
import type { TimerWheel } from './timer-wheel.ts'

/**
 * The policies of a pipeline, each optional, in the order in which a call meets them. Policies that count (breaker, bulkhead,
 * limits) can be shared between pipelines by giving them and not their options.
 */
export interface PipelineOptions {
  /** In errors and metrics. Default `pipeline`. */
  readonly name?: string | undefined
  /** Gives a value in place of an error; what it throws is the error. */
  readonly fallback?: ((error: unknown) => unknown) | undefined
  readonly shed?: LoadShedder | undefined
  readonly rateLimit?: RateLimiter | RateLimitOptions | undefined
  readonly bulkhead?: Bulkhead | BulkheadOptions | undefined
  /** For the whole call: waiting for a place, tries, and the waits between them. Default none. */
  readonly totalTimeoutMs?: number | undefined
  readonly retry?: RetryOptions | undefined
  readonly breaker?: Breaker | BreakerOptions | undefined
  readonly concurrency?: ConcurrencyLimiter | ConcurrencyOptions | undefined
  /** Several tries at once, of idempotent calls; breaker and concurrency limit count them as one. */
  readonly hedge?: HedgeOptions | undefined
  /** For one try. Default none. */
  readonly attemptTimeoutMs?: number | undefined
  /** Where the pipeline shows what it did. */
  readonly metrics?: Metrics | undefined
  readonly clock?: Clock | undefined
}

export interface ExecuteOptions {
  /** Whether doing it twice is the same as doing it once. Default: `retry.idempotent`. */
  readonly idempotent?: boolean | undefined
  /** Aborts the call. */
  readonly signal?: AbortSignal | undefined
  /** Ends the call if it is before the total timeout; on the pipeline's clock. */
  readonly deadline?: number | undefined
  /** One try and no more: somebody else retries. */
  readonly isSingle?: boolean | undefined
}

/** What a pipeline has done. */
export interface PipelineCounts {
  readonly calls: number
  readonly succeeded: number
  readonly failed: number
  /** Calls that no try was made for, of those failed. */
  readonly rejected: number
  readonly timeouts: number
  readonly retries: number
  readonly hedges: number
  readonly fallbacks: number
  /** Retries there was no budget for. */
  readonly budgetExhausted: number
}

export interface Pipeline {
  readonly name: string
  readonly counts: PipelineCounts
  readonly breaker: Breaker | undefined
  readonly bulkhead: Bulkhead | undefined
  readonly concurrency: ConcurrencyLimiter | undefined
  /**
   * Runs `work` under the policies.
   *
   * @throws {BreakerOpenError} and the other classes of this package when a policy ends the call, else what `work` threw last.
   */
  execute<T>(work: (attempt: Attempt) => T | Promise<T>, options?: ExecuteOptions): Promise<T>
  health(): PipelineHealth
}

export interface PipelineHealth {
  readonly status: 'up' | 'degraded'
  readonly breaker?: ReturnType<Breaker['health']> | undefined
  readonly bulkhead?: ReturnType<Bulkhead['health']> | undefined
  readonly concurrency?: ReturnType<ConcurrencyLimiter['health']> | undefined
}

/**
 * Joins policies into one, always in this order: fallback, load shedding, rate limit, bulkhead, total timeout, retry, circuit
 * breaker, concurrency limit, hedging, attempt timeout. It is that of the standard resilience handler of .NET.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function pipeline(options: PipelineOptions): Pipeline {
  return new PolicyPipeline(options)
}

/**
 * What a call to another service should have: at most 1000 at once, 30 s in total, 3 retries with exponential backoff and jitter
 * within a budget, a breaker that opens for 5 s when 10% of at least 100 calls in 30 s failed, 10 s per try. Calls are
 * retried only when they say that they are idempotent or have not been sent. `changes` replaces policies.
 */
export function standardPipeline(changes: PipelineOptions = {}): Pipeline {
  const name = changes.name ?? 'standard'
  return pipeline({
    bulkhead: { name, maxConcurrent: 1000, clock: changes.clock },
    totalTimeoutMs: 30_000,
    breaker: standardBreaker(name, changes.clock),
    attemptTimeoutMs: 10_000,
    ...changes,
    retry: { retries: 3, baseDelayMs: 200, idempotent: false, ...changes.retry },
    name,
  })
}

export function standardBreaker(name: string, clock?: Clock): BreakerOptions {
  return {
    name,
    intervalMs: 30_000,
    bucketMs: 1000,
    timeoutMs: 5000,
    readyToTrip: { failureRatio: 0.1, minimumRequests: 100 },
    clock,
  }
}

const noOptions: ExecuteOptions = {}

class PolicyPipeline implements Pipeline {
  readonly name: string
  readonly breaker: Breaker | undefined
  readonly bulkhead: Bulkhead | undefined
  readonly concurrency: ConcurrencyLimiter | undefined
  readonly counts = {
    calls: 0,
    succeeded: 0,
    failed: 0,
    rejected: 0,
    timeouts: 0,
    retries: 0,
    hedges: 0,
    fallbacks: 0,
    budgetExhausted: 0,
  }
  readonly #clock: Clock
  /** Of its tries. */
  readonly #owner: AttemptOwner
  readonly #wheel: TimerWheel
  readonly #fallback: ((error: unknown) => unknown) | undefined
  readonly #shed: LoadShedder | undefined
  readonly #rateLimit: RateLimiter | undefined
  readonly #totalMs: number
  readonly #retry: RetryDecider | undefined
  readonly #hedge: HedgeHost | undefined
  /** The same for calls without options of their own. */
  readonly #hedgeUnasked: HedgeHost | undefined
  readonly #attemptMs: number

  constructor(options: PipelineOptions) {
    const { clock } = options
    this.name = options.name ?? 'pipeline'
    const named = { name: this.name, clock }
    this.#clock = clock ?? systemClock
    this.#owner = { name: this.name, clock: this.#clock }
    this.#wheel = wheelOf(this.#clock)
    this.#fallback = options.fallback
    this.#shed = options.shed
    this.#rateLimit = isMade(options.rateLimit, 'take')
      ? options.rateLimit
      : options.rateLimit && createRateLimiter({ ...named, ...options.rateLimit })
    this.bulkhead = isMade(options.bulkhead, 'tryEnter')
      ? options.bulkhead
      : options.bulkhead && createBulkhead({ ...named, ...options.bulkhead })
    this.#totalMs = checkNumber('a pipeline', 'totalTimeoutMs', options.totalTimeoutMs ?? Infinity, 1)
    this.#retry = options.retry && createRetryDecider(options.retry)
    this.breaker = isMade(options.breaker, 'enter')
      ? options.breaker
      : options.breaker && createBreaker({ ...named, ...options.breaker })
    this.concurrency = isMade(options.concurrency, 'tryEnter')
      ? options.concurrency
      : options.concurrency && createConcurrencyLimiter({ ...named, algorithm: 'aimd', ...options.concurrency })
    this.#hedge = options.hedge && this.#createHedgeHost(options.hedge)
    this.#hedgeUnasked = this.#hedgeFor(noOptions)
    this.#attemptMs = checkNumber('a pipeline', 'attemptTimeoutMs', options.attemptTimeoutMs ?? Infinity, 1)
    if (options.metrics) reportPipeline(this, options.metrics)
  }

  /** One function and not five, because each await of an async function in between costs 50 ns. */
  async execute<T>(work: (attempt: Attempt) => T | Promise<T>, options: ExecuteOptions = noOptions): Promise<T> {
    const { bulkhead } = this
    const { signal } = options
    const startedAt = this.#clock.now()
    let deadline = startedAt + this.#totalMs
    if (options.deadline !== undefined && options.deadline < deadline) deadline = options.deadline
    this.counts.calls += 1
    const hedge = options === noOptions ? this.#hedgeUnasked : this.#hedgeFor(options)
    let isInside = false
    let isShedderTold = false
    try {
      signal?.throwIfAborted()
      this.#admit(startedAt, deadline)
      if (bulkhead !== undefined) {
        if (!bulkhead.tryEnter()) await bulkhead.enter({ deadline, signal })
        isInside = true
      }
      isShedderTold = this.#shed?.begin(startedAt) !== undefined
      this.#retry?.budget?.deposit()
      let now = startedAt
      let delayMs = 0
      let failure: unknown
      for (let number = 1; ; number += 1) {
        const ticket = this.breaker?.enter(now, failure)
        const permit = this.concurrency && this.#takePlace(this.concurrency, ticket, now)
        const attempt =
          hedge === undefined
            ? this.#begin<T>(number, startedAt, now, deadline)
            : new HedgedAttempt<T>(hedge, number, startedAt, now, deadline, this.#attemptMs)
        try {
          const value =
            hedge === undefined && attempt.deadline === Infinity && signal === undefined
              ? await work(attempt)
              : await this.#run(work, attempt, signal)
          this.#end(attempt, ticket, permit, 'success', undefined)
          this.counts.succeeded += 1
          return value
        } catch (error) {
          failure = error
          now = this.#end(attempt, ticket, permit, this.#resultOf(error, signal), error)
        }
        delayMs = this.#delayBeforeRetry(failure, number, delayMs, now, deadline, options)
        await this.#wait(delayMs, signal)
        now = this.#clock.now()
      }
    } catch (error) {
      // Its type is that of the work: whoever gives a fallback sees to it.
      return (await this.#onFailure(error, signal)) as T
    } finally {
      if (isInside) bulkhead?.leave()
      if (isShedderTold) this.#shed?.end(startedAt)
    }
  }

  health(): PipelineHealth {
    const parts = {
      breaker: this.breaker?.health(),
      bulkhead: this.bulkhead?.health(),
      concurrency: this.concurrency?.health(),
    }
    const isUp = Object.values(parts).every((part) => part === undefined || part.status === 'up')
    return { status: isUp ? 'up' : 'degraded', ...parts }
  }

  /** Whether the call may begin at all. */
  #admit(now: number, deadline: number): void {
    if (deadline <= now) throw new TimeoutError(this.name, 'total', 0)
    if (this.#shed?.shouldShed()) throw new ShedError(this.name, 'this process is overloaded')
    const waitMs = this.#rateLimit === undefined ? 0 : this.#rateLimit.take(1, now)
    if (waitMs > 0) throw new RateLimitedError(this.name, waitMs)
  }

  #takePlace(concurrency: ConcurrencyLimiter, ticket: BreakerTicket | undefined, now: number): ConcurrencyPermit {
    const permit = concurrency.tryEnter(undefined, now)
    if (permit !== undefined) return permit
    if (ticket !== undefined) this.breaker?.leave(ticket, 'excluded', now)
    throw new BulkheadFullError(this.name, concurrency.limit)
  }

  #begin<T>(number: number, startedAt: number, now: number, deadline: number): RunningAttempt<T> {
    const own = now + this.#attemptMs
    const isTotal = deadline <= own
    const until = isTotal ? deadline : own
    const attempt = new RunningAttempt<T>(this.#owner, number, isTotal ? startedAt : now, until, isTotal)
    if (until < Infinity) this.#wheel.set(attempt, until, now)
    return attempt
  }

  #run<T>(
    work: (attempt: Attempt) => T | Promise<T>,
    attempt: RunningAttempt<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    return signal === undefined ? attempt.run(work) : runUntilAborted(signal, attempt, () => attempt.run(work))
  }

  #hedgeFor(options: ExecuteOptions): HedgeHost | undefined {
    const mayHedge = options.isSingle !== true && (options.idempotent ?? this.#retry?.idempotent ?? true)
    return mayHedge ? this.#hedge : undefined
  }

  #createHedgeHost(options: HedgeOptions): HedgeHost {
    return {
      plan: createHedgePlan(options),
      owner: this.#owner,
      wheel: this.#wheel,
      another: (first, now) => {
        this.counts.hedges += 1
        const { startedAt, deadline } = first.call
        return this.#begin(first.number, startedAt, now, deadline)
      },
    }
  }

  /** Tells the counting policies; returns the time if anybody needs it. */
  #end(
    attempt: RunningAttempt<unknown>,
    ticket: BreakerTicket | undefined,
    permit: ConcurrencyPermit | undefined,
    result: 'success' | 'failure' | 'excluded',
    error: unknown,
  ): number {
    this.#wheel.clear(attempt)
    if (this.#hedge !== undefined) attempt.finish(result === 'success')
    if (ticket === undefined && permit === undefined && result === 'success') return 0
    const now = this.#clock.now()
    if (ticket !== undefined) this.breaker?.leave(ticket, result, now)
    if (permit !== undefined) permit.release(result === 'success' ? 'done' : dropOf(error), now)
    return now
  }

  #resultOf(error: unknown, signal: AbortSignal | undefined): 'success' | 'failure' | 'excluded' {
    // A caller that gave up says nothing of the called side.
    if (signal?.aborted) return 'excluded'
    return this.breaker?.resultOf(error) ?? 'failure'
  }

  /** Throws `error` when there is no further try. */
  #delayBeforeRetry(
    error: unknown,
    attempts: number,
    previousDelayMs: number,
    now: number,
    deadline: number,
    options: ExecuteOptions,
  ): number {
    if (this.#retry === undefined || options.isSingle === true || options.signal?.aborted) throw error
    const isIdempotent = options.idempotent ?? this.#retry.idempotent
    const decision = this.#retry.decide({ error, attempts, isIdempotent, previousDelayMs, now, deadline })
    if ('delayMs' in decision) {
      this.counts.retries += 1
      return decision.delayMs
    }
    if (decision.refusal === 'budget') this.counts.budgetExhausted += 1
    throw error
  }

  async #wait(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const cancel = this.#clock.setTimeout(resolve, delayMs)
    const abort = (): void => reject(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      await promise
    } finally {
      cancel()
      signal?.removeEventListener('abort', abort)
    }
  }

  async #onFailure(error: unknown, signal: AbortSignal | undefined): Promise<unknown> {
    this.counts.failed += 1
    if (isRejection(error)) this.counts.rejected += 1
    else if (error instanceof TimeoutError) this.counts.timeouts += 1
    if (this.#fallback === undefined || signal?.aborted) throw error
    const value = await this.#fallback(error)
    this.counts.fallbacks += 1
    return value
  }
}

async function runUntilAborted<T>(
  signal: AbortSignal,
  running: { abort(reason: unknown): void },
  run: () => Promise<T>,
): Promise<T> {
  const abort = (): void => running.abort(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await run()
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

function dropOf(error: unknown): 'dropped' | 'ignored' {
  if (error instanceof TimeoutError) return 'dropped'
  const status = typeof error === 'object' && error !== null && 'status' in error ? error.status : undefined
  return status === 429 || status === 503 || status === 504 ? 'dropped' : 'ignored'
}

/** Whether a policy was given, and not its options. */
function isMade<Policy extends object>(given: object | undefined, method: keyof Policy & string): given is Policy {
  return given !== undefined && method in given
}
