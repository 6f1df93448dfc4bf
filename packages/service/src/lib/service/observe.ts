import type { ServedRequest } from '../http/handler.ts'
import type { Logger } from '../log/logger.ts'
import { addRequestMetrics } from '../metrics/http.ts'
import type { Metrics } from '../metrics/metrics.ts'

/** Counts each served request by method, route template and status, and writes its line. */
export function createRequestObserver(metrics: Metrics, log: Logger): (served: ServedRequest) => void {
  const measure = addRequestMetrics(metrics)
  return (served) => {
    measure(served)
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
