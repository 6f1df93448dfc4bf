import { classCodes, messageOf } from '../errors.ts'
import {
  BreakerOpenError,
  BulkheadFullError,
  RateLimitedError,
  ShedError,
  TimeoutError,
  TooManyRequestsError,
} from '../resilience/errors.ts'
import { classifyError } from '../resilience/retry.ts'
import type { RetryVerdict } from '../resilience/retry.ts'

/**
 * `unreachable`: no answer. `timeout`: none in time. `aborted`: our caller gave up. `status`: an answer, but not 2xx. `invalid`:
 * a 2xx answer, or a body to send, that is not as expected. The others are refusals of a policy, and nothing was sent: `open`
 * and `too-many-requests` by the circuit breaker, `full` by the bulkhead, `rate-limited`, `shed`.
 */
export type CallFailure =
  | 'unreachable'
  | 'timeout'
  | 'aborted'
  | 'status'
  | 'invalid'
  | 'open'
  | 'too-many-requests'
  | 'full'
  | 'rate-limited'
  | 'shed'

/** Why a call to another service gave nothing usable. */
export class CallError extends Error {
  override readonly name = 'CallError'
  readonly code: 'FAIRLEAD_SERVICE_CALL' = classCodes.call
  readonly hint = 'Check that the called service is up and that its address is right'
  readonly reason: CallFailure
  readonly status: number | undefined
  /** The answer's `detail` when it was problem details (RFC 9457). */
  readonly detail: string | undefined
  /** The answer when it was a JSON object: problem details with their further members, or an error of the service's own form. */
  readonly problem: Readonly<Record<string, unknown>> | undefined
  /** From Retry-After, or from the policy that refused. */
  readonly retryAfterMs: number | undefined

  constructor(
    subject: string,
    reason: CallFailure,
    state: string,
    options: {
      readonly status?: number | undefined
      readonly problem?: Readonly<Record<string, unknown>> | undefined
      readonly retryAfterMs?: number | undefined
      readonly cause?: unknown
    } = {},
  ) {
    super(`Cannot call "${subject}": ${state}`, options.cause === undefined ? {} : { cause: options.cause })
    this.reason = reason
    this.status = options.status
    this.problem = options.problem
    const detail = options.problem?.['detail']
    this.detail = typeof detail === 'string' ? detail : undefined
    this.retryAfterMs = options.retryAfterMs
  }
}

/** The error of an answer other than 2xx, whose body was `text`. */
export function statusError(
  subject: string,
  status: number,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  text: string,
): CallError {
  return new CallError(subject, 'status', `it answered ${status}`, {
    status,
    problem: parseObject(text),
    retryAfterMs: parseRetryAfter(headers['retry-after'], Date.now()),
  })
}

/** RFC 9110, section 10.2.3: seconds, or a date. */
export function parseRetryAfter(header: string | string[] | undefined, nowMs: number): number | undefined {
  if (typeof header !== 'string') return undefined
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000
  const at = Date.parse(header)
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs)
}

/** Any error of a call as a {@link CallError}. */
export function toCallError(subject: string, error: unknown, signal: AbortSignal | undefined): CallError {
  if (error instanceof CallError) return error
  if (signal?.aborted) return new CallError(subject, 'aborted', 'the caller gave up', { cause: error })
  if (error instanceof TimeoutError)
    return new CallError(subject, 'timeout', 'there was no answer in time', { cause: error })
  const refusal = refusalOf(error)
  if (refusal !== undefined) {
    const retryAfterMs =
      error instanceof BreakerOpenError || error instanceof RateLimitedError ? error.retryAfterMs : undefined
    return new CallError(subject, refusal, stateOf(error), { cause: error, retryAfterMs })
  }
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  return new CallError(subject, 'unreachable', `there is no connection (${messageOf(cause)})`, { cause: error })
}

/** What repeating the call would do. */
export function classifyCall(error: unknown): RetryVerdict {
  if (error instanceof CallError && (error.reason === 'invalid' || error.reason === 'aborted')) return 'never'
  return classifyError(error)
}

/** Whether the called service did its part, although the call gave nothing usable: it is not what a breaker guards against. */
export function isServed(error: unknown): boolean {
  if (!(error instanceof CallError)) return false
  if (error.reason === 'invalid') return true
  return error.status !== undefined && error.status < 500 && error.status !== 429
}

function refusalOf(error: unknown): CallFailure | undefined {
  if (error instanceof BreakerOpenError) return 'open'
  if (error instanceof TooManyRequestsError) return 'too-many-requests'
  if (error instanceof BulkheadFullError) return 'full'
  if (error instanceof RateLimitedError) return 'rate-limited'
  return error instanceof ShedError ? 'shed' : undefined
}

/** The policy's sentence without its subject. */
function stateOf(error: unknown): string {
  const message = messageOf(error)
  return message.slice(message.indexOf('": ') + 3)
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    // What is neither null nor an array is an object with string keys.
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    // The status says enough.
    return undefined
  }
}
