import type { Counter, Gauge, Metrics } from '../metrics/metrics.ts'
import type { SecretStatus } from './secrets.ts'

interface Families {
  readonly age: Gauge<'secret'>
  readonly stale: Gauge<'secret'>
  readonly reads: Counter<'provider' | 'outcome'>
  readonly stores: Set<() => readonly SecretStatus[]>
}

/** A set of metrics takes a name once, while a service may open secrets several times. */
const known = new WeakMap<Metrics, Families>()

/** Shows the age and state of each secret, and counts the readings. */
export function measureSecrets(
  metrics: Metrics,
  list: () => readonly SecretStatus[],
): { onAttempt(provider: string, outcome: 'ok' | 'error'): void; end(): void } {
  const families = known.get(metrics) ?? register(metrics)
  families.stores.add(list)
  return {
    onAttempt: (provider, outcome) => families.reads.labels({ provider, outcome }).inc(),
    end: () => void families.stores.delete(list),
  }
}

function register(metrics: Metrics): Families {
  const families: Families = {
    age: metrics.gauge('fairlead_service_secret_age_seconds', {
      help: 'Time since the provider last confirmed the value of a secret.',
      labels: ['secret'],
    }),
    stale: metrics.gauge('fairlead_service_secret_stale', {
      help: '1 while the last reading of a secret failed, else 0.',
      labels: ['secret'],
    }),
    reads: metrics.counter('fairlead_service_secret_reads_total', {
      help: 'Readings of secrets at their provider.',
      labels: ['provider', 'outcome'],
    }),
    stores: new Set(),
  }
  known.set(metrics, families)
  metrics.onCollect(() => {
    for (const list of families.stores) {
      for (const { secret, ageMs, error } of list()) {
        if (ageMs !== undefined) families.age.labels({ secret }).set(ageMs / 1000)
        families.stale.labels({ secret }).set(error === undefined ? 0 : 1)
      }
    }
  })
  return families
}
