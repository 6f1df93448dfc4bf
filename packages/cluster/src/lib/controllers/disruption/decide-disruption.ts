import { renderTime, setCondition } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'
import type { Condition } from '@fairlead/kube/types/meta-v1'
import type { PodDisruptionBudget, PodDisruptionBudgetStatus } from '@fairlead/kube/types/policy-v1'

import { isPodReady } from '../pod-state.ts'
import { resolveShare } from '../share.ts'

/** How long an eviction may take to show as a deletion before the pod counts again. */
const evictionMs = 2 * 60_000

/** The pods a budget covers, and how many there should be of them. */
export interface BudgetView {
  readonly budget: PodDisruptionBudget
  /** Those that match its selector. */
  readonly pods: readonly Pod[]
  /** Replicas that the owners of these pods ask for; an error when an owner has none that can be known. */
  readonly expected: number | Error
  readonly now: number
}

export interface BudgetDecision {
  readonly status: PodDisruptionBudgetStatus
  /** When an eviction that did not happen is to be forgotten. */
  readonly requeueAfterMs: number | undefined
}

/** Counts what is healthy beside what has to be (Kubernetes' disruption controller). */
export function decideBudget(view: BudgetView): BudgetDecision {
  const { budget, expected, now } = view
  if (expected instanceof Error) return { status: failSafe(budget, expected, now), requeueAfterMs: undefined }
  const { pods } = view
  const { disruptedPods, requeueAfterMs } = pendingEvictions(budget, pods, now)
  const currentHealthy = pods.filter(
    (pod) => pod.metadata?.deletionTimestamp === undefined && !isDisrupted(disruptedPods, pod) && isPodReady(pod),
  ).length
  const counts = countsOf(budget, { expected, pods: pods.length })
  const spare = counts.expectedPods === 0 ? 0 : Math.max(0, currentHealthy - counts.desiredHealthy)
  const status: PodDisruptionBudgetStatus = {
    ...(Object.keys(disruptedPods).length > 0 && { disruptedPods }),
    disruptionsAllowed: spare,
    currentHealthy,
    ...counts,
    observedGeneration: budget.metadata?.generation,
    conditions: [...withCondition(budget, spare, now)],
  }
  return { status, requeueAfterMs }
}

/** A budget in shares, or of what may be away, is one of the replicas asked for; else the pods there are count. */
export function needsOwners({ spec }: PodDisruptionBudget): boolean {
  return spec?.maxUnavailable !== undefined || typeof spec?.minAvailable === 'string'
}

function countsOf(
  { spec }: PodDisruptionBudget,
  { expected, pods }: { readonly expected: number; readonly pods: number },
): { readonly expectedPods: number; readonly desiredHealthy: number } {
  const { minAvailable, maxUnavailable } = spec ?? {}
  if (maxUnavailable !== undefined) {
    const desiredHealthy = Math.max(0, expected - resolveShare(maxUnavailable, expected, 'up'))
    return { expectedPods: expected, desiredHealthy }
  }
  if (typeof minAvailable === 'string') {
    return { expectedPods: expected, desiredHealthy: resolveShare(minAvailable, expected, 'up') }
  }
  return minAvailable === undefined
    ? { expectedPods: 0, desiredHealthy: 0 }
    : { expectedPods: pods, desiredHealthy: minAvailable }
}

interface PendingEvictions {
  readonly disruptedPods: Readonly<Record<string, string>>
  readonly requeueAfterMs: number | undefined
}

function pendingEvictions({ status }: PodDisruptionBudget, pods: readonly Pod[], now: number): PendingEvictions {
  const living = new Set(
    pods.filter(({ metadata }) => metadata?.deletionTimestamp === undefined).map(({ metadata }) => metadata?.name),
  )
  const pending = Object.entries(status?.disruptedPods ?? {})
    .map(([name, time]) => ({ name, time, leftMs: Date.parse(time) + evictionMs - now }))
    .filter(({ name, leftMs }) => living.has(name) && leftMs > 0)
  return {
    disruptedPods: Object.fromEntries(pending.map(({ name, time }) => [name, time])),
    requeueAfterMs: pending.length === 0 ? undefined : Math.min(...pending.map(({ leftMs }) => leftMs)),
  }
}

function isDisrupted(disruptedPods: Readonly<Record<string, string>>, { metadata }: Pod): boolean {
  return disruptedPods[metadata?.name ?? ''] !== undefined
}

/** What cannot be counted must not be disrupted. */
function failSafe(budget: PodDisruptionBudget, error: Error, now: number): PodDisruptionBudgetStatus {
  const condition: Condition = { ...disruptionAllowed(budget, 'False', 'SyncFailed', now), message: error.message }
  return {
    ...budget.status,
    disruptionsAllowed: 0,
    observedGeneration: budget.metadata?.generation,
    conditions: [...setCondition<Condition>(budget.status?.conditions, condition, now)],
  }
}

function withCondition(budget: PodDisruptionBudget, spare: number, now: number): readonly Condition[] {
  const condition =
    spare > 0
      ? disruptionAllowed(budget, 'True', 'SufficientPods', now)
      : disruptionAllowed(budget, 'False', 'InsufficientPods', now)
  return setCondition<Condition>(budget.status?.conditions, condition, now)
}

function disruptionAllowed({ metadata }: PodDisruptionBudget, status: string, reason: string, now: number): Condition {
  return {
    type: 'DisruptionAllowed',
    status,
    reason,
    message: '',
    observedGeneration: metadata?.generation,
    lastTransitionTime: renderTime(now),
  }
}
