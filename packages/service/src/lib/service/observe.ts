import type { ServedRequest } from '../http/handler.ts'
import type { Logger } from '../log/logger.ts'
import type { CounterSeries, HistogramSeries, Metrics } from '../metrics/metrics.ts'

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Counts each served request by method, route template and status, and writes its line. */
export function createRequestObserver(metrics: Metrics, log: Logger): (served: ServedRequest) => void {
  const labels = ['method', 'route', 'status'] as const
  const total = metrics.counter('http_requests_total', { help: 'HTTP requests served.', labels })
  const duration = metrics.histogram('http_request_duration_seconds', {
    help: 'Time to serve an HTTP request in seconds.',
    labels,
  })
  const known = new Map<string, { readonly total: CounterSeries; readonly duration: HistogramSeries }>()

  return (served) => {
    // Anybody can send any method: unknown ones are one.
    const method = methods.has(served.method) ? served.method : '_OTHER'
    const key = `${method} ${served.status} ${served.route}`
    let series = known.get(key)
    if (series === undefined) {
      const values = { method, route: served.route, status: served.status }
      series = { total: total.labels(values), duration: duration.labels(values) }
      // A fetch handler may name its routes without bound; the metrics have their own cap.
      if (known.size < 1000) known.set(key, series)
    }
    series.total.inc()
    series.duration.observe(served.durationMs / 1000)
    logServed(log, served)
  }
}

function logServed(log: Logger, served: ServedRequest): void {
  const level = served.status >= 500 ? 'error' : 'info'
  if (!log.isEnabled(level)) return
  log[level]('request served', {
    method: served.method,
    route: served.route,
    path: served.path,
    status: served.status,
    duration_ms: Math.round(served.durationMs * 1000) / 1000,
    request_id: served.requestId,
    trace_id: served.trace.traceId,
    span_id: served.trace.spanId,
    err: served.error,
  })
}
