import { findCondition, renderTime } from '@fairlead/kube/controller'
import type { Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet } from '@fairlead/kube/types/apps-v1'

import { boundsOf, replicasOf } from './rollout-plan.ts'
import type { Generations } from './rollout-plan.ts'
import { omitZero } from './write.ts'

type Verdict = Pick<DeploymentCondition, 'type' | 'status' | 'reason' | 'message'>

/** What one reconcile did that the status must tell, beyond what can be counted. */
export interface Progress {
  /** The progress condition of this reconcile's own act: a replica set found or created, or the creation refused. */
  readonly verdict?: Verdict | undefined
  readonly collisionCount?: number | undefined
}

/** The status of a deployment, by the counts its replica sets report. */
export function describeDeployment(
  deployment: Deployment,
  generations: Generations,
  progress: Progress,
  now: number,
): DeploymentStatus {
  const { newest, old } = generations
  const replicaSets = newest === undefined ? old : [...old, newest]
  const count = (of: (replicaSet: ReplicaSet) => number | undefined): number =>
    replicaSets.reduce((total, replicaSet) => total + (of(replicaSet) ?? 0), 0)
  const availableReplicas = count(({ status }) => status?.availableReplicas)
  const counts: DeploymentStatus = {
    observedGeneration: deployment.metadata?.generation,
    replicas: omitZero(count(({ status }) => status?.replicas)),
    updatedReplicas: omitZero(newest?.status?.replicas ?? 0),
    readyReplicas: omitZero(count(({ status }) => status?.readyReplicas)),
    availableReplicas: omitZero(availableReplicas),
    unavailableReplicas: omitZero(Math.max(0, count(replicasOf) - availableReplicas)),
    terminatingReplicas: omitZero(count(({ status }) => status?.terminatingReplicas)),
    collisionCount: progress.collisionCount ?? deployment.status?.collisionCount,
  }
  return { ...counts, conditions: describeConditions(deployment, generations, counts, { ...progress, now }) }
}

function describeConditions(
  deployment: Deployment,
  generations: Generations,
  counts: DeploymentStatus,
  { verdict, now }: Progress & { readonly now: number },
): DeploymentCondition[] {
  const isAvailable = (counts.availableReplicas ?? 0) >= replicasOf(deployment) - boundsOf(deployment).maxUnavailable
  const conditions = setVerdict(deployment.status?.conditions ?? [], availableVerdict(isAvailable), now)
  const begun = verdict === undefined ? conditions : setVerdict(conditions, verdict, now)
  if (!hasDeadline(deployment)) return withFailure(withoutType(begun, 'Progressing'), generations, now)
  const judged = judgeProgress(deployment, generations, counts, { conditions: begun, now })
  const withProgress = judged === undefined ? begun : setVerdict(begun, judged, now, { renew: true })
  return withFailure(withProgress, generations, now)
}

function withFailure(
  conditions: readonly DeploymentCondition[],
  generations: Generations,
  now: number,
): DeploymentCondition[] {
  const failure = replicaFailure(generations)
  return failure === undefined ? withoutType(conditions, 'ReplicaFailure') : setVerdict(conditions, failure, now)
}

function withoutType(conditions: readonly DeploymentCondition[], unwanted: string): DeploymentCondition[] {
  return conditions.filter(({ type }) => type !== unwanted)
}

function availableVerdict(isAvailable: boolean): Verdict {
  return isAvailable
    ? {
        type: 'Available',
        status: 'True',
        reason: 'MinimumReplicasAvailable',
        message: 'Deployment has minimum availability.',
      }
    : {
        type: 'Available',
        status: 'False',
        reason: 'MinimumReplicasUnavailable',
        message: 'Deployment does not have minimum availability.',
      }
}

/** A paused deployment makes no progress, and none is judged. */
function judgeProgress(
  deployment: Deployment,
  { newest }: Generations,
  counts: DeploymentStatus,
  { conditions, now }: { readonly conditions: readonly DeploymentCondition[]; readonly now: number },
): Verdict | undefined {
  const current = findCondition(conditions, 'Progressing')
  const isSettled = counts.replicas === counts.updatedReplicas && current?.reason === 'NewReplicaSetAvailable'
  if (deployment.spec?.paused === true || !hasDeadline(deployment) || isSettled) {
    return undefined
  }
  const subject =
    newest === undefined ? `Deployment "${deployment.metadata?.name}"` : `ReplicaSet "${newest.metadata?.name}"`
  if (isComplete(deployment, counts)) {
    return progressing('NewReplicaSetAvailable', `${subject} has successfully progressed.`)
  }
  if (hasProgressed(deployment.status ?? {}, counts)) {
    return progressing('ReplicaSetUpdated', `${subject} is progressing.`)
  }
  const left = progressDeadlineMs(deployment, conditions, now)
  return left !== undefined && left <= 0
    ? {
        type: 'Progressing',
        status: 'False',
        reason: 'ProgressDeadlineExceeded',
        message: `${subject} has timed out progressing.`,
      }
    : undefined
}

/** What is said of progress when a deployment is paused, or goes on. That it was too slow already is not taken back. */
export function pauseVerdict({ spec, status }: Deployment): Verdict | undefined {
  const reason = findCondition(status?.conditions, 'Progressing')?.reason
  const isPaused = spec?.paused === true
  if (reason === 'ProgressDeadlineExceeded' || isPaused === (reason === 'DeploymentPaused')) return undefined
  return isPaused
    ? { type: 'Progressing', status: 'Unknown', reason: 'DeploymentPaused', message: 'Deployment is paused' }
    : { type: 'Progressing', status: 'Unknown', reason: 'DeploymentResumed', message: 'Deployment is resumed' }
}

export function progressing(reason: string, message: string): Verdict {
  return { type: 'Progressing', status: 'True', reason, message }
}

function hasDeadline({ spec }: Deployment): boolean {
  return spec?.progressDeadlineSeconds !== undefined && spec.progressDeadlineSeconds !== 2 ** 31 - 1
}

/** Whether every replica is of the newest template and available, and nothing of the old is left. */
export function isComplete(deployment: Deployment, counts: DeploymentStatus): boolean {
  const replicas = replicasOf(deployment)
  return (
    (counts.updatedReplicas ?? 0) === replicas &&
    (counts.replicas ?? 0) === replicas &&
    (counts.availableReplicas ?? 0) === replicas &&
    (counts.observedGeneration ?? 0) >= (deployment.metadata?.generation ?? 0)
  )
}

function hasProgressed(before: DeploymentStatus, after: DeploymentStatus): boolean {
  return (
    (after.updatedReplicas ?? 0) > (before.updatedReplicas ?? 0) ||
    oldReplicas(after) < oldReplicas(before) ||
    (after.readyReplicas ?? 0) > (before.readyReplicas ?? 0) ||
    (after.availableReplicas ?? 0) > (before.availableReplicas ?? 0)
  )
}

function oldReplicas({ replicas = 0, updatedReplicas = 0 }: DeploymentStatus): number {
  return replicas - updatedReplicas
}

/** Milliseconds until a rollout that makes no progress is given up; undefined when none is under way, or nothing bounds it. */
export function progressDeadlineMs(
  deployment: Deployment,
  conditions: readonly DeploymentCondition[],
  now: number,
): number | undefined {
  const current = findCondition(conditions, 'Progressing')
  if (current === undefined || !hasDeadline(deployment) || deployment.spec?.paused === true) {
    return undefined
  }
  if (current.reason === 'NewReplicaSetAvailable' || current.reason === 'ProgressDeadlineExceeded') {
    return undefined
  }
  const since = Date.parse(current.lastUpdateTime ?? current.lastTransitionTime ?? '')
  return since + (deployment.spec?.progressDeadlineSeconds ?? 600) * 1000 - now
}

function replicaFailure({ newest, old }: Generations): Verdict | undefined {
  for (const replicaSet of newest === undefined ? old : [newest, ...old]) {
    const failure = findCondition(replicaSet.status?.conditions, 'ReplicaFailure')
    if (failure !== undefined) {
      const { status, reason, message } = failure
      return { type: 'ReplicaFailure', status, reason, message }
    }
  }
  return undefined
}

/**
 * Puts a verdict in the place of the one of its type. An equal one is left alone unless `renew` asks for its update time
 * to move: progress is measured from there.
 */
function setVerdict(
  conditions: readonly DeploymentCondition[],
  verdict: Verdict,
  now: number,
  options: { readonly renew?: boolean } = {},
): DeploymentCondition[] {
  const old = findCondition(conditions, verdict.type)
  if (old !== undefined && old.status === verdict.status && old.reason === verdict.reason && options.renew !== true) {
    return [...conditions]
  }
  const lastUpdateTime = renderTime(now)
  const lastTransitionTime = old?.status === verdict.status ? old.lastTransitionTime : lastUpdateTime
  const condition = { ...verdict, lastUpdateTime, lastTransitionTime }
  return old === undefined ? [...conditions, condition] : conditions.map((one) => (one === old ? condition : one))
}
