import type { Clock } from '../resilience/clock.ts'
import { backoffMs, quietClock } from './source.ts'

export interface LoopOptions {
  /** One round; gives how long to wait before the next. Its failures are told to `onError` and waited out longer and longer. */
  readonly round: (signal: AbortSignal, round: LoopRound) => Promise<number>
  readonly onError: (error: unknown) => void
  /** Least time between two rounds when somebody asks for one. Default 1000. */
  readonly minMs?: number | undefined
  /** After failures. Default 500, doubling to 30,000. */
  readonly retryMs?: number | undefined
  readonly maxRetryMs?: number | undefined
  readonly clock?: Clock | undefined
  readonly random?: (() => number) | undefined
}

export interface LoopRound {
  /** Says that the round is a success so far, for rounds that last: the next failure is the first again. */
  succeed(): void
}

export interface Loop {
  refresh(): void
  close(): void
}

/** Repeats `round` until it is closed. Never two at once. */
export function runLoop(options: LoopOptions): Loop {
  const { clock = quietClock, random = Math.random, minMs = 1000, retryMs = 500, maxRetryMs = 30_000 } = options
  const stop = new AbortController()
  let failures = 0
  let begunAt = Number.NEGATIVE_INFINITY
  let isRunning = false
  let cancel: (() => void) | undefined
  const round: LoopRound = { succeed: () => void (failures = 0) }

  const wait = (ms: number): void => {
    cancel?.()
    if (!stop.signal.aborted) cancel = clock.setTimeout(() => void run(), ms)
  }
  const run = async (): Promise<void> => {
    cancel = undefined
    isRunning = true
    begunAt = clock.now()
    try {
      const delayMs = await options.round(stop.signal, round)
      failures = 0
      isRunning = false
      wait(delayMs)
    } catch (error) {
      isRunning = false
      if (stop.signal.aborted) return
      failures += 1
      options.onError(error)
      wait(backoffMs(failures, retryMs, maxRetryMs, random))
    }
  }
  void run()
  return {
    refresh() {
      // After failures the growing waits hold, whoever asks.
      if (isRunning || failures > 0 || stop.signal.aborted) return
      wait(Math.max(0, begunAt + minMs - clock.now()))
    },
    close() {
      cancel?.()
      stop.abort()
    },
  }
}
