import type { Clock } from './clock.ts'

/** A clock that moves only when told to. */
export interface ManualClock extends Clock {
  /** Moves on, calling back in order of time what falls due, and lets promises settle in between. */
  advance(ms: number): Promise<void>
}

export function createManualClock(start = 0): ManualClock {
  let now = start
  let timers: { at: number; callback: () => void }[] = []
  return {
    now: () => now,
    schedule(delayMs, callback) {
      const timer = { at: now + delayMs, callback }
      timers.push(timer)
      return () => {
        timers = timers.filter((other) => other !== timer)
      }
    },
    async advance(ms) {
      const end = now + ms
      for (;;) {
        await settle()
        const [first] = timers.toSorted((a, b) => a.at - b.at)
        if (first === undefined || first.at > end) {
          break
        }
        timers = timers.filter((other) => other !== first)
        now = Math.max(now, first.at)
        first.callback()
      }
      now = end
      await settle()
    },
  }
}

/** Lets everything that needs no more time happen. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve))
  }
}
