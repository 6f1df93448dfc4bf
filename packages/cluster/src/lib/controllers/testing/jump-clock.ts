import type { Clock } from '@fairlead/kube/controller'

/** A clock that runs like the machine's and can be put forward: whatever falls due by that happens at once. */
export interface JumpClock extends Clock {
  jump(ms: number): void
}

export function createJumpClock(): JumpClock {
  let ahead = 0
  const waiting = new Set<{ readonly at: number; readonly callback: () => void; timer: NodeJS.Timeout }>()
  const now = (): number => Date.now() + ahead
  function schedule(delayMs: number, callback: () => void): () => void {
    const run = (): void => {
      waiting.delete(entry)
      callback()
    }
    const entry = { at: now() + delayMs, callback: run, timer: setTimeout(run, Math.min(delayMs, 2 ** 31 - 1)) }
    waiting.add(entry)
    return () => {
      clearTimeout(entry.timer)
      waiting.delete(entry)
    }
  }
  return {
    now,
    schedule,
    jump(ms) {
      ahead += ms
      for (const entry of [...waiting].filter(({ at }) => at <= now())) {
        clearTimeout(entry.timer)
        entry.callback()
      }
    },
  }
}

/** Lets time pass while somebody asks again and again: half a second with each question. */
export function asTimePasses<T>(clock: JumpClock, ask: () => Promise<T>): () => Promise<T> {
  return () => {
    clock.jump(500)
    return ask()
  }
}
