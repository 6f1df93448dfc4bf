import { isJsonObject, setKey } from '../json-value.ts'
import { elementName } from './path-element.ts'
import { isMember } from './field-set.ts'
import { narrow } from './merge-type.ts'
import type { JsonObject } from '../json-value.ts'
import type { FieldSet } from './field-set.ts'
import type { MergeList, MergeMap, MergeType } from './merge-type.ts'

/** The value without the fields of `set`; a map or list that loses all of its own stays, empty. */
export function removeFields(type: MergeType, value: unknown, set: FieldSet): unknown {
  const form = narrow(type, value)
  if (form.map !== undefined) return isJsonObject(value) ? removeKeys(form.map, value, set) : null
  if (form.scalar !== undefined || form.list === undefined) return value
  return Array.isArray(value) ? removeItems(form.list, value, set) : null
}

function removeKeys(map: MergeMap, value: JsonObject, set: FieldSet): unknown {
  if (map.isAtomic) return null
  const out: JsonObject = {}
  let isFilled = false
  for (const [key, child] of Object.entries(value)) {
    const field = map.fields.get(key)
    const node = set[field?.element ?? `f:${key}`]
    if (node !== undefined && isMember(node)) continue
    isFilled = true
    setKey(out, key, node === undefined ? child : removeBelow(field?.type ?? map.element ?? {}, child, node))
  }
  return isFilled ? out : null
}

function removeItems(list: MergeList, items: readonly unknown[], set: FieldSet): unknown {
  if (list.isAtomic) return null
  const out: unknown[] = []
  for (const item of items) {
    const node = set[elementName(list, item)]
    if (node !== undefined && isMember(node)) continue
    out.push(node === undefined ? item : removeBelow(list.element, item, node))
  }
  return out.length > 0 ? out : null
}

function removeBelow(type: MergeType, value: unknown, node: FieldSet): unknown {
  const rest = removeFields(type, value, node)
  if (rest !== null && rest !== undefined) return rest
  if (isJsonObject(value)) return {}
  return Array.isArray(value) ? [] : rest
}
