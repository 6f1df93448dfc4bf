/** Time as controllers see it; tests bring their own. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Calls `callback` once after `delayMs`; the function returned prevents it. */
  schedule(delayMs: number, callback: () => void): () => void
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  schedule(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
}

/** Waits on `clock`; an aborted `signal` ends the wait early, without an error. */
export async function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) {
    return
  }
  const { promise, resolve } = Promise.withResolvers<void>()
  const cancel = clock.schedule(delayMs, resolve)
  const abort = (): void => {
    cancel()
    resolve()
  }
  signal.addEventListener('abort', abort, { once: true })
  await promise
  signal.removeEventListener('abort', abort)
}

/** A time as Kubernetes writes it (`metav1.Time`): UTC, whole seconds. */
export function renderTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}
