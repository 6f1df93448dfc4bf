import { isJsonObject } from '../json-value.ts'
import { canonicalElement, compareElements, isNamedField } from './path-element.ts'
import { typeOfKey } from './merge-type.ts'
import type { MergeType } from './merge-type.ts'

/**
 * A set of fields, in the form `FieldsV1` gives it in JSON: keys are path elements, `{}` is a member, and `"."` among
 * the keys says that the field itself is a member besides those below it. The root is no member of anything.
 *
 * Sets are shared freely and never changed: every function gives a new one, or one of its arguments.
 */
export interface FieldSet {
  readonly [element: string]: FieldSet
}

interface Building {
  [element: string]: FieldSet
}

const self = '.'

export const emptySet: FieldSet = Object.freeze({})

/** A field that is a member, with nothing below it. */
export const member: FieldSet = Object.freeze({})

const ordered = new WeakSet<FieldSet>()

/** The set with its elements in upstream's order: the same set has the same bytes everywhere. Gives `set` itself when it has. */
export function inOrder(set: FieldSet): FieldSet {
  if (ordered.has(set)) return set
  const entries = Object.entries(set).map(([element, below]) => [element, inOrder(below)] as const)
  const isSame = entries.every(([element, below], index) => {
    const before = entries[index - 1]
    return below === set[element] && (before === undefined || compareWithSelf(before[0], element) < 0)
  })
  const sorted: FieldSet = isSame ? set : Object.fromEntries(entries.toSorted(([x], [y]) => compareWithSelf(x, y)))
  ordered.add(sorted)
  return sorted
}

function compareWithSelf(a: string, b: string): number {
  if (a === self || b === self) return a === b ? 0 : a === self ? -1 : 1
  return compareElements(a, b)
}

export function isEmptySet(set: FieldSet): boolean {
  for (const _ in set) return false
  return true
}

/** Whether the field this node stands for is a member itself. */
export function isMember(node: FieldSet): boolean {
  return node[self] !== undefined || isEmptySet(node)
}

function hasChildren(node: FieldSet): boolean {
  for (const element in node) if (element !== self) return true
  return false
}

export function hasPath(set: FieldSet, path: readonly string[]): boolean {
  let node: FieldSet | undefined = set
  for (const element of path) {
    node = node[element]
    if (node === undefined) return false
  }
  return path.length > 0 && isMember(node)
}

/** The set whose only member is `path`. */
export function setOfPath(path: readonly string[]): FieldSet {
  return path.reduceRight<FieldSet>((node, element) => ({ [element]: node }), member)
}

/** Gives `a` itself when `b` brings nothing new. */
export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b || isEmptySet(b)) return a
  if (isEmptySet(a)) return b
  let out: Building | undefined
  for (const element in b) {
    const [left, right] = [a[element], b[element]]
    if (right === undefined || (element === self && left !== undefined)) continue
    const node = left === undefined || element === self ? right : unionNode(left, right)
    if (node === left) continue
    out ??= { ...a }
    out[element] = node
  }
  return out ?? a
}

function unionNode(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmptySet(a)) return hasChildren(b) ? { [self]: member, ...b } : a
  if (isEmptySet(b)) return isMember(a) ? a : { [self]: member, ...a }
  return union(a, b)
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const out: Building = {}
  for (const element in a) {
    const [left, right] = [a[element], b[element]]
    if (element === self || left === undefined || right === undefined) continue
    const node = intersectNode(left, right)
    if (node !== undefined) out[element] = node
  }
  return out
}

function intersectNode(a: FieldSet, b: FieldSet): FieldSet | undefined {
  return nodeOf(isMember(a) && isMember(b), intersection(a, b))
}

/** What `a` has and `b` has not: a member goes, what is below it stays. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  return subtract(a, b, differenceNode)
}

/** Like {@link difference}, but everything below a member of `b` goes too. */
export function recursiveDifference(a: FieldSet, b: FieldSet): FieldSet {
  return subtract(a, b, (left, right) => {
    if (isMember(right)) return undefined
    return nodeOf(isMember(left), recursiveDifference(withoutSelf(left), right))
  })
}

function differenceNode(a: FieldSet, b: FieldSet): FieldSet | undefined {
  const isKept = isMember(a) && !isMember(b)
  const inner = withoutSelf(a)
  const below = difference(inner, b)
  if (below === inner && isKept === isMember(a)) return a
  return nodeOf(isKept, below)
}

/** Gives `a` itself when nothing of it goes. */
function subtract(a: FieldSet, b: FieldSet, node: (left: FieldSet, right: FieldSet) => FieldSet | undefined): FieldSet {
  let out: Building | undefined
  for (const element in b) {
    const [left, right] = [a[element], b[element]]
    if (element === self || left === undefined || right === undefined) continue
    const rest = node(left, right)
    if (rest === left) continue
    out ??= { ...a }
    if (rest === undefined) delete out[element]
    else out[element] = rest
  }
  return out ?? a
}

function withoutSelf(node: FieldSet): FieldSet {
  if (node[self] === undefined) return node
  const { [self]: _self, ...rest } = node
  return rest
}

/** The node of a field by whether it is a member and what is below it; undefined for nothing at all. */
function nodeOf(isIncluded: boolean, below: FieldSet): FieldSet | undefined {
  if (isEmptySet(below)) return isIncluded ? member : undefined
  return isIncluded && below[self] === undefined ? { [self]: member, ...below } : below
}

/** The set with every declared field on the way to a member made a member too; keys of free maps are not. */
export function withNamedFields(set: FieldSet, type: MergeType): FieldSet {
  const out: Building = {}
  for (const element in set) {
    const node = set[element]
    if (node === undefined || element === self) continue
    if (!hasChildren(node)) {
      out[element] = node
      continue
    }
    const below = withNamedFields(node, typeBelow(type, element))
    const isIncluded = isMember(node) || isNamedField(type.map, element)
    out[element] = isIncluded ? { [self]: member, ...below } : below
  }
  return out
}

const nothing: MergeType = {}

/** Type of what a path element leads to. */
export function typeBelow(type: MergeType, element: string): MergeType {
  if (element[0] === 'f') return (type.map && typeOfKey(type.map, element.slice(2))) ?? nothing
  return type.list?.element ?? nothing
}

/** Paths of the members, a field before what is below it, siblings in upstream's order. */
export function* pathsOf(set: FieldSet, prefix: readonly string[] = []): Generator<readonly string[]> {
  const elements = Object.keys(set)
    .filter((element) => element !== self)
    .toSorted(compareElements)
  for (const element of elements) if (isMember(set[element] ?? member)) yield [...prefix, element]
  for (const element of elements) {
    const node = set[element]
    if (node !== undefined && hasChildren(node)) yield* pathsOf(node, [...prefix, element])
  }
}

const maxDepth = 200

/**
 * Reads `FieldsV1` as a client sent it: elements are brought to their one spelling, those of a kind this server does
 * not know are left out. Throws `SyntaxError` for what is no field set.
 */
export function parseFieldSet(value: unknown, depth = 0): FieldSet {
  if (depth > maxDepth) throw new SyntaxError(`fields are nested more than ${maxDepth} levels deep`)
  if (!isJsonObject(value)) throw new SyntaxError('fields are no object')
  const out: Building = {}
  for (const [key, below] of Object.entries(value)) {
    const element = key === self ? key : canonicalElement(key)
    if (element === undefined) continue
    const node = key === self ? member : parseFieldSet(below, depth + 1)
    const before = out[element]
    out[element] = before === undefined ? node : unionNode(before, node)
  }
  return out
}
