import { isObject } from './schema.ts'
import type { JsonObject, Schema } from './schema.ts'

/**
 * Removes from a custom resource what its schema does not know and returns the paths of what it removed, sorted. The
 * object's own `apiVersion`, `kind` and `metadata` stay whatever the schema says. Changes the object.
 */
export function pruneResource(object: JsonObject, schema: Schema): string[] {
  const removed: string[] = []
  pruneObject(object, { ...schema, isEmbedded: true }, '', removed, schema.preservesUnknown)
  return removed.toSorted()
}

/** The same for a value inside an object, such as a default; true when nothing had to be removed. */
export function isPruned(value: unknown, schema: Schema): boolean {
  const removed: string[] = []
  prune(structuredClone(value), schema, '', removed)
  return removed.length === 0
}

const metaFields = new Set(['apiVersion', 'kind', 'metadata'])

function prune(
  value: unknown,
  schema: Schema | undefined,
  path: string,
  removed: string[],
  keepsUnknown: boolean = schema?.preservesUnknown === true,
): void {
  if (Array.isArray(value)) {
    const keeps = keepsUnknown || schema?.items?.preservesUnknown === true
    for (const [index, item] of value.entries()) {
      if (typeof item === 'object' && item !== null) prune(item, schema?.items, `${path}[${index}]`, removed, keeps)
    }
  } else if (isObject(value)) pruneObject(value, schema, path, removed, keepsUnknown)
}

function pruneObject(
  value: JsonObject,
  schema: Schema | undefined,
  path: string,
  removed: string[],
  keepsUnknown: boolean,
): void {
  for (const key in value) {
    if (schema?.isEmbedded === true && metaFields.has(key)) continue
    const property = schema?.properties.get(key)
    if (property !== undefined || schema?.hasAdditional === true) {
      const child = value[key]
      if (typeof child === 'object' && child !== null) {
        prune(child, property ?? schema?.additional, join(path, key), removed)
      }
    } else if (!keepsUnknown) {
      removed.push(join(path, key))
      delete value[key]
    }
  }
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}
