import type { ObjectMeta } from '@fairlead/kube/types'
import type { CronJob, Job, JobSpec } from '@fairlead/kube/types/batch-v1'

import { isEqual } from '../metadata.ts'
import { defineKind } from './define.ts'
import { immutable, nonNegative, oneOf, required } from './field-errors.ts'
import { validatePodTemplate } from './pod-validation.ts'
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
import { defaultTemplate } from './workloads.ts'
import type { KindStrategy } from '../strategy.ts'

export const job: KindStrategy = defineKind<Job>({
  create(object) {
    object.status = {}
    const { metadata, spec } = object
    if (spec !== undefined && spec.manualSelector !== true) selectOwnPods(spec, metadata)
  },
  default(object) {
    const { spec } = object
    if (spec === undefined) return
    if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1
    spec.parallelism ??= 1
    spec.backoffLimit ??= 6
    spec.completionMode ??= 'NonIndexed'
    spec.suspend ??= false
    spec.podReplacementPolicy ??= spec.podFailurePolicy === undefined ? 'TerminatingOrFailed' : 'Failed'
    spec.manualSelector ??= false
    defaultTemplate(spec.template)
  },
  validate(object, old) {
    const { spec } = object
    const before = old?.spec
    if (spec === undefined) return [required('spec')]
    const errors = validateJobSpec(spec, 'spec')
    if (before === undefined) return errors
    return [
      ...errors,
      ...immutable('spec.selector', spec.selector, isEqual(spec.selector, before.selector)),
      ...immutable('spec.completionMode', spec.completionMode, spec.completionMode === before.completionMode),
      ...(before.suspend === true
        ? []
        : immutable('spec.template', spec.template, isEqual(spec.template, before.template))),
    ]
  },
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
    defaultTemplate(spec.jobTemplate.spec?.template)
  },
  create(object) {
    object.status = {}
  },
  validate(object) {
    const { spec } = object
    if (spec === undefined) return [required('spec')]
    return [
      ...(spec.schedule === '' ? [required('spec.schedule')] : []),
      ...oneOf('spec.concurrencyPolicy', spec.concurrencyPolicy, ['Allow', 'Forbid', 'Replace']),
      ...nonNegative('spec.successfulJobsHistoryLimit', spec.successfulJobsHistoryLimit),
      ...nonNegative('spec.failedJobsHistoryLimit', spec.failedJobsHistoryLimit),
      ...(spec.jobTemplate.spec === undefined
        ? [required('spec.jobTemplate.spec')]
        : validateJobSpec(spec.jobTemplate.spec, 'spec.jobTemplate.spec')),
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

/** A job finds its pods by its own uid: two jobs never share pods, whatever their labels. */
function selectOwnPods(spec: JobSpec, metadata: ObjectMeta): void {
  const uid = metadata.uid ?? ''
  const name = metadata.name ?? ''
  spec.selector = { matchLabels: { 'batch.kubernetes.io/controller-uid': uid } }
  spec.template ??= {}
  spec.template.metadata = {
    ...spec.template.metadata,
    labels: {
      ...spec.template.metadata?.labels,
      'batch.kubernetes.io/controller-uid': uid,
      'batch.kubernetes.io/job-name': name,
      'controller-uid': uid,
      'job-name': name,
    },
  }
}

function validateJobSpec(spec: JobSpec, path: string): ReturnType<typeof nonNegative> {
  return [
    ...nonNegative(`${path}.parallelism`, spec.parallelism),
    ...nonNegative(`${path}.completions`, spec.completions),
    ...nonNegative(`${path}.backoffLimit`, spec.backoffLimit),
    ...nonNegative(`${path}.ttlSecondsAfterFinished`, spec.ttlSecondsAfterFinished),
    ...oneOf(`${path}.completionMode`, spec.completionMode, ['Indexed', 'NonIndexed']),
    ...validatePodTemplate(spec.template, `${path}.template`, ['OnFailure', 'Never']),
  ]
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
