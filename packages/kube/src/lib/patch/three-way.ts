import { fieldsOf } from '../types/fields.ts'
import { findElement, identityOf } from './element-order.ts'
import { cloneJson, equalJson, getKey, isJsonObject, setKey } from './json-value.ts'
import type { FieldInfo } from '../types/notation.ts'
import type { JsonObject } from './json-value.ts'

export interface ThreeWay {
  /** What was applied last time; undefined when nothing is known of it. */
  readonly original: unknown
  /** What is wanted now. */
  readonly modified: unknown
  /** What the cluster has. */
  readonly current: unknown
  /** Name in the type table; gives a strategic merge patch. Without it the result is a plain merge patch. */
  readonly definition?: string | undefined
}

/**
 * The patch that brings `current` to `modified` and leaves alone what others have set: fields of `current` that neither
 * `original` nor `modified` names stay, fields that `original` named and `modified` dropped are removed. `{}` when there
 * is nothing to do.
 */
export function createThreeWayMergePatch({ original, modified, current, definition }: ThreeWay): JsonObject {
  return diffObject(
    { original: asObject(original), modified: asObject(modified), current: asObject(current) },
    definition === undefined ? undefined : { definition },
    false,
  )
}

interface Objects {
  original: JsonObject
  modified: JsonObject
  current: JsonObject
}

/** Present when the patch is strategic; `definition` is undefined below fields of free shape. */
type Strategic = { definition: string | undefined } | undefined

function diffObject(objects: Objects, strategic: Strategic, retainKeys: boolean): JsonObject {
  const { original, modified, current } = objects
  const patch: JsonObject = {}
  for (const [key, value] of Object.entries(modified)) {
    if (value !== undefined) diffKey(patch, key, objects, fieldOf(strategic, key), strategic)
  }
  for (const key of Object.keys(original)) {
    if (getKey(modified, key) === undefined && isSet(current, key)) setKey(patch, key, null)
  }
  const hasMore = Object.keys(current).some((key) => isSet(current, key) && !isSet(modified, key))
  if (retainKeys && (Object.keys(patch).length > 0 || hasMore) && Object.keys(modified).length > 0) {
    // The fields exclude one another (a volume has one source): what is not wanted has to go whoever set it.
    for (const key of Object.keys(patch)) if (patch[key] === null) delete patch[key]
    patch.$retainKeys = Object.keys(modified)
      .filter((key) => isSet(modified, key))
      .toSorted()
  }
  return patch
}

function diffKey(
  patch: JsonObject,
  key: string,
  objects: Objects,
  field: FieldInfo | undefined,
  strategic: Strategic,
): void {
  const wanted = getKey(objects.modified, key)
  const now = getKey(objects.current, key)
  if (isJsonObject(wanted) && isJsonObject(now) && !hasStrategy(field, 'replace')) {
    const inner = { original: asObject(getKey(objects.original, key)), modified: wanted, current: now }
    const below = strategic && { definition: field?.map === true ? undefined : field?.ref }
    const difference = diffObject(inner, below, hasStrategy(field, 'retainKeys'))
    if (Object.keys(difference).length > 0) setKey(patch, key, difference)
  } else if (Array.isArray(wanted) && Array.isArray(now) && hasStrategy(field, 'merge')) {
    const before = getKey(objects.original, key)
    diffList(patch, key, { original: Array.isArray(before) ? before : [], modified: wanted, current: now }, field)
  } else if (wanted === null ? isSet(objects.current, key) : !equalJson(wanted, now)) {
    setKey(patch, key, cloneJson(wanted))
  }
}

interface Lists {
  original: unknown[]
  modified: unknown[]
  current: unknown[]
}

function diffList(patch: JsonObject, key: string, lists: Lists, field: FieldInfo | undefined): void {
  const mergeKey = field?.mergeKey
  const { modified, current } = lists
  if (mergeKey !== undefined && (isAmbiguous(modified, mergeKey) || isAmbiguous(current, mergeKey))) {
    // Two ports 53, TCP and UDP, cannot be told apart by the merge key: only the whole list is unambiguous.
    if (!equalJson(modified, current)) setKey(patch, key, [...cloneJson(modified), { $patch: 'replace' }])
    return
  }
  const { changed, deleted } = mergeKey === undefined ? diffScalars(lists) : diffElements(lists, mergeKey, field)
  const elements = mergeKey === undefined ? changed : [...changed, ...deleted]
  if (elements.length > 0) setKey(patch, key, elements)
  if (mergeKey === undefined && deleted.length > 0) setKey(patch, `$deleteFromPrimitiveList/${key}`, deleted)
  if (changed.length > 0 || deleted.length > 0 || !isInOrder(modified, current, mergeKey)) {
    const order = modified.map((element) =>
      mergeKey === undefined ? element : { [mergeKey]: identityOf(element, mergeKey) },
    )
    setKey(patch, `$setElementOrder/${key}`, order)
  }
}

function diffScalars({ original, modified, current }: Lists): { changed: unknown[]; deleted: unknown[] } {
  return {
    changed: modified.filter((value) => !hasScalar(current, value)),
    deleted: original.filter((value) => !hasScalar(modified, value) && hasScalar(current, value)),
  }
}

function hasScalar(list: unknown[], value: unknown): boolean {
  return findElement(list, value, undefined) >= 0
}

function diffElements(
  { original, modified, current }: Lists,
  mergeKey: string,
  field: FieldInfo | undefined,
): { changed: unknown[]; deleted: unknown[] } {
  const changed = modified.flatMap((element) => {
    const now = current[findElement(current, element, mergeKey)]
    if (now === undefined) return [cloneJson(element)]
    const before = original[findElement(original, element, mergeKey)]
    const inner = { original: asObject(before), modified: asObject(element), current: asObject(now) }
    const difference = diffObject(inner, { definition: field?.ref }, hasStrategy(field, 'retainKeys'))
    return Object.keys(difference).length === 0 ? [] : [{ ...difference, [mergeKey]: identityOf(element, mergeKey) }]
  })
  const deleted = original
    .filter((element) => findElement(modified, element, mergeKey) < 0 && findElement(current, element, mergeKey) >= 0)
    .map((element) => ({ $patch: 'delete', [mergeKey]: identityOf(element, mergeKey) }))
  return { changed, deleted }
}

function isAmbiguous(list: unknown[], mergeKey: string): boolean {
  return list.some((element, index) => {
    return identityOf(element, mergeKey) === undefined || findElement(list, element, mergeKey) !== index
  })
}

/** Whether the wanted elements stand in the wanted sequence already; those only the cluster has do not count. */
function isInOrder(modified: unknown[], current: unknown[], mergeKey: string | undefined): boolean {
  const positions = modified.map((element) => findElement(current, element, mergeKey))
  return positions.every((position, index) => index === 0 || position > (positions[index - 1] ?? -1))
}

function fieldOf(strategic: Strategic, key: string): FieldInfo | undefined {
  return strategic?.definition === undefined ? undefined : fieldsOf(strategic.definition).get(key)
}

function hasStrategy(field: FieldInfo | undefined, strategy: string): boolean {
  return field?.mergeStrategies?.includes(strategy) === true
}

function isSet(object: JsonObject, key: string): boolean {
  const value = getKey(object, key)
  return value !== undefined && value !== null
}

function asObject(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {}
}
