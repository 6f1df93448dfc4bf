import { metricInvalid } from '../errors.ts'
import type { CollectedHistogram, Exemplar } from './collected.ts'
import { NativeBuckets } from './native.ts'
import type { NativeOptions } from './native.ts'

/** The trace an observation belongs to; a `TraceContext` is one. Kept as an exemplar only where it is sampled. */
export interface ExemplarTrace {
  readonly traceId: string
  readonly spanId: string
  readonly isSampled: boolean
}

// Classes, because these are the objects of the hot path: one hidden class each, methods on the prototype.

export class CounterValue {
  value = 0
  exemplar: MutableExemplar | undefined = undefined
  readonly #metric: string

  constructor(metric: string) {
    this.#metric = metric
  }

  inc(amount = 1, trace?: ExemplarTrace): void {
    if (!(amount >= 0)) throw metricInvalid(this.#metric, `a counter cannot grow by ${amount}`)
    this.value += amount
    if (trace?.isSampled) this.exemplar = keep(this.exemplar, amount, trace)
  }
}

export class GaugeValue {
  value = 0

  set(value: number): void {
    this.value = value
  }

  inc(amount = 1): void {
    this.value += amount
  }

  dec(amount = 1): void {
    this.value -= amount
  }
}

export class HistogramValue {
  sum = 0
  readonly #bounds: readonly number[]
  /** Not cumulative; the last one is +Inf. */
  readonly #counts: Float64Array
  readonly #exemplars: (MutableExemplar | undefined)[] = []
  readonly #native: NativeBuckets | undefined

  constructor(bounds: readonly number[], native?: NativeOptions) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
    this.#native = native && new NativeBuckets(native)
  }

  observe(value: number, trace?: ExemplarTrace): void {
    const bounds = this.#bounds
    let index = 0
    // Linear on purpose: most requests end in the first buckets. Not a number lies above every bound.
    while (index < bounds.length && !(value <= (bounds[index] ?? Infinity))) index += 1
    this.#counts[index] = (this.#counts[index] ?? 0) + 1
    this.sum += value
    if (this.#native !== undefined) this.#native.observe(value)
    if (trace?.isSampled) this.#exemplars[index] = keep(this.#exemplars[index], value, trace)
  }

  collect(): Omit<CollectedHistogram, 'labels' | 'startTimeMs'> {
    const counts = [...this.#counts]
    return {
      bounds: this.#bounds,
      counts,
      count: counts.reduce((total, inBucket) => total + inBucket, 0),
      sum: this.sum,
      exemplars: counts.map((_, index) => copy(this.#exemplars[index])),
      native: this.#native?.collect(),
    }
  }
}

interface MutableExemplar {
  traceId: string
  spanId: string
  value: number
  timeMs: number
}

export function copy(exemplar: Exemplar | undefined): Exemplar | undefined {
  return exemplar && { ...exemplar }
}

/** Overwrites the last one in place: no garbage per request. */
function keep(last: MutableExemplar | undefined, value: number, trace: ExemplarTrace): MutableExemplar {
  const timeMs = Date.now()
  if (last === undefined) return { traceId: trace.traceId, spanId: trace.spanId, value, timeMs }
  last.traceId = trace.traceId
  last.spanId = trace.spanId
  last.value = value
  last.timeMs = timeMs
  return last
}
