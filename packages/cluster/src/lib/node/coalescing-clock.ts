import type { Clock } from '@fairlead/kube/controller'

/** Shorter waits are kept to the millisecond. */
const SHORTEST_MS = 500

/**
 * A clock whose longer waits end together, at multiples of `gridMs` and at most half of that early or late. What wakes this process
 * for one probe does for all that are due: a hundred probes one by one cost several times what they cost at once.
 */
export function createCoalescingClock(clock: Clock, gridMs = 100): Clock {
  const due = new Map<number, Wait>()

  function begin(at: number, now: number): Wait {
    const callbacks = new Set<() => void>()
    const cancel = clock.schedule(at - now, () => {
      due.delete(at)
      for (const callback of callbacks) callback()
    })
    const wait = { callbacks, cancel }
    due.set(at, wait)
    return wait
  }

  return {
    now: () => clock.now(),
    schedule(delayMs, callback) {
      if (delayMs < SHORTEST_MS) return clock.schedule(delayMs, callback)
      const now = clock.now()
      const at = Math.round((now + delayMs) / gridMs) * gridMs
      const wait = due.get(at) ?? begin(at, now)
      // One function may wait more than once.
      const call = (): void => callback()
      wait.callbacks.add(call)
      return () => {
        if (!wait.callbacks.delete(call) || wait.callbacks.size > 0) return
        wait.cancel()
        if (due.get(at) === wait) due.delete(at)
      }
    },
  }
}

/** What ends at one time. */
interface Wait {
  readonly callbacks: Set<() => void>
  readonly cancel: () => void
}
