import { parseQuantity } from '@fairlead/kube/types'
import type { Container, Pod } from '@fairlead/kube/types/core-v1'

import { podCondition } from '../pod-state.ts'

/** How far a ratio may be from 1 before anything is done, downwards and upwards. */
export interface Tolerances {
  readonly scaleDown: number
  readonly scaleUp: number
}

/** What was measured of a pod, in thousandths; of the `windowMs` before `at`, in milliseconds since 1970. */
export interface PodMetric {
  readonly value: number
  readonly at: number
  readonly windowMs: number
}

export type PodMetrics = ReadonlyMap<string, PodMetric>

/** What a number of replicas follows from. */
export interface ReplicaFacts {
  readonly currentReplicas: number
  readonly pods: readonly Pod[]
  readonly metrics: PodMetrics
  readonly tolerances: Tolerances
  /** Set for resources: CPU used while a pod starts does not count. */
  readonly resource?: string | undefined
  readonly now: number
}

/** A number of replicas, and the averages it follows from. */
export interface ReplicaCount {
  readonly replicas: number
  /** Per pod, in thousandths. */
  readonly average: number
  /** Percentage of requests. */
  readonly utilization?: number | undefined
}

/** No number of replicas can be told, for a reason that is shown to the user. */
export class MetricError extends Error {}

/** Pods in their first minutes burn CPU to start: that tells nothing of the load. */
const cpuInitializationMs = 300_000
const initialReadinessMs = 30_000

interface Groups {
  readonly readyCount: number
  readonly unready: ReadonlySet<string>
  readonly missing: ReadonlySet<string>
  readonly ignored: ReadonlySet<string>
}

/** Which pods count, and how: those that start are unready, those without figures missing, those that go ignored. */
function groupPods({ pods, metrics, resource, now }: Omit<ReplicaFacts, 'currentReplicas' | 'tolerances'>): Groups {
  const groups = { readyCount: 0, unready: new Set<string>(), missing: new Set<string>(), ignored: new Set<string>() }
  for (const pod of pods) {
    const name = nameOf(pod)
    const metric = metrics.get(name)
    if (pod.metadata?.deletionTimestamp !== undefined || pod.status?.phase === 'Failed') groups.ignored.add(name)
    else if (pod.status?.phase === 'Pending') groups.unready.add(name)
    else if (metric === undefined) groups.missing.add(name)
    else if (resource === 'cpu' && isStarting(pod, metric, now)) groups.unready.add(name)
    else groups.readyCount += 1
  }
  return groups
}

function isStarting(pod: Pod, metric: PodMetric, now: number): boolean {
  const ready = podCondition(pod, 'Ready')
  const startedAt = Date.parse(pod.status?.startTime ?? '')
  if (ready === undefined || Number.isNaN(startedAt)) return true
  const changedAt = Date.parse(ready.lastTransitionTime ?? '')
  const isUnready = ready.status === 'False'
  if (startedAt + cpuInitializationMs > now) return isUnready || metric.at < changedAt + metric.windowMs
  return isUnready && startedAt + initialReadinessMs > changedAt
}

/** Replicas that bring the average use of a resource to `target` percent of what pods request. */
export function decideByUtilization(facts: ReplicaFacts, target: number, container = ''): ReplicaCount {
  const { resource = '' } = facts
  const requests = new Map(facts.pods.map((pod) => [nameOf(pod), requestOf(pod, resource, container)]))
  const sumRequests = (metrics: ReadonlyMap<string, number>): number =>
    [...metrics.keys()].reduce((total, name) => total + (requests.get(name) ?? 0), 0)
  const ratioOf = (metrics: ReadonlyMap<string, number>): { ratio: number; utilization: number } => {
    const utilization = Math.trunc((sum(metrics) * 100) / sumRequests(metrics))
    return { ratio: utilization / target, utilization }
  }
  return decide(facts, {
    ratioOf,
    // A pod nothing is known of may be as busy as it asked to be.
    busy: (name) => Math.trunc((Math.max(100, target) * (requests.get(name) ?? 0)) / 100),
  })
}

/** Replicas that bring the average to `target` thousandths per pod. */
export function decideByAverage(facts: ReplicaFacts, target: number): ReplicaCount {
  return decide(facts, {
    ratioOf: (metrics) => ({ ratio: Math.trunc(sum(metrics) / metrics.size) / target }),
    busy: () => target,
  })
}

interface Rule {
  ratioOf(metrics: ReadonlyMap<string, number>): { ratio: number; utilization?: number }
  /** What a pod without figures counts for when there would be fewer. */
  busy(name: string): number
}

/**
 * The number of replicas by a ratio of use to target. Pods without figures count for the full target when the number
 * would fall and for nothing when it would rise, pods that start for nothing: whatever is unknown never makes more of it.
 */
function decide(facts: ReplicaFacts, rule: Rule): ReplicaCount {
  const { currentReplicas, tolerances } = facts
  const { readyCount, unready, missing, ignored } = groupPods(facts)
  const known = new Map(
    [...facts.metrics]
      .filter(([name]) => !ignored.has(name) && !unready.has(name))
      .map(([name, { value }]) => [name, value]),
  )
  if (known.size === 0) throw new MetricError('did not receive metrics for targeted pods (pods might be unready)')
  const { ratio, utilization } = rule.ratioOf(known)
  const seen = { average: Math.trunc(sum(known) / known.size), utilization }
  const countsUnready = unready.size > 0 && ratio > 1
  if (!countsUnready && missing.size === 0) {
    const replicas = isTolerable(ratio, tolerances) ? currentReplicas : Math.ceil(ratio * readyCount)
    return { replicas, ...seen }
  }
  if (ratio < 1) for (const name of missing) known.set(name, rule.busy(name))
  if (ratio > 1) for (const name of missing) known.set(name, 0)
  if (countsUnready) for (const name of unready) known.set(name, 0)
  const careful = rule.ratioOf(known).ratio
  const turns = (ratio < 1 && careful > 1) || (ratio > 1 && careful < 1)
  const replicas = Math.ceil(careful * known.size)
  const contradicts = (careful < 1 && replicas > currentReplicas) || (careful > 1 && replicas < currentReplicas)
  const stays = isTolerable(careful, tolerances) || turns || contradicts
  return { replicas: stays ? currentReplicas : replicas, ...seen }
}

/** Replicas for a figure of the whole: of an object, or from outside. In thousandths, as is `target`. */
export function decideByValue(facts: ReplicaFacts, value: number, target: number): number {
  const ratio = value / target
  if (facts.currentReplicas === 0) return Math.ceil(ratio)
  if (isTolerable(ratio, facts.tolerances)) return facts.currentReplicas
  return Math.ceil(ratio * facts.pods.filter(isRunningReady).length)
}

/** The same for a target per pod, of `statusReplicas` pods. */
export function decideByValuePerPod(
  { tolerances }: Pick<ReplicaFacts, 'tolerances'>,
  value: number,
  { target, statusReplicas }: { readonly target: number; readonly statusReplicas: number },
): ReplicaCount {
  const isFine = isTolerable(value / (target * statusReplicas), tolerances)
  const replicas = isFine ? statusReplicas : Math.ceil(value / target)
  return { replicas, average: statusReplicas === 0 ? value : Math.ceil(value / statusReplicas) }
}

function isRunningReady(pod: Pod): boolean {
  return pod.status?.phase === 'Running' && podCondition(pod, 'Ready')?.status === 'True'
}

function isTolerable(ratio: number, { scaleDown, scaleUp }: Tolerances): boolean {
  return 1 - scaleDown <= ratio && ratio <= 1 + scaleUp
}

function requestOf(pod: Pod, resource: string, container: string): number {
  const { containers = [], initContainers = [] } = pod.spec ?? {}
  const sidecars = initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always')
  const counted = [...containers, ...sidecars].filter(({ name }) => container === '' || container === name)
  const ofPod = container === '' ? pod.spec?.resources?.requests?.[resource] : undefined
  if (ofPod !== undefined) return thousandths(ofPod)
  return counted.reduce((total, each) => total + requestOfContainer(pod, each, resource), 0)
}

function requestOfContainer(pod: Pod, { name, resources }: Container, resource: string): number {
  const request = resources?.requests?.[resource]
  if (request === undefined) {
    throw new MetricError(`missing request for ${resource} in container ${name} of Pod ${nameOf(pod)}`)
  }
  return thousandths(request)
}

/** A quantity as whole thousandths, rounded up. */
export function thousandths(quantity: string): number {
  return Math.ceil(Number(((parseQuantity(quantity) ?? 0) * 1000).toFixed(6)))
}

function sum(metrics: ReadonlyMap<string, number>): number {
  return [...metrics.values()].reduce((total, value) => total + value, 0)
}

function nameOf({ metadata }: Pod): string {
  return metadata?.name ?? ''
}
