// The global of that name is a getter.
import { performance } from 'node:perf_hooks'

/** Time as policies see it. Tests hand in one they move by hand: {@link createManualClock}. */
export interface Clock {
  /** Milliseconds from any start; never goes back. */
  now(): number
  /** Calls back once; returns what takes that back. */
  setTimeout(callback: () => void, delayMs: number): () => void
}

/** The clock of `performance.now()`, on which deadlines are. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout(callback, delayMs) {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
}

/** A clock that stands still until it is moved. */
export interface ManualClock extends Clock {
  /** Lets `ms` go by: fires what falls due in its order, and lets promises settle after each. */
  advance(ms: number): Promise<void>
  /** Lets `ms` go by while nothing runs, as in a process that is stopped: what fell due meanwhile is late. */
  skip(ms: number): void
}

export function createManualClock(startMs: number = 0): ManualClock {
  let now = startMs
  let timers: { readonly at: number; readonly callback: () => void }[] = []
  return {
    now: () => now,
    setTimeout(callback, delayMs) {
      const timer = { at: now + Math.max(0, delayMs), callback }
      timers.push(timer)
      return () => {
        timers = timers.filter((other) => other !== timer)
      }
    },
    skip(ms) {
      now += ms
    },
    async advance(ms) {
      const until = now + ms
      await settle()
      for (;;) {
        const next = timers.reduce<(typeof timers)[number] | undefined>(
          (first, timer) => (timer.at <= until && (first === undefined || timer.at < first.at) ? timer : first),
          undefined,
        )
        if (next === undefined) break
        timers = timers.filter((timer) => timer !== next)
        // Not back, where time was skipped.
        now = Math.max(now, next.at)
        next.callback()
        await settle()
      }
      now = Math.max(now, until)
    },
  }
}

/** Longer than any chain of promises: one turn of the event loop. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
