import type { NativeHistogram } from './collected.ts'

export interface NativeOptions {
  /** Resolution to begin with, -4 to 8: each bucket is 2^(2^-schema) times as wide as the one before. Default 3 (9%). */
  readonly schema?: number | undefined
  /** Buckets kept per series; the resolution halves when there would be more. Default 160, as in OpenTelemetry. */
  readonly maxBuckets?: number | undefined
}

/** What Prometheus' Go client takes for zero: 2^-128. */
const zeroThreshold = 2 ** -128

/** The sparse buckets of one native histogram (Prometheus specification of native histograms, standard schemas). */
export class NativeBuckets {
  #schema: number
  #factor: number
  readonly #maxBuckets: number
  #zeroCount = 0
  #positive = new Map<number, number>()
  #negative = new Map<number, number>()

  constructor({ schema = 3, maxBuckets = 160 }: NativeOptions) {
    this.#schema = schema
    this.#factor = 2 ** schema
    this.#maxBuckets = maxBuckets
  }

  observe(value: number): void {
    const size = Math.abs(value)
    if (size <= zeroThreshold) this.#zeroCount += 1
    // Not a number is in the sum and the count and in no bucket.
    else if (size === size) this.#count(value > 0 ? this.#positive : this.#negative, size)
  }

  collect(): NativeHistogram {
    return {
      schema: this.#schema,
      zeroThreshold,
      zeroCount: this.#zeroCount,
      positive: sorted(this.#positive),
      negative: sorted(this.#negative),
    }
  }

  #count(buckets: Map<number, number>, size: number): void {
    // The bucket after the largest finite number's holds infinity.
    const index = size === Infinity ? Math.ceil(1024 * this.#factor) + 1 : Math.ceil(Math.log2(size) * this.#factor)
    const count = buckets.get(index)
    buckets.set(index, (count ?? 0) + 1)
    if (count === undefined) this.#makeRoom()
  }

  #makeRoom(): void {
    while (this.#positive.size + this.#negative.size > this.#maxBuckets && this.#schema > -4) {
      this.#schema -= 1
      this.#factor /= 2
      this.#positive = halved(this.#positive)
      this.#negative = halved(this.#negative)
    }
  }
}

function halved(buckets: Map<number, number>): Map<number, number> {
  const merged = new Map<number, number>()
  for (const [index, count] of buckets) {
    const wider = Math.ceil(index / 2)
    merged.set(wider, (merged.get(wider) ?? 0) + count)
  }
  return merged
}

function sorted(buckets: Map<number, number>): [number, number][] {
  return [...buckets].toSorted(([a], [b]) => a - b)
}
