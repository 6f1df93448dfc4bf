import { isJsonObject } from '../json-value.ts'
import { elementName } from './path-element.ts'
import { isEmptySet, member } from './field-set.ts'
import { narrow } from './merge-type.ts'
import type { JsonObject } from '../json-value.ts'
import type { FieldSet } from './field-set.ts'
import type { MergeList, MergeMap, MergeType } from './merge-type.ts'

type Building = { [element: string]: FieldSet }

/** Every field a configuration sets: what whoever applies it wants to own. */
export function toFieldSet(type: MergeType, value: unknown): FieldSet {
  return nodeOf(type, value).below
}

interface Node {
  /** Whether the value is a leaf: owned as one. */
  readonly isLeaf: boolean
  readonly below: FieldSet
}

const leaf: Node = { isLeaf: true, below: {} }
const nothing: Node = { isLeaf: false, below: {} }

function nodeOf(type: MergeType, value: unknown): Node {
  const form = narrow(type, value)
  if (form.map !== undefined) {
    if (form.map.isAtomic) return leaf
    return isJsonObject(value) ? { isLeaf: false, below: fieldsOf(form.map, value) } : nothing
  }
  if (form.scalar !== undefined || form.list === undefined) return leaf
  if (form.list.isAtomic) return leaf
  return Array.isArray(value) ? { isLeaf: false, below: itemsOf(form.list, value) } : nothing
}

function fieldsOf(map: MergeMap, value: JsonObject): FieldSet {
  const out: Building = {}
  for (const [key, child] of Object.entries(value)) {
    if (child === undefined) continue
    const field = map.fields.get(key)
    const type = field?.type ?? map.element
    if (type === undefined) continue
    const { isLeaf, below } = nodeOf(type, child)
    // Keys of free maps are owned besides what is below them; declared fields only through it.
    const isIncluded = isLeaf || field === undefined || child === null || (isJsonObject(child) && isEmptyObject(child))
    add(out, field?.element ?? `f:${key}`, isIncluded, below)
  }
  return out
}

function isEmptyObject(value: JsonObject): boolean {
  for (const _ in value) return false
  return true
}

function itemsOf(list: MergeList, items: readonly unknown[]): FieldSet {
  const out: Building = {}
  const found = new Map<string, { item: unknown; isRepeated: boolean }>()
  for (const item of items) {
    const name = elementName(list, item)
    const before = found.get(name)
    if (before === undefined) found.set(name, { item, isRepeated: false })
    else before.isRepeated = true
  }
  for (const [name, { item, isRepeated }] of found) {
    add(out, name, true, isRepeated ? {} : nodeOf(list.element, item).below)
  }
  return out
}

function add(out: Building, element: string, isIncluded: boolean, below: FieldSet): void {
  if (!isEmptySet(below)) out[element] = isIncluded ? { '.': member, ...below } : below
  else if (isIncluded) out[element] = member
}
