import type { HorizontalPodAutoscaler as V1Autoscaler } from '@fairlead/kube/types/autoscaling-v1'
import type {
  HorizontalPodAutoscaler,
  HorizontalPodAutoscalerBehavior,
  HPAScalingPolicy,
  HPAScalingRules,
  MetricSpec,
  MetricStatus,
} from '@fairlead/kube/types/autoscaling-v2'
import type { PodDisruptionBudget } from '@fairlead/kube/types/policy-v1'
import type { PriorityClass } from '@fairlead/kube/types/scheduling-v1'

import { defineKind } from './define.ts'
import { immutable, invalid, required, notSupported } from './field-errors.ts'
import { age, ageColumn, column, nameColumn } from './printing.ts'
import { validateSelector } from './selectors.ts'
import { validateShare } from './workloads.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

const autoscalerColumns = [
  nameColumn,
  column('Reference'),
  column('Targets'),
  column('MinPods'),
  column('MaxPods'),
  column('Replicas'),
  ageColumn,
]

export const horizontalPodAutoscaler: KindStrategy = defineKind<HorizontalPodAutoscaler>({
  create(object) {
    object.status = { desiredReplicas: 0 }
  },
  default({ spec }) {
    if (spec === undefined) return
    spec.minReplicas ??= 1
    if (spec.behavior !== undefined) spec.behavior = completeBehavior(spec.behavior)
    if ((spec.metrics ?? []).length > 0) return
    const target = { type: 'Utilization', averageUtilization: 80 }
    spec.metrics = [{ type: 'Resource', resource: { name: 'cpu', target } }]
  },
  validate({ spec }) {
    if (spec === undefined) return [required('spec')]
    const { scaleUp, scaleDown } = spec.behavior ?? {}
    return [
      ...validateBounds(spec),
      ...validateRules(scaleUp, 'spec.behavior.scaleUp'),
      ...validateRules(scaleDown, 'spec.behavior.scaleDown'),
    ]
  },
  columns: autoscalerColumns,
  row({ metadata, spec, status }, now) {
    const reference = spec?.scaleTargetRef
    return [
      metadata.name,
      `${reference?.kind}/${reference?.name}`,
      formatMetrics(spec?.metrics ?? [], status?.currentMetrics ?? []),
      spec?.minReplicas ?? '<unset>',
      spec?.maxReplicas ?? 0,
      status?.currentReplicas ?? 0,
      age(metadata.creationTimestamp, now),
    ]
  },
})

export const horizontalPodAutoscalerV1: KindStrategy = defineKind<V1Autoscaler>({
  columns: autoscalerColumns,
  row({ metadata, spec, status }, now) {
    const reference = spec?.scaleTargetRef
    const current = status?.currentCPUUtilizationPercentage
    const target = spec?.targetCPUUtilizationPercentage ?? 80
    return [
      metadata.name,
      `${reference?.kind}/${reference?.name}`,
      `cpu: ${current === undefined ? '<unknown>' : `${current}%`}/${target}%`,
      spec?.minReplicas ?? '<unset>',
      spec?.maxReplicas ?? 0,
      status?.currentReplicas ?? 0,
      age(metadata.creationTimestamp, now),
    ]
  },
})

function completeBehavior({
  scaleUp = {},
  scaleDown = {},
}: HorizontalPodAutoscalerBehavior): HorizontalPodAutoscalerBehavior {
  const double = { type: 'Percent', value: 100, periodSeconds: 15 }
  const four = { type: 'Pods', value: 4, periodSeconds: 15 }
  return {
    scaleUp: { stabilizationWindowSeconds: 0, selectPolicy: 'Max', policies: [four, double], ...scaleUp },
    scaleDown: { selectPolicy: 'Max', policies: [double], ...scaleDown },
  }
}

const longestWindowSeconds = 3600
const longestPeriodSeconds = 1800

function validateRules(rules: HPAScalingRules | undefined, field: string): FieldError[] {
  if (rules === undefined) return []
  const { stabilizationWindowSeconds: window = 0, selectPolicy = 'Max', policies = [] } = rules
  const errors: FieldError[] = []
  if (window < 0) {
    errors.push(invalid(`${field}.stabilizationWindowSeconds`, window, 'must be greater than or equal to zero'))
  } else if (window > longestWindowSeconds) {
    const why = `must be less than or equal to ${longestWindowSeconds}`
    errors.push(invalid(`${field}.stabilizationWindowSeconds`, window, why))
  }
  if (!['Max', 'Min', 'Disabled'].includes(selectPolicy)) {
    errors.push(notSupported(`${field}.selectPolicy`, selectPolicy, ['Disabled', 'Max', 'Min']))
  }
  if (policies.length === 0) errors.push(required(`${field}.policies`, 'must specify at least one Policy'))
  return [...errors, ...policies.flatMap((policy, index) => validatePolicy(policy, `${field}.policies[${index}]`))]
}

function validatePolicy({ type, value, periodSeconds }: HPAScalingPolicy, field: string): FieldError[] {
  const errors: FieldError[] = []
  if (type !== 'Pods' && type !== 'Percent') errors.push(notSupported(`${field}.type`, type, ['Percent', 'Pods']))
  if (value <= 0) errors.push(invalid(`${field}.value`, value, 'must be greater than zero'))
  if (periodSeconds <= 0) errors.push(invalid(`${field}.periodSeconds`, periodSeconds, 'must be greater than zero'))
  else if (periodSeconds > longestPeriodSeconds) {
    const why = `must be less than or equal to ${longestPeriodSeconds}`
    errors.push(invalid(`${field}.periodSeconds`, periodSeconds, why))
  }
  return errors
}

interface Bounds {
  minReplicas?: number | undefined
  maxReplicas: number
  scaleTargetRef: { kind: string; name: string }
}

function validateBounds({ minReplicas = 1, maxReplicas, scaleTargetRef }: Bounds): FieldError[] {
  const errors: FieldError[] = []
  if (minReplicas < 1) errors.push(invalid('spec.minReplicas', minReplicas, 'must be greater than or equal to 1'))
  if (maxReplicas < 1) errors.push(invalid('spec.maxReplicas', maxReplicas, 'must be greater than 0'))
  else if (maxReplicas < minReplicas) {
    errors.push(invalid('spec.maxReplicas', maxReplicas, 'must be greater than or equal to `minReplicas`'))
  }
  if (scaleTargetRef.kind === '') errors.push(required('spec.scaleTargetRef.kind'))
  if (scaleTargetRef.name === '') errors.push(required('spec.scaleTargetRef.name'))
  return errors
}

function formatMetrics(specs: readonly MetricSpec[], statuses: readonly MetricStatus[]): string {
  if (specs.length === 0) return '<none>'
  const shown = specs.slice(0, 2).map((spec, index) => formatMetric(spec, statuses[index]))
  return specs.length > 2 ? `${shown.join(', ')} + ${specs.length - 2} more...` : shown.join(', ')
}

function formatMetric(spec: MetricSpec, status: MetricStatus | undefined): string {
  const metric = spec.resource ?? spec.containerResource
  if (metric !== undefined) {
    const current = status?.resource?.current ?? status?.containerResource?.current
    if (metric.target.averageValue !== undefined) {
      return `${metric.name}: ${current?.averageValue ?? '<unknown>'}/${metric.target.averageValue}`
    }
    const used = current?.averageUtilization
    return `${metric.name}: ${used === undefined ? '<unknown>' : `${used}%`}/${metric.target.averageUtilization ?? '<auto>'}%`
  }
  const custom = spec.pods ?? spec.object ?? spec.external
  const current = status?.pods?.current ?? status?.object?.current ?? status?.external?.current
  const target = custom?.target
  if (target?.averageValue !== undefined) return `${current?.averageValue ?? '<unknown>'}/${target.averageValue} (avg)`
  return `${current?.value ?? '<unknown>'}/${target?.value ?? '<auto>'}`
}

export const podDisruptionBudget: KindStrategy = defineKind<PodDisruptionBudget>({
  create(object) {
    object.status = { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 }
  },
  validate({ spec }) {
    if (spec === undefined) return [required('spec')]
    const both = spec.minAvailable !== undefined && spec.maxUnavailable !== undefined
    return [
      ...(both ? [invalid('spec', spec, 'minAvailable and maxUnavailable cannot be both set')] : []),
      ...validateShare('spec.minAvailable', spec.minAvailable),
      ...validateShare('spec.maxUnavailable', spec.maxUnavailable),
      ...(spec.selector === undefined ? [] : validateSelector(spec.selector, 'spec.selector')),
    ]
  },
  columns: [
    nameColumn,
    column('Min Available'),
    column('Max Unavailable'),
    column('Allowed Disruptions', 'integer'),
    ageColumn,
  ],
  row: ({ metadata, spec, status }, now) => [
    metadata.name,
    String(spec?.minAvailable ?? 'N/A'),
    String(spec?.maxUnavailable ?? 'N/A'),
    status?.disruptionsAllowed ?? 0,
    age(metadata.creationTimestamp, now),
  ],
})

export const priorityClass: KindStrategy = defineKind<PriorityClass>({
  default(object) {
    object.preemptionPolicy ??= 'PreemptLowerPriority'
  },
  validate(object, old) {
    const isSystem = object.metadata.name?.startsWith('system-') === true
    const errors = []
    if ((object.value ?? 0) > 1_000_000_000 && !isSystem) {
      const why = 'maximum allowed value of a user defined priority is 1000000000'
      errors.push({ field: 'value', reason: 'FieldValueForbidden', message: `Forbidden: ${why}` })
    }
    return old === undefined ? errors : [...errors, ...immutable('value', object.value, object.value === old.value)]
  },
  columns: [
    nameColumn,
    column('Value', 'integer'),
    column('Global-Default', 'boolean'),
    ageColumn,
    column('PreemptionPolicy'),
  ],
  row: ({ metadata, value, globalDefault, preemptionPolicy }, now) => [
    metadata.name,
    value,
    globalDefault ?? false,
    age(metadata.creationTimestamp, now),
    preemptionPolicy ?? '',
  ],
})
