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
  /** Undefined once it waits no more. */
  before: Waiting | undefined
  after: Waiting | undefined
}

/** Deadlines that are all equally far away: one timer for all of them, instead of one each. */
export class Deadlines {
  readonly #ms: number
  /** A ring, in which the next one to end comes after this. A set would have to make a hash for each. */
  readonly #ring = createRing()
  #timer: NodeJS.Timeout | undefined

  constructor(ms: number) {
    this.#ms = ms
  }

  /** Calls `expire` when the time is over; not when what comes back was called before. */
  start(expire: () => void): () => void {
    const until = performance.now() + this.#ms
    const waiting: Waiting = { until, expire, before: this.#ring.before, after: this.#ring }
    if (waiting.before !== undefined) waiting.before.after = waiting
    this.#ring.before = waiting
    if (this.#timer === undefined) this.#timer = this.#startTimer(this.#ms)
    return () => leave(waiting)
  }

  #startTimer(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#expire(), Math.ceil(ms)).unref()
  }

  #expire(): void {
    const now = performance.now()
    this.#timer = undefined
    for (let first = this.#ring.after; first !== undefined && first !== this.#ring; first = this.#ring.after) {
      if (first.until > now) {
        this.#timer = this.#startTimer(first.until - now)
        return
      }
      leave(first)
      first.expire()
    }
  }
}

function createRing(): Waiting {
  const ring: Waiting = { until: Number.NaN, expire: () => undefined, before: undefined, after: undefined }
  ring.before = ring.after = ring
  return ring
}

function leave(waiting: Waiting): void {
  const { before, after } = waiting
  if (before !== undefined) before.after = after
  if (after !== undefined) after.before = before
  waiting.before = waiting.after = undefined
}
