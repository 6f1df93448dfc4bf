import { isJsonObject } from '../json-value.ts'
import { elementName } from './path-element.ts'
import { isEmptySet, member } from './field-set.ts'
import { narrow } from './merge-type.ts'
import { isEmptyOrNull, isZeroMap, presentIn } from './value.ts'
import type { JsonObject } from '../json-value.ts'
import type { FieldSet } from './field-set.ts'
import type { MergeField, MergeList, MergeMap, MergeType } from './merge-type.ts'

type Building = { [element: string]: FieldSet }

/**
 * Fields of a new object: what a comparison with the object that is not there yet finds, in one pass over it. Every
 * create asks.
 */
export function createdFields(type: MergeType, value: unknown): FieldSet {
  return (type.map === undefined || !isJsonObject(value) ? undefined : fieldsBelow(type.map, value, {})) ?? {}
}

/** The node of a value where nothing was before. */
function addedNode(type: MergeType, value: unknown): FieldSet {
  const { map, scalar, list } = narrow(type, value)
  if (map !== undefined) return map.isAtomic || !isJsonObject(value) ? member : addedMap(map, value)
  if (scalar !== undefined || list === undefined || list.isAtomic) return member
  if (!Array.isArray(value) || value.length === 0) return member
  return itemsBelow(list, value, { '.': member })
}

function addedMap(map: MergeMap, value: JsonObject): FieldSet {
  const out: Building = { '.': member }
  let count = 0
  for (const key in value) {
    const field = map.fields.get(key)
    const type = field?.type ?? map.element
    const child = presentIn(value, key, field)
    if (type === undefined || child === undefined) continue
    out[field?.element ?? `f:${key}`] = addedNode(type, child)
    count += 1
  }
  for (const field of map.present) {
    if (value[field.name] !== undefined) continue
    out[field.element] = addedNode(field.type, field.zero)
    count += 1
  }
  return count === 0 ? member : out
}

/** The node of a field whose zero was there before; undefined when there still is no more. */
function changedNode({ type, zero }: MergeField, value: unknown): FieldSet | undefined {
  const { map, scalar, list } = narrow(type, value)
  if (map !== undefined) return changedMap(map, value)
  if (scalar !== undefined || list === undefined) return value === zero ? undefined : member
  if (isEmptyOrNull(value)) return undefined
  return list.isAtomic || !Array.isArray(value) ? member : itemsBelow(list, value, {})
}

function changedMap(map: MergeMap, value: unknown): FieldSet | undefined {
  if (!isJsonObject(value)) return undefined
  if (map.isAtomic) return isZeroMap(map, value) ? undefined : member
  return fieldsBelow(map, value, {})
}

/** Nodes of what is below a struct that was there before, with nothing but zeros in it. */
function fieldsBelow(map: MergeMap, value: JsonObject, out: Building): FieldSet | undefined {
  for (const key in value) {
    const field = map.fields.get(key)
    const type = field?.type ?? map.element
    const child = presentIn(value, key, field)
    if (type === undefined || child === undefined) continue
    const node = field?.zero === undefined ? addedNode(type, child) : changedNode(field, child)
    if (node !== undefined) out[field?.element ?? `f:${key}`] = node
  }
  return isEmptySet(out) ? undefined : out
}

function itemsBelow(list: MergeList, items: readonly unknown[], out: Building): FieldSet {
  for (const item of items) {
    const name = elementName(list, item)
    // Elements that share a name are owned together.
    out[name] = out[name] === undefined ? addedNode(list.element, item) : member
  }
  return out
}
