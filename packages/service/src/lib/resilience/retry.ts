import { codeOf } from '../errors.ts'
import { checkNumber, isRejection, policyInvalid, TimeoutError } from './errors.ts'

/**
 * What repeating a failed call would do. `never`: fail again, or harm. `idempotent`: fine if doing it twice is the same as once.
 * `always`: fine, because it has not been done at all.
 */
export type RetryVerdict = 'never' | 'idempotent' | 'always'

export interface RetryOptions {
  /** Tries beyond the first. Default 3. */
  readonly retries?: number | undefined
  /** Longest wait before the first retry; it doubles with each further one. Default 100. */
  readonly baseDelayMs?: number | undefined
  /** Default 10,000. */
  readonly maxDelayMs?: number | undefined
  /**
   * `full` (default): anything from 0 to the exponential wait. `decorrelated`: from the base to three times the wait before.
   * `none`: exactly the exponential wait. See Brooker, Exponential Backoff And Jitter.
   */
  readonly jitter?: 'full' | 'decorrelated' | 'none' | undefined
  /** Whether calls are idempotent that do not say. Default true; {@link standardPipeline} has false. */
  readonly idempotent?: boolean | undefined
  /** What a thrown value means. Default: {@link classifyError}. */
  readonly classify?: ((error: unknown) => RetryVerdict) | undefined
  /** A longer Retry-After is not waited for: the call fails. Default 30,000. */
  readonly maxRetryAfterMs?: number | undefined
  /** Default: 20% of the calls and 10 per second. `false`: without limit. */
  readonly budget?: RetryBudget | RetryBudgetOptions | false | undefined
  /** From 0 to 1. Default `Math.random`. */
  readonly random?: (() => number) | undefined
}

export interface RetryBudgetOptions {
  /** Retries per call. Default 0.2. */
  readonly ratio?: number | undefined
  /** Retries per second that are permitted however few calls there are. Default 10. */
  readonly minPerSecond?: number | undefined
  /** How many unused retries are saved up at most. Default 100. */
  readonly burst?: number | undefined
}

/** Keeps retries a small share of calls, so that they do not multiply the load of a service that is failing. */
export interface RetryBudget {
  /** Retries that would be permitted now. */
  readonly available: number
  /** Counts a call. */
  deposit(): void
  /** Takes a retry out; false when there is none. `now` in milliseconds of any clock. */
  withdraw(now: number): boolean
}

/**
 * A token bucket: each call puts a fifth of a retry in, each retry takes one out, and a few per second come for free.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function createRetryBudget(options: RetryBudgetOptions = {}): RetryBudget {
  const ratio = checkNumber('a retry budget', 'ratio', options.ratio ?? 0.2, 0)
  const perMs = checkNumber('a retry budget', 'minPerSecond', options.minPerSecond ?? 10, 0) / 1000
  const burst = checkNumber('a retry budget', 'burst', options.burst ?? 100, 1)
  let tokens = Math.min(burst, perMs * 1000)
  let filledAt: number | undefined
  /** Not yet among the tokens: every call counts one up, and a whole number costs nothing to keep. */
  let deposits = 0
  return {
    get available() {
      return Math.floor(Math.min(burst, tokens + deposits * ratio) + 1e-9)
    },
    deposit() {
      deposits += 1
    },
    withdraw(now) {
      tokens = Math.min(burst, tokens + deposits * ratio + Math.max(0, now - (filledAt ?? now)) * perMs)
      deposits = 0
      filledAt = now
      // A fifth added five times is a little less than one.
      if (tokens < 1 - 1e-9) return false
      tokens -= 1
      return true
    },
  }
}

/** The decisions of a retry policy: pure but for its randomness and budget. */
export interface RetryDecider {
  readonly budget: RetryBudget | undefined
  readonly idempotent: boolean
  /** How long to wait before the next try, or why there is none. `previousDelayMs` is 0 before the first retry. */
  decide(failure: RetryFailure): { readonly delayMs: number } | { readonly refusal: RetryRefusal }
}

export type RetryRefusal = 'final' | 'exhausted' | 'too-late' | 'budget'

export interface RetryFailure {
  readonly error: unknown
  /** Tries there were. */
  readonly attempts: number
  readonly isIdempotent: boolean
  readonly previousDelayMs: number
  readonly now: number
  /** Of the whole call. */
  readonly deadline: number
}

/** @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY` */
export function createRetryDecider(options: RetryOptions): RetryDecider {
  const check = (option: 'retries' | 'baseDelayMs' | 'maxDelayMs' | 'maxRetryAfterMs', standard: number): number =>
    checkNumber('a retry policy', option, options[option] ?? standard, 0)
  const retries = check('retries', 3)
  const baseMs = check('baseDelayMs', 100)
  const maxMs = check('maxDelayMs', 10_000)
  const maxRetryAfterMs = check('maxRetryAfterMs', 30_000)
  const classify = options.classify ?? classifyError
  const budget = options.budget === false ? undefined : toBudget(options.budget)
  const jitter = options.jitter ?? 'full'
  if (!Object.hasOwn(jitters, jitter))
    throw policyInvalid('a retry policy', 'jitter', jitter, 'full, decorrelated or none')
  const backoff = jitters[jitter]
  const random = options.random ?? Math.random
  return {
    budget,
    idempotent: options.idempotent ?? true,
    decide({ error, attempts, isIdempotent, previousDelayMs, now, deadline }) {
      const verdict = classify(error)
      if (verdict === 'never' || (verdict === 'idempotent' && !isIdempotent)) return { refusal: 'final' }
      if (attempts > retries) return { refusal: 'exhausted' }
      const retryAfterMs = retryAfterOf(error)
      if (retryAfterMs > maxRetryAfterMs) return { refusal: 'too-late' }
      const delayMs = Math.max(retryAfterMs, backoff({ attempts, baseMs, maxMs, previousMs: previousDelayMs, random }))
      if (now + delayMs >= deadline) return { refusal: 'too-late' }
      return budget === undefined || budget.withdraw(now) ? { delayMs } : { refusal: 'budget' }
    },
  }
}

interface Backoff {
  readonly attempts: number
  readonly baseMs: number
  readonly maxMs: number
  readonly previousMs: number
  readonly random: () => number
}

const exponential = ({ attempts, baseMs, maxMs }: Backoff): number => Math.min(maxMs, baseMs * 2 ** (attempts - 1))

const jitters = {
  none: exponential,
  full: (state: Backoff) => state.random() * exponential(state),
  decorrelated: ({ baseMs, maxMs, previousMs, random }: Backoff) =>
    Math.min(maxMs, baseMs + random() * (Math.max(baseMs, previousMs) * 3 - baseMs)),
} satisfies Record<string, (state: Backoff) => number>

// Answers that may be others next time (RFC 9110, 15.5.9 and 15.6; RFC 6585, 4; RFC 8470, 5.2).
const passingStatuses = new Set([408, 425, 429, 500, 502, 503, 504])
// The connection was not made: nothing has been sent.
const unsentCodes = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'FAIRLEAD_SERVICE_NO_ENDPOINTS',
])

/**
 * The usual meaning of a thrown value: refusals of a policy, mistakes of the program, aborts and most 4xx are final; answers
 * 408, 425, 429 and 5xx, timeouts and broken connections may be repeated if that does no harm; connections that were never
 * made may be repeated always. Looks at `status` and `code` of the error and its causes.
 */
export function classifyError(error: unknown): RetryVerdict {
  if (error instanceof TimeoutError) return error.scope === 'attempt' ? 'idempotent' : 'never'
  if (isRejection(error)) return 'never'
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth += 1) {
    if (cause.name === 'AbortError') return 'never'
    if ('status' in cause && typeof cause.status === 'number')
      return passingStatuses.has(cause.status) ? 'idempotent' : 'never'
    const code = codeOf(cause)
    if (code !== undefined && unsentCodes.has(code)) return 'always'
    if (code !== undefined && /^(E[A-Z]+|UND_ERR_\w+|HPE_\w+)$/.test(code)) return 'idempotent'
  }
  const isMistake =
    error instanceof TypeError ||
    error instanceof ReferenceError ||
    error instanceof SyntaxError ||
    error instanceof RangeError
  return isMistake ? 'never' : 'idempotent'
}

/** What the error says of when to come back, 0 if nothing. */
function retryAfterOf(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('retryAfterMs' in error)) return 0
  const { retryAfterMs } = error
  return typeof retryAfterMs === 'number' && retryAfterMs > 0 ? retryAfterMs : 0
}

function toBudget(budget: RetryBudget | RetryBudgetOptions | undefined): RetryBudget {
  return budget !== undefined && 'withdraw' in budget ? budget : createRetryBudget(budget)
}
