import { canonicalQuantity, parseQuantity } from '@fairlead/kube/types'
import type {
  CapacityRequestPolicy,
  CapacityRequestPolicyRange,
  DeviceCapacity,
} from '@fairlead/kube/types/resource-v1'

import type { FieldError } from '../../status.ts'
import { forbidden, invalid, required } from '../field-errors.ts'
import { eachOnce } from './parts.ts'

const mostValues = 10

/** How much of a capacity one claim may take, where several share a device. */
export function validateCapacity(
  { value, requestPolicy }: DeviceCapacity,
  isShared: boolean,
  path: string,
): FieldError[] {
  const field = `${path}.requestPolicy`
  if (requestPolicy === undefined) return []
  if (!isShared) return [forbidden(field, 'allowMultipleAllocations must be true')]
  const { default: usual, validValues = [], validRange } = requestPolicy
  if (validValues.length > 0 && validRange !== undefined) {
    const why = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
    return [forbidden(field, why)]
  }
  const kind = validValues.length > 0 ? 'validValues' : validRange === undefined ? undefined : 'validRange'
  if (kind === undefined) return []
  if (usual === undefined) return [required(`${field}.default`, `required when ${kind} is defined`)]
  return validRange === undefined
    ? validateValues(requestPolicy, usual, value, `${field}.validValues`)
    : validateRange(validRange, usual, value, `${field}.validRange`)
}

function validateValues(
  { validValues = [] }: CapacityRequestPolicy,
  usual: string,
  most: string,
  field: string,
): FieldError[] {
  const unsorted = validValues.flatMap((value, index) => {
    const next = validValues[index + 1]
    if (next === undefined || compare(value, next) <= 0) return []
    return [invalid(`${field}[${index + 1}]`, next, 'values must be sorted in ascending order')]
  })
  const judge = (value: string, place: string): FieldError[] =>
    compare(value, most) > 0 ? [invalid(place, value, `option is larger than capacity value: ${most}`)] : []
  const isUsual = validValues.length <= mostValues && validValues.some((value) => compare(value, usual) === 0)
  return [
    ...unsorted,
    ...eachOnce(validValues, mostValues, field, judge, (value) => String(wholeOf(value))),
    ...(isUsual ? [] : [invalid(field, usual, 'default value is not valid according to the requestPolicy')]),
  ]
}

function validateRange(
  { min, max, step }: CapacityRequestPolicyRange,
  usual: string,
  most: string,
  field: string,
): FieldError[] {
  const [low, high, one] = [`${field}.min`, `${field}.max`, `${field}.step`]
  if ((min ?? '') === '') return [required(low, 'required when validRange is defined')]
  const errors: FieldError[] = []
  if (compare(min, most) > 0) errors.push(invalid(low, min, `min is larger than capacity value: ${most}`))
  if (compare(usual, min) < 0) errors.push(invalid(low, usual, `default is less than min: ${min}`))
  if (max !== undefined) {
    if (compare(min, max) > 0) errors.push(invalid(high, min, `min is larger than max: ${max}`))
    if (compare(max, most) > 0) errors.push(invalid(high, max, `max is larger than capacity value: ${most}`))
    if (compare(usual, max) > 0) errors.push(invalid(high, usual, `default is more than max: ${max}`))
  }
  if (step === undefined) return errors
  const first = sumOf(min, step)
  if (compare(first, most) > 0) {
    errors.push(invalid(one, step, `one step ${first} is larger than capacity value: ${most}`))
  }
  for (const value of max === undefined ? [usual] : [usual, max]) {
    if ((wholeOf(value) - wholeOf(min)) % wholeOf(step) === 0) continue
    errors.push(invalid(one, value, `value is not a multiple of a given step (${step}) from (${min})`))
  }
  return errors
}

/** Texts that are no quantities are told elsewhere. */
function amountOf(quantity: string): number {
  return parseQuantity(quantity) ?? 0
}

function wholeOf(quantity: string): number {
  return Math.ceil(amountOf(quantity))
}

/** In the unit of the first, as upstream adds: `8Gi` and `4Gi` make `12Gi`. */
function sumOf(one: string, other: string): string {
  const unit = /[A-Za-z]*$/.exec(one)?.[0] ?? ''
  const sum = (amountOf(one) + amountOf(other)) / amountOf(`1${unit}`)
  return canonicalQuantity(`${sum}${unit}`) ?? ''
}

function compare(one: string, other: string): number {
  return amountOf(one) - amountOf(other)
}
