/**
 * Policies for calls that may fail: circuit breaker, retry, timeout, bulkhead, rate limit, load shedding, adaptive limits, hedging
 * and fallback, alone or joined to a pipeline.
 *
 * ```ts
 * import { BreakerOpenError, standardPipeline } from '@fairlead/service/resilience'
 *
 * const stock = standardPipeline({ name: 'stock', attemptTimeoutMs: 2000 })
 * const count = await stock.execute(async ({ signal }) => (signal.aborted ? 0 : 7), { idempotent: true }).catch((error: unknown) => {
 *   if (error instanceof BreakerOpenError) return 0
 *   throw error
 * })
 * console.log(count, stock.health().status)
 * ```
 */
export { createAdmission } from './lib/resilience/admission.ts'
export type {
  Admission,
  AdmissionOptions,
  AdmissionPermit,
  AdmissionRejection,
  AdmissionRequest,
} from './lib/resilience/admission.ts'
export type { Attempt } from './lib/resilience/attempt.ts'
export { createBreaker } from './lib/resilience/breaker.ts'
export type {
  Breaker,
  BreakerChange,
  BreakerCounts,
  BreakerOptions,
  BreakerState,
  BreakerTicket,
  BreakerTrip,
} from './lib/resilience/breaker.ts'
export { createBulkhead } from './lib/resilience/bulkhead.ts'
export type { Bulkhead, BulkheadOptions } from './lib/resilience/bulkhead.ts'
export { createManualClock } from './lib/resilience/clock.ts'
export type { Clock, ManualClock } from './lib/resilience/clock.ts'
export { createConcurrencyLimiter } from './lib/resilience/concurrency.ts'
export type {
  ConcurrencyLimiter,
  ConcurrencyOptions,
  ConcurrencyPermit,
  LimitAlgorithm,
} from './lib/resilience/concurrency.ts'
export {
  BreakerOpenError,
  BulkheadFullError,
  isRejection,
  RateLimitedError,
  ShedError,
  TimeoutError,
  TooManyRequestsError,
} from './lib/resilience/errors.ts'
export type { HedgeOptions } from './lib/resilience/hedge.ts'
export { createKeyedRateLimiter } from './lib/resilience/keyed-rate-limit.ts'
export type { KeyedRateLimiter, KeyedRateLimitOptions, RateDecision } from './lib/resilience/keyed-rate-limit.ts'
export { createAimd, createGradient2, createVegas } from './lib/resilience/limit.ts'
export type {
  AimdOptions,
  ConcurrencyEstimate,
  EstimateOptions,
  Gradient2Options,
  VegasOptions,
  WindowOptions,
} from './lib/resilience/limit.ts'
export { createLoadShedder } from './lib/resilience/load-shedder.ts'
export type { LoadShedder, LoadShedderOptions } from './lib/resilience/load-shedder.ts'
export { pipeline, standardPipeline } from './lib/resilience/pipeline.ts'
export type {
  ExecuteOptions,
  Pipeline,
  PipelineCounts,
  PipelineHealth,
  PipelineOptions,
} from './lib/resilience/pipeline.ts'
export { createRateLimiter } from './lib/resilience/rate-limit.ts'
export type { RateLimiter, RateLimitOptions } from './lib/resilience/rate-limit.ts'
export { classifyError, createRetryBudget } from './lib/resilience/retry.ts'
export type { RetryBudget, RetryBudgetOptions, RetryOptions, RetryVerdict } from './lib/resilience/retry.ts'
export { createThrottle } from './lib/resilience/throttle.ts'
export type { ThrottleOptions } from './lib/resilience/throttle.ts'
