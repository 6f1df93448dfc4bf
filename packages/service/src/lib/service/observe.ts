import type { IncomingMessage } from 'node:http'
import { unmatched } from '../http/exchange.ts'
import type { ServedRequest } from '../http/handler.ts'
import type { RouteMatch } from '../http/router.ts'
import type { Logger } from '../log/logger.ts'
import type { MeasuredRequest } from '../metrics/http.ts'

type Measure = (request: MeasuredRequest) => void

/** Counts a request that was refused before a handler saw it. */
export type CountRefused = (request: IncomingMessage, status: number) => void

/**
 * Refusals are counted with the other requests, or their rate and errors would not show an overload. A line of each in the log, and
 * a span, would cost more than what the refusal is there to save.
 */
export function createRefusalCounter(
  measure: Measure,
  match: (method: string, path: string) => RouteMatch,
): CountRefused {
  return ({ method = 'GET', url = '/', headers }, status) => {
    const found = match(method, url.split('?', 1)[0] ?? '/')
    const route = found.kind === 'found' ? found.route.template : unmatched
    measure({ method, route, status, durationMs: 0, headers })
  }
}

/** Counts each served request by method, route template and status, and writes its line. */
export function createRequestObserver(measure: Measure, log: Logger): (served: ServedRequest) => void {
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
