import type { Clock } from '../resilience/clock.ts'
import type { Endpoint } from './endpoint.ts'

/** Told what a source finds. After `close()` of the subscription it is told nothing more. */
export interface SourceObserver {
  /** All endpoints there are now. Never empty because of an error. */
  snapshot(endpoints: readonly Endpoint[]): void
  /** Looking failed; it goes on, and what was found before stays valid. */
  error(error: unknown): void
}

export interface SourceSubscription {
  /** Asks the source to look again now, because an endpoint was not there. Sources that are told of changes ignore it. */
  refresh?(): void
  /** Ends everything the subscription runs: timers, requests, connections. */
  close(): void
}

/** Where the endpoints of a service are found. Nothing runs before {@link subscribe}. */
export interface EndpointSource {
  /** For messages and metrics. */
  readonly name: string
  subscribe(observer: SourceObserver): SourceSubscription
}

/** The same endpoints for ever. */
export function createStaticSource(endpoints: readonly Endpoint[], name: string = 'static'): EndpointSource {
  return {
    name,
    subscribe(observer) {
      observer.snapshot(endpoints)
      return { close() {} }
    },
  }
}

/**
 * The snapshots of a source one by one, beginning with the first; when several come while nobody waits, the last. Errors are passed
 * over, as the source goes on. Ends when `signal` aborts, and with it the subscription.
 */
export async function* watchEndpoints(
  source: EndpointSource,
  options: { readonly signal?: AbortSignal | undefined } = {},
): AsyncGenerator<readonly Endpoint[], void> {
  let latest: readonly Endpoint[] | undefined
  let wake = (): void => {}
  const end = (): void => wake()
  const subscription = source.subscribe({
    snapshot(endpoints) {
      latest = endpoints
      wake()
    },
    error() {},
  })
  options.signal?.addEventListener('abort', end, { once: true })
  try {
    while (options.signal?.aborted !== true) {
      if (latest === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      } else {
        const endpoints = latest
        latest = undefined
        yield endpoints
      }
    }
  } finally {
    options.signal?.removeEventListener('abort', end)
    subscription.close()
  }
}

/** Waits that grow with each failure in a row: up to `baseMs`, doubling to `maxMs`, half of it random. */
export function backoffMs(failures: number, baseMs: number, maxMs: number, random: () => number): number {
  const limit = Math.min(maxMs, baseMs * 2 ** Math.min(30, failures - 1))
  return limit / 2 + (random() * limit) / 2
}

/** The system's clock, whose timers keep no process alive. */
export const quietClock: Clock = {
  now: () => performance.now(),
  setTimeout(callback, delayMs) {
    const timer = setTimeout(callback, delayMs).unref()
    return () => clearTimeout(timer)
  },
}
