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

/** What the tries of a pipeline have in common. */
export interface AttemptOwner {
  readonly name: string
  readonly clock: Clock
}

/** What few tries need: somebody who wants to hear of the end, and the end. */
interface Ending {
  controller: AbortController | undefined
  listener: ((reason: unknown) => void) | undefined
  reason: unknown
}

/** An attempt under way: settles once, by the work, the deadline or the caller. */
export class RunningAttempt<T> extends Timed implements Attempt {
  readonly number: number
  readonly deadline: number
  protected readonly owner: AttemptOwner
  protected readonly startedAt: number
  readonly #isTotal: boolean
  isAborted = false
  #ending: Ending | undefined
  protected rejectRun: ((reason: unknown) => void) | undefined

  constructor(owner: AttemptOwner, number: number, startedAt: number, deadline: number, isTotal: boolean) {
    super()
    this.owner = owner
    this.number = number
    this.startedAt = startedAt
    this.deadline = deadline
    this.#isTotal = isTotal
  }

  get remainingMs(): number {
    return Math.max(0, this.deadline - this.owner.clock.now())
  }

  get signal(): AbortSignal {
    const ending = this.#openEnding()
    if (ending.controller === undefined) {
      ending.controller = new AbortController()
      if (this.isAborted) ending.controller.abort(ending.reason)
    }
    return ending.controller.signal
  }

  onAbort(listener: (reason: unknown) => void): void {
    const ending = this.#openEnding()
    ending.listener = listener
    if (this.isAborted) listener(ending.reason)
  }

  /** The result of `work`, unless this is aborted before. */
  run(work: (attempt: Attempt) => T | Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.rejectRun = reject
      const result = work(this)
      // Most work is an async function: its promise is waited for without another one around it.
      if (result instanceof Promise) result.then(resolve, reject)
      else resolve(result)
    })
  }

  abort(reason: unknown): void {
    if (this.isAborted) return
    this.rejectRun?.(reason)
    this.cancel(reason)
  }

  expire(now: number): void {
    this.abort(this.timeoutAt(now))
  }

  /** The call has its result, or has none. */
  finish(_isSuccess: boolean): void {}

  /** Tells the work that nobody waits for it any more. */
  protected cancel(reason: unknown): void {
    if (this.isAborted) return
    this.isAborted = true
    const ending = this.#openEnding()
    ending.reason = reason
    ending.listener?.(reason)
    ending.controller?.abort(reason)
  }

  protected timeoutAt(now: number): TimeoutError {
    return new TimeoutError(this.owner.name, this.#isTotal ? 'total' : 'attempt', now - this.startedAt)
  }

  #openEnding(): Ending {
    return (this.#ending ??= { controller: undefined, listener: undefined, reason: undefined })
  }
}
