import type { HistogramSeries, Metrics } from '../metrics/metrics.ts'

/** Tells how a request of a client ended: its status, or `error`. */
export type RequestReporter = (service: string, method: string, status: string, durationMs: number) => void

const reporters = new WeakMap<Metrics, RequestReporter>()
const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** One histogram per set of metrics, whoever many clients report to it. */
export function requestReporter(metrics: Metrics): RequestReporter {
  let reporter = reporters.get(metrics)
  if (reporter === undefined) {
    reporter = createReporter(metrics)
    reporters.set(metrics, reporter)
  }
  return reporter
}

function createReporter(metrics: Metrics): RequestReporter {
  const duration = metrics.histogram('service_call_duration_seconds', {
    help: 'Time of HTTP requests to other services in seconds, each try of a call by itself.',
    labels: ['service', 'method', 'status'],
  })
  const known = new Map<string, HistogramSeries>()
  return (service, givenMethod, status, durationMs) => {
    const method = methods.has(givenMethod) ? givenMethod : '_OTHER'
    const key = `${method} ${status} ${service}`
    let series = known.get(key)
    if (series === undefined) {
      series = duration.labels({ service, method, status })
      if (known.size < 1000) known.set(key, series)
    }
    series.observe(durationMs / 1000)
  }
}
