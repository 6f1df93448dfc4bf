import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { checkNumber } from './errors.ts'

export interface KeyedRateLimitOptions {
  /** Calls of one key per period, in the long run. */
  readonly limit: number
  /** Default 1000. */
  readonly periodMs?: number | undefined
  /** How many of one key may come at once. Default: `limit`. */
  readonly burst?: number | undefined
  /** Keys that are remembered; beyond it the one that was seen longest ago is forgotten. Default 10000. */
  readonly maxKeys?: number | undefined
  readonly clock?: Clock | undefined
}

/** What became of a call. */
export interface RateDecision {
  /** 0 when it is permitted, else in how many milliseconds it would be. */
  readonly waitMs: number
  /** Calls of the key that would be permitted now. */
  readonly remaining: number
  /** In how many milliseconds the key has all of its burst again. */
  readonly resetMs: number
}

/** Permits so many calls per time to each of many keys. */
export interface KeyedRateLimiter {
  readonly limit: number
  readonly periodMs: number
  readonly burst: number
  /** Keys that are remembered. */
  readonly size: number
  take(key: string): RateDecision
}

/**
 * The generic cell rate algorithm (ITU-T I.371, Annex A) with one number per key, in a table that is bounded: whoever makes up
 * keys costs no more memory than `maxKeys`, and at worst makes the quiet ones forgotten, who then begin anew.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function createKeyedRateLimiter(options: KeyedRateLimitOptions): KeyedRateLimiter {
  const clock = options.clock ?? systemClock
  const limit = checkNumber('a rate limit', 'limit', options.limit, Number.MIN_VALUE)
  const periodMs = checkNumber('a rate limit', 'periodMs', options.periodMs ?? 1000, Number.MIN_VALUE)
  const burst = checkNumber('a rate limit', 'burst', options.burst ?? Math.max(1, limit), 1)
  const maxKeys = checkNumber('a rate limit', 'maxKeys', options.maxKeys ?? 10_000, 1, 10_000_000)
  const intervalMs = periodMs / limit
  const toleranceMs = burst * intervalMs
  /** The theoretical arrival time of each key, the one that was seen last at the end. */
  const arrivals = new Map<string, number>()

  return {
    limit,
    periodMs,
    burst,
    get size() {
      return arrivals.size
    },
    take(key) {
      const now = clock.now()
      const arrival = Math.max(arrivals.get(key) ?? now, now)
      const waitMs = arrival + intervalMs - toleranceMs - now
      // Sums of fractions are off by some billionths.
      const isPermitted = waitMs <= 1e-6
      const next = isPermitted ? arrival + intervalMs : arrival
      arrivals.delete(key)
      arrivals.set(key, next)
      if (arrivals.size > maxKeys) forgetOldest(arrivals)
      return {
        waitMs: isPermitted ? 0 : waitMs,
        remaining: Math.max(0, Math.floor((toleranceMs - (next - now)) / intervalMs + 1e-9)),
        resetMs: next - now,
      }
    },
  }
}

function forgetOldest(arrivals: Map<string, number>): void {
  for (const key of arrivals.keys()) {
    arrivals.delete(key)
    return
  }
}
