import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { BulkheadFullError, checkNumber, policyInvalid } from './errors.ts'
import { createAimd, createGradient2, createVegas, createWindow } from './limit.ts'
import type { AimdOptions, ConcurrencyEstimate, Gradient2Options, VegasOptions, WindowOptions } from './limit.ts'

/** How the limit is found: an algorithm with its usual settings, or an estimate made with others. */
export type LimitAlgorithm = 'gradient2' | 'vegas' | 'aimd' | ConcurrencyEstimate

export interface ConcurrencyOptions {
  /** In errors and metrics. Default `concurrency limit`. */
  readonly name?: string | undefined
  /** Default `gradient2`, which is for servers; clients use `aimd`. */
  readonly algorithm?: LimitAlgorithm | undefined
  /**
   * Shares of the limit by partition, from 0 to 1, together at most 1. While the limit is not reached anybody may come; when
   * it is, a partition still gets its share. Calls of no partition have none.
   */
  readonly partitions?: Readonly<Record<string, number>> | undefined
  /** How samples are put together. `false`: each is one. */
  readonly window?: WindowOptions | false | undefined
  readonly clock?: Clock | undefined
}

/** A place among the calls under way. */
export interface ConcurrencyPermit {
  /** Gives it back. `dropped`: refused further on, or out of time. `ignored`: says nothing of the load. Once only. */
  release(outcome?: 'done' | 'dropped' | 'ignored', now?: number): void
}

/** Bounds how many calls are under way by what they show to be bearable. */
export interface ConcurrencyLimiter {
  readonly name: string
  readonly limit: number
  readonly active: number
  /** A place, or undefined when there is none. */
  tryEnter(partition?: string, now?: number): ConcurrencyPermit | undefined
  /** @throws {BulkheadFullError} */
  execute<T>(work: () => T | Promise<T>): Promise<T>
  health(): { readonly status: 'up' | 'degraded'; readonly limit: number; readonly active: number }
}

/** @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY` */
export function createConcurrencyLimiter(options: ConcurrencyOptions = {}): ConcurrencyLimiter {
  return new AdaptiveLimiter(options)
}

interface Partition {
  readonly share: number
  active: number
}

class AdaptiveLimiter implements ConcurrencyLimiter {
  readonly name: string
  readonly clock: Clock
  readonly #estimate: ConcurrencyEstimate
  readonly #sampler: { sample(rttMs: number, inflight: number, isDropped: boolean, now: number): void }
  readonly #partitions: ReadonlyMap<string, Partition>
  readonly #others: Partition = { share: 0, active: 0 }
  #active = 0

  constructor(options: ConcurrencyOptions) {
    this.name = options.name ?? 'concurrency limit'
    this.clock = options.clock ?? systemClock
    const estimate = toEstimate(options.algorithm ?? 'gradient2')
    this.#estimate = estimate
    this.#sampler = options.window === false ? estimate : createWindow(estimate, options.window)
    this.#partitions = toPartitions(options.partitions ?? {})
  }

  get limit(): number {
    return this.#estimate.limit
  }

  get active(): number {
    return this.#active
  }

  tryEnter(name?: string, now: number = this.clock.now()): ConcurrencyPermit | undefined {
    const partition = (name === undefined ? undefined : this.#partitions.get(name)) ?? this.#others
    const { limit } = this.#estimate
    if (this.#active >= limit && partition.active >= shareOf(partition, limit)) return undefined
    this.#active += 1
    partition.active += 1
    return new Permit(this, partition, now, this.#active)
  }

  leave(permit: Permit, outcome: 'done' | 'dropped' | 'ignored', now: number): void {
    this.#active -= 1
    permit.partition.active -= 1
    if (outcome !== 'ignored')
      this.#sampler.sample(Math.max(1e-6, now - permit.since), permit.inflight, outcome === 'dropped', now)
  }

  async execute<T>(work: () => T | Promise<T>): Promise<T> {
    const permit = this.tryEnter()
    if (permit === undefined) throw new BulkheadFullError(this.name, this.limit)
    try {
      const value = await work()
      permit.release('done')
      return value
    } catch (error) {
      permit.release('ignored')
      throw error
    }
  }

  health(): { status: 'up' | 'degraded'; limit: number; active: number } {
    const { limit, active } = this
    return { status: active >= limit ? 'degraded' : 'up', limit, active }
  }
}

class Permit implements ConcurrencyPermit {
  readonly #limiter: AdaptiveLimiter
  readonly partition: Partition
  readonly since: number
  readonly inflight: number
  #isHeld = true

  constructor(limiter: AdaptiveLimiter, partition: Partition, since: number, inflight: number) {
    this.#limiter = limiter
    this.partition = partition
    this.since = since
    this.inflight = inflight
  }

  release(outcome: 'done' | 'dropped' | 'ignored' = 'done', now: number = this.#limiter.clock.now()): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.#limiter.leave(this, outcome, now)
  }
}

function shareOf(partition: Partition, limit: number): number {
  return partition.share === 0 ? 0 : Math.max(1, Math.ceil(limit * partition.share))
}

function toEstimate(algorithm: LimitAlgorithm): ConcurrencyEstimate {
  if (typeof algorithm === 'object') return algorithm
  const create = { gradient2: createGradient2, vegas: createVegas, aimd: createAimd }[algorithm] as
    | ((options?: Gradient2Options & VegasOptions & AimdOptions) => ConcurrencyEstimate)
    | undefined
  if (create === undefined)
    throw policyInvalid('a concurrency limit', 'algorithm', algorithm, 'gradient2, vegas or aimd')
  return create()
}

function toPartitions(shares: Readonly<Record<string, number>>): ReadonlyMap<string, Partition> {
  let sum = 0
  const partitions = new Map<string, Partition>()
  for (const [name, share] of Object.entries(shares)) {
    sum += checkNumber('a concurrency limit', `partitions.${name}`, share, 0, 1)
    partitions.set(name, { share, active: 0 })
  }
  if (sum > 1 + 1e-9)
    throw policyInvalid('a concurrency limit', 'partitions', sum, 'shares that are together at most 1')
  return partitions
}
