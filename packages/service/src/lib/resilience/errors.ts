import { coded, quote } from '../errors.ts'
import type { ServiceError } from '../errors.ts'

/** Codes of the classes below: each says that the call was not made, or not waited for, and by which policy. */
const codes = {
  open: 'FAIRLEAD_SERVICE_BREAKER_OPEN',
  tooMany: 'FAIRLEAD_SERVICE_TOO_MANY_REQUESTS',
  full: 'FAIRLEAD_SERVICE_BULKHEAD_FULL',
  limited: 'FAIRLEAD_SERVICE_RATE_LIMITED',
  shed: 'FAIRLEAD_SERVICE_SHED',
  timeout: 'FAIRLEAD_SERVICE_TIMEOUT',
} as const

/** A circuit breaker is open: the call was not made, because those before it failed. */
export class BreakerOpenError extends Error {
  override readonly name = 'BreakerOpenError'
  readonly code: 'FAIRLEAD_SERVICE_BREAKER_OPEN' = codes.open
  readonly hint = 'Wait until the called side has recovered; the breaker finds out by itself'
  /** When the breaker will let a call through to try, if it is known. */
  readonly retryAfterMs: number | undefined

  constructor(subject: string, retryAfterMs?: number, cause?: unknown) {
    super(`Cannot call ${quote(subject)}: its circuit breaker is open`, causeOf(cause))
    this.retryAfterMs = retryAfterMs
  }
}

/** A half-open circuit breaker has as many calls under way as it tries with. */
export class TooManyRequestsError extends Error {
  override readonly name = 'TooManyRequestsError'
  readonly code: 'FAIRLEAD_SERVICE_TOO_MANY_REQUESTS' = codes.tooMany
  readonly hint = 'Try again when the calls under way have shown whether the called side has recovered'

  constructor(subject: string, cause?: unknown) {
    super(`Cannot call ${quote(subject)}: too many requests while its circuit breaker is half-open`, causeOf(cause))
  }
}

/** A bulkhead or concurrency limit has no place for the call, neither now nor in its queue. */
export class BulkheadFullError extends Error {
  override readonly name = 'BulkheadFullError'
  readonly code: 'FAIRLEAD_SERVICE_BULKHEAD_FULL' = codes.full
  readonly hint = 'Call less at the same time, or allow more'

  constructor(subject: string, limit: number) {
    super(`Cannot call ${quote(subject)}: ${limit} calls are under way, which is the limit`)
  }
}

/** A rate limit is exceeded. */
export class RateLimitedError extends Error {
  override readonly name = 'RateLimitedError'
  readonly code: 'FAIRLEAD_SERVICE_RATE_LIMITED' = codes.limited
  readonly hint = 'Call again after retryAfterMs, or allow a higher rate'
  readonly retryAfterMs: number

  constructor(subject: string, retryAfterMs: number) {
    super(`Cannot call ${quote(subject)}: the rate limit is exceeded for ${Math.ceil(retryAfterMs)} ms`)
    this.retryAfterMs = retryAfterMs
  }
}

/** This process has more to do than it can. */
export class ShedError extends Error {
  override readonly name = 'ShedError'
  readonly code: 'FAIRLEAD_SERVICE_SHED' = codes.shed
  readonly hint = 'Give the service more CPU or more replicas, or send it less'

  constructor(subject: string, state: string) {
    super(`Cannot call ${quote(subject)}: ${state}`)
  }
}

/** There was no result in time. What was begun may still be going on, unless it looked at the signal. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
  readonly code: 'FAIRLEAD_SERVICE_TIMEOUT' = codes.timeout
  readonly hint = 'Find what it waits for, or allow more time'
  /** `attempt`: one try, which may be repeated. `total`: the whole call, retries included. */
  readonly scope: 'attempt' | 'total'

  constructor(subject: string, scope: 'attempt' | 'total', timeoutMs: number) {
    super(`Cannot call ${quote(subject)}: no result after ${Math.round(timeoutMs)} ms`)
    this.scope = scope
  }
}

/** Whether `error` is a policy's refusal: the call was not made at all. */
export function isRejection(
  error: unknown,
): error is BreakerOpenError | TooManyRequestsError | BulkheadFullError | RateLimitedError | ShedError {
  return (
    error instanceof BreakerOpenError ||
    error instanceof TooManyRequestsError ||
    error instanceof BulkheadFullError ||
    error instanceof RateLimitedError ||
    error instanceof ShedError
  )
}

export function policyInvalid(policy: string, option: string, value: unknown, expected: string): ServiceError {
  return coded(
    new RangeError(`Cannot create ${policy}: ${option} is ${quote(String(value))}, expected ${expected}`),
    'FAIRLEAD_SERVICE_POLICY',
    `Set ${option} to ${expected}, or leave it out`,
  )
}

/** @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY` unless `value` is a number from `min` to `max`. */
export function checkNumber(
  policy: string,
  option: string,
  value: number,
  min: number,
  max: number = Infinity,
): number {
  if (value >= min && value <= max) return value
  const expected = max === Infinity ? `a number of at least ${min}` : `a number from ${min} to ${max}`
  throw policyInvalid(policy, option, value, expected)
}

function causeOf(cause: unknown): ErrorOptions {
  return cause === undefined ? {} : { cause }
}
