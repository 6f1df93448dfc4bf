import { parseQuantity } from '@fairlead/kube/types'
import type {
  CrossVersionObjectReference,
  HorizontalPodAutoscalerSpec,
  HPAScalingPolicy,
  HPAScalingRules,
  MetricIdentifier,
  MetricSpec,
  MetricTarget,
} from '@fairlead/kube/types/autoscaling-v2'

import { forbidden, invalid, notSupported, required } from './field-errors.ts'
import { dnsLabel, pathSegment } from './names.ts'
import type { FieldError } from '../status.ts'

const longestWindowSeconds = 3600
const longestPeriodSeconds = 1800

/** What is wrong with an autoscaler (Kubernetes' pkg/apis/autoscaling/validation). */
export function validateAutoscaler(
  spec: HorizontalPodAutoscalerSpec,
  before: HorizontalPodAutoscalerSpec | undefined,
): FieldError[] {
  const { scaleTargetRef: target, behavior, metrics = [] } = spec
  const wasSo = before?.scaleTargetRef.apiVersion === target.apiVersion && before?.scaleTargetRef.kind === target.kind
  return [
    ...validateBounds(spec, before),
    ...validateReference(target, 'spec.scaleTargetRef', {
      isGroupNeeded: target.kind !== 'ReplicationController',
      isVersionJudged: before === undefined || !wasSo,
    }),
    ...metrics.flatMap((metric, index) => validateMetric(metric, `spec.metrics[${index}]`)),
    ...validateRules(behavior?.scaleUp, 'spec.behavior.scaleUp'),
    ...validateRules(behavior?.scaleDown, 'spec.behavior.scaleDown'),
  ]
}

function validateBounds(
  { minReplicas = 1, maxReplicas, metrics = [] }: HorizontalPodAutoscalerSpec,
  before: HorizontalPodAutoscalerSpec | undefined,
): FieldError[] {
  const errors: FieldError[] = []
  // Nothing at all is an alpha feature: only who has it already may keep it.
  const least = before?.minReplicas === 0 ? 0 : 1
  if (minReplicas < least) {
    errors.push(invalid('spec.minReplicas', minReplicas, `must be greater than or equal to ${least}`))
  }
  if (maxReplicas === 0) errors.push(required('spec.maxReplicas', 'must be set and greater than 0'))
  else if (maxReplicas < 0) errors.push(invalid('spec.maxReplicas', maxReplicas, 'must be greater than or equal to 1'))
  if (maxReplicas < minReplicas) {
    errors.push(invalid('spec.maxReplicas', maxReplicas, 'must be greater than or equal to `minReplicas`'))
  }
  if (minReplicas === 0 && !metrics.some(({ type }) => type === 'Object' || type === 'External')) {
    const why = 'must specify at least one Object or External metric to support scaling to zero replicas'
    errors.push(forbidden('spec.metrics', why))
  }
  return errors
}

function validateReference(
  { kind, name, apiVersion = '' }: CrossVersionObjectReference,
  field: string,
  options: { readonly isGroupNeeded: boolean; readonly isVersionJudged: boolean },
): FieldError[] {
  const errors = [
    ...(kind === '' ? [required(`${field}.kind`)] : pathSegment(`${field}.kind`, kind)),
    ...(name === '' ? [required(`${field}.name`)] : pathSegment(`${field}.name`, name)),
  ]
  if (!options.isVersionJudged) return errors
  const slashes = apiVersion.split('/').length - 1
  if (slashes > 1) {
    errors.push(invalid(`${field}.apiVersion`, apiVersion, `unexpected GroupVersion string: ${apiVersion}`))
  } else if (options.isGroupNeeded && (slashes === 0 || apiVersion.startsWith('/'))) {
    errors.push(invalid(`${field}.apiVersion`, apiVersion, 'apiVersion must specify API group'))
  }
  return errors
}

/** The types of metrics, each by the field that tells more of it. */
const sources = {
  ContainerResource: 'containerResource',
  External: 'external',
  Object: 'object',
  Pods: 'pods',
  Resource: 'resource',
} as const

function isSourceType(type: string): type is keyof typeof sources {
  return Object.hasOwn(sources, type)
}

function validateMetric(metric: MetricSpec, field: string): FieldError[] {
  const { type } = metric
  const errors: FieldError[] = []
  if (type === '') errors.push(required(`${field}.type`, 'must specify a metric source type'))
  if (!isSourceType(type)) errors.push(notSupported(`${field}.type`, type, Object.keys(sources)))
  errors.push(...validateFirstSource(metric, field))
  const wanted = isSourceType(type) ? sources[type] : undefined
  if (wanted !== undefined && metric[wanted] === undefined) {
    errors.push(required(`${field}.${wanted}`, 'must populate information for the given metric source'))
  }
  const present = Object.values(sources).filter((source) => metric[source] !== undefined)
  // Upstream tells it where it looks for the field of the type, too.
  if (!isSourceType(type)) errors.push(notSupported(`${field}.type`, type, Object.keys(sources)))
  if (present.length === 1) return errors
  const others = present.filter((source) => source !== wanted)
  return [
    ...errors,
    ...others.map((source) => forbidden(`${field}.${source}`, 'must populate the given metric source only')),
  ]
}

/** Of several sources the first is judged; that there are several is told anyway. */
function validateFirstSource(
  { object, external, pods, resource, containerResource }: MetricSpec,
  field: string,
): FieldError[] {
  if (object !== undefined) {
    const path = `${field}.object`
    const { describedObject, metric, target } = object
    return [
      ...validateReference(describedObject, `${path}.describedObject`, { isGroupNeeded: false, isVersionJudged: true }),
      ...validateIdentifier(metric, `${path}.metric`),
      ...validateTarget(target, `${path}.target`),
      ...needsValue(target, `${path}.target`, 'must set either a target value or averageValue'),
    ]
  }
  if (external !== undefined) return validateExternal(external, `${field}.external`)
  if (pods !== undefined) {
    const path = `${field}.pods`
    const errors = [
      ...validateIdentifier(pods.metric, `${path}.metric`),
      ...validateTarget(pods.target, `${path}.target`),
    ]
    return pods.target.averageValue === undefined
      ? [...errors, required(`${path}.target.averageValue`, 'must specify a positive target averageValue')]
      : errors
  }
  if (resource !== undefined) return validateResource(resource, `${field}.resource`)
  if (containerResource === undefined) return []
  const { container } = containerResource
  const path = `${field}.containerResource`
  return [
    ...(container === ''
      ? [required(`${path}.container`, 'must specify a container')]
      : dnsLabel(`${path}.container`, container)),
    ...validateResource(containerResource, path),
  ]
}

function validateExternal({ metric, target }: NonNullable<MetricSpec['external']>, field: string): FieldError[] {
  const path = `${field}.target`
  const both = target.value !== undefined && target.averageValue !== undefined
  return [
    ...validateIdentifier(metric, `${field}.metric`),
    ...validateTarget(target, path),
    ...needsValue(target, path, 'must set either a target value for metric or a per-pod target'),
    ...(both ? [forbidden(`${path}.value`, 'may not set both a target value for metric and a per-pod target')] : []),
  ]
}

function needsValue(target: MetricTarget, field: string, why: string): FieldError[] {
  const hasOne = target.value !== undefined || target.averageValue !== undefined
  return hasOne ? [] : [required(`${field}.averageValue`, why)]
}

function validateResource({ name, target }: NonNullable<MetricSpec['resource']>, field: string): FieldError[] {
  const { averageUtilization, averageValue } = target
  const errors = name === '' ? [required(`${field}.name`, 'must specify a resource name')] : []
  errors.push(...validateTarget(target, `${field}.target`))
  if (averageUtilization === undefined && averageValue === undefined) {
    const why = 'must set either a target raw value or a target utilization'
    errors.push(required(`${field}.target.averageUtilization`, why))
  }
  if (averageUtilization !== undefined && averageValue !== undefined) {
    const why = 'may not set both a target raw value and a target utilization'
    errors.push(forbidden(`${field}.target.averageValue`, why))
  }
  return errors
}

function validateIdentifier({ name }: MetricIdentifier, field: string): FieldError[] {
  return name === '' ? [required(`${field}.name`, 'must specify a metric name')] : pathSegment(`${field}.name`, name)
}

function validateTarget({ type, value, averageValue, averageUtilization }: MetricTarget, field: string): FieldError[] {
  const errors: FieldError[] = []
  if (type === '') errors.push(required(`${field}.type`, 'must specify a metric target type'))
  if (!['Utilization', 'Value', 'AverageValue'].includes(type)) {
    errors.push(invalid(`${field}.type`, type, 'must be either Utilization, Value, or AverageValue'))
  }
  if (isNotPositive(value)) errors.push(invalid(`${field}.value`, value, 'must be positive'))
  if (isNotPositive(averageValue)) errors.push(invalid(`${field}.averageValue`, averageValue, 'must be positive'))
  if (averageUtilization !== undefined && averageUtilization < 1) {
    errors.push(invalid(`${field}.averageUtilization`, averageUtilization, 'must be greater than 0'))
  }
  return errors
}

function isNotPositive(quantity: string | undefined): boolean {
  return quantity !== undefined && (parseQuantity(quantity) ?? 0) <= 0
}

function validateRules(rules: HPAScalingRules | undefined, field: string): FieldError[] {
  if (rules === undefined) return []
  const { stabilizationWindowSeconds: window = 0, selectPolicy = 'Max', policies = [], tolerance } = rules
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
  errors.push(...policies.flatMap((policy, index) => validatePolicy(policy, `${field}.policies[${index}]`)))
  if (tolerance !== undefined && (parseQuantity(tolerance) ?? 0) < 0) {
    errors.push(invalid(`${field}.tolerance`, tolerance, 'must be greater than or equal to 0'))
  }
  return errors
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
