import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { checkNumber, policyInvalid, RateLimitedError } from './errors.ts'

export interface RateLimitOptions {
  /** In errors and metrics. Default `rate limit`. */
  readonly name?: string | undefined
  /** Calls per period, in the long run. */
  readonly limit: number
  /** Default 1000. */
  readonly periodMs?: number | undefined
  /** How many may come at once. Default: `limit`. */
  readonly burst?: number | undefined
  /**
   * `gcra` (default): the generic cell rate algorithm, which remembers one number. `token-bucket`: the same permits, and a
   * balance to look at.
   */
  readonly algorithm?: 'gcra' | 'token-bucket' | undefined
  readonly clock?: Clock | undefined
}

/** Permits so many calls per time. */
export interface RateLimiter {
  readonly name: string
  /** Calls that would be permitted now. */
  readonly available: number
  /** Takes `cost` permits (default 1): 0 when they are granted, else in how many milliseconds they would be. */
  take(cost?: number, now?: number): number
  /** @throws {RateLimitedError} with `retryAfterMs` */
  execute<T>(work: () => T | Promise<T>): Promise<T>
}

/** @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY` */
export function createRateLimiter(options: RateLimitOptions): RateLimiter {
  const name = options.name ?? 'rate limit'
  const clock = options.clock ?? systemClock
  const limit = checkNumber('a rate limit', 'limit', options.limit, Number.MIN_VALUE)
  const periodMs = checkNumber('a rate limit', 'periodMs', options.periodMs ?? 1000, Number.MIN_VALUE)
  const burst = checkNumber('a rate limit', 'burst', options.burst ?? Math.max(1, limit), 1)
  const algorithm = options.algorithm ?? 'gcra'
  if (algorithm !== 'gcra' && algorithm !== 'token-bucket')
    throw policyInvalid('a rate limit', 'algorithm', algorithm, 'gcra or token-bucket')
  const state = (algorithm === 'gcra' ? createGcra : createTokenBucket)(periodMs / limit, burst)
  return {
    name,
    get available() {
      return Math.max(0, Math.floor(state.available(clock.now()) + 1e-9))
    },
    take: (cost = 1, now = clock.now()) => state.take(cost, now),
    async execute(work) {
      const waitMs = state.take(1, clock.now())
      if (waitMs > 0) throw new RateLimitedError(name, waitMs)
      return await work()
    },
  }
}

interface RateState {
  available(now: number): number
  take(cost: number, now: number): number
}

/** ITU-T I.371, Annex A, virtual scheduling: the theoretical arrival time is all there is to remember. */
function createGcra(intervalMs: number, burst: number): RateState {
  const toleranceMs = burst * intervalMs
  let arrival = -Infinity
  return {
    available: (now) => (toleranceMs - Math.max(0, arrival - now)) / intervalMs,
    take(cost, now) {
      const next = Math.max(arrival, now) + cost * intervalMs
      const waitMs = next - toleranceMs - now
      // Sums of fractions are off by some billionths.
      if (waitMs > 1e-6) return waitMs
      arrival = next
      return 0
    },
  }
}

function createTokenBucket(intervalMs: number, burst: number): RateState {
  let tokens = burst
  let filledAt: number | undefined
  const fill = (now: number): void => {
    tokens = Math.min(burst, tokens + Math.max(0, now - (filledAt ?? now)) / intervalMs)
    filledAt = now
  }
  return {
    available(now) {
      fill(now)
      return tokens
    },
    take(cost, now) {
      fill(now)
      if (tokens < cost - 1e-9) return (cost - tokens) * intervalMs
      tokens -= cost
      return 0
    },
  }
}
