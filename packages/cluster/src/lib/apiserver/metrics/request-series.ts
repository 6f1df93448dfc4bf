/** Upper bounds of `apiserver_request_duration_seconds`, as Kubernetes 1.36 has them. */
const durationBounds: readonly number[] = [
  0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
]
/** Of `apiserver_response_sizes`. */
const sizeBounds: readonly number[] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]

/** What tells one kind of request from another. */
export interface RequestLabels {
  readonly verb: string
  readonly dryRun: string
  readonly group: string
  readonly version: string
  readonly resource: string
  readonly subresource: string
  readonly scope: '' | 'resource' | 'namespace' | 'cluster'
}

/** Numbers that fall between bounds; the last place is for what is above all of them. */
export class Buckets {
  readonly bounds: readonly number[]
  readonly counts: Float64Array
  sum = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.counts = new Float64Array(bounds.length + 1)
  }

  add(value: number): void {
    const { bounds, counts } = this
    let at = 0
    while (at < bounds.length && value > (bounds[at] ?? Infinity)) at += 1
    counts[at] = (counts[at] ?? 0) + 1
    this.sum += value
  }
}

/** The requests of one kind: how many by status, how long they took, how large their answers were. */
export class RequestSeries {
  readonly labels: RequestLabels
  readonly durations: Buckets = new Buckets(durationBounds)
  /** Of what only reads. */
  readonly sizes: Buckets | undefined
  readonly #codes: number[] = []
  readonly #counts: number[] = []
  /** Requests under way that last by nature. */
  longRunning = 0

  constructor(labels: RequestLabels) {
    this.labels = labels
    this.sizes = labels.verb === 'GET' || labels.verb === 'LIST' ? new Buckets(sizeBounds) : undefined
  }

  add(code: number, seconds: number, bytes: number): void {
    const at = this.#codes.indexOf(code)
    if (at < 0) {
      this.#codes.push(code)
      this.#counts.push(1)
    } else this.#counts[at] = (this.#counts[at] ?? 0) + 1
    this.durations.add(seconds)
    this.sizes?.add(bytes)
  }

  get byCode(): readonly (readonly [code: number, count: number])[] {
    return this.#codes.map((code, at) => [code, this.#counts[at] ?? 0] as const)
  }
}
