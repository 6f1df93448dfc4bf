import { getKey, isJsonObject } from '../json-value.ts'
import { isEqualValue, isZeroMap, presentIn } from './value.ts'
import { elementName } from './path-element.ts'
import { emptySet, member } from './field-set.ts'
import { narrow } from './merge-type.ts'
import type { JsonObject } from '../json-value.ts'
import type { FieldSet } from './field-set.ts'
import type { MergeList, MergeMap, MergeType } from './merge-type.ts'

/** How two versions of an object differ. */
export interface Comparison {
  readonly removed: FieldSet
  /** Fields added or modified. */
  readonly changed: FieldSet
}

/**
 * What became of the fields between `before` and `after`; undefined stands for an object that is not there.
 *
 * With `hasZeros` both are read as Go would hold them: see {@link MergeField.zero}.
 */
export function compareTyped(
  type: MergeType,
  before: unknown,
  after: unknown,
  { hasZeros }: { hasZeros: boolean },
): Comparison {
  const walk = new Walk(hasZeros)
  compareValue(walk, type, before, after)
  return { removed: walk.removed, changed: walk.changed }
}

type Building = { [element: string]: FieldSet }

/** Where the walk stands, and what it has found. Names of list elements are made only when something is found there. */
class Walk {
  removed: FieldSet = emptySet
  changed: FieldSet = emptySet
  readonly path: string[] = []
  readonly hasZeros: boolean

  constructor(hasZeros: boolean) {
    this.hasZeros = hasZeros
  }

  remove(): void {
    this.removed = this.#insert(this.removed)
  }

  change(): void {
    this.changed = this.#insert(this.changed)
  }

  #insert(set: FieldSet): FieldSet {
    // Nobody owns the object as a whole.
    if (this.path.length === 0) return set
    const root: Building = set === emptySet ? {} : set
    let node: Building = root
    const last = this.path.length - 1
    for (let index = 0; index < last; index += 1) node = this.#descend(node, this.path[index] ?? '')
    const element = this.path[last] ?? ''
    const present: Building | undefined = node[element]
    if (present === undefined) node[element] = member
    else if (present !== member) present['.'] = member
    return root
  }

  /** A leaf is always the one `member`: whether a node is empty need not be looked at, which takes long in large ones. */
  #descend(node: Building, element: string): Building {
    const below = node[element]
    if (below !== undefined && below !== member) return below
    const made: Building = below === undefined ? {} : { '.': member }
    node[element] = made
    return made
  }
}

function compareValue(walk: Walk, type: MergeType, before: unknown, after: unknown): void {
  if (before === undefined && after === undefined) return
  const left = narrow(type, before)
  const right = narrow(type, after)
  const isOneForm = before === undefined || after === undefined || formOf(left) === formOf(right)
  if (!isOneForm) compareForm(walk, left, before, after)
  const isLeaf = compareForm(walk, after === undefined ? left : right, before, after)
  if (isLeaf) return
  if (before === undefined) walk.change()
  else if (after === undefined) walk.remove()
}

function formOf(type: MergeType): string {
  return type.map !== undefined ? 'map' : type.scalar !== undefined ? 'scalar' : 'list'
}

/** Compares in the form `type` gives; whether that was a leaf, about which everything is said. */
function compareForm(walk: Walk, type: MergeType, before: unknown, after: unknown): boolean {
  if (type.map !== undefined) return compareMap(walk, type.map, before, after)
  if (type.scalar !== undefined || type.list === undefined) return compareLeaf(walk, before, after)
  return compareList(walk, type.list, before, after)
}

function compareLeaf(walk: Walk, before: unknown, after: unknown): boolean {
  if (before === undefined) walk.change()
  else if (after === undefined) walk.remove()
  else if (!isEqualValue(before, after)) walk.change()
  return true
}

function compareMap(walk: Walk, map: MergeMap, before: unknown, after: unknown): boolean {
  const left = isJsonObject(before) ? before : undefined
  const right = isJsonObject(after) ? after : undefined
  if (map.isAtomic) return compareAtomic(walk, map, before, after)
  if (isEmptyMap(walk, map, left) && isEmptyMap(walk, map, right)) return compareLeaf(walk, before, after)
  if (right !== undefined) for (const key in right) compareKey(walk, map, key, left, right)
  if (left !== undefined) {
    for (const key in left)
      if (right === undefined || !Object.hasOwn(right, key)) compareKey(walk, map, key, left, right)
  }
  // Where both are there, what neither names is the same zero.
  if (walk.hasZeros && (left === undefined || right === undefined)) {
    for (const { name } of map.present) {
      if ((left ?? right)?.[name] === undefined) compareKey(walk, map, name, left, right)
    }
  }
  return false
}

/** A struct owned as one may still be there with nothing set. */
function compareAtomic(walk: Walk, map: MergeMap, before: unknown, after: unknown): boolean {
  if (walk.hasZeros && before !== undefined && after !== undefined && map.present.length > 0) {
    if (isZeroMap(map, before) && isZeroMap(map, after)) return true
  }
  return compareLeaf(walk, before, after)
}

function isEmptyMap(walk: Walk, map: MergeMap, value: JsonObject | undefined): boolean {
  if (value === undefined) return true
  if (walk.hasZeros && map.present.length > 0) return false
  for (const _ in value) return false
  return true
}

function compareKey(
  walk: Walk,
  map: MergeMap,
  key: string,
  left: JsonObject | undefined,
  right: JsonObject | undefined,
): void {
  const field = map.fields.get(key)
  const type = field?.type ?? map.element
  if (type === undefined) return
  const before = walk.hasZeros ? presentIn(left, key, field) : left && getKey(left, key)
  const after = walk.hasZeros ? presentIn(right, key, field) : right && getKey(right, key)
  if (before === after) return
  // One look at the whole is cheaper than finding out part by part, when as usual nothing of it differs.
  if (walk.path.length === 0 && isEqualValue(before, after)) return
  walk.path.push(field?.element ?? `f:${key}`)
  compareValue(walk, type, before, after)
  walk.path.pop()
}

function compareList(walk: Walk, list: MergeList, before: unknown, after: unknown): boolean {
  const left = Array.isArray(before) ? before : []
  const right = Array.isArray(after) ? after : []
  if (list.isAtomic || (left.length === 0 && right.length === 0)) return compareLeaf(walk, before, after)
  // Nearly always the elements stand where they stood, and nobody needs their names.
  if (list.keys.length === 0 && isEqualValue(left, right)) return false
  const elements = indexItems(list, left, right)
  for (const [name, { before: lefts, after: rights }] of elements) {
    walk.path.push(name)
    compareItems(walk, list, lefts, rights)
    walk.path.pop()
  }
  return false
}

interface Items {
  readonly before: unknown[]
  readonly after: unknown[]
}

function indexItems(list: MergeList, left: readonly unknown[], right: readonly unknown[]): Map<string, Items> {
  const elements = new Map<string, Items>()
  for (const item of left) itemsOf(elements, elementName(list, item)).before.push(item)
  for (const item of right) itemsOf(elements, elementName(list, item)).after.push(item)
  return elements
}

function itemsOf(elements: Map<string, Items>, name: string): Items {
  let items = elements.get(name)
  if (items === undefined) {
    items = { before: [], after: [] }
    elements.set(name, items)
  }
  return items
}

/** Elements of one name: usually one on each side; several are owned together, as if they were atomic. */
function compareItems(walk: Walk, list: MergeList, before: readonly unknown[], after: readonly unknown[]): void {
  if (before.length <= 1 && after.length <= 1) return compareValue(walk, list.element, before[0], after[0])
  if (before.length > 1 && after.length > 1) {
    if (!isEqualValue(before, after)) walk.change()
  } else if (before.length > 1) {
    if (after.length > 0) compareValue(walk, list.element, undefined, after[0])
    walk.remove()
  } else {
    if (before.length > 0) compareValue(walk, list.element, before[0], undefined)
    walk.change()
  }
}
