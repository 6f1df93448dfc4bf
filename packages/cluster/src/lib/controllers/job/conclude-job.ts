import { renderTime } from '@fairlead/kube/controller'
import type { Job, JobCondition, JobStatus } from '@fairlead/kube/types/batch-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { omitZero } from '../write.ts'
import { indexBelowCompletions } from './count-pods.ts'
import type { JobView, PodCount } from './count-pods.ts'
import type { JobEnd } from './decide-job.ts'
import { completionIndexOf, countIndexes, hasIndex, renderIndexes } from './indexes.ts'
import { isIndexed, isPodFailed, isSuspended, isTracked } from './job-facts.ts'
import { judgeFailure } from './policies.ts'

/** The status lists no more pods than this at once; the others wait until these are let go. */
const maxUncounted = 500

/** What has been done for a job in this reconcile, and what it led to. */
export interface JobOutcome {
  readonly active: number
  readonly ready: number
  readonly terminating: number
  readonly end?: JobEnd | undefined
  /** Whether pods were brought to their number, so that the job is suspended, or at work, as asked. */
  readonly isManaged: boolean
}

export interface Conclusion {
  /** To be written before any pod is let go. */
  readonly status: JobStatus
  /** Pods whose end the status knows now: they need not be kept any longer. */
  readonly release: readonly Pod[]
  /** Pods are left that the status had no room for. */
  readonly isPartial: boolean
  /** The last condition, for when all pods have been let go. */
  readonly end?: JobCondition | undefined
  /** Of the condition `Suspended`, when it changed. */
  readonly event?: 'Suspended' | 'Resumed' | undefined
}

/** The status that `outcome` gives a job, and the pods that it need not keep any longer. */
export function concludeJob(view: JobView, count: PodCount, outcome: JobOutcome): Conclusion {
  const { job, now } = view
  const kept = trackedUids(view)
  const { uncounted, isPartial, release } = countEnds(view, count, outcome, kept)
  const { conditions, startTime, event } = decideSuspension(job, outcome, now)
  const status: JobStatus = {
    ...job.status,
    ...settleUncounted({ ...job.status }, kept),
    uncountedTerminatedPods: uncounted,
    active: omitZero(outcome.active),
    ready: outcome.ready,
    terminating: outcome.terminating,
    startTime,
    conditions,
    ...renderIndexCount(count),
  }
  const end = outcome.end === undefined ? undefined : lastCondition(outcome.end, now)
  return { status: withEnd(status, outcome.end, now), release, isPartial, end, event }
}

/** Uids of pods that are kept for their job. */
function trackedUids({ pods, isReleased }: JobView): Set<string> {
  const uids = pods.filter(isTracked).map(({ metadata }) => metadata?.uid ?? '')
  return new Set(uids.filter((uid) => !isReleased(uid)))
}

/** Moves what was listed in a status into its counters, as far as the pods are `kept` no longer. */
export function settleUncounted(status: JobStatus, kept: ReadonlySet<string>): JobStatus {
  const { succeeded = [], failed = [] } = status.uncountedTerminatedPods ?? {}
  const left = { succeeded: succeeded.filter((uid) => kept.has(uid)), failed: failed.filter((uid) => kept.has(uid)) }
  return {
    ...status,
    succeeded: omitZero((status.succeeded ?? 0) + succeeded.length - left.succeeded.length),
    failed: omitZero((status.failed ?? 0) + failed.length - left.failed.length),
    uncountedTerminatedPods: renderUncounted(left),
  }
}

interface Uncounted {
  succeeded: string[]
  failed: string[]
}

function renderUncounted({ succeeded, failed }: Uncounted): Partial<Uncounted> {
  return { ...(succeeded.length > 0 && { succeeded }), ...(failed.length > 0 && { failed }) }
}

function countEnds(
  view: JobView,
  count: PodCount,
  { end }: JobOutcome,
  kept: ReadonlySet<string>,
): { uncounted: Partial<Uncounted>; isPartial: boolean; release: Pod[] } {
  const { job } = view
  const listed = settleUncounted({ ...job.status }, kept).uncountedTerminatedPods
  const uncounted = { succeeded: [...(listed?.succeeded ?? [])], failed: [...(listed?.failed ?? [])] }
  const failedBefore = new Set(uncounted.failed)
  const succeededBefore = new Set(uncounted.succeeded)
  const release: Pod[] = []
  let newIndexes = 0
  for (const pod of inOrder(job, view.pods)) {
    const uid = pod.metadata?.uid ?? ''
    if (!kept.has(uid) || !mayRelease(job, count, end, pod)) continue
    release.push(pod)
    if (pod.status?.phase === 'Succeeded' && !failedBefore.has(uid)) {
      if (!isIndexed(job)) {
        if (!succeededBefore.has(uid)) uncounted.succeeded.push(uid)
      } else if (isNewIndex(job, count, pod)) newIndexes += 1
    } else if (!failedBefore.has(uid) && countsAsFailure(job, end, pod)) uncounted.failed.push(uid)
    if (newIndexes + uncounted.succeeded.length + uncounted.failed.length >= maxUncounted) {
      return { uncounted: renderUncounted(uncounted), isPartial: true, release }
    }
  }
  return { uncounted: renderUncounted(uncounted), isPartial: false, release }
}

function inOrder(job: Job, pods: readonly Pod[]): readonly Pod[] {
  if (!isIndexed(job)) return pods
  return pods.toSorted((a, b) => (completionIndexOf(a) ?? -1) - (completionIndexOf(b) ?? -1))
}

/** A failed pod of an index stays until its successor, which takes over its count of failures, is there. */
function mayRelease(job: Job, { indexes }: PodCount, end: JobEnd | undefined, pod: Pod): boolean {
  if (job.metadata?.deletionTimestamp !== undefined || end !== undefined || pod.status?.phase === 'Succeeded') {
    return true
  }
  if (!isPodFailed(pod, job)) return false
  const index = indexBelowCompletions(job, pod)
  return index === undefined || indexes?.toReplace.get(index)?.metadata?.uid !== pod.metadata?.uid
}

function isNewIndex(job: Job, { indexes }: PodCount, pod: Pod): boolean {
  const index = indexBelowCompletions(job, pod)
  return index !== undefined && !hasIndex(indexes?.before ?? [], index)
}

/** Also a pod that still ran when the job failed. */
function countsAsFailure(job: Job, end: JobEnd | undefined, pod: Pod): boolean {
  const hasFailed = isPodFailed(pod, job) || (end !== undefined && end.type !== 'SuccessCriteriaMet')
  if (!hasFailed || (isIndexed(job) && indexBelowCompletions(job, pod) === undefined)) return false
  return judgeFailure(job.spec?.podFailurePolicy, pod).isCounted
}

function renderIndexCount({ indexes }: PodCount): Partial<JobStatus> {
  if (indexes === undefined) return {}
  const completedIndexes = renderIndexes(indexes.succeeded)
  return {
    succeeded: omitZero(countIndexes(indexes.succeeded)),
    completedIndexes: completedIndexes === '' ? undefined : completedIndexes,
    failedIndexes: indexes.failed === undefined ? undefined : renderIndexes(indexes.failed),
  }
}

function decideSuspension(
  job: Job,
  { end, isManaged }: JobOutcome,
  now: number,
): Pick<JobStatus, 'conditions' | 'startTime'> & Pick<Conclusion, 'event'> {
  const { conditions, startTime = isSuspended(job) ? undefined : renderTime(now) } = job.status ?? {}
  const old = conditions?.find(({ type }) => type === 'Suspended')
  const status = isSuspended(job) ? 'True' : 'False'
  if (!isManaged || end !== undefined || (old?.status ?? 'False') === status) return { conditions, startTime }
  const event = isSuspended(job) ? 'Suspended' : 'Resumed'
  const condition = renderCondition('Suspended', `Job${event}`, `Job ${event.toLowerCase()}`, now, status)
  const others = (conditions ?? []).map((one) => (one === old ? condition : one))
  return {
    conditions: old === undefined ? [...others, condition] : others,
    // The time a job is active does not run while it is suspended.
    startTime: isSuspended(job) ? undefined : renderTime(now),
    event,
  }
}

function renderCondition(type: string, reason: string, message: string, now: number, status = 'True'): JobCondition {
  const time = renderTime(now)
  return { type, status, lastProbeTime: time, lastTransitionTime: time, reason, message }
}

function withEnd(status: JobStatus, end: JobEnd | undefined, now: number): JobStatus {
  const { conditions = [] } = status
  if (end === undefined || end.type === 'Failed' || conditions.some(({ type }) => type === end.type)) return status
  return { ...status, conditions: [...conditions, renderCondition(end.type, end.reason, end.message, now)] }
}

function lastCondition({ type, reason, message }: JobEnd, now: number): JobCondition {
  return renderCondition(type === 'SuccessCriteriaMet' ? 'Complete' : 'Failed', reason, message, now)
}

/** The status of a job whose pods have all been counted and have ended; the one given while that is not so. */
export function finishJob(status: JobStatus, { end, isPartial }: Conclusion): JobStatus {
  const { uncountedTerminatedPods: uncounted, terminating = 0 } = status
  const listed = (uncounted?.succeeded?.length ?? 0) + (uncounted?.failed?.length ?? 0)
  if (end === undefined || isPartial || listed > 0 || terminating > 0) return status
  return {
    ...status,
    conditions: [...(status.conditions ?? []), end],
    ...(end.type === 'Complete' && { completionTime: end.lastTransitionTime }),
  }
}
