import type { Store } from '../../storage/store.ts'
import type { Catalogue } from '../catalogue.ts'
import { versionInfo } from '../version.ts'
import type { RequestMetrics } from './request-metrics.ts'
import type { Buckets, RequestLabels, RequestSeries } from './request-series.ts'

/** The metrics of the API server in the text format of Prometheus, by the names and labels of Kubernetes 1.36. */
export function renderMetrics(metrics: RequestMetrics, store: Store, catalogue: Catalogue): string {
  const series = [...metrics.series]
  return [
    ...renderRequests(series),
    ...renderFlight(metrics, series),
    ...renderWatches(metrics),
    ...renderObjects(store, catalogue),
    ...renderBuild(),
  ].join('')
}

function renderRequests(series: readonly RequestSeries[]): string[] {
  const durations = series.filter(({ byCode }) => byCode.length > 0)
  return [
    head('apiserver_request_total', 'counter', 'Requests by verb, kind of object, scope and status.'),
    ...series.flatMap(({ byCode, labels }) =>
      byCode.map(([code, count]) => sample('apiserver_request_total', { code, ...withDryRun(labels) }, count)),
    ),
    head('apiserver_request_duration_seconds', 'histogram', 'Time from a request to its answer.'),
    ...durations.flatMap((each) =>
      histogram('apiserver_request_duration_seconds', withDryRun(each.labels), each.durations),
    ),
    head('apiserver_response_sizes', 'histogram', 'Bytes of answers to requests that only read.'),
    ...durations.flatMap(({ sizes, labels }) =>
      sizes === undefined ? [] : histogram('apiserver_response_sizes', plain(labels), sizes),
    ),
  ]
}

function renderFlight({ reading, mutating }: RequestMetrics, series: readonly RequestSeries[]): string[] {
  const now = performance.now()
  const name = 'apiserver_current_inflight_requests'
  return [
    head(name, 'gauge', 'The most requests under way at once within the last second.'),
    sample(name, { request_kind: 'mutating' }, mutating.read(now)),
    sample(name, { request_kind: 'readOnly' }, reading.read(now)),
    head('apiserver_longrunning_requests', 'gauge', 'Watches, logs and streams under way.'),
    ...series
      .filter(({ labels, longRunning }) => longRunning > 0 || labels.verb === 'WATCH')
      .map(({ labels, longRunning }) => sample('apiserver_longrunning_requests', plain(labels), longRunning)),
  ]
}

function renderWatches({ watches }: RequestMetrics): string[] {
  const name = 'apiserver_watch_events_total'
  return [
    head(name, 'counter', 'Events sent to watchers.'),
    ...[...watches].map(({ events, resource: { group, version, plural } }) =>
      sample(name, { group, resource: plural, version }, events),
    ),
  ]
}

function renderObjects(store: Store, catalogue: Catalogue): string[] {
  const stored = catalogue.groups
    .flatMap(({ versions }) => versions.flatMap(({ resources }) => resources))
    .filter(({ info, stored: own }) => info.verbs.includes('watch') && own.info === info)
    .map(({ info, collection }) => ({ group: info.group, resource: info.plural, count: store.count(collection) }))
  const qualified = (group: string, resource: string): string => (group === '' ? resource : `${resource}.${group}`)
  return [
    head('apiserver_storage_objects', 'gauge', 'Objects that are stored, by resource and group.'),
    ...stored.map(({ group, resource, count }) =>
      sample('apiserver_storage_objects', { resource: qualified(group, resource) }, count),
    ),
    head('apiserver_resource_objects', 'gauge', 'Objects that are stored.'),
    ...stored.map(({ group, resource, count }) => sample('apiserver_resource_objects', { group, resource }, count)),
  ]
}

function renderBuild(): string[] {
  const { major = '', minor = '', gitVersion = '', platform = '' } = versionInfo
  const labels = { git_version: gitVersion, major, minor, platform }
  return [
    head('kubernetes_build_info', 'gauge', 'Always 1; its labels tell the version that is served.'),
    sample('kubernetes_build_info', labels, 1),
  ]
}

type Values = Readonly<Record<string, string | number>>

/** In the order of their names, as Go's library writes them. */
function plain({ group, resource, scope, subresource, verb, version }: RequestLabels): Values {
  return { component: 'apiserver', group, resource, scope, subresource, verb, version }
}

function withDryRun({ dryRun, ...labels }: RequestLabels): Values {
  const { component = '', ...rest } = plain({ dryRun, ...labels })
  return { component, dry_run: dryRun, ...rest }
}

function head(name: string, type: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`
}

function histogram(name: string, labels: Values, { bounds, counts, sum }: Buckets): string[] {
  let below = 0
  const lines = [...bounds, '+Inf'].map((le, at) => {
    below += counts[at] ?? 0
    return sample(`${name}_bucket`, { ...labels, le }, below)
  })
  return [...lines, sample(`${name}_sum`, labels, sum), sample(`${name}_count`, labels, below)]
}

function sample(name: string, labels: Values, value: number): string {
  const pairs = Object.entries(labels).map(([key, each]) => `${key}="${escape(String(each))}"`)
  return `${name}{${pairs.join(',')}} ${value}\n`
}

function escape(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
