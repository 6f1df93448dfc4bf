import type { CounterSeries, GaugeSeries, Metrics } from '../metrics/metrics.ts'

interface Series {
  readonly reloads: CounterSeries
  readonly failures: CounterSeries
  readonly succeededAt: GaugeSeries
}

/** A set of metrics has these once, however many configurations are counted in it. */
const known = new WeakMap<Metrics, Series>()

/** Counts the reloads of a configuration, under the names Prometheus has for its own. */
export function countReloads(metrics: Metrics | undefined): { loaded(): void; refused(): void } {
  if (metrics === undefined) return { loaded() {}, refused() {} }
  const series = known.get(metrics) ?? register(metrics)
  return {
    loaded() {
      series.reloads.inc()
      series.succeededAt.set(Date.now() / 1000)
    },
    refused() {
      series.failures.inc()
    },
  }
}

function register(metrics: Metrics): Series {
  const series = {
    reloads: metrics.counter('config_reloads_total', { help: 'Times the configuration was read and accepted.' }),
    failures: metrics.counter('config_reload_failures_total', {
      help: 'Times a changed configuration was refused because it is not valid.',
    }),
    succeededAt: metrics.gauge('config_last_reload_success_timestamp_seconds', {
      help: 'When the configuration was last read and accepted.',
    }),
  }
  // A counter that is not there cannot be watched; a counter of 0 can.
  series.failures.inc(0)
  known.set(metrics, series)
  return series
}
