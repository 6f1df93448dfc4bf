import type { Job } from '@fairlead/kube/types/batch-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { rankForDeletion } from '../replica-set-plan.ts'
import { backoffLeftMs, finishedAt } from './backoff.ts'
import { indexesOf, tries } from './count-pods.ts'
import type { JobView, PodCount } from './count-pods.ts'
import { completionIndexOf, countIndexes, lowestFree, mergeIndexes } from './indexes.ts'
import { isIndexed, isPodFailed, isSuspended, isTerminating, trueCondition, waitsForEnd } from './job-facts.ts'
import { judgeFailure, judgeSuccess } from './policies.ts'

/** At most so many pods are created or deleted in one reconcile. */
const burst = 500

/** That a job is at its end, and why: the condition that says so before its pods are gone, or `Failed` when it is there already. */
export interface JobEnd {
  readonly type: 'SuccessCriteriaMet' | 'FailureTarget' | 'Failed'
  readonly reason: string
  readonly message: string
}

export type JobStep =
  | { readonly act: 'none'; readonly requeueAfterMs?: number | undefined }
  /** Ends what still runs; it counts as the end says. */
  | { readonly act: 'end'; readonly pods: readonly Pod[] }
  /** Takes pods away without counting them. */
  | { readonly act: 'remove'; readonly pods: readonly Pod[] }
  /** One pod each; undefined is a pod without index. */
  | {
      readonly act: 'create'
      readonly indexes: readonly (number | undefined)[]
      readonly requeueAfterMs?: number | undefined
    }

/** Whether a job has come to its end. */
export function decideEnd(view: JobView, count: PodCount): JobEnd | undefined {
  const { job } = view
  const met = trueCondition(job, 'SuccessCriteriaMet')
  if (met !== undefined) {
    return { type: 'SuccessCriteriaMet', reason: met.reason ?? '', message: met.message ?? '' }
  }
  const failing = trueCondition(job, 'FailureTarget')
  if (failing !== undefined) return { type: 'Failed', reason: failing.reason ?? '', message: failing.message ?? '' }
  return decideFailure(view, count) ?? decideIndexFailure(job, count) ?? decideSuccess(job, count)
}

function fail(reason: string, message: string): JobEnd {
  return { type: 'FailureTarget', reason, message }
}

function decideFailure({ job, pods, now }: JobView, { failed }: PodCount): JobEnd | undefined {
  const message = findFailJob(job, pods)
  if (message !== undefined) return fail('PodFailurePolicy', message)
  if (failed > (job.spec?.backoffLimit ?? 6) || restartsTooOften(job, pods)) {
    return fail('BackoffLimitExceeded', 'Job has reached the specified backoff limit')
  }
  const leftMs = deadlineLeftMs(job, now)
  return leftMs !== undefined && leftMs <= 0
    ? fail('DeadlineExceeded', 'Job was active longer than specified deadline')
    : undefined
}

function findFailJob(job: Job, pods: readonly Pod[]): string | undefined {
  const { podFailurePolicy } = job.spec ?? {}
  if (podFailurePolicy === undefined) return undefined
  for (const pod of pods) {
    const message = isPodFailed(pod, job) ? judgeFailure(podFailurePolicy, pod).failsJob : undefined
    if (message !== undefined) return message
  }
  return undefined
}

/** Containers that are restarted in place fail as often as they are restarted. */
function restartsTooOften({ spec }: Job, pods: readonly Pod[]): boolean {
  if (spec?.template.spec?.restartPolicy !== 'OnFailure') return false
  const statuses = pods
    .filter(({ status }) => status?.phase === 'Running' || status?.phase === 'Pending')
    .flatMap(({ status }) => [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])])
  const restarts = statuses.reduce((sum, { restartCount }) => sum + restartCount, 0)
  return restarts >= Math.max(1, spec.backoffLimit ?? 6)
}

/** How long a job may still be active; undefined when nothing limits it. */
export function deadlineLeftMs(job: Job, now: number): number | undefined {
  const { activeDeadlineSeconds } = job.spec ?? {}
  if (activeDeadlineSeconds === undefined || isSuspended(job)) return undefined
  const startedAt = job.status?.startTime === undefined ? now : Date.parse(job.status.startTime)
  return startedAt + activeDeadlineSeconds * 1000 - now
}

function decideIndexFailure({ spec }: Job, { indexes }: PodCount): JobEnd | undefined {
  if (indexes?.failed === undefined) return undefined
  const failed = countIndexes(indexes.failed)
  if (spec?.maxFailedIndexes !== undefined && failed > spec.maxFailedIndexes) {
    return fail('MaxFailedIndexesExceeded', 'Job has exceeded the specified maximal number of failed indexes')
  }
  return failed > 0 && failed + countIndexes(indexes.succeeded) >= (spec?.completions ?? 0)
    ? fail('FailedIndexes', 'Job has failed indexes')
    : undefined
}

function decideSuccess({ spec }: Job, { indexes }: PodCount): JobEnd | undefined {
  const message = judgeSuccess(spec?.successPolicy, indexes?.succeeded ?? [], spec?.completions ?? 0)
  return message === undefined ? undefined : { type: 'SuccessCriteriaMet', reason: 'SuccessPolicy', message }
}

/** Whether everything asked for has succeeded, with `active` pods left. */
export function isComplete({ spec }: Job, succeeded: number, active: number): boolean {
  return active === 0 && (spec?.completions === undefined ? succeeded > 0 : succeeded >= spec.completions)
}

export const completed: JobEnd = {
  type: 'SuccessCriteriaMet',
  reason: 'CompletionsReached',
  message: 'Reached expected number of succeeded pods',
}

/** What brings the number of active pods to what the job asks for now. */
export function decideStep(view: JobView, count: PodCount): JobStep {
  const { job } = view
  const { active } = count
  if (isSuspended(job)) return remove(job, active, active.length)
  const wanted = wantedPods(job, count)
  const surplus = remove(job, active, Math.max(0, active.length - wanted))
  if (surplus.act === 'remove') return surplus
  const missing = wanted - active.length - (waitsForEnd(job) ? count.terminating : 0)
  return missing > 0 ? decideCreation(view, count, Math.min(missing, burst)) : { act: 'none' }
}

function wantedPods({ spec }: Job, { active, succeeded }: PodCount): number {
  const { parallelism = 1, completions } = spec ?? {}
  // Without a number of completions the first success is the last: nothing new begins after it.
  if (completions === undefined) return succeeded > 0 ? active.length : parallelism
  return Math.max(0, Math.min(parallelism, completions - succeeded))
}

function remove(job: Job, active: readonly Pod[], atLeast: number): JobStep {
  const { extra, rest } = isIndexed(job) ? splitByIndex(job, active) : { extra: [], rest: active }
  const others = atLeast > extra.length ? rankForDeletion(rest).slice(0, atLeast - extra.length) : []
  const pods = [...extra, ...others]
  if (pods.length === 0) return { act: 'none' }
  return { act: 'remove', pods: isSuspended(job) ? pods : pods.slice(0, burst) }
}

/** One pod for each index; those without an index, or with one that nobody asks for, are too many. */
function splitByIndex({ spec }: Job, active: readonly Pod[]): { extra: Pod[]; rest: Pod[] } {
  const byIndex = Map.groupBy(active, (pod) => completionIndexOf(pod))
  const split = { extra: [] as Pod[], rest: [] as Pod[] }
  for (const [index, pods] of byIndex) {
    const isWanted = index !== undefined && index < (spec?.completions ?? 0)
    const ranked = isWanted && pods.length > 1 ? rankForDeletion(pods) : pods
    split.extra.push(...ranked.slice(0, isWanted ? -1 : undefined))
    if (isWanted) split.rest.push(...ranked.slice(-1))
  }
  return split
}

function decideCreation(view: JobView, count: PodCount, missing: number): JobStep {
  const { job, now } = view
  const hasOwnBackoff = job.spec?.backoffLimitPerIndex !== undefined
  const waitMs = hasOwnBackoff ? 0 : backoffLeftMs(count.backoff, now)
  if (waitMs > 0) return { act: 'none', requeueAfterMs: waitMs }
  if (count.indexes === undefined) {
    return { act: 'create', indexes: Array.from({ length: missing }, () => undefined) }
  }
  const pending = pendingIndexes(view, count, missing)
  if (!hasOwnBackoff) return pending.length === 0 ? { act: 'none' } : { act: 'create', indexes: pending }
  const waits = pending.map((index) => ({ index, waitMs: indexWaitMs(count.indexes?.toReplace.get(index), now) }))
  const indexes = waits.filter((one) => one.waitMs === 0).map(({ index }) => index)
  const later = waits.map((one) => one.waitMs).filter((ms) => ms > 0)
  const requeueAfterMs = later.length === 0 ? undefined : Math.min(...later)
  return indexes.length === 0 ? { act: 'none', requeueAfterMs } : { act: 'create', indexes, requeueAfterMs }
}

function pendingIndexes({ job, pods }: JobView, { active, indexes }: PodCount, missing: number): number[] {
  const ending = waitsForEnd(job) ? pods.filter(isTerminating) : []
  const running = mergeIndexes(indexesOf(job, active), indexesOf(job, ending))
  const settled = mergeIndexes(indexes?.succeeded ?? [], indexes?.failed ?? [])
  return lowestFree(mergeIndexes(settled, running), missing, job.spec?.completions ?? 0)
}

/** Each index waits for its own failures. */
function indexWaitMs(replaced: Pod | undefined, now: number): number {
  if (replaced === undefined) return 0
  return backoffLeftMs({ failures: tries(replaced) + 1, lastFailureAt: finishedAt(replaced) }, now)
}
