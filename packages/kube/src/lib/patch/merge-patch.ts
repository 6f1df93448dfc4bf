import { cloneJson, equalJson, getKey, isJsonObject, setKey } from './json-value.ts'
import type { JsonObject } from './json-value.ts'

/** Applies an RFC 7386 merge patch and returns the new document; the given one is not touched. */
export function applyMergePatch(document: unknown, patch: unknown): unknown {
  if (!isJsonObject(patch)) return cloneJson(patch)
  const result: JsonObject = isJsonObject(document) ? cloneJson(document) : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else setKey(result, key, applyMergePatch(getKey(result, key), value))
  }
  return result
}

/**
 * The RFC 7386 patch that turns `from` into `to`: `{}` when they are equal.
 *
 * A null inside `to` cannot be said in a merge patch; it removes the key.
 */
export function createMergePatch(from: unknown, to: unknown): unknown {
  if (!isJsonObject(from) || !isJsonObject(to)) return cloneJson(to)
  const patch: JsonObject = {}
  for (const key of Object.keys(from)) {
    if (getKey(to, key) === undefined) setKey(patch, key, null)
  }
  for (const [key, value] of Object.entries(to)) {
    const before = getKey(from, key)
    if (value === undefined || equalJson(before, value)) continue
    setKey(patch, key, isJsonObject(before) && isJsonObject(value) ? createMergePatch(before, value) : cloneJson(value))
  }
  return patch
}
