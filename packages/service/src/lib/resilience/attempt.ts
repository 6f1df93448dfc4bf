import type { Clock } from './clock.ts'
import { TimeoutError } from './errors.ts'
import { Timed } from './timer-wheel.ts'

/** One try of a call, as the work sees it. */
export interface Attempt {
  /** 1 for the first. */
  readonly number: number
  /** When it has to be done, on the pipeline's clock (`performance.now()`); Infinity without a limit. */
  readonly deadline: number
  /** What is left until then. */
  readonly remainingMs: number
  /**
   * Aborts when nobody waits for this try any more: its time is up, the caller gave up, another try was quicker. Made when
   * it is first looked at, because that costs more than all policies together.
   */
  readonly signal: AbortSignal
  readonly isAborted: boolean
  /** Calls `listener` when {@link signal} would abort, without the cost of one. The last listener counts. */
  onAbort(listener: (reason: unknown) => void): void
}

/** An attempt under way: settles once, by the work, the deadline or the caller. */
export class RunningAttempt<T> extends Timed implements Attempt {
  readonly number: number
  readonly deadline: number
  readonly #subject: string
  readonly #clock: Clock
  readonly #startedAt: number
  readonly #scope: 'attempt' | 'total'
  #controller: AbortController | undefined
  #reason: unknown
  isAborted = false
  #reject: ((reason: unknown) => void) | undefined
  #listener: ((reason: unknown) => void) | undefined

  constructor(subject: string, clock: Clock, number: number, startedAt: number, deadline: number, isTotal: boolean) {
    super()
    this.#subject = subject
    this.#clock = clock
    this.number = number
    this.#startedAt = startedAt
    this.deadline = deadline
    this.#scope = isTotal ? 'total' : 'attempt'
  }

  get remainingMs(): number {
    return Math.max(0, this.deadline - this.#clock.now())
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.isAborted) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  onAbort(listener: (reason: unknown) => void): void {
    this.#listener = listener
    if (this.isAborted) listener(this.#reason)
  }

  /** The result of `work`, unless this is aborted before. */
  run(work: (attempt: Attempt) => T | Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#reject = reject
      const result = work(this)
      // Most work is an async function: its promise is waited for without another one around it.
      if (result instanceof Promise) result.then(resolve, reject)
      else resolve(result)
    })
  }

  abort(reason: unknown): void {
    if (this.isAborted) return
    this.isAborted = true
    this.#reason = reason
    this.#reject?.(reason)
    this.#listener?.(reason)
    this.#controller?.abort(reason)
  }

  expire(now: number): void {
    this.abort(new TimeoutError(this.#subject, this.#scope, now - this.#startedAt))
  }
}
