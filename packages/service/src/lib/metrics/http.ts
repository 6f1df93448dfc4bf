import type { ExemplarTrace } from './values.ts'
import type { CounterSeries, HistogramSeries, Metrics } from './metrics.ts'

/** What the metrics want to know of a request when it is over; a `ServedRequest` is one. */
export interface MeasuredRequest {
  readonly method: string
  /** The template, never the raw path. */
  readonly route: string
  readonly status: number
  readonly durationMs: number
  /** Kept as the exemplar where it is sampled. */
  readonly trace?: ExemplarTrace | undefined
  /** The request's; its `content-length` counts where `requestBytes` is not known. */
  readonly headers?: { readonly 'content-length'?: string | undefined } | undefined
  /** Of the bodies, as they went over the wire. Undefined: not counted. */
  readonly requestBytes?: number | undefined
  readonly responseBytes?: number | undefined
}

/** The server whose connections and requests are shown as they are at the moment. */
export interface MeasuredServer {
  readonly connections: number
  readonly requests: number
}

const knownMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY']
const attributes = {
  method: 'http.request.method',
  route: 'http.route',
  status: 'http.response.status_code',
}
const sizeBuckets = [100, 1000, 10_000, 100_000, 1_000_000, 10_000_000]

/**
 * Rate, errors and duration of the requests a service answers: `http_requests_total`, `http_request_duration_seconds`,
 * `http_request_size_bytes` and `http_response_size_bytes`, each by method, route template and status. Returns what to
 * call at the end of each request.
 */
export function addRequestMetrics(metrics: Metrics): (request: MeasuredRequest) => void {
  const labels = ['method', 'route', 'status'] as const
  const total = metrics.counter('http_requests_total', { help: 'HTTP requests served.', labels })
  const duration = metrics.histogram('http_request_duration_seconds', {
    help: 'Time to serve an HTTP request in seconds.',
    labels,
    native: true,
    otel: { name: 'http.server.request.duration', unit: 's', attributes },
  })
  const size = (direction: 'request' | 'response') =>
    metrics.histogram(`http_${direction}_size_bytes`, {
      help: `Size of the bodies of HTTP ${direction}s in bytes.`,
      labels,
      buckets: sizeBuckets,
      otel: { name: `http.server.${direction}.body.size`, unit: 'By', attributes },
    })
  const requestSize = size('request')
  const responseSize = size('response')

  const routes = new Map<string, RouteSeries>()

  const addSeries = (request: MeasuredRequest): RequestSeries => {
    // Anybody can send any method: unknown ones are one.
    const method = knownMethods.includes(request.method) ? request.method : '_OTHER'
    const values = { method, route: request.route, status: request.status }
    return {
      exemplarAt: 0,
      total: total.labels(values),
      duration: duration.labels(values),
      requestSize: lazy(() => requestSize.labels(values)),
      responseSize: lazy(() => responseSize.labels(values)),
    }
  }
  const seriesOf = (request: MeasuredRequest): RequestSeries => {
    let route = routes.get(request.route)
    if (route === undefined) {
      route = { lastKey: -1, last: undefined, byKey: new Map() }
      // A fetch handler may name its routes without bound; the metrics have their own cap.
      if (routes.size < 1000) routes.set(request.route, route)
    }
    const key = request.status * 16 + knownMethods.indexOf(request.method)
    if (route.last !== undefined && route.lastKey === key) return route.last
    let series = route.byKey.get(key)
    if (series === undefined) {
      series = addSeries(request)
      route.byKey.set(key, series)
    }
    route.lastKey = key
    route.last = series
    return series
  }

  return (request) => {
    const series = seriesOf(request)
    series.total.inc()
    series.duration.observe(request.durationMs / 1000, traceFor(series, request))
    const requestBytes = request.requestBytes ?? lengthOf(request.headers?.['content-length'])
    if (requestBytes !== undefined) series.requestSize().observe(requestBytes)
    if (request.responseBytes !== undefined) series.responseSize().observe(request.responseBytes)
  }
}

/** Shows `http_active_connections` and `http_requests_in_flight` of a server. Returns what takes them away. */
export function addServerMetrics(metrics: Metrics, server: MeasuredServer): () => void {
  const removals = [
    metrics.observable('http_active_connections', {
      help: 'Open connections of HTTP clients.',
      read: () => server.connections,
    }),
    metrics.observable('http_requests_in_flight', {
      help: 'HTTP requests being served.',
      otel: { name: 'http.server.active_requests', unit: '{request}' },
      read: () => server.requests,
    }),
  ]
  return () => {
    for (const remove of removals) remove()
  }
}

/** Most requests for a route end like the one before: then the route's own look-up is the only one. */
interface RouteSeries {
  lastKey: number
  last: RequestSeries | undefined
  readonly byKey: Map<number, RequestSeries>
}
interface RequestSeries {
  exemplarAt: number
  readonly total: CounterSeries
  readonly duration: HistogramSeries
  readonly requestSize: () => HistogramSeries
  readonly responseSize: () => HistogramSeries
}

/**
 * Of several quick requests in one millisecond one is the exemplar: the others would only overwrite it, and a trace that nobody
 * else has asked for is read from the headers by asking.
 */
function traceFor(series: RequestSeries, request: MeasuredRequest): ExemplarTrace | undefined {
  const now = Date.now()
  if (now === series.exemplarAt && request.durationMs < 100) return undefined
  series.exemplarAt = now
  return request.trace
}

function lengthOf(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  const length = Number(header)
  return length >= 0 ? length : undefined
}

function lazy<T>(create: () => T): () => T {
  let value: T | undefined
  return () => (value ??= create())
}
