import { checkNumber } from './errors.ts'

/** Estimates how many calls a service can have under way before they queue, from how long they take. */
export interface ConcurrencyEstimate {
  /** A whole number. */
  readonly limit: number
  /** A finished call: how long it took, how many were under way when it began, whether it was dropped (refused or out of time). */
  sample(rttMs: number, inflight: number, isDropped: boolean): void
}

export interface EstimateOptions {
  /** Default 20. */
  readonly initialLimit?: number | undefined
  /** Default 20 for gradient2 and aimd, 1 for vegas. */
  readonly minLimit?: number | undefined
  /** Default 200, for vegas 1000. */
  readonly maxLimit?: number | undefined
  /** How much of each new estimate is taken over, from 0 to 1. Default 0.2 for gradient2, 1 for vegas. */
  readonly smoothing?: number | undefined
}

export interface Gradient2Options extends EstimateOptions {
  /** How much the limit may grow at a time while nothing queues. Default 4. */
  readonly queueSize?: number | undefined
  /** How much slower than usual is still normal, at least 1. Default 1.5. */
  readonly rttTolerance?: number | undefined
  /** Samples in the long average. Default 600. */
  readonly longWindow?: number | undefined
}

/**
 * Gradient2 of Netflix' concurrency-limits: the limit follows the ratio of a long average of the time calls take to what they
 * take now, and so shrinks while a queue builds up and grows by `queueSize` while none does.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function createGradient2(options: Gradient2Options = {}): ConcurrencyEstimate {
  const { initial, min, max, smoothing } = readOptions('gradient2', options, { min: 20, max: 200, smoothing: 0.2 })
  const queueSize = checkNumber('gradient2', 'queueSize', options.queueSize ?? 4, 0)
  const tolerance = checkNumber('gradient2', 'rttTolerance', options.rttTolerance ?? 1.5, 1)
  const usual = createAverage(checkNumber('gradient2', 'longWindow', options.longWindow ?? 600, 1), 10)
  let estimate = initial
  return {
    get limit() {
      return Math.floor(estimate)
    },
    sample(rttMs, inflight) {
      const longMs = usual.add(rttMs)
      // After a long time of overload the average is that of the overload: come back faster than it forgets.
      if (longMs / rttMs > 2) usual.scale(0.95)
      // What is not used says nothing of what could be.
      if (inflight < estimate / 2) return
      const gradient = Math.max(0.5, Math.min(1, (tolerance * longMs) / rttMs))
      const next = estimate * (1 - smoothing) + (estimate * gradient + queueSize) * smoothing
      estimate = Math.max(min, Math.min(max, next))
    },
  }
}

export interface VegasOptions extends EstimateOptions {
  /** Below so many queued calls the limit grows. Default 3 log10(limit). */
  readonly alpha?: number | undefined
  /** Above so many it shrinks. Default 6 log10(limit). */
  readonly beta?: number | undefined
  /** Measures the time without a queue anew every so many times the limit. Default 30. */
  readonly probeMultiplier?: number | undefined
  /** The limit after a decrease. Default: less by log10(limit). */
  readonly decrease?: ((limit: number) => number) | undefined
  /** From 0 to 1. Default `Math.random`. */
  readonly random?: (() => number) | undefined
}

/**
 * Vegas of Netflix' concurrency-limits, after TCP Vegas: `limit * (1 - shortest time / this time)` calls are taken to be queued;
 * the limit grows below `alpha` of them and shrinks above `beta`.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function createVegas(options: VegasOptions = {}): ConcurrencyEstimate {
  const { initial, min, max, smoothing } = readOptions('vegas', options, { min: 1, max: 1000, smoothing: 1 })
  const probeMultiplier = checkNumber('vegas', 'probeMultiplier', options.probeMultiplier ?? 30, 1)
  const decrease = options.decrease ?? ((limit: number) => limit - magnitude(limit))
  const random = options.random ?? Math.random
  const drawJitter = (): number => 0.5 + random() / 2
  let estimate = initial
  let shortestMs = 0
  let samples = 0
  let jitter = drawJitter()

  const next = (queued: number, isDropped: boolean, inflight: number): number => {
    if (isDropped) return decrease(estimate)
    if (inflight * 2 < estimate) return estimate
    const step = magnitude(estimate)
    const beta = options.beta ?? 6 * step
    if (queued <= step) return estimate + beta
    if (queued < (options.alpha ?? 3 * step)) return estimate + step
    return queued > beta ? decrease(estimate) : estimate
  }
  return {
    get limit() {
      return Math.floor(estimate)
    },
    sample(rttMs, inflight, isDropped) {
      samples += 1
      const isProbe = jitter * probeMultiplier * estimate <= samples
      if (isProbe) {
        jitter = drawJitter()
        samples = 0
      }
      if (isProbe || shortestMs === 0 || rttMs < shortestMs) {
        shortestMs = rttMs
        return
      }
      const wanted = next(Math.ceil(estimate * (1 - shortestMs / rttMs)), isDropped, inflight)
      if (wanted === estimate) return
      estimate = (1 - smoothing) * estimate + smoothing * Math.max(min, Math.min(max, wanted))
    },
  }
}

export interface AimdOptions extends EstimateOptions {
  /** What is left of the limit after a drop, from 0.5 to 1. Default 0.9. */
  readonly backoffRatio?: number | undefined
  /** A call that takes longer counts as dropped. Default 5000. */
  readonly timeoutMs?: number | undefined
}

/**
 * Additive increase, multiplicative decrease: one more per call that went well, a tenth less per dropped one. What a client
 * uses, which cannot tell a slow service from a slow request.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function createAimd(options: AimdOptions = {}): ConcurrencyEstimate {
  const { initial, min, max } = readOptions('aimd', options, { min: 20, max: 200, smoothing: 1 })
  const backoffRatio = checkNumber('aimd', 'backoffRatio', options.backoffRatio ?? 0.9, 0.5, 1)
  const timeoutMs = checkNumber('aimd', 'timeoutMs', options.timeoutMs ?? 5000, 1)
  let limit = initial
  return {
    get limit() {
      return limit
    },
    sample(rttMs, inflight, isDropped) {
      if (isDropped || rttMs > timeoutMs) limit = Math.floor(limit * backoffRatio)
      else if (inflight * 2 >= limit) limit += 1
      limit = Math.min(max, Math.max(min, limit))
    },
  }
}

export interface WindowOptions {
  /** Samples are handed on together after this time. Default 1000. */
  readonly windowMs?: number | undefined
  /** Windows with fewer samples are thrown away. Default 10. */
  readonly minSamples?: number | undefined
  /** Calls quicker than this are no sample. Default 0.1. */
  readonly minRttMs?: number | undefined
}

/**
 * Hands an estimate one sample per window in place of one per call: their average time, the most calls under way, and whether
 * any was dropped. `now` is when the last call ended.
 */
export function createWindow(
  estimate: ConcurrencyEstimate,
  options: WindowOptions = {},
): { sample(rttMs: number, inflight: number, isDropped: boolean, now: number): void } {
  const windowMs = checkNumber('a window', 'windowMs', options.windowMs ?? 1000, 1)
  const minSamples = checkNumber('a window', 'minSamples', options.minSamples ?? 10, 1)
  const minRttMs = checkNumber('a window', 'minRttMs', options.minRttMs ?? 0.1, 0)
  let endsAt = -Infinity
  let sumMs = 0
  let count = 0
  let most = 0
  let hasDropped = false
  return {
    sample(rttMs, inflight, isDropped, now) {
      if (rttMs < minRttMs) return
      sumMs += rttMs
      count += 1
      most = Math.max(most, inflight)
      hasDropped ||= isDropped
      if (now <= endsAt) return
      if (count >= minSamples) estimate.sample(sumMs / count, most, hasDropped)
      endsAt = now + windowMs
      sumMs = count = most = 0
      hasDropped = false
    },
  }
}

/** Of the limit, whole and at least 1: by how much it changes, as its square root would be too much and 1 too little. */
function magnitude(limit: number): number {
  return Math.max(1, Math.floor(Math.log10(Math.floor(limit))))
}

/** An exponential average that begins as the plain one of its first samples. */
function createAverage(window: number, warmup: number): { add(sample: number): number; scale(factor: number): void } {
  const weight = 2 / (window + 1)
  let value = 0
  let sum = 0
  let count = 0
  return {
    add(sample) {
      count += 1
      sum += sample
      value = count <= warmup ? sum / count : value + (sample - value) * weight
      return value
    },
    scale(factor) {
      value *= factor
    },
  }
}

function readOptions(
  name: string,
  options: EstimateOptions,
  standard: { readonly min: number; readonly max: number; readonly smoothing: number },
): { readonly initial: number; readonly min: number; readonly max: number; readonly smoothing: number } {
  const max = checkNumber(name, 'maxLimit', options.maxLimit ?? standard.max, 1)
  const min = checkNumber(name, 'minLimit', options.minLimit ?? Math.min(standard.min, max), 1, max)
  return {
    min,
    max,
    initial: checkNumber(name, 'initialLimit', options.initialLimit ?? Math.min(20, max), 1),
    smoothing: checkNumber(name, 'smoothing', options.smoothing ?? standard.smoothing, 0, 1),
  }
}
