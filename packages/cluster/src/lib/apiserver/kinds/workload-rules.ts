import type { LabelSelector } from '@fairlead/kube/types'
import type { StatefulSetSpec } from '@fairlead/kube/types/apps-v1'
import type { PodTemplateSpec } from '@fairlead/kube/types/core-v1'

import { isEqual } from '../metadata.ts'
import type { FieldError } from '../status.ts'
import { forbidden, immutable, invalid, nonNegative, required, unsupported } from './field-errors.ts'
import { annotationKeys, labels } from './names.ts'
import { validatePodTemplate } from './pod-validation.ts'
import { validateWorkloadSelector } from './selectors.ts'

interface WorkloadSpec {
  replicas?: number | undefined
  selector: LabelSelector
  template?: PodTemplateSpec | undefined
}

/** What Deployments, ReplicaSets and DaemonSets have in common. `maker` is what makes the pods: upstream names it where a template asks for what its pods cannot have. */
export function validateWorkload(
  spec: WorkloadSpec,
  before: WorkloadSpec | undefined,
  kind: 'daemonset' | 'deployment',
  maker: string,
): FieldError[] {
  const labels = spec.template?.metadata?.labels
  return [
    ...nonNegative('spec.replicas', spec.replicas),
    ...validateWorkloadSelector(spec.selector, labels, 'spec', kind),
    ...(before === undefined ? [] : immutable('spec.selector', spec.selector, isEqual(spec.selector, before.selector))),
    ...validatePodTemplate(spec.template, 'spec.template', ['Always']),
    ...validateDeadline(spec.template, maker),
  ]
}

/** Pods that run for ever have no deadline. */
export function validateDeadline(template: PodTemplateSpec | undefined, maker: string): FieldError[] {
  if (template?.spec?.activeDeadlineSeconds === undefined) return []
  const field = 'spec.template.spec.activeDeadlineSeconds'
  return [forbidden(field, `activeDeadlineSeconds in ${maker} is not Supported`)]
}

/** Upstream tells a wrong type of the whole strategy. */
export function oneTypeOf(
  field: string,
  strategy: { type?: string | undefined } | undefined,
  allowed: readonly string[],
): FieldError[] {
  return allowed.includes(strategy?.type ?? '') ? [] : [unsupported(field, strategy, allowed)]
}

const retentions = ['Retain', 'Delete']

export function validateStatefulPolicies(spec: StatefulSetSpec): FieldError[] {
  const { podManagementPolicy: pods, updateStrategy, persistentVolumeClaimRetentionPolicy: claims } = spec
  const errors: FieldError[] = []
  if (pods !== 'OrderedReady' && pods !== 'Parallel') {
    errors.push(invalid('spec.podManagementPolicy', pods, "must be 'OrderedReady' or 'Parallel'"))
  }
  const field = 'spec.updateStrategy'
  const { type, rollingUpdate } = updateStrategy ?? {}
  if (type !== 'RollingUpdate' && type !== 'OnDelete') {
    errors.push(invalid(field, updateStrategy, "must be 'RollingUpdate' or 'OnDelete'"))
  } else if (type === 'OnDelete' && rollingUpdate !== undefined) {
    const why = "only allowed for updateStrategy 'RollingUpdate'"
    errors.push(invalid(`${field}.rollingUpdate`, rollingUpdate, why))
  } else errors.push(...nonNegative(`${field}.rollingUpdate.partition`, rollingUpdate?.partition))
  for (const key of ['whenDeleted', 'whenScaled'] as const) {
    const value = claims?.[key]
    if (value === undefined || retentions.includes(value)) continue
    errors.push(unsupported(`spec.persistentVolumeClaimRetentionPolicy.${key}`, value, retentions))
  }
  return errors
}

/** A DaemonSet replaces a pod before or after it makes the next one, never both. */
export function validateSurge({ maxUnavailable, maxSurge }: RollingUpdate, path: string): FieldError[] {
  const errors = [
    ...validateShare(`${path}.maxUnavailable`, maxUnavailable),
    ...validateShare(`${path}.maxSurge`, maxSurge),
    ...withinWhole(`${path}.maxUnavailable`, maxUnavailable),
    ...withinWhole(`${path}.maxSurge`, maxSurge),
  ]
  const goes = Number.parseInt(String(maxUnavailable), 10) !== 0
  const comes = Number.parseInt(String(maxSurge), 10) !== 0
  if (goes && comes) {
    errors.push(invalid(`${path}.maxSurge`, maxSurge, 'may not be set when maxUnavailable is non-zero'))
  }
  if (!goes && !comes) errors.push(required(`${path}.maxUnavailable`, 'cannot be 0 when maxSurge is 0'))
  return errors
}

function withinWhole(field: string, value: number | string | undefined): FieldError[] {
  const isMore = typeof value === 'string' && Number.parseInt(value, 10) > 100
  return isMore ? [invalid(field, value, 'must not be greater than 100%')] : []
}

interface RollingUpdate {
  maxUnavailable?: number | string | undefined
  maxSurge?: number | string | undefined
}

export function validateRolling({ maxUnavailable, maxSurge }: RollingUpdate, path: string): FieldError[] {
  const errors = [
    ...validateShare(`${path}.maxUnavailable`, maxUnavailable),
    ...validateShare(`${path}.maxSurge`, maxSurge),
  ]
  if (
    errors.length === 0 &&
    Number.parseInt(String(maxUnavailable), 10) === 0 &&
    Number.parseInt(String(maxSurge), 10) === 0
  ) {
    errors.push(invalid(`${path}.maxUnavailable`, maxUnavailable, 'may not be 0 when `maxSurge` is 0'))
  }
  return [...errors, ...withinWhole(`${path}.maxUnavailable`, maxUnavailable)]
}

/** A count or a percentage. */
export function validateShare(field: string, value: number | string | undefined): FieldError[] {
  if (typeof value === 'number') return nonNegative(field, value)
  if (value === undefined || /^\d+%$/.test(value)) return []
  const why =
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
  return [invalid(field, value, why)]
}

/** The template of a StatefulSet; upstream tells twice what is wrong with its labels and annotations. */
export function validateStatefulTemplate(spec: StatefulSetSpec): FieldError[] {
  const { labels: given, annotations } = spec.template.metadata ?? {}
  return [
    ...validatePodTemplate(asMade(spec), 'spec.template', ['Always']),
    ...labels('spec.template.labels', given),
    ...annotationKeys('spec.template.annotations', annotations),
  ]
}

/**
 * The template as the controller makes pods of it: a claim is a volume, also in place of one with its name, and the names
 * of the host are those of the pod and of its Service.
 */
function asMade({ template, volumeClaimTemplates = [] }: StatefulSetSpec): StatefulSetSpec['template'] {
  if (template.spec === undefined) return template
  const { hostname: _hostname, subdomain: _subdomain, volumes = [], ...rest } = template.spec
  const claims = volumeClaimTemplates.map(({ metadata }) => metadata?.name ?? '')
  const all = [
    ...volumes.filter(({ name }) => !claims.includes(name)),
    ...claims.map((name) => ({ name, persistentVolumeClaim: { claimName: name } })),
  ]
  return { ...template, spec: { ...rest, volumes: all } }
}
