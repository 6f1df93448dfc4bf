import type { StatefulSet } from '@fairlead/kube/types/apps-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { revisionLabel } from '../controller-revision.ts'
import { isPodAvailable, isPodTerminal } from '../pod-state.ts'
import { isInRange, missingLabels, ordinalOf, ordinalsOf } from './identity.ts'

/** What a StatefulSet looks like. */
export interface SetView {
  readonly set: StatefulSet
  /** The set's pods, whatever their ordinals. */
  readonly pods: readonly Pod[]
  /** Names of the revision being left and of the one being rolled out; the same when nothing is. */
  readonly currentRevision: string
  readonly updateRevision: string
  readonly now: number
}

export type SetStep =
  | { readonly act: 'create'; readonly ordinal: number; readonly revision: 'current' | 'update' }
  | { readonly act: 'repair'; readonly pod: Pod; readonly labels: Readonly<Record<string, string>> }
  | { readonly act: 'delete'; readonly pod: Pod; readonly why: 'failed' | 'ended' | 'surplus' | 'outdated' }

/**
 * What to do next. `OrderedReady` goes one pod at a time: up by ordinal, each waiting for all before it, down from the
 * highest. `Parallel` creates and deletes at once; either way an update goes from the highest ordinal down, and waits.
 */
export function decideSteps(view: SetView): SetStep[] {
  const { set } = view
  if (set.metadata?.deletionTimestamp !== undefined) return []
  const isOrdered = set.spec?.podManagementPolicy !== 'Parallel'
  const replicas = decideReplicas(view, isOrdered)
  if (replicas.isWaiting) return replicas.steps
  const condemned = decideCondemned(view, isOrdered)
  if (condemned.isWaiting) return [...replicas.steps, ...condemned.steps]
  return [...replicas.steps, ...condemned.steps, ...decideUpdate(view, replicas.steps)]
}

interface Part {
  readonly steps: SetStep[]
  /** Nothing that comes later may happen yet. */
  readonly isWaiting: boolean
}

function decideReplicas(view: SetView, isOrdered: boolean): Part {
  const { set } = view
  const byOrdinal = podsByOrdinal(view)
  const { first, end } = ordinalsOf(set)
  const steps: SetStep[] = []
  for (let ordinal = first; ordinal < end; ordinal += 1) {
    const pod = byOrdinal.get(ordinal)
    if (pod === undefined) {
      steps.push({ act: 'create', ordinal, revision: isOfCurrentRevision(view, ordinal) ? 'current' : 'update' })
      if (isOrdered) return { steps, isWaiting: true }
      continue
    }
    if (isPodTerminal(pod)) {
      // Also one that succeeded: how its containers ended when the node went down says nothing of the work.
      const why = pod.status?.phase === 'Failed' ? 'failed' : 'ended'
      if (!isTerminating(pod)) steps.push({ act: 'delete', pod, why })
      if (isOrdered) return { steps, isWaiting: true }
      continue
    }
    if (isOrdered && !isAvailable(view, pod)) return { steps, isWaiting: true }
    const labels = missingLabels(set, pod, ordinal)
    if (labels !== undefined) steps.push({ act: 'repair', pod, labels })
  }
  return { steps, isWaiting: false }
}

function isOfCurrentRevision({ set }: SetView, ordinal: number): boolean {
  const { type = 'RollingUpdate', rollingUpdate } = set.spec?.updateStrategy ?? {}
  if (type !== 'RollingUpdate') return false
  return ordinal < ordinalsOf(set).first + (rollingUpdate?.partition ?? 0)
}

/** Pods past the last ordinal, the highest first. A sick one is only removed when no other is sick. */
function decideCondemned(view: SetView, isOrdered: boolean): Part {
  const { set, pods } = view
  const condemned = pods
    .filter((pod) => !isInRange(set, ordinalOf(set, pod) ?? -1))
    .toSorted((a, b) => (ordinalOf(set, b) ?? 0) - (ordinalOf(set, a) ?? 0))
  const firstSick = condemned.findLast((pod) => !isAvailable(view, pod))
  if (!isOrdered) {
    const steps = condemned.filter((pod) => !isTerminating(pod)).map(removeSurplus)
    return { steps, isWaiting: false }
  }
  const [pod] = condemned
  if (pod === undefined) return { steps: [], isWaiting: false }
  const mustWait = isTerminating(pod) || (!isAvailable(view, pod) && pod !== firstSick)
  return { steps: mustWait ? [] : [removeSurplus(pod)], isWaiting: true }
}

function removeSurplus(pod: Pod): SetStep {
  return { act: 'delete', pod, why: 'surplus' }
}

/** Replaces pods of other revisions, one by one from the highest ordinal down to the partition. */
function decideUpdate(view: SetView, planned: readonly SetStep[]): SetStep[] {
  const { set, updateRevision } = view
  const { type = 'RollingUpdate', rollingUpdate } = set.spec?.updateStrategy ?? {}
  if (type !== 'RollingUpdate') return []
  const byOrdinal = podsByOrdinal(view)
  const { first, end } = ordinalsOf(set)
  const replaced = new Set(planned.map((step) => ('pod' in step && step.act === 'delete' ? step.pod : undefined)))
  const lowest = first + (rollingUpdate?.partition ?? 0)
  for (let ordinal = end - 1; ordinal >= lowest; ordinal -= 1) {
    const pod = byOrdinal.get(ordinal)
    if (pod === undefined || replaced.has(pod)) return []
    if (!isTerminating(pod) && revisionOf(pod) !== updateRevision) return [{ act: 'delete', pod, why: 'outdated' }]
    if (!isAvailable(view, pod)) return []
  }
  return []
}

export function revisionOf({ metadata }: Pod): string {
  return metadata?.labels?.[revisionLabel] ?? ''
}

function podsByOrdinal({ set, pods }: SetView): ReadonlyMap<number, Pod> {
  return new Map(pods.map((pod) => [ordinalOf(set, pod) ?? -1, pod]))
}

function isAvailable({ set, now }: SetView, pod: Pod): boolean {
  const isRunning = pod.status?.phase === 'Running' && !isTerminating(pod)
  return isRunning && isPodAvailable(pod, set.spec?.minReadySeconds ?? 0, now)
}

function isTerminating({ metadata }: Pod): boolean {
  return metadata?.deletionTimestamp !== undefined
}
