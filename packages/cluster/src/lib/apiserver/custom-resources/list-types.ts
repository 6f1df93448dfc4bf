import { renderExactJson } from '@fairlead/kube/codec'
import { duplicate, invalid } from '../kinds/field-errors.ts'
import type { FieldError } from '../status.ts'
import { isObject } from './schema.ts'
import type { Schema } from './schema.ts'

/** Finds elements of lists of type set and map that are there twice. */
export function checkListTypes(value: unknown, schema: Schema | undefined, path = ''): FieldError[] {
  if (schema === undefined || !schema.holds.keyedLists) return []
  if (Array.isArray(value)) {
    const own = schema.listType === 'set' ? checkSet(value, path) : []
    const keyed = schema.listType === 'map' ? checkMap(value, schema.listMapKeys, path) : []
    const below = value.flatMap((item, index) => checkListTypes(item, schema.items, `${path}[${index}]`))
    return [...own, ...keyed, ...below]
  }
  if (!isObject(value)) return []
  return Object.entries(value).flatMap(([key, child]) => {
    const property = schema.properties.get(key)
    if (property !== undefined) return checkListTypes(child, property, path === '' ? key : `${path}.${key}`)
    return checkListTypes(child, schema.additional, `${path}[${key}]`)
  })
}

function checkSet(list: readonly unknown[], path: string): FieldError[] {
  return repeated(list.map(identityOf)).map((index) => duplicate(`${path}[${index}]`, list[index]))
}

function checkMap(list: readonly unknown[], keys: readonly string[], path: string): FieldError[] {
  const stranger = list.findIndex((item) => item !== null && !isObject(item))
  if (stranger >= 0) {
    return [invalid(`${path}[${stranger}]`, list[stranger], 'must be an object for an array of list-type map')]
  }
  const found = list.map((item) => (isObject(item) ? pick(item, keys) : item))
  return repeated(found.map(identityOf)).map((index) => duplicate(`${path}[${index}]`, found[index]))
}

function pick(item: Record<string, unknown>, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(keys.flatMap((key) => (Object.hasOwn(item, key) ? [[key, item[key]]] : [])))
}

/** Positions at which a value appears for the second time. */
function repeated(identities: readonly string[]): number[] {
  const times = new Map<string, number>()
  return identities.flatMap((identity, index) => {
    const seen = (times.get(identity) ?? 0) + 1
    times.set(identity, seen)
    return seen === 2 ? [index] : []
  })
}

/** A text that is the same for equal values, whatever the order of their keys. */
function identityOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(identityOf).join()}]`
  if (!isObject(value)) return renderExactJson(value) ?? 'null'
  const keys = Object.keys(value).toSorted()
  return `{${keys.map((key) => `${JSON.stringify(key)}:${identityOf(value[key])}`).join()}}`
}
