import { getKey, isJsonObject, setKey } from '../json-value.ts'
import type { JsonObject } from '../json-value.ts'
import type { MergeField, MergeMap, MergeType } from './merge-type.ts'

/** The value of a key: what Go would hold there when JSON leaves it out; undefined when it is not there at all. */
export function presentIn(object: JsonObject | undefined, key: string, field: MergeField | undefined): unknown {
  if (object === undefined) return undefined
  const value = field === undefined ? getKey(object, key) : object[key]
  if (value === undefined) return field?.zero
  return field?.omitsEmpty === true && typeof value === 'object' && isEmpty(value) ? undefined : value
}

function isEmpty(value: object | null): boolean {
  for (const _ in value) return false
  return true
}

/** Whether two values are the same; a list that is null is the same as an empty one. */
export function isEqualValue(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b)) return (a ?? b) !== undefined && isEmptyOrNull(a) && isEmptyOrNull(b)
    if (a.length !== b.length) return false
    for (let index = 0; index < a.length; index += 1) if (!isEqualValue(a[index], b[index])) return false
    return true
  }
  if (!isJsonObject(a) || !isJsonObject(b)) return false
  for (const key in a) if (a[key] !== undefined && !isEqualValue(a[key], getKey(b, key))) return false
  for (const key in b) if (b[key] !== undefined && getKey(a, key) === undefined) return false
  return true
}

export function isEmptyOrNull(value: unknown): boolean {
  return value === null || (Array.isArray(value) && value.length === 0)
}

/** Whether a struct holds nothing but what Go would hold in it unset. */
export function isZeroMap(map: MergeMap, value: unknown): boolean {
  if (!isJsonObject(value)) return false
  for (const key in value) {
    const field = map.fields.get(key)
    const child = presentIn(value, key, field)
    if (child === undefined) continue
    if (field?.zero === undefined || !isZero(field, child)) return false
  }
  return true
}

function isZero({ type, zero }: MergeField, value: unknown): boolean {
  if (zero === null) return isEmptyOrNull(value)
  if (!isJsonObject(zero)) return value === zero
  return type.map !== undefined && isZeroMap(type.map, value)
}

/** The object as Go would hold it, with everything that is there unset; shares what need not change. */
export function withZeros(type: MergeType, value: unknown): unknown {
  if (Array.isArray(value)) {
    const { list } = type
    return list === undefined ? value : value.map((item: unknown) => withZeros(list.element, item))
  }
  if (!isJsonObject(value) || type.map === undefined) return value
  const { fields, element, present } = type.map
  const out: JsonObject = {}
  for (const [key, child] of Object.entries(value))
    setKey(out, key, withZeros(fields.get(key)?.type ?? element ?? {}, child))
  for (const field of present) {
    if (out[field.name] === undefined) out[field.name] = withZeros(field.type, field.zero)
  }
  return out
}
