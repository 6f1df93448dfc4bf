import { malformedPatch } from '../errors.ts'
import { fieldsOf } from '../types/fields.ts'
import { orderElements, findElement } from './element-order.ts'
import { cloneJson, equalJson, getKey, isJsonObject, setKey } from './json-value.ts'
import type { FieldInfo } from '../types/notation.ts'
import type { JsonObject } from './json-value.ts'

const orderPrefix = '$setElementOrder/'
const deletePrefix = '$deleteFromPrimitiveList/'

/**
 * Applies a strategic merge patch to an object of a definition of the type table and returns the new object; the given
 * one is not touched.
 *
 * Lists with a merge strategy merge by their merge key, other lists are replaced. Understands `$patch: replace`,
 * `$patch: delete`, `$patch: merge`, `$retainKeys`, `$setElementOrder/LIST` and `$deleteFromPrimitiveList/LIST`.
 * Throws `TypeError` with code FAIRLEAD_KUBE_PATCH for directives that make no sense.
 * Source: https://git.k8s.io/community/contributors/devel/sig-api-machinery/strategic-merge-patch.md
 */
export function applyStrategicMergePatch(document: unknown, patch: unknown, definition: string): unknown {
  if (!isJsonObject(patch)) throw malformedPatch('strategic merge patch', 'it is not an object')
  return mergeObject(isJsonObject(document) ? cloneJson(document) : {}, patch, definition, '')
}

/** Merges into `live`, which belongs to the caller's copy. */
function mergeObject(live: JsonObject, patch: JsonObject, definition: string | undefined, path: string): JsonObject {
  const directive = getKey(patch, '$patch')
  if (directive === 'delete') return {}
  if (directive === 'replace') return withoutDirectives(patch)
  if (directive !== undefined && directive !== 'merge') throw unknownDirective(directive, path)
  retainKeys(live, patch, path)
  for (const [key, value] of Object.entries(patch)) {
    if (key === '$patch' || key === '$retainKeys' || key.startsWith(orderPrefix)) continue
    if (key.startsWith(deletePrefix)) deleteScalars(live, key.slice(deletePrefix.length), value, path)
    else if (value === null) delete live[key]
    else setKey(live, key, mergeValue(getKey(live, key), value, fieldOf(definition, key), `${path}.${key}`))
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(orderPrefix)) applyOrder(live, key.slice(orderPrefix.length), value, patch, definition, path)
  }
  return live
}

function mergeValue(live: unknown, patch: unknown, field: FieldInfo | undefined, path: string): unknown {
  if (Array.isArray(live) && Array.isArray(patch)) {
    if (hasStrategy(field, 'merge')) return mergeList(live, patch, field, path)
    return withoutDirectives(patch)
  }
  if (isJsonObject(live) && isJsonObject(patch) && !hasStrategy(field, 'replace')) {
    return mergeObject(live, patch, field?.map === true ? undefined : field?.ref, path)
  }
  return withoutDirectives(patch)
}

function mergeList(live: unknown[], patch: unknown[], field: FieldInfo | undefined, path: string): unknown[] {
  const mergeKey = field?.mergeKey
  if (mergeKey === undefined) {
    return orderElements(uniqueScalars([...live, ...patch]), patch, live, undefined)
  }
  const { kept, elements } = applyElementDirectives(live, patch, mergeKey, path)
  const merged = [...kept]
  for (const element of elements) {
    const index = findElement(merged, element, mergeKey)
    const current = merged[index]
    if (index < 0 || !isJsonObject(current)) merged.push(withoutDirectives(element))
    else merged[index] = mergeObject(current, element, field?.ref, `${path}[${index}]`)
  }
  return orderElements(merged, elements, kept, mergeKey)
}

/** Obeys `$patch` inside list elements: removes what is to be deleted, empties the list to be replaced. */
function applyElementDirectives(
  live: unknown[],
  patch: unknown[],
  mergeKey: string,
  path: string,
): { kept: unknown[]; elements: JsonObject[] } {
  let kept = live
  let isReplaced = false
  const elements: JsonObject[] = []
  for (const element of patch) {
    if (!isJsonObject(element)) throw malformedPatch(at(path), `an element is no object, expected key "${mergeKey}"`)
    const directive = getKey(element, '$patch')
    if (directive === 'replace') isReplaced = true
    if (directive === 'replace' && Object.keys(element).length === 1) continue
    if (getKey(element, mergeKey) === undefined) throw malformedPatch(at(path), `an element has no "${mergeKey}"`)
    if (directive === 'delete') kept = kept.filter((each) => findElement([each], element, mergeKey) < 0)
    else if (directive === undefined || directive === 'merge' || directive === 'replace') elements.push(element)
    else throw unknownDirective(directive, path)
  }
  return isReplaced ? { kept: elements.map(withoutDirectives), elements: [] } : { kept, elements }
}

function retainKeys(live: JsonObject, patch: JsonObject, path: string): void {
  const keys = getKey(patch, '$retainKeys')
  if (keys === undefined) return
  if (!Array.isArray(keys)) throw malformedPatch(at(path), '$retainKeys is not a list')
  for (const [key, value] of Object.entries(patch)) {
    if (key[0] !== '$' && value !== null && !keys.includes(key)) {
      throw malformedPatch(at(path), `"${key}" is set but not among $retainKeys`)
    }
  }
  for (const key of Object.keys(live)) if (!keys.includes(key)) delete live[key]
}

function deleteScalars(live: JsonObject, key: string, values: unknown, path: string): void {
  if (!Array.isArray(values)) throw malformedPatch(at(path), `${deletePrefix}${key} is not a list`)
  const list = getKey(live, key)
  if (Array.isArray(list)) {
    setKey(
      live,
      key,
      list.filter((element) => !values.some((value) => equalJson(value, element))),
    )
  }
}

function applyOrder(
  live: JsonObject,
  key: string,
  order: unknown,
  patch: JsonObject,
  definition: string | undefined,
  path: string,
): void {
  if (!Array.isArray(order)) throw malformedPatch(at(path), `${orderPrefix}${key} is not a list`)
  const mergeKey = fieldOf(definition, key)?.mergeKey
  const patched = getKey(patch, key)
  if (Array.isArray(patched)) checkOrder(patched, order, mergeKey, `${path}.${key}`)
  const list = getKey(live, key)
  if (Array.isArray(list)) setKey(live, key, orderElements(list, order, list, mergeKey))
}

/** Every element the patch brings must be in its own order list, in the same sequence. */
function checkOrder(patched: unknown[], order: unknown[], mergeKey: string | undefined, path: string): void {
  let last = -1
  for (const element of patched) {
    if (isJsonObject(element) && (element.$patch === 'delete' || element.$patch === 'replace')) continue
    const index = findElement(order, element, mergeKey)
    if (index < last || index < 0) throw malformedPatch(at(path), 'its elements do not follow $setElementOrder')
    last = index
  }
}

/** A value taken over from the patch as it is: its directives and nulls are not content. */
function withoutDirectives<T>(value: T): T
function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value
      .filter((element) => !isJsonObject(element) || (element.$patch !== 'delete' && !isOnlyDirective(element)))
      .map((element: unknown) => withoutDirectives(element))
  }
  if (!isJsonObject(value)) return value
  if (value.$patch === 'delete') return {}
  const copy: JsonObject = {}
  for (const [key, child] of Object.entries(value)) {
    if (child === null || isDirective(key)) continue
    setKey(copy, key, withoutDirectives(child))
  }
  return copy
}

function isDirective(key: string): boolean {
  return key === '$patch' || key === '$retainKeys' || key.startsWith(orderPrefix) || key.startsWith(deletePrefix)
}

function isOnlyDirective(element: JsonObject): boolean {
  const keys = Object.keys(element)
  return keys.length === 1 && keys[0] === '$patch'
}

function fieldOf(definition: string | undefined, key: string): FieldInfo | undefined {
  return definition === undefined ? undefined : fieldsOf(definition).get(key)
}

function hasStrategy(field: FieldInfo | undefined, strategy: string): boolean {
  return field?.mergeStrategies?.includes(strategy) === true
}

function uniqueScalars(list: unknown[]): unknown[] {
  return list.filter((element, index) => findElement(list, element, undefined) === index)
}

function unknownDirective(directive: unknown, path: string): TypeError {
  return malformedPatch(at(path), `$patch ${JSON.stringify(directive)} is unknown, expected merge, replace or delete`)
}

function at(path: string): string {
  return path === '' ? 'strategic merge patch' : `strategic merge patch at ${path.slice(1)}`
}
