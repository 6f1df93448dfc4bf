import { createMetrics } from '@fairlead/service/metrics'
import type { Metrics } from '@fairlead/service/metrics'
import type { Cluster, Endpoint } from '../model.ts'

/** Of each request, by Istio's names, so that dashboards and analyses made for it read ours (istio.io/docs/reference/config/metrics). */
const labels = [
  'reporter',
  'route',
  'request_protocol',
  'response_code',
  'destination_service',
  'destination_service_name',
  'destination_service_namespace',
  'destination_workload',
  'destination_workload_namespace',
  'destination_version',
] as const

const bucketsMs = [0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000]

/** What is counted of one request. */
export interface Outcome {
  readonly route: string
  readonly cluster?: Cluster | undefined
  readonly endpoint?: Endpoint | undefined
  readonly isGrpc: boolean
  /** 0 when the client went away before there was one. */
  readonly status: number
  readonly durationMs: number
}

export interface GatewayMetrics {
  count(outcome: Outcome): void
  /** Prometheus text. */
  render(): string
}

/** Series are found by one string: the label sets of requests repeat. */
export function createGatewayMetrics(metrics: Metrics = createMetrics()): GatewayMetrics {
  const requests = metrics.counter('istio_requests_total', {
    help: 'Requests that the gateway answered.',
    labels,
    maxSeries: 10_000,
  })
  const durations = metrics.histogram('istio_request_duration_milliseconds', {
    help: 'Time from the arrival of a request to the end of its answer.',
    labels,
    buckets: bucketsMs,
    maxSeries: 10_000,
  })
  let known = new Map<string, { inc(): void; observe(ms: number): void }>()

  function find(outcome: Outcome): { inc(): void; observe(ms: number): void } {
    const { route, cluster, endpoint, isGrpc, status } = outcome
    const key = `${route}\0${cluster?.key}\0${endpoint?.workload}\0${endpoint?.version}\0${isGrpc}\0${status}`
    const found = known.get(key)
    if (found !== undefined) return found
    const values = labelsOf(outcome)
    const [counter, histogram] = [requests.labels(values), durations.labels(values)]
    const series = { inc: () => counter.inc(), observe: (ms: number) => histogram.observe(ms) }
    if (known.size >= 10_000) known = new Map()
    known.set(key, series)
    return series
  }

  return {
    count(outcome) {
      const series = find(outcome)
      series.inc()
      series.observe(outcome.durationMs)
    },
    render: () => metrics.render(),
  }
}

function labelsOf({ route, cluster, endpoint, isGrpc, status }: Outcome): Record<(typeof labels)[number], string> {
  const { service = 'unknown', namespace = 'unknown' } = cluster ?? {}
  return {
    reporter: 'destination',
    route,
    request_protocol: isGrpc ? 'grpc' : 'http',
    response_code: String(status),
    destination_service: cluster === undefined ? 'unknown' : `${service}.${namespace}.svc.cluster.local`,
    destination_service_name: service,
    destination_service_namespace: namespace,
    destination_workload: endpoint?.workload ?? 'unknown',
    destination_workload_namespace: namespace,
    destination_version: endpoint?.version ?? 'unknown',
  }
}
