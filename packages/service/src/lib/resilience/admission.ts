import type { Clock } from './clock.ts'
import { createConcurrencyLimiter } from './concurrency.ts'
import type { ConcurrencyLimiter, ConcurrencyOptions, ConcurrencyPermit } from './concurrency.ts'
import { checkNumber } from './errors.ts'
import { createLoadShedder } from './load-shedder.ts'
import type { LoadShedder, LoadShedderOptions } from './load-shedder.ts'
import type { Metrics } from '../metrics/metrics.ts'

/** How a service protects itself from more requests than it can serve. */
export interface AdmissionOptions {
  /** Requests at once: found by `gradient2` or `vegas`, or a number, or none. Default `gradient2`. */
  readonly concurrency?: 'gradient2' | 'vegas' | number | ConcurrencyOptions | false | undefined
  /** Refuses while CPU or event loop are overloaded. Default true. */
  readonly shed?: boolean | LoadShedder | LoadShedderOptions | undefined
  /** Shares of the limit that requests of a partition are sure of, from 0 to 1. */
  readonly partitions?: Readonly<Record<string, number>> | undefined
  /** The partition of a request. Without this there is only one. */
  readonly partitionOf?: ((request: AdmissionRequest) => string | undefined) | undefined
  /** From 0 (first to be refused) to 1 (never, when the process is overloaded). Default 0.5 for all. */
  readonly priorityOf?: ((request: AdmissionRequest) => number) | undefined
  /** Requests that are always let in. Default: paths of health endpoints and metrics. */
  readonly isExempt?: ((request: AdmissionRequest) => boolean) | undefined
  /** What a refused caller is told to wait, in whole seconds. Default 1. */
  readonly retryAfterSeconds?: number | undefined
  readonly metrics?: Metrics | undefined
  readonly clock?: Clock | undefined
}

/** What a decision looks at; `IncomingMessage` of node:http is one. */
export interface AdmissionRequest {
  readonly method?: string | undefined
  /** Path and query. */
  readonly url?: string | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** A refused request: what to answer. */
export interface AdmissionRejection {
  readonly isAdmitted: false
  readonly status: 503
  readonly reason: 'limit' | 'overload'
  readonly detail: string
  readonly headers: Readonly<Record<string, string>>
}

/** A request that was let in: to be released once, when its answer is over. */
export interface AdmissionPermit {
  readonly isAdmitted: true
  /** `dropped` for an answer 503 or 504, `ignored` for one the caller did not wait for. */
  release(outcome?: 'done' | 'dropped' | 'ignored'): void
}

export interface Admission extends Disposable {
  readonly limiter: ConcurrencyLimiter | undefined
  readonly shedder: LoadShedder | undefined
  admit(request: AdmissionRequest): AdmissionPermit | AdmissionRejection
  health(): {
    readonly status: 'up' | 'degraded'
    readonly limit?: number
    readonly active?: number
    readonly cpu?: number
  }
}

const healthPaths = new Set([
  '/health',
  '/health/live',
  '/health/ready',
  '/health/startup',
  '/healthz',
  '/livez',
  '/readyz',
  '/startupz',
  '/ready',
  '/metrics',
])

const exempt: AdmissionPermit = { isAdmitted: true, release() {} }

/**
 * The gate in front of a service's handlers. A refusal is an answer 503 with Retry-After and `x-envoy-overloaded`, by which a mesh
 * knows not to retry at once.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function createAdmission(options: AdmissionOptions = {}): Admission {
  const limiter = toLimiter(options)
  const shedder = toShedder(options)
  const isExempt = options.isExempt ?? isHealth
  const seconds = checkNumber('an admission', 'retryAfterSeconds', options.retryAfterSeconds ?? 1, 0)
  const headers = { 'retry-after': String(Math.ceil(seconds)), 'x-envoy-overloaded': 'true' }
  const rejections = options.metrics?.counter('http_requests_rejected_total', {
    help: 'HTTP requests refused because the service was at its limit.',
    labels: ['reason'],
  })
  if (limiter !== undefined && options.metrics !== undefined) {
    const gauge = options.metrics.gauge('http_concurrency_limit', { help: 'HTTP requests that are served at once.' })
    options.metrics.onCollect(() => gauge.set(limiter.limit))
  }
  const reject = (reason: 'limit' | 'overload', detail: string): AdmissionRejection => {
    rejections?.labels({ reason }).inc()
    return { isAdmitted: false, status: 503, reason, detail, headers }
  }

  return {
    limiter,
    shedder,
    admit(request) {
      if (isExempt(request)) return exempt
      if (shedder?.shouldShed(options.priorityOf?.(request))) return reject('overload', 'The service is overloaded')
      const permit = limiter?.tryEnter(options.partitionOf?.(request))
      if (limiter !== undefined && permit === undefined)
        return reject('limit', 'The service is serving as many requests as it can')
      return new Admitted(permit, shedder)
    },
    health() {
      const isUp = limiter?.health().status !== 'degraded' && shedder?.health().status !== 'degraded'
      return {
        status: isUp ? 'up' : 'degraded',
        ...(limiter ? { limit: limiter.limit, active: limiter.active } : {}),
        ...(shedder ? { cpu: shedder.cpu } : {}),
      }
    },
    [Symbol.dispose]() {
      shedder?.[Symbol.dispose]()
    },
  }
}

class Admitted implements AdmissionPermit {
  readonly isAdmitted = true
  readonly #permit: ConcurrencyPermit | undefined
  #shedder: LoadShedder | undefined
  readonly #startedAt: number

  constructor(permit: ConcurrencyPermit | undefined, shedder: LoadShedder | undefined) {
    this.#permit = permit
    this.#shedder = shedder
    this.#startedAt = shedder?.begin() ?? 0
  }

  release(outcome: 'done' | 'dropped' | 'ignored' = 'done'): void {
    this.#permit?.release(outcome)
    this.#shedder?.end(this.#startedAt)
    this.#shedder = undefined
  }
}

function isHealth({ url = '' }: AdmissionRequest): boolean {
  const end = url.indexOf('?')
  return healthPaths.has(end === -1 ? url : url.slice(0, end))
}

function toLimiter({ concurrency = 'gradient2', partitions, clock }: AdmissionOptions): ConcurrencyLimiter | undefined {
  if (concurrency === false) return undefined
  const common = { name: 'requests', partitions, clock }
  if (typeof concurrency === 'string') return createConcurrencyLimiter({ ...common, algorithm: concurrency })
  if (typeof concurrency === 'object') return createConcurrencyLimiter({ ...common, ...concurrency })
  const limit = checkNumber('an admission', 'concurrency', concurrency, 1)
  return createConcurrencyLimiter({ ...common, algorithm: { limit, sample() {} }, window: false })
}

function toShedder({ shed = true, clock }: AdmissionOptions): LoadShedder | undefined {
  if (shed === false) return undefined
  if (typeof shed === 'object' && 'shouldShed' in shed) return shed
  return createLoadShedder({ clock, ...(shed === true ? {} : shed) })
}
