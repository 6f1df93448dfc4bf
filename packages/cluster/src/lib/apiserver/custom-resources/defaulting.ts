import { copyExactJson } from '@fairlead/kube/codec'
import { isObject } from './schema.ts'
import type { Schema } from './schema.ts'

/** Removes nulls where the schema allows none and has no default for them. Changes the value. */
export function dropNulls(value: unknown, schema: Schema | undefined): void {
  if (Array.isArray(value)) {
    for (const item of value) dropNulls(item, schema?.items)
    return
  }
  if (!isObject(value)) return
  for (const key in value) {
    const child = value[key]
    const property = schema?.properties.get(key) ?? schema?.additional
    if (child === null) {
      if (property !== undefined && !property.isNullable && !property.hasDefault) delete value[key]
    } else if (typeof child === 'object') dropNulls(child, property)
  }
}

/** Fills in the defaults of a schema, for absent fields and for nulls that are not allowed. Changes the value. */
export function applyDefaults(value: unknown, schema: Schema | undefined): void {
  if (schema === undefined || !schema.holds.defaults) return
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      if (item === null && isNullReplaced(schema.items)) value[index] = copy(schema.items?.default)
      applyDefaults(value[index], schema.items)
    }
    return
  }
  if (!isObject(value)) return
  for (const [key, property] of schema.properties) {
    if (!property.hasDefault) continue
    const child = value[key]
    if (child === undefined || (child === null && !property.isNullable)) value[key] = copy(property.default)
  }
  for (const key in value) {
    const property = schema.properties.get(key)
    if (property === undefined && value[key] === null && isNullReplaced(schema.additional)) {
      value[key] = copy(schema.additional?.default)
    }
    applyDefaults(value[key], property ?? schema.additional)
  }
}

function isNullReplaced(schema: Schema | undefined): boolean {
  return schema !== undefined && !schema.isNullable && schema.hasDefault
}

function copy(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? copyExactJson(value) : value
}
