import { findCondition } from '@fairlead/kube/controller'
import type { Job, JobCondition } from '@fairlead/kube/types/batch-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { judgeFailure } from './policies.ts'

/** Keeps a pod until its job has counted how it ended. */
export const trackingFinalizer = 'batch.kubernetes.io/job-tracking'

/** Whose jobs these are unless `spec.managedBy` says otherwise. */
export const jobControllerName = 'kubernetes.io/job-controller'

export const failureCountKey = 'batch.kubernetes.io/job-index-failure-count'
export const ignoredFailureCountKey = 'batch.kubernetes.io/job-index-ignored-failure-count'

export function isIndexed({ spec }: Job): boolean {
  return spec?.completionMode === 'Indexed'
}

export function isSuspended({ spec }: Job): boolean {
  return spec?.suspend === true
}

/** How a job ended; undefined while it has not. */
export function finishedCondition({ status }: Job): JobCondition | undefined {
  return status?.conditions?.find(
    (condition) => (condition.type === 'Complete' || condition.type === 'Failed') && condition.status === 'True',
  )
}

export function trueCondition(job: Job, type: string): JobCondition | undefined {
  const condition = findCondition(job.status?.conditions, type)
  return condition?.status === 'True' ? condition : undefined
}

export function isTracked({ metadata }: Pod): boolean {
  return metadata?.finalizers?.includes(trackingFinalizer) === true
}

export function isTerminating({ metadata, status }: Pod): boolean {
  return metadata?.deletionTimestamp !== undefined && status?.phase !== 'Succeeded' && status?.phase !== 'Failed'
}

/** Whether a pod that is on its way out is replaced only once it has ended. */
export function waitsForEnd({ spec }: Job): boolean {
  return spec?.podReplacementPolicy === 'Failed' || spec?.podFailurePolicy !== undefined
}

export function isPodFailed({ metadata, status }: Pod, job: Job): boolean {
  if (status?.phase === 'Failed') return true
  return !waitsForEnd(job) && metadata?.deletionTimestamp !== undefined && status?.phase !== 'Succeeded'
}

function readCount({ metadata }: Pod, key: string): number {
  const count = Number(metadata?.annotations?.[key] ?? 0)
  return Number.isInteger(count) && count >= 0 ? count : 0
}

/** How often the index of this pod had failed before it. */
export function indexFailures(pod: Pod): { readonly counted: number; readonly ignored: number } {
  return { counted: readCount(pod, failureCountKey), ignored: readCount(pod, ignoredFailureCountKey) }
}

/** The failures that the pod coming after `replaced` begins with. */
export function failuresAfter(job: Job, replaced: Pod | undefined): { counted: number; ignored: number } {
  if (replaced === undefined) return { counted: 0, ignored: 0 }
  const { counted, ignored } = indexFailures(replaced)
  return judgeFailure(job.spec?.podFailurePolicy, replaced).isCounted
    ? { counted: counted + 1, ignored }
    : { counted, ignored: ignored + 1 }
}
