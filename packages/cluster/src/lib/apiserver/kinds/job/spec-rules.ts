import type { JobSpec, JobStatus } from '@fairlead/kube/types/batch-v1'
import type { PodTemplateSpec } from '@fairlead/kube/types/core-v1'

import { isEqual } from '../../metadata.ts'
import type { FieldError } from '../../status.ts'
import { immutable, invalid, nonNegative, notSupported, required, unsupported } from '../field-errors.ts'
import { dnsSubdomain } from '../names.ts'
import { validatePodTemplate } from '../pod-validation.ts'
import { noLonger } from './limits.ts'
import { validateFailurePolicy, validateSuccessPolicy } from './policy-rules.ts'

const maxIndexedParallelism = 100_000
/** With more completions than this, failed indexes are limited so that the status stays small. */
const manyCompletions = 100_000
const limitForMany = 10_000

/** What is wrong with a job, as far as its selector is left aside. */
export function validateJobSpec(spec: JobSpec, path: string): FieldError[] {
  const counts = [
    'parallelism',
    'completions',
    'activeDeadlineSeconds',
    'backoffLimit',
    'ttlSecondsAfterFinished',
    'backoffLimitPerIndex',
    'maxFailedIndexes',
  ] as const
  return [
    ...counts.flatMap((key) => nonNegative(`${path}.${key}`, spec[key])),
    ...(spec.maxFailedIndexes !== undefined && spec.backoffLimitPerIndex === undefined
      ? [required(`${path}.backoffLimitPerIndex`, 'when maxFailedIndexes is specified')]
      : []),
    ...validateManager(spec.managedBy, `${path}.managedBy`),
    ...validateMode(spec.completionMode ?? '', `${path}.completionMode`),
    ...(spec.completionMode === 'Indexed' ? validateIndexed(spec, path) : validateNonIndexed(spec, path)),
    ...(spec.podFailurePolicy === undefined ? [] : validateFailurePolicy(spec, `${path}.podFailurePolicy`)),
    ...validateReplacement(spec, `${path}.podReplacementPolicy`),
    ...validatePodTemplate(spec.template, `${path}.template`, ['Always', 'OnFailure', 'Never']),
    ...validateRestartPolicy(spec, `${path}.template.spec.restartPolicy`),
  ]
}

function validateManager(name: string | undefined, field: string): FieldError[] {
  if (name === undefined) return []
  const [domain = '', ...rest] = name.split('/')
  const path = rest.join('/')
  if (name === '') return [required(field)]
  if (domain === '' || path === '') {
    return [invalid(field, name, 'must be a domain-prefixed path (such as "acme.io/foo")')]
  }
  return [...dnsSubdomain(field, domain), ...noLonger(field, name, 63)]
}

function validateIndexed(spec: JobSpec, path: string): FieldError[] {
  const { completions, parallelism = 0, maxFailedIndexes, backoffLimitPerIndex } = spec
  const errors: FieldError[] = []
  if (completions === undefined) errors.push(required(`${path}.completions`, 'when completion mode is Indexed'))
  if (parallelism > maxIndexedParallelism) {
    const why = `must be less than or equal to ${maxIndexedParallelism} when completion mode is Indexed`
    errors.push(invalid(`${path}.parallelism`, parallelism, why))
  }
  if (completions !== undefined && maxFailedIndexes !== undefined && maxFailedIndexes > completions) {
    errors.push(invalid(`${path}.maxFailedIndexes`, maxFailedIndexes, 'must be less than or equal to completions'))
  }
  if (maxFailedIndexes !== undefined && maxFailedIndexes > manyCompletions) {
    errors.push(
      invalid(`${path}.maxFailedIndexes`, maxFailedIndexes, `must be less than or equal to ${manyCompletions}`),
    )
  }
  if ((completions ?? 0) > manyCompletions && backoffLimitPerIndex !== undefined)
    errors.push(...validateMany(spec, path))
  if (spec.successPolicy !== undefined) errors.push(...validateSuccessPolicy(spec, `${path}.successPolicy`))
  return errors
}

function validateMany({ parallelism = 0, maxFailedIndexes }: JobSpec, path: string): FieldError[] {
  const why = `must be less than or equal to ${limitForMany} when completions are above ${manyCompletions} and used with backoff limit per index`
  const field = `${path}.maxFailedIndexes`
  return [
    ...(maxFailedIndexes === undefined
      ? [required(field, `must be specified when completions is above ${manyCompletions}`)]
      : []),
    ...(parallelism > limitForMany ? [invalid(`${path}.parallelism`, parallelism, why)] : []),
    ...(maxFailedIndexes !== undefined && maxFailedIndexes > limitForMany
      ? [invalid(field, maxFailedIndexes, why)]
      : []),
  ]
}

function validateNonIndexed(spec: JobSpec, path: string): FieldError[] {
  return (['backoffLimitPerIndex', 'maxFailedIndexes', 'successPolicy'] as const)
    .filter((key) => spec[key] !== undefined)
    .map((key) => invalid(`${path}.${key}`, spec[key], 'requires indexed completion mode'))
}

function validateReplacement({ podFailurePolicy, podReplacementPolicy: policy }: JobSpec, field: string): FieldError[] {
  if (policy === undefined) return []
  const allowed = podFailurePolicy === undefined ? ['Failed', 'TerminatingOrFailed'] : ['Failed']
  return allowed.includes(policy) ? [] : [notSupported(field, policy, allowed)]
}

function validateRestartPolicy({ template, podFailurePolicy }: JobSpec, field: string): FieldError[] {
  const policy = template.spec?.restartPolicy ?? ''
  if (policy === '' || policy === 'Always') return [required(field, 'valid values: "OnFailure", "Never"')]
  return podFailurePolicy !== undefined && policy === 'OnFailure'
    ? [invalid(field, policy, 'only "Never" is supported when podFailurePolicy is specified')]
    : []
}

/** What of a job may not become something else. */
export function validateJobUpdate(
  spec: JobSpec,
  before: JobSpec,
  options: { readonly status: JobStatus | undefined },
): FieldError[] {
  const fixed = ['completionMode', 'podFailurePolicy', 'backoffLimitPerIndex', 'managedBy', 'successPolicy'] as const
  return [
    ...validateCompletions(spec, before),
    ...immutable('spec.selector', spec.selector, isEqual(spec.selector, before.selector)),
    ...validateTemplateUpdate(spec, before, options.status),
    ...fixed.flatMap((key) => immutable(`spec.${key}`, spec[key], isEqual(spec[key], before[key]))),
  ]
}

/** An Indexed job grows and shrinks when all its indexes run at once. */
function validateCompletions(spec: JobSpec, before: JobSpec): FieldError[] {
  const { completions, parallelism, completionMode } = spec
  const field = 'spec.completions'
  if (completionMode !== 'Indexed') return immutable(field, completions, completions === before.completions)
  return completions === before.completions || completions === undefined || completions === parallelism
    ? []
    : [invalid(field, completions, 'can only be modified in tandem with spec.parallelism')]
}

/** While a job is suspended and no pod of it is left, where and with what its pods run may change. */
function validateTemplateUpdate(spec: JobSpec, before: JobSpec, status: JobStatus | undefined): FieldError[] {
  const isSuspended = status?.conditions?.some((one) => one.type === 'Suspended' && one.status === 'True') === true
  const mayChange =
    before.suspend === true && (status?.startTime === undefined || isSuspended) && (status?.active ?? 0) === 0
  if (!mayChange) return immutable('spec.template', spec.template, isEqual(spec.template, before.template))
  const isSame = isEqual(fixedPart(spec.template), fixedPart(before.template))
  return immutable('spec.template.spec', spec.template.spec, isSame)
}

function fixedPart({ spec }: PodTemplateSpec): unknown {
  const { nodeSelector: _, tolerations: __, schedulingGates: ___, affinity, ...rest } = spec ?? { containers: [] }
  const { nodeAffinity: ____, ...others } = affinity ?? {}
  const withoutResources = (containers: typeof rest.containers | undefined): unknown =>
    (containers ?? []).map((container) => ({ ...container, resources: undefined }))
  return JSON.parse(
    JSON.stringify({
      ...rest,
      affinity: others,
      containers: withoutResources(rest.containers),
      initContainers: withoutResources(rest.initContainers),
    }),
  )
}

function validateMode(mode: string, field: string): FieldError[] {
  const modes = ['NonIndexed', 'Indexed']
  return mode === '' || modes.includes(mode) ? [] : [unsupported(field, mode, modes)]
}
