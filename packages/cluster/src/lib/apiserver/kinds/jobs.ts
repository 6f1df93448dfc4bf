import type { ObjectMeta } from '@fairlead/kube/types'
import type { CronJob, CronJobSpec, Job, JobSpec } from '@fairlead/kube/types/batch-v1'

import { findTimeZone } from '../../cron/time-zone.ts'
import { parseSchedule } from '../../cron/schedule.ts'
import { defineKind } from './define.ts'
import { invalid, nonNegative, oneOf, required, unsupported } from './field-errors.ts'
import { validateJobSpec, validateJobUpdate } from './job/spec-rules.ts'
import { validateJobStatus } from './job/status-rules.ts'
import { dnsLabel } from './names.ts'
import {
  age,
  ageColumn,
  column,
  containerCells,
  containerColumns,
  duration,
  formatSelector,
  nameColumn,
  orNone,
  wideColumn,
} from './printing.ts'
import { matchesSelector, validateSelector } from './selectors.ts'
import { defaultTemplate } from './workloads.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

/** A job is named after its CronJob, with eleven characters more; names of jobs become labels. */
const maxCronJobName = 52

export const job: KindStrategy = defineKind<Job>({
  create(object) {
    object.status = {}
    const { metadata, spec } = object
    if (spec !== undefined && spec.manualSelector !== true) selectOwnPods(spec, metadata)
  },
  default(object) {
    const { metadata, spec } = object
    if (spec === undefined) return
    defaultJobSpec(spec)
    const labels = spec.template?.metadata?.labels
    if (labels !== undefined && Object.keys(metadata.labels ?? {}).length === 0) metadata.labels = { ...labels }
  },
  validate(object, old) {
    const { metadata, spec } = object
    if (spec === undefined) return [required('spec')]
    return [
      ...validateOwnSelector(spec, metadata),
      ...validateJobSpec(spec, 'spec'),
      ...validateJobSelector(spec),
      ...validateHostnames(spec, metadata),
      ...(old?.spec === undefined ? [] : validateJobUpdate(spec, old.spec, { status: old.status })),
    ]
  },
  validateStatus: validateJobStatus,
  fields: (object) => ({ 'status.successful': String(object.status?.succeeded ?? 0) }),
  columns: [
    nameColumn,
    column('Status'),
    column('Completions'),
    column('Duration'),
    ageColumn,
    ...containerColumns,
    wideColumn('Selector'),
  ],
  row(object, now) {
    const each = object
    return [
      each.metadata.name,
      jobStatus(each),
      completions(each),
      jobDuration(each, now),
      age(each.metadata.creationTimestamp, now),
      ...containerCells(each.spec?.template.spec),
      formatSelector(each.spec?.selector),
    ]
  },
})

export const cronJob: KindStrategy = defineKind<CronJob>({
  default(object) {
    const { spec } = object
    if (spec === undefined) return
    spec.concurrencyPolicy ??= 'Allow'
    spec.suspend ??= false
    spec.successfulJobsHistoryLimit ??= 3
    spec.failedJobsHistoryLimit ??= 1
    spec.jobTemplate.metadata ??= {}
    const job = spec.jobTemplate.spec
    if (job === undefined) return
    // Only what upstream fills in here; the rest is filled in when a job is made.
    defaultPatterns(job)
    job.template.metadata ??= {}
    defaultTemplate(job.template)
  },
  create(object) {
    object.status = {}
  },
  validate(object, old) {
    const { metadata, spec } = object
    if (spec === undefined) return [required('spec')]
    const isTooLong = old === undefined && (metadata.name ?? '').length > maxCronJobName
    return [
      ...validateSchedule(spec, old?.spec),
      ...nonNegative('spec.startingDeadlineSeconds', spec.startingDeadlineSeconds),
      ...(old !== undefined && old.spec?.timeZone === spec.timeZone ? [] : validateTimeZone(spec.timeZone)),
      ...oneOf('spec.concurrencyPolicy', spec.concurrencyPolicy, ['Allow', 'Forbid', 'Replace']),
      ...validateJobTemplate(spec),
      ...nonNegative('spec.successfulJobsHistoryLimit', spec.successfulJobsHistoryLimit),
      ...nonNegative('spec.failedJobsHistoryLimit', spec.failedJobsHistoryLimit),
      ...(isTooLong
        ? [invalid('metadata.name', metadata.name, `must be no more than ${maxCronJobName} characters`)]
        : []),
    ]
  },
  columns: [
    nameColumn,
    column('Schedule'),
    column('Timezone'),
    column('Suspend', 'boolean'),
    column('Active', 'integer'),
    column('Last Schedule'),
    ageColumn,
    ...containerColumns,
    wideColumn('Selector'),
  ],
  row(object, now) {
    const { metadata, spec, status } = object
    const last = status?.lastScheduleTime
    return [
      metadata.name,
      spec?.schedule ?? '',
      orNone(spec?.timeZone),
      spec?.suspend === true ? 'True' : 'False',
      (status?.active ?? []).length,
      last === undefined ? '<none>' : age(last, now),
      age(metadata.creationTimestamp, now),
      ...containerCells(spec?.jobTemplate.spec?.template.spec),
      formatSelector(spec?.jobTemplate.spec?.selector),
    ]
  },
})

/** The labels that name a job on its pods, in both generations. */
function ownLabels({ uid = '', name = '' }: ObjectMeta): Record<string, string> {
  return {
    'controller-uid': uid,
    'job-name': name,
    'batch.kubernetes.io/controller-uid': uid,
    'batch.kubernetes.io/job-name': name,
  }
}

/** A job finds its pods by its own uid: two jobs never share pods, whatever their labels. */
function selectOwnPods(spec: JobSpec, metadata: ObjectMeta): void {
  const uidKey = 'batch.kubernetes.io/controller-uid'
  const { selector } = spec
  spec.selector = { ...selector, matchLabels: { [uidKey]: metadata.uid ?? '', ...selector?.matchLabels } }
  spec.template ??= {}
  const labels = { ...ownLabels(metadata), ...spec.template.metadata?.labels }
  spec.template.metadata = { ...spec.template.metadata, labels }
}

function defaultJobSpec(spec: JobSpec): void {
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1
  spec.parallelism ??= 1
  spec.backoffLimit ??= spec.backoffLimitPerIndex === undefined ? 6 : 2 ** 31 - 1
  spec.completionMode ??= 'NonIndexed'
  spec.suspend ??= false
  spec.podReplacementPolicy ??= spec.podFailurePolicy === undefined ? 'TerminatingOrFailed' : 'Failed'
  spec.manualSelector ??= false
  defaultPatterns(spec)
  defaultTemplate(spec.template)
}

function defaultPatterns({ podFailurePolicy }: JobSpec): void {
  for (const { onPodConditions = [] } of podFailurePolicy?.rules ?? []) {
    for (const pattern of onPodConditions) pattern.status ??= 'True'
  }
}

/** Labels given by hand may not say that the pods are another job's. */
function validateOwnSelector(spec: JobSpec, metadata: ObjectMeta): FieldError[] {
  if (spec.manualSelector === true || spec.selector === undefined) return []
  const wanted = ownLabels(metadata)
  const errors = Object.entries(wanted).flatMap(([key, value]) => {
    const field = `spec.template.metadata.labels[${key}]`
    const given = spec.template?.metadata?.labels?.[key]
    if (given === undefined) return [required(field, `must be '${value}'`)]
    return given === value ? [] : [invalid(field, given, `must be '${value}'`)]
  })
  return matchesSelector(spec.selector, wanted)
    ? errors
    : [...errors, invalid('spec.selector', spec.selector, '`selector` not auto-generated')]
}

function validateJobSelector({ selector, template }: JobSpec): FieldError[] {
  if (selector === undefined) return [required('spec.selector')]
  const labels = template?.metadata?.labels ?? {}
  const why = '`selector` does not match template `labels`'
  const errors = validateSelector(selector, 'spec.selector')
  return matchesSelector(selector, labels) ? errors : [...errors, invalid('spec.template.metadata.labels', labels, why)]
}

/** Each index is part of the host name of its pod. */
function validateHostnames({ completionMode, completions = 0 }: JobSpec, { name = '' }: ObjectMeta): FieldError[] {
  const longest = `${name}-${completions - 1}`
  if (completionMode !== 'Indexed' || completions < 1 || dnsLabel('', longest).length === 0) return []
  return [invalid('metadata.name', name, `will not able to create pod with invalid DNS label: ${longest}`)]
}

function validateSchedule({ schedule, timeZone }: CronJobSpec, before: CronJobSpec | undefined): FieldError[] {
  if (schedule === '') return [required('spec.schedule')]
  const field = 'spec.schedule'
  const { problem } = parseSchedule(schedule)
  const errors = problem === undefined ? [] : [invalid(field, schedule, problem)]
  if (!schedule.includes('TZ')) return errors
  // What was stored before this was refused stays as it is.
  const isOld = before?.schedule.includes('TZ') === true
  if (!isOld) {
    errors.push(invalid(field, schedule, 'cannot use TZ or CRON_TZ in schedule, use timeZone field instead'))
  } else if (timeZone !== undefined) {
    errors.push(invalid(field, schedule, 'cannot use both timeZone field and TZ or CRON_TZ in schedule'))
  }
  return errors
}

function validateTimeZone(timeZone: string | undefined): FieldError[] {
  const field = 'spec.timeZone'
  if (timeZone === undefined) return []
  if (timeZone === '') return [invalid(field, timeZone, 'timeZone must be nil or non-empty string')]
  const errors: FieldError[] = []
  if (timeZone.toLowerCase() === 'local') {
    const why = 'timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones'
    errors.push(invalid(field, timeZone, why))
  }
  // Go knows the zone of the machine as `Local`.
  const isKnown = timeZone === 'Local' || findTimeZone(timeZone) !== undefined
  return isKnown ? errors : [...errors, invalid(field, timeZone, `unknown time zone ${timeZone}`)]
}

/** The selector of the jobs that will be made is theirs to make. */
function validateJobTemplate({ jobTemplate }: CronJobSpec): FieldError[] {
  const path = 'spec.jobTemplate.spec'
  const { spec } = jobTemplate
  if (spec === undefined) return [required(path)]
  const errors = validateJobSpec(spec, path)
  if (spec.selector !== undefined) {
    errors.push(invalid(`${path}.selector`, spec.selector, '`selector` will be auto-generated'))
  }
  if (spec.manualSelector === true) errors.push(unsupported(`${path}.manualSelector`, true, ['nil', 'false']))
  return errors
}

function jobStatus({ metadata, status }: Job): string {
  const has = (type: string): boolean =>
    status?.conditions?.some((condition) => condition.type === type && condition.status === 'True') === true
  if (has('Complete')) return 'Complete'
  if (has('Failed')) return 'Failed'
  if (metadata?.deletionTimestamp !== undefined) return 'Terminating'
  return ['Suspended', 'FailureTarget', 'SuccessCriteriaMet'].find(has) ?? 'Running'
}

function completions({ spec, status }: Job): string {
  const succeeded = status?.succeeded ?? 0
  if (spec?.completions !== undefined) return `${succeeded}/${spec.completions}`
  return (spec?.parallelism ?? 0) > 1 ? `${succeeded}/1 of ${spec?.parallelism}` : `${succeeded}/1`
}

function jobDuration({ status }: Job, now: number): string {
  if (status?.startTime === undefined) return ''
  const end = status.completionTime === undefined ? now : Date.parse(status.completionTime)
  return duration(end - Date.parse(status.startTime))
}
