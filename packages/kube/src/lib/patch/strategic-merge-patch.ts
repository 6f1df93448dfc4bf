import { malformedPatch } from '../errors.ts'
import { fieldsOf } from '../types/fields.ts'
import { orderElements } from './element-order.ts'
import { goTypeOf, renderGo } from './go-format.ts'
import { cloneJson, getKey, isJsonObject, setKey } from './json-value.ts'
import type { FieldInfo } from '../types/notation.ts'
import type { JsonObject } from './json-value.ts'

const marker = '$patch'
const orderPrefix = '$setElementOrder'
const deletePrefix = '$deleteFromPrimitiveList'
const retainKeys = '$retainKeys'

const badDeleteFormat = 'invalid patch format of primitive list'
const badRetainFormat = 'invalid patch format of retainKeys'
const badOrderFormat = 'invalid patch format of setElementOrder list'

/**
 * Applies a strategic merge patch to an object of a definition of the type table and returns the new object; the given
 * one is not touched.
 *
 * Lists with a merge strategy merge by their merge key, other lists are replaced. Understands `$patch: replace`,
 * `$patch: delete`, `$retainKeys`, `$setElementOrder/LIST` and `$deleteFromPrimitiveList/LIST`; results and messages are
 * those of the Kubernetes API server, also where they surprise: what a directive says of something that is not there is
 * left out with it. Throws `TypeError` with code FAIRLEAD_KUBE_PATCH.
 * Source: https://git.k8s.io/community/contributors/devel/sig-api-machinery/strategic-merge-patch.md
 */
export function applyStrategicMergePatch(document: unknown, patch: unknown, definition: string): unknown {
  if (!isJsonObject(patch)) throw malformedPatch('Cannot read strategic merge patch: it is not an object')
  return mergeObject(isJsonObject(document) ? cloneJson(document) : {}, cloneJson(patch), {
    definition,
    name: definition,
  })
}

/** Where a patch stands in the schema; `definition` is undefined below maps and fields of free shape. */
interface Place {
  readonly definition: string | undefined
  /** For messages. */
  readonly name: string
}

/** Merges `patch` into `live`; both belong to the caller's copies. */
function mergeObject(live: JsonObject, patch: JsonObject, place: Place): JsonObject {
  const directive = getKey(patch, marker)
  if (directive !== undefined) return obeyDirective(directive, patch)
  obeyRetainKeys(live, patch)
  obeyOrders(live, patch, place)
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(deletePrefix)) deleteScalars(live, nameAfter(key, deletePrefix, badDeleteFormat), value)
    else if (value === null) delete live[key]
    else mergeKey(live, key, value, place)
  }
  return live
}

function obeyDirective(directive: unknown, patch: JsonObject): JsonObject {
  if (directive === 'delete') return {}
  if (directive !== 'replace') throw unknownDirective(directive, patch)
  const { [marker]: _marker, ...rest } = patch
  return rest
}

/** Removes what is not to be retained: fields that exclude one another, set by whom it may. */
function obeyRetainKeys(live: JsonObject, patch: JsonObject): void {
  const keys = getKey(patch, retainKeys)
  if (keys === undefined) return
  delete patch[retainKeys]
  if (!Array.isArray(keys)) throw malformedPatch(badRetainFormat)
  const kept = new Set<unknown>(keys)
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || key.startsWith(deletePrefix) || key.startsWith(orderPrefix)) continue
    if (!kept.has(key)) throw malformedPatch(badRetainFormat)
  }
  for (const key of Object.keys(live)) if (!kept.has(key)) delete live[key]
}

function mergeKey(live: JsonObject, key: string, value: unknown, place: Place): void {
  const present = getKey(live, key)
  if (present === undefined || goKindOf(present) !== goKindOf(value)) return setNew(live, key, value)
  if (isJsonObject(present) && isJsonObject(value)) {
    const field = lookUp(place, key)
    const isReplaced = field.mergeStrategies?.includes('replace') === true
    setKey(live, key, isReplaced ? value : mergeObject(present, value, placeOf(field)))
  } else if (Array.isArray(present) && Array.isArray(value)) {
    setKey(live, key, mergeLists(present, value, lookUp(place, key)))
  } else setKey(live, key, value)
}

/** A value where there was none, or another kind of one: directives and nulls in it say nothing. */
function setNew(live: JsonObject, key: string, value: unknown): void {
  const content = withoutDirectives(withoutNulls(value))
  if (content === undefined) delete live[key]
  else setKey(live, key, content)
}

/** Places the elements of lists as the patch says; lists that are merged for it are done with. */
function obeyOrders(live: JsonObject, patch: JsonObject, place: Place): void {
  for (const [orderKey, order] of Object.entries(patch)) {
    if (!orderKey.startsWith(orderPrefix)) continue
    delete patch[orderKey]
    if (!Array.isArray(order)) throw wrongType('[]interface {}', order)
    const key = nameAfter(orderKey, orderPrefix, badOrderFormat)
    const present = listAt(live, key)
    const patched = listAt(patch, key)
    const field = lookUp(place, key)
    checkOrder(patched ?? [], order, field.mergeKey)
    if (patched === undefined && present === undefined) continue
    const merged = mergeForOrder(present, patched, field)
    const mergeKey = orderKeyOf(present ?? [], patched ?? [], field)
    if (mergeKey !== undefined) for (const element of order) identify(element, mergeKey)
    setKey(live, key, orderElements(merged, order, present ?? [], mergeKey))
    delete patch[key]
  }
}

function mergeForOrder(present: unknown[] | undefined, patched: unknown[] | undefined, field: FieldInfo): unknown[] {
  if (patched === undefined) return present ?? []
  if (present !== undefined) return mergeLists(present, patched, field)
  // The proof of the cast: a list stays a list.
  return (withoutDirectives(patched) ?? []) as unknown[]
}

function listAt(object: JsonObject, key: string): unknown[] | undefined {
  const value = getKey(object, key)
  if (value === undefined) return undefined
  if (!Array.isArray(value)) throw wrongType('[]interface {}', value)
  return value
}

/** What pairs elements: the merge key where there are objects, the element itself otherwise. */
function orderKeyOf(present: readonly unknown[], patched: readonly unknown[], field: FieldInfo): string | undefined {
  const kind = elementKindOf(present, patched)
  if (kind !== 'map') return undefined
  if (field.mergeKey === undefined) {
    // Upstream compares objects as they are then, and fails.
    throw malformedPatch('cannot order a list of maps without a merge key')
  }
  return field.mergeKey
}

/** Every element the patch brings must be in the order, in the same sequence. */
function checkOrder(patched: readonly unknown[], order: readonly unknown[], key: string | undefined): void {
  if (patched.length === 0 || order.length === 0) return
  const elements = key === undefined ? patched : patched.filter((element) => !isDeletion(element))
  let index = 0
  let position = 0
  while (index < elements.length && position < order.length) {
    const element = elements[index]
    if (isJsonObject(element) && marker in element) {
      index += 1
      continue
    }
    if (identify(element, key) === identify(order[position], key)) index += 1
    position += 1
  }
  if (index < elements.length && position >= order.length) {
    throw malformedPatch(
      `The order in patch list:\n${renderGo(patched)}\n doesn't match ${orderPrefix} list:\n${renderGo(order)}\n`,
    )
  }
}

function isDeletion(element: unknown): boolean {
  if (!isJsonObject(element)) throw wrongType('map[string]interface {}', element)
  return element[marker] === 'delete'
}

/** What an element is told from others by; an object must have its merge key. */
function identify(element: unknown, key: string | undefined): unknown {
  if (key === undefined) return element
  if (!isJsonObject(element)) throw wrongType('map[string]interface {}', element)
  const value = getKey(element, key)
  if (value === undefined) throw noMergeKey(element, key)
  return value
}

function mergeLists(live: unknown[], patch: unknown[], field: FieldInfo): unknown[] {
  if (field.mergeStrategies?.includes('merge') !== true) return patch
  if (live.length === 0 && patch.length === 0) return live
  if (elementKindOf(live, patch) !== 'map') return mergeScalars(live, patch)
  const key = field.mergeKey
  if (key === undefined) throw malformedPatch('cannot merge lists without merge key for struct')
  const { kept, elements } = obeyElementDirectives(live, patch, key)
  const merged = mergeElements(kept, elements, key, field)
  return orderElements(merged, elements, kept, key)
}

function mergeScalars(live: unknown[], patch: unknown[]): unknown[] {
  return orderElements([...new Set([...live, ...patch])], patch, live, undefined)
}

/** Obeys `$patch` inside list elements: removes what is to be deleted, empties the list to be replaced. */
function obeyElementDirectives(
  live: unknown[],
  patch: readonly unknown[],
  key: string,
): { kept: unknown[]; elements: JsonObject[] } {
  let kept = live
  let isReplaced = false
  const elements: JsonObject[] = []
  for (const element of patch) {
    if (!isJsonObject(element)) continue
    const directive = getKey(element, marker)
    if (directive === undefined) elements.push(element)
    else if (directive === 'delete') {
      const identity = identify(element, key)
      kept = kept.filter((each) => !isJsonObject(each) || getKey(each, key) !== identity)
    } else if (directive === 'replace') isReplaced = true
    else if (directive === 'merge') throw malformedPatch('merging lists cannot yet be specified in the patch')
    else throw unknownDirective(directive, element)
  }
  return isReplaced ? { kept: elements, elements: [] } : { kept, elements }
}

function mergeElements(
  kept: readonly unknown[],
  elements: readonly JsonObject[],
  key: string,
  field: FieldInfo,
): unknown[] {
  const merged = [...kept]
  const places = new Map<unknown, number>()
  for (const [index, element] of merged.entries()) {
    const identity = isJsonObject(element) ? getKey(element, key) : undefined
    if (identity !== undefined && !places.has(identity)) places.set(identity, index)
  }
  for (const element of elements) {
    const identity = identify(element, key)
    const index = places.get(identity)
    const present = index === undefined ? undefined : merged[index]
    if (index !== undefined && isJsonObject(present)) merged[index] = mergeObject(present, element, placeOf(field))
    else places.set(identity, merged.push(element) - 1)
  }
  for (const element of merged) identify(element, key)
  return merged
}

function deleteScalars(live: JsonObject, key: string, values: unknown): void {
  const list = getKey(live, key)
  if (!Array.isArray(list) || !Array.isArray(values)) return
  if (list.length === 0 && values.length === 0) return
  if (elementKindOf(list, values) === 'map') throw malformedPatch('cannot merge lists without merge key for struct')
  const gone = new Set<unknown>(values)
  setKey(
    live,
    key,
    list.filter((element) => !gone.has(element)),
  )
}

/** The one kind of all elements; lists of several kinds, and of lists, cannot be merged. */
function elementKindOf(...lists: readonly (readonly unknown[])[]): string {
  let found: string | undefined
  for (const element of lists.flat()) {
    const kind = goKindOf(element)
    if (kind === 'slice') throw malformedPatch('lists of lists are not supported')
    if (kind === 'nil' || (found !== undefined && found !== kind)) {
      throw malformedPatch(`list element types are not identical: ${renderGo(lists)}`)
    }
    found = kind
  }
  if (found === undefined) throw malformedPatch('no elements in any of the given slices')
  return found
}

function goKindOf(value: unknown): string {
  if (Array.isArray(value)) return 'slice'
  if (value === null) return 'nil'
  return typeof value === 'object' ? 'map' : typeof value
}

/** A value without what carries a directive; undefined when it does so itself. */
function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(withoutDirectives).filter((element) => element !== undefined)
  }
  if (!isJsonObject(value)) return value
  if (getKey(value, marker) !== undefined) return undefined
  const copy: JsonObject = {}
  for (const [key, child] of Object.entries(value)) {
    const content = withoutDirectives(child)
    if (content !== undefined) setKey(copy, key, content)
  }
  return copy
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (!isJsonObject(value)) return value
  const copy: JsonObject = {}
  for (const [key, child] of Object.entries(value)) if (child !== null) setKey(copy, key, withoutNulls(child))
  return copy
}

function nameAfter(key: string, prefix: string, complaint: string): string {
  if (key[prefix.length] !== '/') throw malformedPatch(complaint)
  return key.slice(prefix.length + 1)
}

function lookUp({ definition, name }: Place, key: string): FieldInfo {
  if (definition === undefined) {
    throw malformedPatch(`merging an object in json but data type is not struct, instead is: ${name}`)
  }
  const field = fieldsOf(definition).get(key)
  if (field !== undefined) return field
  const struct = definition.slice(definition.lastIndexOf('.') + 1)
  throw malformedPatch(`unable to find api field in struct ${struct} for the json field ${JSON.stringify(key)}`)
}

function placeOf(field: FieldInfo): Place {
  if (field.ref !== undefined && !field.map) return { definition: field.ref, name: 'struct' }
  return { definition: undefined, name: field.map ? 'map' : 'interface' }
}

function unknownDirective(directive: unknown, patch: JsonObject): TypeError {
  return malformedPatch(`unknown patch type: ${renderGo(directive)} in map: ${renderGo(patch)}`)
}

function noMergeKey(element: JsonObject, key: string): TypeError {
  return malformedPatch(`map: ${renderGo(element)} does not contain declared merge key: ${key}`)
}

function wrongType(expected: string, value: unknown): TypeError {
  return malformedPatch(`expected a ${expected}, but received a ${goTypeOf(value)}`)
}
