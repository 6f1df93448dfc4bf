import { findCondition } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'
import type { PodDisruptionBudget } from '@fairlead/kube/types/policy-v1'

import { isEmptySelector, matchesSelector } from '../label-selector.ts'
import { rejectionsIf } from './find-place.ts'
import type { Scene, Verdict } from './find-place.ts'
import { viewNode } from './node-view.ts'
import { compareImportance, priorityOf, startOf } from './priority.ts'
import { describeRejections } from './rejection.ts'

/** Pods that would have to go from a node. */
export interface Candidate {
  readonly nodeName: string
  /** The most important first. */
  readonly victims: readonly Pod[]
  /** How many of them their disruption budgets would keep. */
  readonly violations: number
}

export type Preemption =
  | ({ readonly outcome: 'preempt' } & Candidate)
  /** The pod waits for those that are going already. */
  | { readonly outcome: 'wait'; readonly message: string }
  /** Nothing is gained by taking pods away. */
  | { readonly outcome: 'none'; readonly message: string }

export interface PreemptionQuestion {
  readonly scene: Scene
  readonly verdicts: readonly Verdict[]
  /** The node where room is being made for the pod. */
  readonly nominated: string
  readonly budgets: readonly PodDisruptionBudget[]
}

/** So many nodes are looked at at most: a tenth of them, but at least a hundred. */
const minCandidates = 100
const candidateShare = 0.1

const noVictims = 'No preemption victims found for incoming pod'
const notHelpful = 'Preemption is not helpful for scheduling'

/** Which less important pods should make room for one that no node takes, as the DefaultPreemption plugin decides. */
export function decidePreemption(pod: Pod, question: PreemptionQuestion): Preemption {
  const { verdicts } = question
  const obstacle = findObstacle(pod, question)
  if (obstacle !== undefined) return { outcome: 'wait', message: obstacle }
  const trials: Trial[] = []
  const most = Math.max(minCandidates, Math.ceil(verdicts.length * candidateShare))
  for (const verdict of verdicts) {
    const candidates = trials.filter(isCandidate)
    if (candidates.length >= most && candidates.some(({ violations }) => violations === 0)) break
    trials.push(tryNode(pod, verdict, question))
  }
  const best = pickCandidate(trials.filter(isCandidate))
  if (best !== undefined) return { outcome: 'preempt', ...best }
  const reasons = trials.map((trial) => (isCandidate(trial) ? [] : trial.reasons))
  return { outcome: 'none', message: describeRejections(reasons) }
}

/** What would come of a node, or why nothing. */
type Trial = Candidate | { readonly reasons: readonly string[] }

function isCandidate(trial: Trial): trial is Candidate {
  return 'victims' in trial
}

/** Why a pod may not take others away now, in Kubernetes' words. */
function findObstacle(pod: Pod, { nominated, verdicts }: PreemptionQuestion): string | undefined {
  if (pod.spec?.preemptionPolicy === 'Never') return 'not eligible due to preemptionPolicy=Never.'
  const verdict = verdicts.find(({ view }) => view.name === nominated)
  if (verdict === undefined || verdict.rejections.some(({ isFinal }) => isFinal)) return undefined
  const isLeaving = [...verdict.view.pods].some(
    (other) => priorityOf(other) < priorityOf(pod) && isLeavingForAnother(other),
  )
  return isLeaving ? 'not eligible due to a terminating pod on the nominated node.' : undefined
}

function isLeavingForAnother({ metadata, status }: Pod): boolean {
  const condition = findCondition(status?.conditions, 'DisruptionTarget')
  return (
    metadata?.deletionTimestamp !== undefined &&
    condition?.status === 'True' &&
    condition.reason === 'PreemptionByScheduler'
  )
}

/** The fewest and least important pods that have to go from a node. Works on a copy of it. */
function tryNode(pod: Pod, { view, rejections }: Verdict, { scene, budgets }: PreemptionQuestion): Trial {
  if (rejections.some(({ isFinal }) => isFinal)) return { reasons: [notHelpful] }
  const lesser = [...view.pods].filter((other) => priorityOf(other) < priorityOf(pod)).toSorted(compareImportance)
  if (lesser.length === 0) return { reasons: [noVictims] }
  const trial = viewNode(
    view.node,
    [...view.pods].filter((other) => priorityOf(other) >= priorityOf(pod)),
  )
  const left = rejectionsIf(pod, trial, scene)
  if (left.length > 0) return { reasons: left.map(({ reason }) => reason) }
  const mustGo = (other: Pod): boolean => {
    trial.add(other)
    if (rejectionsIf(pod, trial, scene).length === 0) return false
    trial.remove(other)
    return true
  }
  const { protectedPods, others } = partByBudgets(lesser, budgets)
  const violating = protectedPods.filter(mustGo)
  const victims = [...violating, ...others.filter(mustGo)].toSorted(compareImportance)
  return { nodeName: view.name, victims, violations: violating.length }
}

/** Pods whose loss their disruption budgets would not allow, given that those before them go; the order is kept. */
export function partByBudgets(
  pods: readonly Pod[],
  budgets: readonly PodDisruptionBudget[],
): { protectedPods: Pod[]; others: Pod[] } {
  const allowed = budgets.map(({ status }) => status?.disruptionsAllowed ?? 0)
  const parts = { protectedPods: [] as Pod[], others: [] as Pod[] }
  for (const pod of pods) {
    let isProtected = false
    for (const [index, budget] of budgets.entries()) {
      if (!covers(budget, pod)) continue
      allowed[index] = (allowed[index] ?? 0) - 1
      if ((allowed[index] ?? 0) < 0) isProtected = true
    }
    parts[isProtected ? 'protectedPods' : 'others'].push(pod)
  }
  return parts
}

/** Pods that the server has counted as going already cost their budget nothing more. */
function covers({ metadata, spec, status }: PodDisruptionBudget, pod: Pod): boolean {
  const { name = '', namespace, labels } = pod.metadata ?? {}
  if (metadata?.namespace !== namespace || labels === undefined || spec?.selector === undefined) return false
  if (status?.disruptedPods?.[name] !== undefined) return false
  return !isEmptySelector(spec.selector) && matchesSelector(spec.selector, labels)
}

/** Each decides among those that the one before left equal; the least is best. */
const costs: readonly ((candidate: Candidate) => number)[] = [
  ({ violations }) => violations,
  ({ victims }) => Math.max(...victims.map(priorityOf)),
  // Raised above zero, so that many pods of a negative priority do not seem cheaper than one.
  ({ victims }) => victims.reduce((total, victim) => total + priorityOf(victim) + 2 ** 31, 0),
  ({ victims }) => victims.length,
  ({ victims }) => -earliestStartOfTop(victims),
]

/** The node where least is lost: as upstream's `pickOneNodeForPreemption`. */
export function pickCandidate(candidates: readonly Candidate[]): Candidate | undefined {
  let best = candidates
  for (const cost of costs) {
    if (best.length < 2) break
    const least = Math.min(...best.map(cost))
    best = best.filter((candidate) => cost(candidate) === least)
  }
  return best[0]
}

function earliestStartOfTop(victims: readonly Pod[]): number {
  const top = Math.max(...victims.map(priorityOf))
  return Math.min(...victims.filter((victim) => priorityOf(victim) === top).map(startOf))
}
