import { parseQuantity } from '@fairlead/kube/types'
import type { LimitRangeItem } from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../status.ts'
import { duplicate, forbidden, invalid, required } from './field-errors.ts'
import { qualifiedName } from './names.ts'
import { containerResourceName, resourceName } from './resource-names.ts'

const types = ['Container', 'PersistentVolumeClaim', 'Pod']

/** What is wrong with the limits of a namespace: minimum, default and maximum have to be in order. */
export function validateLimits(limits: readonly LimitRangeItem[]): FieldError[] {
  return limits.flatMap((limit, index) => {
    const path = `spec.limits[${index}]`
    const isRepeated = limits.slice(0, index).some(({ type }) => type === limit.type)
    return [
      ...validateType(limit.type, `${path}.type`),
      ...(isRepeated ? [duplicate(`${path}.type`, limit.type)] : []),
      ...validateNames(limit, path),
      ...validatePurpose(limit, path),
      ...validateOrder(limit, path),
    ]
  })
}

function validateType(type: string, field: string): FieldError[] {
  const errors = qualifiedName(field, type)
  if (errors.length > 0 || type.includes('/') || types.includes(type)) return errors
  return [invalid(field, type, 'must be a standard limit type or fully qualified')]
}

function validateNames(limit: LimitRangeItem, path: string): FieldError[] {
  const parts = limit.type === 'Pod' ? (['max', 'min', 'maxLimitRequestRatio'] as const) : amounts
  const rule = limit.type === 'Pod' || limit.type === 'Container' ? containerResourceName : resourceName
  return parts.flatMap((part) =>
    Object.keys(limit[part] ?? {}).flatMap((name) => rule(`${path}.${part}[${name}]`, name)),
  )
}

const amounts = ['max', 'min', 'default', 'defaultRequest', 'maxLimitRequestRatio'] as const

function validatePurpose({ type, default: limits = {}, defaultRequest = {}, min, max }: LimitRangeItem, path: string) {
  const errors: FieldError[] = []
  const why = "may not be specified when `type` is 'Pod'"
  if (type === 'Pod' && Object.keys(limits).length > 0) errors.push(forbidden(`${path}.default`, why))
  if (type === 'Pod' && Object.keys(defaultRequest).length > 0) errors.push(forbidden(`${path}.defaultRequest`, why))
  if (type === 'PersistentVolumeClaim' && min?.['storage'] === undefined && max?.['storage'] === undefined) {
    const missing = 'either minimum or maximum storage value is required, but neither was provided'
    errors.push(required(`${path}.limits`, missing))
  }
  return errors
}

function validateOrder(limit: LimitRangeItem, path: string): FieldError[] {
  const isPod = limit.type === 'Pod'
  const names = new Set(amounts.flatMap((part) => Object.keys(limit[part] ?? {})))
  return [...names].flatMap((name) => {
    const given = {
      min: limit.min?.[name],
      max: limit.max?.[name],
      limit: isPod ? undefined : limit.default?.[name],
      request: isPod ? undefined : limit.defaultRequest?.[name],
      ratio: limit.maxLimitRequestRatio?.[name],
    }
    return [...validateBounds(given, name, path), ...validateRatio(given, `${path}.maxLimitRequestRatio[${name}]`)]
  })
}

type Given = Readonly<Record<'min' | 'max' | 'limit' | 'request' | 'ratio', string | undefined>>

const words = { min: 'min', max: 'max', limit: 'default', request: 'default request', ratio: 'ratio' } as const

/** Pairs that have to be in order, with the field that is blamed and the value that is shown. */
const orders = [
  ['min', 'max', 'min', 'min', ''],
  ['min', 'request', 'defaultRequest', 'request', ''],
  ['request', 'max', 'defaultRequest', 'request', ''],
  ['request', 'limit', 'defaultRequest', 'request', ' limit'],
  ['min', 'limit', 'default', 'min', ''],
  ['limit', 'max', 'default', 'max', ''],
] as const

function validateBounds(given: Given, name: string, path: string): FieldError[] {
  const errors = orders.flatMap(([low, high, field, shown, more]) => {
    const [a, b] = [given[low], given[high]]
    if (a === undefined || b === undefined || numberOf(a) <= numberOf(b)) return []
    const why = `${words[low]} value ${a} is greater than ${words[high]}${more} value ${b}`
    return [invalid(`${path}.${field}[${name}]`, given[shown], why)]
  })
  const { limit, request } = given
  const isFixed = name.startsWith('hugepages-') || (name.includes('/') && !name.includes('kubernetes.io/'))
  if (!isFixed || limit === undefined || request === undefined || numberOf(limit) === numberOf(request)) return errors
  const why = `default value ${limit} must equal to defaultRequest value ${request} in ${name}`
  return [...errors, invalid(`${path}.defaultRequest[${name}]`, request, why)]
}

function validateRatio({ ratio, min, max }: Given, field: string): FieldError[] {
  if (ratio === undefined) return []
  const errors = numberOf(ratio) < 1 ? [invalid(field, ratio, `ratio ${ratio} is less than 1`)] : []
  if (min === undefined || max === undefined) return errors
  const most = numberOf(max) / numberOf(min)
  if (numberOf(ratio) <= most) return errors
  return [...errors, invalid(field, ratio, `ratio ${ratio} is greater than max/min = ${most.toFixed(6)}`)]
}

function numberOf(quantity: string): number {
  return parseQuantity(quantity) ?? 0
}
