import type { KubeObject } from '@fairlead/kube/types'
import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import type { EmbeddedVersion } from '../../apiserver/aggregation/embedded.ts'
import type { ApiRequest, ApiResponse } from '../../apiserver/exchange.ts'
import type { Kubelet } from '../../apiserver/kubelet.ts'
import { parseLabelSelector } from '../../apiserver/label-selector.ts'
import { respond } from '../../apiserver/render.ts'
import { attributesOf, knownResource, readObject } from '../../apiserver/resource.ts'
import { matches, parseFieldSelector } from '../../apiserver/selectors.ts'
import { methodNotAllowed, pathNotFound, StatusError } from '../../apiserver/status.ts'
import type { Store } from '../../storage/store.ts'
import type { PodStats, Summary } from '../../node/usage/render-usage.ts'
import { renderNodeMetrics, renderPodMetrics } from './render-metrics.ts'

export interface MetricsApiOptions {
  readonly store: Store
  readonly findKubelet: (nodeName: string) => Promise<Kubelet>
}

const group = 'metrics.k8s.io'
const apiVersion = `${group}/v1beta1`
const verbs = ['get', 'list']
const resources = [
  { name: 'nodes', singularName: 'node', namespaced: false, kind: 'NodeMetrics', verbs },
  { name: 'pods', singularName: 'pod', namespaced: true, kind: 'PodMetrics', verbs },
]
/** A node that has not told its figures by then has none. */
const patienceMs = 5000

/**
 * The resource metrics API, `metrics.k8s.io/v1beta1`: what nodes and pods use, as their node agents last measured it.
 * `kubectl top` and autoscalers ask here.
 */
export function createMetricsApi(options: MetricsApiOptions): EmbeddedVersion {
  return {
    group,
    version: 'v1beta1',
    resources,
    async serve(request) {
      if (request.method !== 'GET' && request.method !== 'HEAD') throw methodNotAllowed()
      const [, , , ...place] = request.path.split('/').filter((segment) => segment !== '')
      if (place.length === 0) {
        return respond(200, { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersion, resources })
      }
      const [first = '', second = '', third, name = ''] = place
      if (first === 'nodes' && place.length <= 2) return await serveNodes(options, second, request)
      if (first === 'pods' && place.length === 1) return await servePods(options, '', '', request)
      if (first === 'namespaces' && third === 'pods' && place.length <= 4) {
        return await servePods(options, second, name, request)
      }
      throw pathNotFound()
    },
  }
}

async function serveNodes(options: MetricsApiOptions, name: string, request: ApiRequest): Promise<ApiResponse> {
  const nodes = select<Node>(options.store, 'nodes', { prefix: '', name, query: request.query })
  const summaries = await Promise.all(
    nodes.map(({ metadata }) => summaryOf(options, metadata.name ?? '', request.signal)),
  )
  const items = nodes.flatMap((node, index) => {
    const stats = summaries[index]?.node
    return stats === undefined ? [] : (renderNodeMetrics(node, stats) ?? [])
  })
  return answer('NodeMetrics', name, name, items)
}

async function servePods(
  options: MetricsApiOptions,
  namespace: string,
  name: string,
  request: ApiRequest,
): Promise<ApiResponse> {
  const prefix = namespace === '' ? '' : `${namespace}/`
  const pods = select<Pod>(options.store, 'pods', { prefix, name, query: request.query })
  const nodeNames = new Set(pods.flatMap(({ spec }) => spec?.nodeName || []))
  const summaries = await Promise.all([...nodeNames].map((node) => summaryOf(options, node, request.signal)))
  const stats = new Map<string, PodStats>(
    summaries.flatMap((summary) => (summary?.pods ?? []).map((each) => [each.podRef.uid, each] as const)),
  )
  const items = pods.flatMap((pod) => renderPodMetrics(pod, stats.get(pod.metadata.uid ?? '')) ?? [])
  return answer('PodMetrics', name, `${namespace}/${name}`, items)
}

function answer(kind: string, name: string, shownName: string, items: readonly object[]): ApiResponse {
  if (name === '') {
    const listed = items.map((item) => ({ kind, apiVersion, ...item }))
    return respond(200, { kind: `${kind}List`, apiVersion, metadata: {}, items: listed })
  }
  const [item] = items
  const plural = kind.toLowerCase()
  if (item === undefined) {
    const details = { name: shownName, group, kind: plural }
    throw new StatusError(404, 'NotFound', `${plural}.${group} "${shownName}" not found`, { details })
  }
  return respond(200, { kind, apiVersion, ...item })
}

function select<T>(
  store: Store,
  plural: 'nodes' | 'pods',
  { prefix, name, query }: { prefix: string; name: string; query: URLSearchParams },
): (KubeObject & T)[] {
  const resource = knownResource('', 'v1', plural)
  if (name !== '') {
    const entry = store.get(resource.collection, `${prefix}${name}`)
    return entry === undefined ? [] : [readObject(resource, entry) as KubeObject & T]
  }
  const labels = parseLabelSelector(query.get('labelSelector') ?? '')
  const fields = parseFieldSelector(query.get('fieldSelector') ?? '')
  return [...store.list(resource.collection, { prefix })]
    .filter((entry) => {
      const attributes = attributesOf(resource, entry)
      return matches(labels, attributes.labels) && matches(fields, attributes.fields)
    })
    .map((entry) => readObject(resource, entry) as KubeObject & T)
}

/** Nodes that cannot be reached have no figures; others are shown all the same. */
async function summaryOf(
  { findKubelet }: MetricsApiOptions,
  nodeName: string,
  signal: AbortSignal,
): Promise<Summary | undefined> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)])
  try {
    const kubelet = await findKubelet(nodeName)
    const { status, body } = await kubelet.fetch({ method: 'GET', path: '/stats/summary', signal: limit })
    const chunks: Uint8Array[] = []
    for await (const chunk of body) chunks.push(chunk)
    const summary = status === 200 ? (JSON.parse(Buffer.concat(chunks).toString('utf8')) as Summary) : undefined
    return summary?.node.nodeName === nodeName ? summary : undefined
  } catch {
    return undefined
  }
}
