import { cloneJson, equalJson, getKey, isJsonObject, setKey } from './json-value.ts'
import type { JsonObject } from './json-value.ts'

/** Applies an RFC 7386 merge patch and returns the new document; the given one is not touched. */
export function applyMergePatch(document: unknown, patch: unknown): unknown {
  return isJsonObject(patch) ? merge(isJsonObject(document) ? cloneJson(document) : {}, patch) : cloneJson(patch)
}

/** Merges `patch` into `live`, which is the caller's own: copied once, not once more at each level. */
function merge(live: JsonObject, patch: JsonObject): JsonObject {
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete live[key]
    else if (!isJsonObject(value)) setKey(live, key, cloneJson(value))
    else {
      const below = getKey(live, key)
      setKey(live, key, merge(isJsonObject(below) ? below : {}, value))
    }
  }
  return live
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
