import type { RetryCondition, RetryPolicy } from '../model.ts'

/** What came of an attempt. */
export interface Attempt {
  readonly method: string
  /** The endpoint cannot have seen the request: it had no connection. */
  readonly isUnsent: boolean
  /** Absent when no answer came. */
  readonly status?: number | undefined
}

/** Where a route says nothing: what was not sent, or may be repeated by its method (RFC 9110, 9.2.2), goes to another endpoint. */
export const defaultRetry: RetryPolicy = { attempts: 2, on: ['connect-failure'], statuses: [], backoffMs: 0 }

const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** Whether an attempt is to be followed by another. Pure. */
export function isRetryable(policy: RetryPolicy, attempt: Attempt): boolean {
  const asked = (condition: RetryCondition): boolean => policy.on.includes(condition)
  const { status, isUnsent, method } = attempt
  if (status !== undefined) {
    if (policy.statuses.includes(status)) return true
    if (status === 409) return asked('retriable-4xx')
    return (status >= 500 && asked('5xx')) || (status >= 502 && status <= 504 && asked('gateway-error'))
  }
  if (isUnsent) return policy.on.length > 0
  return asked('reset') || asked('5xx') || asked('gateway-error') || idempotent.has(method)
}

/** Before attempt `number` (1 is the first repetition): doubled each time, up to ten times the base, as Envoy, without its jitter in the first. */
export function backoffOf(policy: RetryPolicy, number: number, random: () => number): number {
  if (policy.backoffMs <= 0) return 0
  const full = Math.min(policy.backoffMs * 2 ** (number - 1), policy.backoffMs * 10)
  return number === 1 ? Math.min(full, policy.backoffMs) * random() : full * random()
}
