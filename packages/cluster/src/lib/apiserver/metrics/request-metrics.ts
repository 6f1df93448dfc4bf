import type { ApiRequest, ApiResponse } from '../exchange.ts'
import type { Resource } from '../resource.ts'
import type { ResourceRoute, Verb } from '../route.ts'
import { PeakGauge } from './peak-gauge.ts'
import { RequestSeries } from './request-series.ts'
import type { RequestLabels } from './request-series.ts'

/** One request under way, filled in as it becomes known what it is about. */
export interface Measured {
  readonly startedMs: number
  readonly isReading: boolean
  route: ResourceRoute | undefined
}

/** Events that watchers of a resource were sent. */
export interface WatchCounter {
  events: number
}

const verbs: readonly Verb[] = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection']
/** Deletions of collections count as what their method says. */
const names = ['GET', 'LIST', 'WATCH', 'POST', 'PUT', 'PATCH', 'DELETE', 'DELETE'] as const
const scopes = ['resource', 'namespace', 'cluster'] as const
const connecting = new Set(['log', 'exec', 'attach', 'portforward', 'proxy'])
const healthPaths = new Set(['/healthz', '/livez', '/readyz'])
/** Definitions come and go; past this many kinds of requests, new ones are counted together. */
const maxSeries = 10_000

/** Counts what is asked of the API server. A request costs two readings of the clock and a few additions. */
export class RequestMetrics {
  readonly reading: PeakGauge = new PeakGauge()
  readonly mutating: PeakGauge = new PeakGauge()
  readonly #series = new Map<string, RequestSeries>()
  /** The most frequent ones by verb and scope, found without making a key. */
  readonly #plain = new WeakMap<Resource, (RequestSeries | undefined)[]>()
  readonly #watches = new Map<string, WatchCounter & { readonly resource: Resource['info'] }>()

  get series(): Iterable<RequestSeries> {
    return this.#series.values()
  }

  get watches(): Iterable<WatchCounter & { readonly resource: Resource['info'] }> {
    return this.#watches.values()
  }

  begin({ method }: ApiRequest): Measured {
    const startedMs = performance.now()
    const isReading = method === 'GET' || method === 'HEAD'
    if (isReading) this.reading.add(startedMs)
    else this.mutating.add(startedMs)
    return { startedMs, isReading, route: undefined }
  }

  /** Counts a request by its answer; one that lasts is counted when it is over. */
  end(measured: Measured, request: ApiRequest, answer: ApiResponse): ApiResponse {
    if (measured.isReading) this.reading.remove()
    else this.mutating.remove()
    const series = this.#seriesOf(measured.route, request)
    const { body, status } = answer
    if ('pieces' in body) {
      let bytes = 0
      for (const piece of body.pieces) bytes += piece.length
      series.add(status, (performance.now() - measured.startedMs) / 1000, bytes)
      return answer
    }
    const lasting = async <T>(run: (to: T) => Promise<void>, to: T): Promise<void> => {
      series.longRunning += 1
      try {
        await run(to)
      } finally {
        series.longRunning -= 1
        series.add(status, (performance.now() - measured.startedMs) / 1000, 0)
      }
    }
    return 'stream' in body
      ? { ...answer, body: { stream: (sink) => lasting((to) => body.stream(to), sink) } }
      : { ...answer, body: { switchTo: (connection) => lasting((to) => body.switchTo(to), connection) } }
  }

  watchesOf({ info }: Resource): WatchCounter {
    const key = `${info.apiVersion} ${info.plural}`
    let counter = this.#watches.get(key)
    if (counter === undefined) {
      counter = { events: 0, resource: info }
      if (this.#watches.size < maxSeries) this.#watches.set(key, counter)
    }
    return counter
  }

  #seriesOf(route: ResourceRoute | undefined, request: ApiRequest): RequestSeries {
    if (route === undefined) return this.#named(pathLabels(request))
    const isPlain = route.subresource === '' && route.verb !== 'patch' && !request.query.has('dryRun')
    if (!isPlain) return this.#named(routeLabels(route, request))
    let known = this.#plain.get(route.resource)
    if (known === undefined) this.#plain.set(route.resource, (known = []))
    const at = verbs.indexOf(route.verb) * scopes.length + scopes.indexOf(scopeOf(route))
    return (known[at] ??= this.#named(routeLabels(route, request)))
  }

  #named(labels: RequestLabels): RequestSeries {
    const { verb, dryRun, group, version, resource, subresource, scope } = labels
    const key = `${verb} ${dryRun} ${group} ${version} ${resource} ${subresource} ${scope}`
    let series = this.#series.get(key)
    if (series !== undefined) return series
    if (this.#series.size >= maxSeries && resource !== overflow)
      return this.#named({ ...labels, group: overflow, version: '', resource: overflow, subresource: '' })
    series = new RequestSeries(labels)
    this.#series.set(key, series)
    return series
  }
}

const overflow = '__overflow__'

function scopeOf({ verb, name, namespace }: ResourceRoute): (typeof scopes)[number] {
  if (name !== '' || verb === 'create') return 'resource'
  return namespace === '' ? 'cluster' : 'namespace'
}

function routeLabels(route: ResourceRoute, request: ApiRequest): RequestLabels {
  const { info, subresource, verb } = route
  return {
    verb: reportedVerb(subresource, verb, request),
    dryRun: dryRunOf(request.query),
    group: info.group,
    version: info.version,
    resource: info.plural,
    subresource,
    scope: scopeOf(route),
  }
}

function reportedVerb(subresource: string, verb: Verb, { headers }: ApiRequest): string {
  if (connecting.has(subresource)) return 'CONNECT'
  if (verb === 'patch' && headers['content-type'] === 'application/apply-patch+yaml') return 'APPLY'
  return names[verbs.indexOf(verb)] ?? 'other'
}

function dryRunOf(query: URLSearchParams): string {
  const asked = query.getAll('dryRun')
  if (asked.length === 0) return ''
  return asked.every((value) => value === 'All') ? 'All' : 'invalid'
}

const methods = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])

/** Paths are anybody's words: none but those of health checks become labels. */
function pathLabels({ method, path }: ApiRequest): RequestLabels {
  const verb = method === 'HEAD' ? 'GET' : methods.has(method) ? method : 'other'
  const nothing = { dryRun: '', group: '', version: '', resource: '', scope: '' } as const
  return { ...nothing, verb, subresource: healthPaths.has(path) ? path : '' }
}
