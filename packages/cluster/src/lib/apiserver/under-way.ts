/**
 * Whether a request is still wanted. The signal is made for whoever asks for it: nearly nobody does, and making one costs
 * as much as reading the headers.
 */
export class Cancellation {
  #controller: AbortController | undefined
  #isAborted = false

  get isAborted(): boolean {
    return this.#isAborted
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#isAborted) this.#controller.abort()
    }
    return this.#controller.signal
  }

  abort(): void {
    this.#isAborted = true
    this.#controller?.abort()
  }
}

interface Waiting {
  readonly until: number
  readonly expire: () => void
}

/** Deadlines that are all equally far away: one timer for all of them, instead of one each. */
export class Deadlines {
  readonly #ms: number
  /** The next one to end is the first. */
  readonly #waiting = new Set<Waiting>()
  #timer: NodeJS.Timeout | undefined

  constructor(ms: number) {
    this.#ms = ms
  }

  /** Calls `expire` when the time is over; not when what comes back was called before. */
  start(expire: () => void): () => void {
    const waiting = { until: performance.now() + this.#ms, expire }
    this.#waiting.add(waiting)
    if (this.#timer === undefined) this.#timer = this.#startTimer(this.#ms)
    return () => void this.#waiting.delete(waiting)
  }

  #startTimer(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#expire(), Math.ceil(ms)).unref()
  }

  #expire(): void {
    const now = performance.now()
    this.#timer = undefined
    for (const waiting of this.#waiting) {
      if (waiting.until > now) {
        this.#timer = this.#startTimer(waiting.until - now)
        return
      }
      this.#waiting.delete(waiting)
      waiting.expire()
    }
  }
}
