import type { Endpoint } from './endpoint.ts'
import type { EndpointSource, SourceObserver } from './source.ts'

/** A source a test speaks for. */
export interface ManualSource extends EndpointSource {
  readonly observers: ReadonlySet<SourceObserver>
  refreshes: number
  snapshot(endpoints: readonly Endpoint[]): void
  error(error: unknown): void
}

export function createManualSource(): ManualSource {
  const observers = new Set<SourceObserver>()
  return {
    name: 'manual',
    observers,
    refreshes: 0,
    subscribe(observer) {
      observers.add(observer)
      return { refresh: () => void (this.refreshes += 1), close: () => void observers.delete(observer) }
    },
    snapshot(endpoints) {
      for (const observer of observers) observer.snapshot(endpoints)
    },
    error(error) {
      for (const observer of observers) observer.error(error)
    },
  }
}

export function endpoints(count: number, more: (index: number) => Partial<Endpoint> = () => ({})): Endpoint[] {
  return Array.from({ length: count }, (_, index) => ({ host: `10.0.0.${index + 1}`, port: 80, ...more(index) }))
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Asks until it is so; fails with `what` when it does not come about. */
export async function eventually(what: string, ask: () => unknown): Promise<void> {
  const until = Date.now() + 30_000
  while (!(await ask())) {
    if (Date.now() > until) throw new Error(`waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
