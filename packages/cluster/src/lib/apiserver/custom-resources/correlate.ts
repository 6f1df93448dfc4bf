import { isEqual } from '../metadata.ts'
import { isObject } from './schema.ts'
import type { Schema } from './schema.ts'

/** A value as it was before a write; the value is undefined when the place was not there. */
type Old = { readonly value: unknown } | undefined

/**
 * Finds for a part of an object the same part of its previous version. Keys of objects are the same by name, elements of
 * lists of type map by their keys; elements of other lists cannot be told apart, so they have no previous version.
 */
export const correlate = {
  key(old: Old, schema: Schema, key: string): Old {
    if (old === undefined || schema.isAtomicMap || !isObject(old.value) || !Object.hasOwn(old.value, key))
      return undefined
    return { value: old.value[key] }
  },

  item(old: Old, schema: Schema, list: readonly unknown[], index: number): Old {
    if (old === undefined || !Array.isArray(old.value)) return undefined
    const item = list[index]
    // An atomic list that did not change at all is the same at every place.
    if (schema.listType === 'atomic' && old.value.length === list.length && isEqual(old.value, list)) {
      return { value: old.value[index] }
    }
    if (schema.listType !== 'map' || !isObject(item)) return undefined
    const found = old.value.filter((each) => isObject(each) && isSame(each, item, schema.listMapKeys))
    return found.length === 1 ? { value: found[0] } : undefined
  },
}

function isSame(a: Record<string, unknown>, b: Record<string, unknown>, keys: readonly string[]): boolean {
  return keys.every((key) => isEqual(a[key], b[key]))
}
