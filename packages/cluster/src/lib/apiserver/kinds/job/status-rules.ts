import type { Job, JobStatus } from '@fairlead/kube/types/batch-v1'

import { isEqual } from '../../metadata.ts'
import type { FieldError } from '../../status.ts'
import { duplicate, invalid, nonNegative, required } from '../field-errors.ts'
import { checkIndexes } from './index-text.ts'
import { invalidWhole } from './limits.ts'

function has(status: JobStatus | undefined, type: string, value = 'True'): boolean {
  return status?.conditions?.some((condition) => condition.type === type && condition.status === value) === true
}

function isFinished(status: JobStatus | undefined): boolean {
  return has(status, 'Complete') || has(status, 'Failed')
}

/** What is wrong with a new status: jobs may be run by others, and everybody relies on what a status says. */
export function validateJobStatus(job: Job, old: Job): FieldError[] {
  const status = job.status ?? {}
  const counts = ['active', 'succeeded', 'failed', 'ready', 'terminating'] as const
  return [
    ...counts.flatMap((key) => nonNegative(`status.${key}`, status[key])),
    ...validateUncounted(status),
    ...validateConditions(status, old.status),
    ...validateTimes(job, old),
    ...validateFinished(job, old),
    ...validateIndexes(job, old),
    ...validateCounters(job, old),
  ]
}

function validateUncounted({ uncountedTerminatedPods: uncounted }: JobStatus): FieldError[] {
  const seen = new Set<string>()
  return (['succeeded', 'failed'] as const).flatMap((list) =>
    (uncounted?.[list] ?? []).flatMap((uid, index) => {
      const field = `status.uncountedTerminatedPods.${list}[${index}]`
      if (uid === '') return [invalid(field, uid, 'must not be empty')]
      if (seen.has(uid)) return [duplicate(field, uid)]
      seen.add(uid)
      return []
    }),
  )
}

/** Conditions that exclude each other, that need another one, and those that stay once they are there. */
function validateConditions(status: JobStatus, old: JobStatus | undefined): FieldError[] {
  const problems: string[] = []
  for (const [one, other, text] of [
    ['Complete', 'Failed', 'Complete=True and Failed=true'],
    ['Complete', 'FailureTarget', 'Complete=True and FailureTarget=true'],
    ['SuccessCriteriaMet', 'Failed', 'SuccessCriteriaMet=True and Failed=true'],
    ['SuccessCriteriaMet', 'FailureTarget', 'SuccessCriteriaMet=True and FailureTarget=true'],
  ] as const) {
    const wasSo = has(old, one) && has(old, other)
    if (!wasSo && has(status, one) && has(status, other)) problems.push(`cannot set ${text} conditions`)
  }
  if (has(status, 'Failed') && !has(old, 'Failed') && !has(status, 'FailureTarget')) {
    problems.push('cannot set Failed=True condition without the FailureTarget=true condition')
  }
  if (has(status, 'Complete') && !has(old, 'Complete') && !has(status, 'SuccessCriteriaMet')) {
    problems.push('cannot set Complete=True condition without the SuccessCriteriaMet=true condition')
  }
  for (const type of ['Failed', 'Complete', 'FailureTarget']) {
    if (has(old, type) && !has(status, type)) problems.push(`cannot disable the terminal ${type}=True condition`)
  }
  if (has(old, 'SuccessCriteriaMet') && !has(status, 'SuccessCriteriaMet')) {
    problems.push('cannot disable the SuccessCriteriaMet=True condition')
  }
  if (has(old, 'Complete') && !has(old, 'SuccessCriteriaMet') && has(status, 'SuccessCriteriaMet')) {
    problems.push('cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions')
  }
  return problems.map((why) => invalidWhole('status.conditions', why))
}

function validateTimes({ spec, status = {} }: Job, { status: old = {} }: Job): FieldError[] {
  const { startTime, completionTime } = status
  const [start, end] = ['status.startTime', 'status.completionTime']
  const isStartNew = startTime !== old.startTime
  const isEndNew = completionTime !== old.completionTime || has(status, 'Complete') !== has(old, 'Complete')
  const errors: FieldError[] = []
  if (isEndNew && completionTime !== undefined && !has(status, 'Complete')) {
    errors.push(invalid(end, completionTime, 'cannot set completionTime when there is no Complete=True condition'))
  }
  if (isEndNew && completionTime === undefined && has(status, 'Complete')) {
    errors.push(required(end, 'completionTime is required for Complete jobs'))
  }
  const isBefore = Date.parse(completionTime ?? '') < Date.parse(startTime ?? '')
  if ((isStartNew || isEndNew) && isBefore) {
    errors.push(invalid(end, completionTime, 'must be equal to or after `startTime`'))
  }
  if (completionTime !== undefined && old.completionTime !== undefined && completionTime !== old.completionTime) {
    errors.push(invalid(end, completionTime, 'field is immutable'))
  }
  const isResuming = has(old, 'Suspended') && has(status, 'Suspended', 'False')
  if (isStartNew && old.startTime !== undefined && !isResuming && spec?.suspend !== true) {
    errors.push(invalid(start, startTime ?? null, 'field is immutable for unsuspended job once set'))
  }
  return errors
}

/** Nothing of a finished job is left to happen. */
function validateFinished({ spec, status = {} }: Job, { status: old }: Job): FieldError[] {
  if (!isFinished(status)) return []
  const isNew = !isFinished(old)
  const { active = 0, terminating = 0, startTime, uncountedTerminatedPods: uncounted } = status
  const isChanged = (key: keyof JobStatus): boolean => isNew || !isEqual(status[key], old?.[key])
  const errors: FieldError[] = []
  if (active > 0 && isChanged('active')) {
    errors.push(invalid('status.active', active, 'active>0 is invalid for finished job'))
  }
  const needsNoStart = spec?.suspend === true && spec.completions === 0
  if (startTime === undefined && isChanged('startTime') && !needsNoStart) {
    errors.push(required('status.startTime', 'startTime is required for finished job'))
  }
  const listed = (uncounted?.failed?.length ?? 0) + (uncounted?.succeeded?.length ?? 0)
  if (listed > 0 && isChanged('uncountedTerminatedPods')) {
    errors.push(invalid('status.uncountedTerminatedPods', uncounted, 'must be empty for finished job'))
  }
  if (terminating > 0 && isChanged('terminating')) {
    errors.push(invalid('status.terminating', terminating, 'terminating>0 is invalid for finished job'))
  }
  return errors
}

function validateIndexes({ spec, status = {} }: Job, { status: old }: Job): FieldError[] {
  const { completedIndexes, failedIndexes } = status
  const { completions, completionMode, backoffLimitPerIndex } = spec ?? {}
  const errors: FieldError[] = []
  for (const key of ['completedIndexes', 'failedIndexes'] as const) {
    const text = status[key]
    if (text === old?.[key] || text === undefined || completions === undefined) continue
    const { problem } = checkIndexes(text, completions)
    if (problem !== undefined) errors.push(invalid(`status.${key}`, text, `error parsing ${key}: ${problem}`))
  }
  if (completedIndexes !== old?.completedIndexes && (completedIndexes ?? '') !== '' && completionMode !== 'Indexed') {
    const why = 'cannot set non-empty completedIndexes when non-indexed completion mode'
    errors.push(invalid('status.completedIndexes', completedIndexes, why))
  }
  if (failedIndexes !== undefined && failedIndexes !== old?.failedIndexes && backoffLimitPerIndex === undefined) {
    const why = 'cannot set non-null failedIndexes when backoffLimitPerIndex is null'
    errors.push(invalid('status.failedIndexes', failedIndexes, why))
  }
  return errors
}

function validateCounters({ spec, status = {} }: Job, { status: old = {} }: Job): FieldError[] {
  const { failed = 0, succeeded = 0, ready, active = 0 } = status
  const errors: FieldError[] = []
  if (failed < (old.failed ?? 0)) errors.push(invalid('status.failed', failed, 'cannot decrease the failed counter'))
  const mayShrink = spec?.completionMode === 'Indexed' && spec.completions === spec.parallelism
  if (succeeded < (old.succeeded ?? 0) && !mayShrink) {
    errors.push(invalid('status.succeeded', succeeded, 'cannot decrease the succeeded counter'))
  }
  if (ready !== undefined && ready > active && (ready !== old.ready || active !== old.active)) {
    errors.push(invalid('status.ready', ready, 'cannot set more ready pods than active'))
  }
  return errors
}
