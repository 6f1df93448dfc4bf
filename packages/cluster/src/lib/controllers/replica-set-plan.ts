import { findCondition, setCondition } from '@fairlead/kube/controller'
import type { ReplicaSet, ReplicaSetCondition, ReplicaSetStatus } from '@fairlead/kube/types/apps-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { matchesLabels } from '../label-selector.ts'
import { controllerReference } from './ownership.ts'
import { isPodAvailable, isPodReady, isPodTerminal, podAvailableAt, podCondition } from './pod-state.ts'
import { omitZero } from './write.ts'

/** At most so many pods are created or deleted in one reconcile. */
const burst = 500

export type ReplicaSetPlan =
  | { readonly act: 'none' }
  | { readonly act: 'create'; readonly count: number }
  | { readonly act: 'delete'; readonly pods: readonly Pod[] }

/** What brings the number of active pods to `replicas`. */
export function decideReplicas(replicas: number, active: readonly Pod[]): ReplicaSetPlan {
  const surplus = active.length - replicas
  if (surplus === 0) {
    return { act: 'none' }
  }
  return surplus < 0
    ? { act: 'create', count: Math.min(-surplus, burst) }
    : { act: 'delete', pods: rankForDeletion(active).slice(0, Math.min(surplus, burst)) }
}

/**
 * Orders pods by who is missed least: not on a node yet, pending, not ready, of lower deletion cost, crowded on one
 * node, ready for a shorter time, restarted more often, younger (the order of Kubernetes' ActivePodsWithRanks).
 */
export function rankForDeletion(pods: readonly Pod[]): Pod[] {
  const perNode = new Map<string, number>()
  for (const { spec } of pods) {
    const node = spec?.nodeName ?? ''
    perNode.set(node, (perNode.get(node) ?? 0) + 1)
  }
  const rank = (pod: Pod): readonly number[] => [
    (pod.spec?.nodeName ?? '') === '' ? 0 : 1,
    phaseRank.get(pod.status?.phase ?? 'Pending') ?? 0,
    isPodReady(pod) ? 1 : 0,
    Number(pod.metadata?.annotations?.['controller.kubernetes.io/pod-deletion-cost'] ?? 0),
    -(perNode.get(pod.spec?.nodeName ?? '') ?? 0),
    isPodReady(pod) ? -seconds(podCondition(pod, 'Ready')?.lastTransitionTime) : 0,
    -Math.max(0, ...(pod.status?.containerStatuses ?? []).map(({ restartCount }) => restartCount)),
    -seconds(pod.metadata?.creationTimestamp),
  ]
  return pods
    .map((pod) => ({ pod, rank: rank(pod) }))
    .toSorted((a, b) => compareRanks(a.rank, b.rank))
    .map(({ pod }) => pod)
}

const phaseRank: ReadonlyMap<string, number> = new Map([
  ['Pending', 0],
  ['Unknown', 1],
  ['Running', 2],
])

function seconds(time: string | undefined): number {
  return time === undefined ? 0 : Date.parse(time) / 1000
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, index) => value !== b[index])
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0)
}

/** The status that `pods` (of any phase) give a replica set. `failure` is what kept the last change of their number from happening. */
export function describeReplicaSet(
  replicaSet: ReplicaSet,
  pods: readonly Pod[],
  options: {
    readonly now: number
    readonly failure?: { readonly reason: string; readonly message: string } | undefined
  },
): ReplicaSetStatus {
  const { now, failure } = options
  const minReadySeconds = replicaSet.spec?.minReadySeconds ?? 0
  const templateLabels = replicaSet.spec?.template?.metadata?.labels ?? {}
  const living = pods.filter((pod) => !isPodTerminal(pod))
  const active = living.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
  return {
    replicas: active.length,
    fullyLabeledReplicas: omitZero(
      active.filter(({ metadata }) => matchesLabels(templateLabels, metadata?.labels)).length,
    ),
    readyReplicas: omitZero(active.filter(isPodReady).length),
    availableReplicas: omitZero(active.filter((pod) => isPodAvailable(pod, minReadySeconds, now)).length),
    terminatingReplicas: omitZero(living.length - active.length),
    observedGeneration: replicaSet.metadata?.generation,
    conditions: withFailure(replicaSet.status?.conditions, failure, now),
  }
}

function withFailure(
  conditions: readonly ReplicaSetCondition[] | undefined,
  failure: { readonly reason: string; readonly message: string } | undefined,
  now: number,
): ReplicaSetCondition[] | undefined {
  const type = 'ReplicaFailure'
  // The first failure is told until pods can be made again: a message with the name of each pod that was refused would
  // be a change of the status at every attempt, and each change another attempt.
  if (failure !== undefined && findCondition(conditions, type) !== undefined) return [...(conditions ?? [])]
  if (failure !== undefined) {
    return [...setCondition<ReplicaSetCondition>(conditions, { type, status: 'True', ...failure }, now)]
  }
  const others =
    findCondition(conditions, type) === undefined ? conditions : conditions?.filter((one) => one.type !== type)
  return others === undefined || others.length === 0 ? undefined : [...others]
}

/** Milliseconds until the next ready pod becomes available; undefined when none is on its way. */
export function nextAvailabilityMs(pods: readonly Pod[], minReadySeconds: number, now: number): number | undefined {
  const times = pods
    .map((pod) => podAvailableAt(pod, minReadySeconds))
    .filter((time) => time !== undefined)
    .filter((time) => time > now)
  return times.length === 0 ? undefined : Math.min(...times) - now
}

/** A pod of the replica set's template, owned by it; the server completes the name. */
export function renderPod(replicaSet: ReplicaSet): Pod {
  const { name = '', namespace } = replicaSet.metadata ?? {}
  const template = replicaSet.spec?.template
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: `${name}-`,
      namespace,
      labels: { ...template?.metadata?.labels },
      annotations: { ...template?.metadata?.annotations },
      finalizers: [...(template?.metadata?.finalizers ?? [])],
      ownerReferences: [controllerReference(replicaSet)],
    },
    spec: template?.spec,
  }
}
