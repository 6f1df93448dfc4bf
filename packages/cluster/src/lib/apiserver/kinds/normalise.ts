import { isZeroAbsent } from '@fairlead/kube/codec'
import { canonicalQuantity, fieldsOf } from '@fairlead/kube/types'
import type { FieldInfo } from '@fairlead/kube/types'

import { invalid } from './field-errors.ts'
import type { FieldError } from '../status.ts'

type JsonObject = { [key: string]: unknown }

/**
 * Brings an object to the form Go's decoding and encoding would leave it in: nulls go (Go clients send them for empty
 * values), and so do values that stand for nothing (`hostNetwork: false`, `env: []`), which a Go client that writes the
 * object back leaves out; required fields are there if only with their zero value, quantities get their one spelling
 * (`1000m` is stored as `1`, the number 1 as `"1"`). Changes the object.
 */
export function normalise(definition: string, object: object): void {
  const record = object as JsonObject
  const { zeros, nested, omitted } = planOf(definition)
  for (const { name, zero } of zeros) if ((record[name] ?? undefined) === undefined) record[name] = zero()
  for (const key in record) {
    const value = record[key]
    if (value === null || (isNothing(value) && omitted.has(key))) delete record[key]
    else if (typeof value === 'object' || typeof value === 'string' || typeof value === 'number') {
      const field = nested.get(key)
      if (field !== undefined) record[key] = normaliseField(field, value)
    }
  }
}

function isNothing(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return value === '' || value === 0 || value === false
  if (Array.isArray(value)) return value.length === 0
  for (const _ in value) return false
  return true
}

function normaliseField(field: FieldInfo, value: unknown): unknown {
  if (Array.isArray(value)) {
    if (field.type === 'quantity') return value.map((element) => normaliseValue(field, element))
    for (const element of value) normaliseValue(field, element)
    return value
  }
  if (field.map && isObject(value)) {
    for (const key in value) value[key] = normaliseValue(field, value[key])
    return value
  }
  return normaliseValue(field, value)
}

function normaliseValue(field: FieldInfo, value: unknown): unknown {
  if (field.ref !== undefined) {
    if (isObject(value)) normalise(field.ref, value)
    return value
  }
  return typeof value === 'string' || typeof value === 'number' ? (canonicalQuantity(value) ?? value) : value
}

const quantityRule = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

/** Finds texts that should be quantities and are not; `path` is where the object stands: nowhere for a whole one. */
export function checkQuantities(definition: string, object: object, path = ''): FieldError[] {
  const errors: FieldError[] = []
  checkObject(definition, object, path, errors)
  return errors
}

function checkObject(definition: string, object: object, path: string, errors: FieldError[]): void {
  const record = object as JsonObject
  for (const field of planOf(definition).quantities) {
    const value = record[field.name]
    if (value !== undefined) checkField(field, value, path === '' ? field.name : `${path}.${field.name}`, errors)
  }
}

function checkField(field: FieldInfo, value: unknown, path: string, errors: FieldError[]): void {
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) checkValue(field, value[index], `${path}[${index}]`, errors)
  } else if (field.map && isObject(value)) {
    for (const key in value) checkValue(field, value[key], `${path}[${key}]`, errors)
  } else checkValue(field, value, path, errors)
}

function checkValue(field: FieldInfo, value: unknown, path: string, errors: FieldError[]): void {
  if (field.ref !== undefined) {
    if (isObject(value)) checkObject(field.ref, value, path, errors)
  } else if (canonicalQuantity(String(value)) === undefined) errors.push(invalid(path, value, quantityRule))
}

/** What is worth looking at in a definition, found once. */
interface Plan {
  readonly zeros: readonly { readonly name: string; readonly zero: () => unknown }[]
  /** Fields that are left out when they stand for nothing: neither required nor, in Go, a pointer or a struct. */
  readonly omitted: ReadonlySet<string>
  /** Fields below which something may have to change. */
  readonly nested: ReadonlyMap<string, FieldInfo>
  /** Fields that are, or hold, quantities. */
  readonly quantities: readonly FieldInfo[]
}

const plans = new Map<string, Plan>()

function planOf(definition: string): Plan {
  let plan = plans.get(definition)
  if (plan === undefined) {
    const fields = [...fieldsOf(definition).values()]
    plan = {
      zeros: fields.flatMap((field) => {
        const zero = field.required ? zeroOf(field) : undefined
        return zero === undefined ? [] : [{ name: field.name, zero }]
      }),
      omitted: new Set(fields.flatMap((field) => (isOmitted(definition, field) ? [field.name] : []))),
      nested: new Map(fields.flatMap((field) => (isLeaf(field) ? [] : [[field.name, field]]))),
      quantities: fields.filter((field) => holdsQuantities(field, new Set())),
    }
    plans.set(definition, plan)
  }
  return plan
}

function isOmitted(definition: string, field: FieldInfo): boolean {
  const zeros: Partial<Record<FieldInfo['type'], unknown>> = { string: '', integer: 0, number: 0, boolean: false }
  const zero = field.list ? [] : field.map ? {} : zeros[field.type]
  return zero !== undefined && isZeroAbsent(definition, field, zero)
}

function isLeaf({ type, ref }: FieldInfo): boolean {
  return type !== 'quantity' && ref === undefined
}

function holdsQuantities({ type, ref }: FieldInfo, seen: Set<string>): boolean {
  if (ref === undefined) return type === 'quantity'
  if (seen.has(ref)) return false
  seen.add(ref)
  return [...fieldsOf(ref).values()].some((field) => holdsQuantities(field, seen))
}

/** A required pointer stays absent, so that validation can ask for it: in Go it would be nil. */
const pointers = new Set([
  'io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector',
  'io.k8s.api.networking.v1.ParentReference',
])

function zeroOf(field: FieldInfo): (() => unknown) | undefined {
  if (field.list) return () => []
  if (field.map) return () => ({})
  if (field.ref !== undefined) return pointers.has(field.ref) ? undefined : () => ({})
  const zeros: Partial<Record<FieldInfo['type'], unknown>> = { string: '', integer: 0, boolean: false, intOrString: 0 }
  const zero = zeros[field.type]
  return zero === undefined ? undefined : () => zero
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
