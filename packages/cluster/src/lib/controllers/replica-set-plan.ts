import { findCondition, setCondition } from '@fairlead/kube/controller'
import type { ReplicaSet, ReplicaSetCondition, ReplicaSetStatus } from '@fairlead/kube/types/apps-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { matchesLabels } from '../label-selector.ts'
import { controllerReference } from './ownership.ts'
import { isPodActive, isPodAvailable, isPodReady, isPodTerminal, podAvailableAt, podCondition } from './pod-state.ts'
import { omitZero } from './write.ts'

/** At most so many pods are created or deleted in one reconcile. */
const burst = 500

export type ReplicaSetPlan =
  | { readonly act: 'none' }
  | { readonly act: 'create'; readonly count: number }
  | { readonly act: 'delete'; readonly pods: readonly Pod[] }

export interface RankOptions {
  /** Pods that crowd nodes: those of all replica sets of one deployment. Default: those that are ranked. */
  readonly related?: readonly Pod[] | undefined
  /** Milliseconds since 1970. Default: the time of the machine. */
  readonly now?: number | undefined
}

/** What brings the number of active pods to `replicas`. */
export function decideReplicas(replicas: number, active: readonly Pod[], options: RankOptions = {}): ReplicaSetPlan {
  const surplus = active.length - replicas
  if (surplus === 0) {
    return { act: 'none' }
  }
  return surplus < 0
    ? { act: 'create', count: Math.min(-surplus, burst) }
    : { act: 'delete', pods: rankForDeletion(active, options).slice(0, Math.min(surplus, burst)) }
}

/**
 * Orders pods by who is missed least: not on a node yet, pending, not ready, of lower deletion cost, crowded on one
 * node, ready for a shorter time, restarted more often, younger (the order of Kubernetes' ActivePodsWithRanks). Times
 * of one power of two are equal, and decided by uid: a rollout must not take away all pods of one moment (KEP-2185).
 */
export function rankForDeletion(pods: readonly Pod[], options: RankOptions = {}): Pod[] {
  const { related = pods, now = Date.now() } = options
  const perNode = new Map<string, number>()
  for (const { spec } of related.filter(isPodActive)) {
    const node = spec?.nodeName ?? ''
    perNode.set(node, (perNode.get(node) ?? 0) + 1)
  }
  const rank = (pod: Pod): readonly number[] => [
    (pod.spec?.nodeName ?? '') === '' ? 0 : 1,
    phaseRank.get(pod.status?.phase ?? 'Pending') ?? 0,
    isPodReady(pod) ? 1 : 0,
    Number(pod.metadata?.annotations?.['controller.kubernetes.io/pod-deletion-cost'] ?? 0),
    -(perNode.get(pod.spec?.nodeName ?? '') ?? 0),
  ]
  const later = (pod: Pod): readonly number[] => [
    -Math.max(0, ...(pod.status?.containerStatuses ?? []).map(({ restartCount }) => restartCount)),
  ]
  return pods
    .map((pod) => ({ pod, rank: rank(pod), later: later(pod) }))
    .toSorted(
      (a, b) =>
        compareRanks(a.rank, b.rank) ||
        compareReadyTimes(a.pod, b.pod, now) ||
        compareRanks(a.later, b.later) ||
        compareAges(a.pod, b.pod, { a: timeOf(a.pod), b: timeOf(b.pod), now }),
    )
    .map(({ pod }) => pod)
}

function timeOf({ metadata }: Pod): number {
  return Date.parse(metadata?.creationTimestamp ?? '')
}

function compareReadyTimes(a: Pod, b: Pod, now: number): number {
  if (!isPodReady(a) || !isPodReady(b)) return 0
  const readySince = (pod: Pod): number => Date.parse(podCondition(pod, 'Ready')?.lastTransitionTime ?? '')
  return compareAges(a, b, { a: readySince(a), b: readySince(b), now })
}

/** The shorter time first; unknown ones before all. */
function compareAges(a: Pod, b: Pod, times: { readonly a: number; readonly b: number; readonly now: number }): number {
  const known = [times.a, times.b].map((time) => !Number.isNaN(time))
  if (times.a === times.b || known.every((isKnown) => !isKnown)) return 0
  if (!known.every(Boolean)) return known[0] === true ? 1 : -1
  const scale = (time: number): number => (times.now > time ? Math.trunc(Math.log2((times.now - time) * 1e6)) : -1)
  const uidOf = ({ metadata }: Pod): string => metadata?.uid ?? ''
  return scale(times.a) - scale(times.b) || (uidOf(a) < uidOf(b) ? -1 : 1)
}

const phaseRank: ReadonlyMap<string, number> = new Map([
  ['Pending', 0],
  ['Unknown', 1],
  ['Running', 2],
])

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
