import { backoffMs } from './backoff.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'

/**
 * Keys waiting to be worked on, first come first served. A key waits at most once; one added while it is being worked
 * on waits again when {@link WorkQueue.done} is called, so no two workers hold the same key.
 */
export interface WorkQueue {
  /** Keys ready now. */
  readonly length: number
  add(key: string): void
  /** Adds after a delay; of several delays for one key the earliest counts. */
  addAfter(key: string, delayMs: number): void
  /** Adds after this key's back-off: 5 ms, doubled with every retry since {@link WorkQueue.forget}, at most 60 s. Returns how many retries that makes. */
  retry(key: string): number
  /** Ends the back-off of a key that succeeded. */
  forget(key: string): void
  /** The next key, as soon as there is one; undefined once closed. Call `done` when finished with it. */
  next(): Promise<string | undefined>
  done(key: string): void
  close(): void
}

export interface WorkQueueOptions {
  /** First retry delay, milliseconds. Default 5. */
  readonly baseMs?: number | undefined
  /** Longest retry delay, milliseconds. Default 60,000. */
  readonly maxMs?: number | undefined
  /** Retries per second of all keys together, beyond a burst of 100 (client-go's bucket). Default: unlimited. */
  readonly retriesPerSecond?: number | undefined
  readonly clock?: Clock | undefined
}

const retryBurst = 100

export function createWorkQueue(options: WorkQueueOptions = {}): WorkQueue {
  const { baseMs = 5, maxMs = 60_000, clock = systemClock } = options
  const ready = new Set<string>()
  const working = new Set<string>()
  const again = new Set<string>()
  const delayed = new Map<string, { readonly at: number; readonly cancel: () => void }>()
  const retries = new Map<string, number>()
  const waiting: ((key: string | undefined) => void)[] = []
  let isClosed = false
  /** When the bucket of retries was, or will be, empty of what was taken: a retry moves it on by its share of a second. */
  let spentUntil = Number.NEGATIVE_INFINITY

  function bucketDelayMs(): number {
    const { retriesPerSecond } = options
    if (retriesPerSecond === undefined) {
      return 0
    }
    const shareMs = 1000 / retriesPerSecond
    spentUntil = Math.max(spentUntil, clock.now() - retryBurst * shareMs) + shareMs
    return spentUntil - clock.now()
  }

  function take(): string | undefined {
    for (const key of ready) {
      ready.delete(key)
      working.add(key)
      return key
    }
    return undefined
  }

  function add(key: string): void {
    if (isClosed) {
      return
    }
    if (working.has(key)) {
      again.add(key)
      return
    }
    ready.add(key)
    const worker = waiting.shift()
    if (worker !== undefined) {
      worker(take())
    }
  }

  function addAfter(key: string, delayMs: number): void {
    if (isClosed) {
      return
    }
    if (delayMs <= 0) {
      add(key)
      return
    }
    const at = clock.now() + delayMs
    const earlier = delayed.get(key)
    if (earlier !== undefined && earlier.at <= at) {
      return
    }
    earlier?.cancel()
    const cancel = clock.schedule(delayMs, () => {
      delayed.delete(key)
      add(key)
    })
    delayed.set(key, { at, cancel })
  }

  return {
    get length() {
      return ready.size
    },
    add,
    addAfter,
    retry(key) {
      const count = (retries.get(key) ?? 0) + 1
      retries.set(key, count)
      addAfter(key, Math.max(backoffMs(count, baseMs, maxMs), bucketDelayMs()))
      return count
    },
    forget(key) {
      retries.delete(key)
    },
    async next() {
      const key = isClosed ? undefined : take()
      if (key !== undefined || isClosed) {
        return key
      }
      const { promise, resolve } = Promise.withResolvers<string | undefined>()
      waiting.push(resolve)
      return promise
    },
    done(key) {
      working.delete(key)
      if (again.delete(key)) {
        add(key)
      }
    },
    close() {
      isClosed = true
      ready.clear()
      for (const { cancel } of delayed.values()) {
        cancel()
      }
      delayed.clear()
      for (const worker of waiting.splice(0)) {
        worker(undefined)
      }
    },
  }
}
