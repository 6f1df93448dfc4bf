import { canonicalQuantity } from '@fairlead/kube/types'
import type { KubeObject } from '@fairlead/kube/types'
import type { Pod } from '@fairlead/kube/types/core-v1'

import type { EmbeddedVersion } from '../../apiserver/aggregation/embedded.ts'
import type { ApiRequest, ApiResponse } from '../../apiserver/exchange.ts'
import { parseLabelSelector } from '../../apiserver/label-selector.ts'
import { respond } from '../../apiserver/render.ts'
import { attributesOf, knownResource, readObject } from '../../apiserver/resource.ts'
import { matches } from '../../apiserver/selectors.ts'
import { methodNotAllowed, pathNotFound, StatusError } from '../../apiserver/status.ts'
import type { Store } from '../../storage/store.ts'
import { PodMetrics } from './pod-metrics.ts'
import type { PodMetric, ScrapedPod } from './pod-metrics.ts'
import { scrape } from './scrape.ts'
import { scrapeTargetOf } from './scrape-target.ts'

export interface CustomMetricsOptions {
  readonly store: Store
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Default: HTTP. */
  readonly scrape?: typeof scrape | undefined
}

const group = 'custom.metrics.k8s.io'
const version = 'v1beta2'
const apiVersion = `${group}/${version}`
/** A question is about the pods of one workload. */
const mostPods = 500
/** As many names as discovery shows. */
const mostNames = 100

/**
 * The custom metrics API, `custom.metrics.k8s.io/v1beta2`, for pods: figures that pods with the annotation `prometheus.io/scrape`
 * tell themselves, asked when somebody wants to know. Autoscalers ask here as long as no APIService gives the group to a server.
 */
export function createCustomMetricsApi({ store, now, scrape: ask = scrape }: CustomMetricsOptions): EmbeddedVersion {
  const metrics = new PodMetrics({ scrape: ask, now })
  const seen = new Set<string>()

  async function servePods(namespace: string, name: string, metric: string, request: ApiRequest): Promise<ApiResponse> {
    const found = selectPods(store, namespace, name, request.query)
    const scraped = found.flatMap((pod): ScrapedPod[] => {
      const target = scrapeTargetOf(pod)
      return target === undefined ? [] : [{ uid: pod.metadata.uid ?? '', target }]
    })
    const selector = request.query.get('metricLabelSelector') ?? ''
    const wanted = parseLabelSelector(selector)
    const values = await metrics.read(scraped, metric, (labels) => matches(wanted, labels))
    const items = found.flatMap((pod) => {
      const value = values.get(pod.metadata.uid ?? '')
      return value === undefined ? [] : [renderValue(pod, metric, value)]
    })
    if (items.length > 0 && seen.size < mostNames) seen.add(metric)
    if (name !== '*' && items.length === 0) throw noMetric(metric, namespace, name)
    return respond(200, { kind: 'MetricValueList', apiVersion, metadata: {}, items })
  }

  return {
    group,
    version,
    // Which there are is known only to pods; those asked for are in the list of this version.
    resources: [],
    async serve(request) {
      if (request.method !== 'GET' && request.method !== 'HEAD') throw methodNotAllowed()
      const [, , , ...place] = request.path.split('/').filter((segment) => segment !== '')
      if (place.length === 0) return respond(200, renderResources([...seen]))
      const [first, namespace = '', kind, name = '', metric = ''] = place.map((segment) => decodeURIComponent(segment))
      if (first !== 'namespaces' || metric === '' || place.length > 5) throw pathNotFound()
      if (kind === 'pods') return await servePods(namespace, name, metric, request)
      throw noMetric(metric, namespace, `${kind}/${name}`)
    },
  }
}

function selectPods(store: Store, namespace: string, name: string, query: URLSearchParams): (KubeObject & Pod)[] {
  const resource = knownResource('', 'v1', 'pods')
  const labels = parseLabelSelector(query.get('labelSelector') ?? '')
  const entries = [...store.list(resource.collection, { prefix: `${namespace}/` })].filter((entry) =>
    name === '*' ? matches(labels, attributesOf(resource, entry).labels) : entry.id === `${namespace}/${name}`,
  )
  return entries.slice(0, mostPods).map((entry) => readObject(resource, entry) as KubeObject & Pod)
}

function renderValue({ metadata }: KubeObject & Pod, metric: string, found: PodMetric): object {
  const { value, at, windowSeconds } = found
  return {
    describedObject: { kind: 'Pod', namespace: metadata.namespace, name: metadata.name, apiVersion: '/v1' },
    metric: { name: metric, selector: null },
    timestamp: new Date(at).toISOString().replace(/\.\d+Z$/, 'Z'),
    ...(windowSeconds === undefined ? {} : { windowSeconds }),
    value: canonicalQuantity(`${Math.round(value * 1000)}m`) ?? '0',
  }
}

function renderResources(names: readonly string[]): object {
  const about = { singularName: '', namespaced: true, kind: 'MetricValueList', verbs: ['get'] }
  const resources = names.map((name) => ({ name: `pods/${name}`, ...about }))
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersion, resources }
}

/** In the words of servers of custom metrics. */
function noMetric(metric: string, namespace: string, name: string): StatusError {
  const what = `the server could not find the metric ${metric} for pods ${namespace}/${name}`
  const hint = 'pods with the annotation prometheus.io/scrape: "true" are asked'
  return new StatusError(404, 'NotFound', `${what} (${hint})`)
}
