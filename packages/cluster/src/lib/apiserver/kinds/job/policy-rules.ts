import type {
  JobSpec,
  PodFailurePolicyOnExitCodesRequirement,
  PodFailurePolicyOnPodConditionsPattern,
  PodFailurePolicyRule,
  SuccessPolicyRule,
} from '@fairlead/kube/types/batch-v1'

import type { FieldError } from '../../status.ts'
import { duplicate, invalid, nonNegative, notSupported, required } from '../field-errors.ts'
import { labelKey } from '../names.ts'
import { checkIndexes } from './index-text.ts'
import { atMost, invalidWhole, noLonger } from './limits.ts'

const actions = ['Count', 'FailIndex', 'FailJob', 'Ignore']
const operators = ['In', 'NotIn']
const statuses = ['False', 'True', 'Unknown']
const maxRules = 20

/** A value of a closed set that must be there. */
function chosen(field: string, value: string | undefined, allowed: readonly string[]): FieldError[] {
  if (value === undefined || value === '') {
    return [required(field, `valid values: [${allowed.map((each) => JSON.stringify(each)).join(' ')}]`)]
  }
  return allowed.includes(value) ? [] : [notSupported(field, value, allowed)]
}

export function validateFailurePolicy(spec: JobSpec, path: string): FieldError[] {
  const rules = spec.podFailurePolicy?.rules ?? []
  return [
    ...atMost(`${path}.rules`, rules.length, maxRules),
    ...rules.flatMap((rule, index) => validateFailureRule(spec, rule, `${path}.rules[${index}]`)),
  ]
}

function validateFailureRule(spec: JobSpec, rule: PodFailurePolicyRule, path: string): FieldError[] {
  const { action, onExitCodes, onPodConditions = [] } = rule
  const errors = chosen(`${path}.action`, action, actions)
  if (action === 'FailIndex' && spec.backoffLimitPerIndex === undefined) {
    errors.push(invalid(`${path}.action`, action, 'requires the backoffLimitPerIndex to be set'))
  }
  if (onExitCodes !== undefined) errors.push(...validateExitCodes(spec, onExitCodes, `${path}.onExitCodes`))
  errors.push(...validateConditions(onPodConditions, `${path}.onPodConditions`))
  if (onExitCodes !== undefined && onPodConditions.length > 0) {
    errors.push(invalidWhole(path, 'specifying both OnExitCodes and OnPodConditions is not supported'))
  }
  if (onExitCodes === undefined && onPodConditions.length === 0) {
    errors.push(invalidWhole(path, 'specifying one of OnExitCodes and OnPodConditions is required'))
  }
  return errors
}

function validateConditions(patterns: readonly PodFailurePolicyOnPodConditionsPattern[], path: string): FieldError[] {
  return [
    ...atMost(path, patterns.length, maxRules),
    ...patterns.flatMap(({ type, status }, index) => [
      ...labelKey(`${path}[${index}].type`, type),
      ...chosen(`${path}[${index}].status`, status, statuses),
    ]),
  ]
}

function validateExitCodes(
  { template }: JobSpec,
  requirement: PodFailurePolicyOnExitCodesRequirement,
  path: string,
): FieldError[] {
  const { operator, containerName } = requirement
  // Clients may leave out what the type asks for.
  const values = (requirement.values as number[] | undefined) ?? []
  const { containers = [], initContainers = [] } = template.spec ?? {}
  const errors = chosen(`${path}.operator`, operator, operators)
  if (containerName !== undefined && ![...containers, ...initContainers].some(({ name }) => name === containerName)) {
    const why = 'must be one of the container or initContainer names in the pod template'
    errors.push(invalid(`${path}.containerName`, containerName, why))
  }
  if (values.length === 0) errors.push(invalid(`${path}.values`, values, 'at least one value is required'))
  errors.push(...atMost(`${path}.values`, values.length, 255))
  for (const [index, value] of values.entries()) {
    const place = `${path}.values[${index}]`
    if (operator === 'In' && value === 0) errors.push(invalid(place, value, 'must not be 0 for the In operator'))
    if (values.indexOf(value) < index) errors.push(duplicate(place, value))
  }
  const isOrdered = values.every((value, index) => index === 0 || (values[index - 1] ?? 0) <= value)
  return isOrdered ? errors : [...errors, invalid(`${path}.values`, values, 'must be ordered')]
}

export function validateSuccessPolicy(spec: JobSpec, path: string): FieldError[] {
  const rules = spec.successPolicy?.rules ?? []
  return [
    ...(rules.length === 0
      ? [required(`${path}.rules`, 'at least one rules must be specified when the successPolicy is specified')]
      : []),
    ...atMost(`${path}.rules`, rules.length, maxRules),
    ...rules.flatMap((rule, index) => validateSuccessRule(rule, spec.completions ?? 0, `${path}.rules[${index}]`)),
  ]
}

function validateSuccessRule(rule: SuccessPolicyRule, completions: number, path: string): FieldError[] {
  const { succeededCount, succeededIndexes } = rule
  if (succeededCount === undefined && succeededIndexes === undefined) {
    return [required(path, 'at least one of succeededCount or succeededIndexes must be specified')]
  }
  const indexes = checkIndexes(succeededIndexes ?? '', completions)
  const errors = noLonger(`${path}.succeededIndexes`, succeededIndexes ?? '', 64 * 1024)
  if (indexes.problem !== undefined) {
    const why = `error parsing succeededIndexes: ${indexes.problem}`
    errors.push(invalid(`${path}.succeededIndexes`, succeededIndexes, why))
  }
  if (succeededCount === undefined) return errors
  const field = `${path}.succeededCount`
  errors.push(...nonNegative(field, succeededCount))
  if (succeededCount > completions) {
    const why = `must be less than or equal to ${completions} (the number of specified completions)`
    errors.push(invalid(field, succeededCount, why))
  }
  if (succeededIndexes !== undefined && succeededCount > indexes.count) {
    const why = `must be less than or equal to ${indexes.count} (the number of indexes in the specified succeededIndexes field)`
    errors.push(invalid(field, succeededCount, why))
  }
  return errors
}
