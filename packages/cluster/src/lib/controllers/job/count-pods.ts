import type { Job } from '@fairlead/kube/types/batch-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { isPodActive, isPodReady } from '../pod-state.ts'
import { continueBackoff, finishedAt } from './backoff.ts'
import type { Backoff } from './backoff.ts'
import { completionIndexOf, countIndexes, hasIndex, mergeIndexes, parseIndexes, toIndexes } from './indexes.ts'
import type { Indexes } from './indexes.ts'
import { indexFailures, isIndexed, isPodFailed, isTerminating, isTracked } from './job-facts.ts'
import { judgeFailure } from './policies.ts'

/** Everything a decision about a job looks at. */
export interface JobView {
  readonly job: Job
  /** Its own, of any phase. */
  readonly pods: readonly Pod[]
  /** Uids of pods that were let go and still carry the finalizer in the cache. */
  readonly isReleased: (uid: string) => boolean
  readonly backoff: Backoff
  /** Milliseconds since 1970. */
  readonly now: number
}

/** The pods of a job, counted. */
export interface PodCount {
  readonly active: readonly Pod[]
  readonly ready: number
  readonly terminating: number
  readonly succeeded: number
  readonly failed: number
  readonly backoff: Backoff
  /** Of an Indexed job. */
  readonly indexes?: IndexCount | undefined
}

export interface IndexCount {
  /** Succeeded, as the status says. */
  readonly before: Indexes
  /** Succeeded, by the status and the pods. */
  readonly succeeded: Indexes
  /** Failed for good; undefined without a back-off limit per index. */
  readonly failed?: Indexes | undefined
  /** The last failed pod of each index that is to be tried again; it stays until it is replaced. */
  readonly toReplace: ReadonlyMap<number, Pod>
}

export function countPods(view: JobView): PodCount {
  const { job, pods } = view
  const { uncountedTerminatedPods: uncounted } = job.status ?? {}
  const active = pods.filter(isPodActive)
  const fresh = pods.filter((pod) => isToBeCounted(view, pod))
  const succeededPods = fresh.filter(
    (pod) => pod.status?.phase === 'Succeeded' && !uncounted?.succeeded?.includes(pod.metadata?.uid ?? ''),
  )
  const failedPods = fresh.filter(
    (pod) => isPodFailed(pod, job) && !uncounted?.failed?.includes(pod.metadata?.uid ?? ''),
  )
  const countedFailures = failedPods.filter((pod) => judgeFailure(job.spec?.podFailurePolicy, pod).isCounted)
  const indexes = isIndexed(job) ? countIndexesOf(view, active) : undefined
  return {
    active,
    ready: active.filter(isPodReady).length,
    terminating: pods.filter(isTerminating).length,
    succeeded:
      indexes === undefined
        ? (job.status?.succeeded ?? 0) + succeededPods.length + (uncounted?.succeeded?.length ?? 0)
        : countIndexes(indexes.succeeded),
    failed: (job.status?.failed ?? 0) + countedFailures.length + (uncounted?.failed?.length ?? 0),
    backoff: continueBackoff(view.backoff, succeededPods, failedPods),
    indexes,
  }
}

/** Whether how a pod ends has not been taken into the status yet. */
function isToBeCounted({ job, isReleased }: JobView, pod: Pod): boolean {
  if (!isTracked(pod) || isReleased(pod.metadata?.uid ?? '')) return false
  return !isIndexed(job) || indexBelowCompletions(job, pod) !== undefined
}

/** The index of a pod, unless it has none that the job asks for. */
export function indexBelowCompletions({ spec }: Job, pod: Pod): number | undefined {
  const index = completionIndexOf(pod)
  return index !== undefined && index < (spec?.completions ?? 0) ? index : undefined
}

function countIndexesOf(view: JobView, active: readonly Pod[]): IndexCount {
  const { job, pods } = view
  const { completions = 0, backoffLimitPerIndex } = job.spec ?? {}
  const before = parseIndexes(job.status?.completedIndexes, completions)
  const tracked = pods.filter(isTracked)
  const succeeded = mergeIndexes(
    before,
    indexesOf(
      job,
      tracked.filter(({ status }) => status?.phase === 'Succeeded'),
    ),
  )
  if (backoffLimitPerIndex === undefined) return { before, succeeded, toReplace: new Map() }
  const failed = mergeIndexes(
    parseIndexes(job.status?.failedIndexes, completions),
    indexesOf(
      job,
      tracked.filter((pod) => failsIndex(job, pod)),
    ),
  )
  const settled = mergeIndexes(mergeIndexes(succeeded, failed), indexesOf(job, active))
  return { before, succeeded, failed, toReplace: findToReplace(view, settled) }
}

export function indexesOf(job: Job, pods: readonly Pod[]): Indexes {
  return toIndexes(pods.map((pod) => indexBelowCompletions(job, pod)).filter((index) => index !== undefined))
}

function failsIndex(job: Job, pod: Pod): boolean {
  if (!isPodFailed(pod, job)) return false
  const { failsIndex: isFinal, isCounted } = judgeFailure(job.spec?.podFailurePolicy, pod)
  return isFinal || (isCounted && indexFailures(pod).counted >= (job.spec?.backoffLimitPerIndex ?? Infinity))
}

function findToReplace(view: JobView, settled: Indexes): Map<number, Pod> {
  const found = new Map<number, Pod>()
  for (const pod of view.pods) {
    const index = indexBelowCompletions(view.job, pod)
    if (index === undefined || !isToBeCounted(view, pod) || !isPodFailed(pod, view.job)) continue
    if (hasIndex(settled, index)) continue
    const known = found.get(index)
    if (known === undefined || (tries(known) <= tries(pod) && finishedAt(known) <= finishedAt(pod))) {
      found.set(index, pod)
    }
  }
  return found
}

/** Failures of its index before this pod, of any kind. */
export function tries(pod: Pod): number {
  const { counted, ignored } = indexFailures(pod)
  return counted + ignored
}
