import { emptySet, isEmptySet, isMember, recursiveDifference, setOfPath, typeBelow, union } from './field-set.ts'
import type { FieldSet } from './field-set.ts'
import type { MergeType } from './merge-type.ts'

/**
 * Brings ownership that was written under an earlier schema to the present one: where a map or list has become atomic,
 * whoever owned something in it owns it as a whole.
 */
export function reconcileWithSchema(set: FieldSet, type: MergeType): FieldSet {
  const found = { remove: emptySet, add: emptySet }
  visit(set, type, [], false, found)
  if (isEmptySet(found.add)) return set
  return union(recursiveDifference(set, found.remove), found.add)
}

interface Found {
  remove: FieldSet
  add: FieldSet
}

function visit(node: FieldSet, type: MergeType, path: string[], isLeaf: boolean, found: Found): void {
  const { map, list } = type
  if (map === undefined && type.scalar !== undefined) return
  if (map !== undefined && isFree(type)) return
  const isAtomic = map?.isAtomic ?? list?.isAtomic ?? false
  if (!isLeaf && isAtomic && path.length > 0) {
    const whole = setOfPath(path)
    found.remove = union(found.remove, whole)
    found.add = union(found.add, whole)
    return
  }
  for (const element in node) {
    const below = node[element]
    if (element === '.' || below === undefined || isEmptySet(below)) continue
    const inner = typeBelow(type, element)
    if (inner.map === undefined && inner.list === undefined) continue
    path.push(element)
    visit(below, inner, path, isMember(below) && !hasMore(below), found)
    path.pop()
  }
}

/** Values of any shape have no schema that could have changed. */
function isFree(type: MergeType): boolean {
  return type.map?.fields.size === 0 && type.map.element?.scalar === 'untyped' && type.map.element.map !== undefined
}

function hasMore(node: FieldSet): boolean {
  for (const element in node) if (element !== '.') return true
  return false
}
