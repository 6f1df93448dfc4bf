import { isNotFound, readBytes } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { findKind } from '@fairlead/kube/types'
import type { CrossVersionObjectReference } from '@fairlead/kube/types/autoscaling-v2'

import { MetricError, thousandths } from './replicas.ts'
import type { PodMetrics } from './replicas.ts'

/** Asks the three APIs of metrics. What it finds is in thousandths. */
export interface MetricsClient {
  /** Use of a resource by pods, or by one container of each. */
  resource(
    query: PodQuery & { readonly resource: string; readonly container?: string | undefined },
  ): Promise<PodMetrics>
  pods(query: PodQuery & MetricQuery): Promise<PodMetrics>
  object(
    query: MetricQuery & { readonly namespace: string; readonly object: CrossVersionObjectReference },
  ): Promise<number>
  external(query: MetricQuery & { readonly namespace: string }): Promise<number>
}

interface PodQuery {
  readonly namespace: string
  /** Labels of the pods, as text. */
  readonly selector: string
}

interface MetricQuery {
  readonly name: string
  /** Labels of the metric, as text; empty for none. */
  readonly metricSelector: string
}

interface ResourceMetrics {
  readonly items: readonly {
    readonly metadata: { readonly name: string }
    readonly timestamp: string
    readonly window: string
    readonly containers: readonly { readonly name: string; readonly usage: Readonly<Record<string, string>> }[]
  }[]
}

interface ValueList {
  readonly items: readonly {
    readonly describedObject?: { readonly name: string }
    readonly timestamp: string
    readonly windowSeconds?: number
    readonly value: string
  }[]
}

const patienceMs = 10_000

export function createMetricsClient(client: KubeClient): MetricsClient {
  async function get<T>(path: string): Promise<T> {
    const signal = AbortSignal.timeout(patienceMs)
    const { body } = await client.request({ method: 'GET', path, headers: { accept: 'application/json' }, signal })
    return JSON.parse(Buffer.from(await readBytes(body)).toString('utf8')) as T
  }

  async function values(group: string, api: string, path: string): Promise<ValueList['items']> {
    try {
      const { preferredVersion } = await get<{ preferredVersion: { groupVersion: string } }>(`/apis/${group}`)
      return (await get<ValueList>(`/apis/${preferredVersion.groupVersion}/${path}`)).items
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new MetricError(`unable to fetch metrics from ${api} metrics API: ${why}`, { cause: error })
    }
  }

  return {
    async resource({ namespace, selector, resource, container }) {
      const path = `/apis/metrics.k8s.io/v1beta1/namespaces/${namespace}/pods?${query({ labelSelector: selector })}`
      const { items } = await get<ResourceMetrics>(path).catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error)
        throw new MetricError(`unable to fetch metrics from resource metrics API: ${why}`, { cause: error })
      })
      if (items.length === 0) throw new MetricError('no metrics returned from resource metrics API')
      return new Map(
        items.flatMap(({ metadata, timestamp, window, containers }) => {
          const counted = containers.filter(({ name }) => container === undefined || name === container)
          const usages = counted.map(({ usage }) => usage[resource])
          if (usages.length === 0 || usages.includes(undefined)) return []
          const value = usages.reduce<number>((total, usage) => total + thousandths(usage ?? '0'), 0)
          return [[metadata.name, { value, at: Date.parse(timestamp), windowMs: parseWindow(window) }] as const]
        }),
      )
    },

    async pods({ namespace, selector, name, metricSelector }) {
      const asked = query({ labelSelector: selector, metricLabelSelector: metricSelector })
      const items = await values('custom.metrics.k8s.io', 'custom', `namespaces/${namespace}/pods/*/${name}?${asked}`)
      if (items.length === 0) throw new MetricError('no metrics returned from custom metrics API')
      return new Map(
        items.map(({ describedObject, timestamp, windowSeconds = 60, value }) => {
          const metric = { value: thousandths(value), at: Date.parse(timestamp), windowMs: windowSeconds * 1000 }
          return [describedObject?.name ?? '', metric]
        }),
      )
    },

    async object({ namespace, object, name, metricSelector }) {
      const { plural, namespaced, group } = await locate(client, object)
      const resource = group === '' ? plural : `${plural}.${group}`
      const place = namespaced ? `namespaces/${namespace}/` : ''
      const isNamespace = resource === 'namespaces'
      const path = isNamespace
        ? `namespaces/${object.name}/metrics/${name}`
        : `${place}${resource}/${object.name}/${name}`
      const asked = query({ metricLabelSelector: metricSelector })
      const [item] = await values('custom.metrics.k8s.io', 'custom', `${path}?${asked}`)
      if (item === undefined) throw new MetricError('no metrics returned from custom metrics API')
      return thousandths(item.value)
    },

    async external({ namespace, name, metricSelector }) {
      const path = `namespaces/${namespace}/${name}?${query({ labelSelector: metricSelector })}`
      const items = await values('external.metrics.k8s.io', 'external', path)
      if (items.length === 0) throw new MetricError('no metrics returned from external metrics API')
      return items.reduce((total, { value }) => total + thousandths(value), 0)
    },
  }
}

export interface Location {
  readonly group: string
  readonly plural: string
  readonly namespaced: boolean
}

/** Where objects of a kind are: a table knows the built-in ones, the server all others. */
export async function locate(
  client: KubeClient,
  { apiVersion = 'v1', kind }: CrossVersionObjectReference,
): Promise<Location> {
  const known = findKind(apiVersion, kind)
  if (known !== undefined) return known
  const root = apiVersion.includes('/') ? '/apis' : '/api'
  const headers = { accept: 'application/json' }
  try {
    const { body } = await client.request({ method: 'GET', path: `${root}/${apiVersion}`, headers })
    const list = JSON.parse(Buffer.from(await readBytes(body)).toString('utf8')) as {
      resources: { name: string; kind: string; namespaced: boolean }[]
    }
    const found = list.resources.find((each) => each.kind === kind && !each.name.includes('/'))
    const group = apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : ''
    if (found !== undefined) return { group, plural: found.name, namespaced: found.namespaced }
  } catch (error) {
    if (!isNotFound(error)) throw error
  }
  throw new MetricError(`no matches for kind "${kind}" in version "${apiVersion}"`)
}

function query(parameters: Readonly<Record<string, string>>): string {
  return new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== '')).toString()
}

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 }

/** A duration as Go prints it, such as `1m15.5s`, in milliseconds. */
export function parseWindow(text: string): number {
  const parts = [...text.matchAll(/([\d.]+)(ms|h|m|s)/g)]
  return parts.reduce((total, [, count, unit = 's']) => total + Number(count) * (unitMs[unit] ?? 1000), 0)
}
