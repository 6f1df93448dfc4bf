import { timedOut } from './errors.ts'

/**
 * Waits for `work`, at most `timeoutMs`. The signal handed to `work` aborts when time is up, or when `parent` aborts;
 * work that ignores it is left behind and its late result is dropped.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_TIMEOUT` when time is up.
 */
export async function withDeadline<T>(
  work: (signal: AbortSignal) => T | Promise<T>,
  options: {
    readonly action: string
    readonly subject: string
    readonly timeoutMs: number
    readonly parent?: AbortSignal | undefined
  },
): Promise<T> {
  const controller = new AbortController()
  const expired = Promise.withResolvers<never>()
  const abort = (reason: unknown): void => {
    controller.abort(reason)
    expired.reject(reason)
  }
  const onParent = (): void => abort(options.parent?.reason)
  const timer = setTimeout(() => abort(timedOut(options.action, options.subject, options.timeoutMs)), options.timeoutMs)
  options.parent?.addEventListener('abort', onParent, { once: true })
  // Nobody is left to hear it when the work itself wins.
  expired.promise.catch(() => {})
  try {
    if (options.parent?.aborted) onParent()
    // Called within an async function, so that a work that throws at once is a rejection like any other.
    const begun = (async () => await work(controller.signal))()
    return await Promise.race([begun, expired.promise])
  } finally {
    clearTimeout(timer)
    options.parent?.removeEventListener('abort', onParent)
  }
}
