import { canonicalQuantity, parseQuantity } from '@fairlead/kube/types'
import type { LabelSelector } from '@fairlead/kube/types'
import type { HorizontalPodAutoscaler, MetricSpec, MetricStatus } from '@fairlead/kube/types/autoscaling-v2'
import type { Pod } from '@fairlead/kube/types/core-v1'

import type { MetricsClient } from './metrics-client.ts'
import { decideByAverage, decideByUtilization, decideByValue, decideByValuePerPod, thousandths } from './replicas.ts'
import type { PodMetrics, ReplicaCount, ReplicaFacts, Tolerances } from './replicas.ts'

/** What is scaled, as it is. */
export interface Target {
  readonly namespace: string
  readonly selector: string
  readonly specReplicas: number
  readonly statusReplicas: number
  readonly pods: readonly Pod[]
  readonly tolerances: Tolerances
  readonly now: number
}

/** What one metric asks for. */
export interface Proposal {
  readonly replicas: number
  /** In the words conditions and events use. */
  readonly metric: string
  readonly status: MetricStatus
}

const defaultTolerance = 0.1

export function tolerancesOf({ spec }: HorizontalPodAutoscaler): Tolerances {
  const of = (text: string | undefined): number => (text === undefined ? defaultTolerance : (parseQuantity(text) ?? 0))
  return { scaleUp: of(spec.behavior?.scaleUp?.tolerance), scaleDown: of(spec.behavior?.scaleDown?.tolerance) }
}

/** Asks for a metric and says how many replicas it takes; rejects when that cannot be told. */
export async function propose(spec: MetricSpec, target: Target, client: MetricsClient): Promise<Proposal> {
  switch (spec.type) {
    case 'Resource':
    case 'ContainerResource':
      return await proposeResource(spec, target, client)
    case 'Pods':
      return await proposePods(spec, target, client)
    case 'Object':
      return await proposeObject(spec, target, client)
    case 'External':
      return await proposeExternal(spec, target, client)
    default:
      throw new Error(`unknown metric source type ${JSON.stringify(spec.type)}`)
  }
}

/** The reason of the condition of a metric that cannot be had. */
export function failureReason({ type }: MetricSpec): string {
  return type === 'Resource' ||
    type === 'ContainerResource' ||
    type === 'Pods' ||
    type === 'Object' ||
    type === 'External'
    ? `FailedGet${type}Metric`
    : 'InvalidMetricSourceType'
}

async function proposeResource(spec: MetricSpec, target: Target, client: MetricsClient): Promise<Proposal> {
  const { name = '', target: wanted } = spec.resource ?? spec.containerResource ?? {}
  const container = spec.containerResource?.container
  const { namespace, selector } = target
  const byUtilization = wanted?.averageValue === undefined
  const failure = container === undefined ? '' : 'container '
  const counted = await explained(
    byUtilization ? `failed to get ${name} ${failure}utilization` : `failed to get ${name} ${failure}usage`,
    async () => {
      const metrics = await explained(`unable to get metrics for resource ${name}`, () =>
        client.resource({ namespace, selector, resource: name, container }),
      )
      const facts = { ...factsOf(target, metrics), resource: name }
      return byUtilization
        ? decideByUtilization(facts, wanted?.averageUtilization ?? 0, container)
        : decideByAverage(facts, thousandths(wanted.averageValue ?? '0'))
    },
  )
  const current = {
    ...(counted.utilization === undefined ? {} : { averageUtilization: counted.utilization }),
    averageValue: quantity(counted.average),
  }
  return {
    replicas: counted.replicas,
    metric: byUtilization ? `${name} resource utilization (percentage of request)` : `${name} resource`,
    status:
      container === undefined
        ? { type: 'Resource', resource: { name, current } }
        : { type: 'ContainerResource', containerResource: { name, container, current } },
  }
}

async function proposePods({ pods }: MetricSpec, target: Target, client: MetricsClient): Promise<Proposal> {
  const { metric = { name: '' }, target: wanted } = pods ?? {}
  const { namespace, selector } = target
  const { replicas, average } = await explained('failed to get pods metric value', async () => {
    const metricSelector = renderSelector(metric.selector)
    const metrics = await explained(`unable to get metric ${metric.name}`, () =>
      client.pods({ namespace, selector, name: metric.name, metricSelector }),
    )
    return decideByAverage(factsOf(target, metrics), thousandths(wanted?.averageValue ?? '0'))
  })
  const status = { type: 'Pods', pods: { metric, current: { averageValue: quantity(average) } } }
  return { replicas, metric: `pods metric ${metric.name}`, status }
}

async function proposeObject({ object }: MetricSpec, target: Target, client: MetricsClient): Promise<Proposal> {
  const {
    describedObject = { kind: '', name: '' },
    metric = { name: '' },
    target: wanted = { type: '' },
  } = object ?? {}
  const { namespace } = target
  const value = await explained('failed to get object metric value', () =>
    explained(
      `unable to get metric ${metric.name}: ${describedObject.kind} on ${namespace} ${describedObject.name}`,
      () =>
        client.object({
          namespace,
          object: describedObject,
          name: metric.name,
          metricSelector: renderSelector(metric.selector),
        }),
    ),
  )
  const { replicas, current } = proposeWhole(target, value, wanted)
  const status = { type: 'Object', object: { describedObject, metric, current } }
  return { replicas, metric: `${describedObject.kind} metric ${metric.name}`, status }
}

async function proposeExternal({ external }: MetricSpec, target: Target, client: MetricsClient): Promise<Proposal> {
  const { metric = { name: '' }, target: wanted = { type: '' } } = external ?? {}
  const { namespace } = target
  const metricSelector = renderSelector(metric.selector)
  const value = await explained(`failed to get ${metric.name} external metric value`, () =>
    explained(`unable to get external metric ${namespace}/${metric.name}/${metricSelector}`, () =>
      client.external({ namespace, name: metric.name, metricSelector }),
    ),
  )
  const { replicas, current } = proposeWhole(target, value, wanted)
  return {
    replicas,
    metric: `external metric ${metric.name}(${metricSelector === '' ? 'nil' : metricSelector})`,
    status: { type: 'External', external: { metric, current } },
  }
}

function proposeWhole(
  target: Target,
  value: number,
  wanted: { readonly value?: string | undefined; readonly averageValue?: string | undefined },
): { replicas: number; current: { value?: string; averageValue?: string } } {
  if (wanted.averageValue !== undefined) {
    const options = { target: thousandths(wanted.averageValue), statusReplicas: target.statusReplicas }
    const { replicas, average }: ReplicaCount = decideByValuePerPod(target, value, options)
    return { replicas, current: { averageValue: quantity(average) } }
  }
  const replicas = decideByValue(factsOf(target, new Map()), value, thousandths(wanted.value ?? '0'))
  return { replicas, current: { value: quantity(value) } }
}

function factsOf(target: Target, metrics: PodMetrics): ReplicaFacts {
  const { specReplicas, pods, tolerances, now } = target
  return { currentReplicas: specReplicas, pods, metrics, tolerances, now }
}

/** Errors say what was tried, from the outside in, as upstream's do. */
async function explained<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

function quantity(amount: number): string {
  return canonicalQuantity(`${amount}m`) ?? '0'
}

function renderSelector({ matchLabels = {}, matchExpressions = [] }: LabelSelector = {}): string {
  const labels = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`)
  const expressions = matchExpressions.map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key
    if (operator === 'DoesNotExist') return `!${key}`
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(',')})`
  })
  return [...labels, ...expressions].join(',')
}
