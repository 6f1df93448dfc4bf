import type { HorizontalPodAutoscaler as V1Autoscaler } from '@fairlead/kube/types/autoscaling-v1'
import type {
  HorizontalPodAutoscaler,
  HorizontalPodAutoscalerBehavior,
  MetricSpec,
  MetricStatus,
} from '@fairlead/kube/types/autoscaling-v2'
import type { PodDisruptionBudget } from '@fairlead/kube/types/policy-v1'
import type { PriorityClass } from '@fairlead/kube/types/scheduling-v1'

import { validateAutoscaler } from './autoscaler-rules.ts'
import { defineKind } from './define.ts'
import type { Stored } from './define.ts'
import { forbidden, immutable, invalid, oneOf, required, unsupported } from './field-errors.ts'
import { age, ageColumn, column, nameColumn } from './printing.ts'
import { validateSelector } from './selectors.ts'
import { validateShare } from './workload-rules.ts'
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
  validate: ({ spec }, old) => (spec === undefined ? [required('spec')] : validateAutoscaler(spec, old?.spec)),
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
      ...atMostAll('spec.minAvailable', spec.minAvailable),
      ...validateShare('spec.maxUnavailable', spec.maxUnavailable),
      ...atMostAll('spec.maxUnavailable', spec.maxUnavailable),
      ...(spec.selector === undefined ? [] : validateSelector(spec.selector, 'spec.selector')),
      ...oneOf('spec.unhealthyPodEvictionPolicy', spec.unhealthyPodEvictionPolicy, ['AlwaysAllow', 'IfHealthyBudget']),
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

function atMostAll(field: string, share: number | string | undefined): FieldError[] {
  const percent = typeof share === 'string' ? /^([0-9]+)%$/.exec(share)?.[1] : undefined
  return Number(percent ?? 0) > 100 ? [invalid(field, share, 'must not be greater than 100%')] : []
}

const preemptionPolicies = ['PreemptLowerPriority', 'Never']

/** The classes that the cluster has from the start; nobody else may name one so. */
const systemClasses: ReadonlyMap<string, number> = new Map([
  ['system-node-critical', 2_000_001_000],
  ['system-cluster-critical', 2_000_000_000],
])

function validatePriority({ metadata: { name = '' }, value = 0, globalDefault }: Stored<PriorityClass>): FieldError[] {
  if (!name.startsWith('system-')) {
    if (value <= 1_000_000_000) return []
    return [forbidden('value', 'maximum allowed value of a user defined priority is 1000000000')]
  }
  const fixed = systemClasses.get(name)
  const why =
    fixed === undefined
      ? `${name} is not a known system priority class`
      : value !== fixed
        ? `value of ${name} PriorityClass must be ${fixed}`
        : globalDefault === true
          ? `globalDefault of ${name} PriorityClass must be false`
          : undefined
  if (why === undefined) return []
  const reserved = "priority class names with 'system-' prefix are reserved for system use only. error: "
  return [forbidden('metadata.name', reserved + why)]
}

export const priorityClass: KindStrategy = defineKind<PriorityClass>({
  default(object) {
    object.preemptionPolicy ??= 'PreemptLowerPriority'
  },
  validate(object, old) {
    const { value, preemptionPolicy } = object
    if (old !== undefined) {
      const isSame = preemptionPolicy === old.preemptionPolicy
      return [
        ...(value === old.value ? [] : [forbidden('value', 'may not be changed in an update.')]),
        ...immutable('preemptionPolicy', preemptionPolicy, isSame),
      ]
    }
    return [
      ...validatePriority(object),
      ...(preemptionPolicy === undefined || preemptionPolicies.includes(preemptionPolicy)
        ? []
        : [unsupported('preemptionPolicy', preemptionPolicy, preemptionPolicies)]),
    ]
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
