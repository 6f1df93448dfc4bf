import type { Type } from '../cel/types.ts'
import { listOf } from '../cel/types.ts'
import { parseDate, parseDuration, parseTimestamp } from '../cel/time.ts'
import { CelMap, CelObject, fromJson, unordered } from '../cel/values.ts'
import type { Value } from '../cel/values.ts'
import { isObject } from './schema.ts'
import type { Schema } from './schema.ts'

/** How a schema looks to expressions: its type, and how values of it are read. */
export interface CelView {
  readonly type: Type
  read(value: unknown): Value
}

const keywords = new Set(
  `true false null in as break const continue else for function if import let loop package namespace return var void
while`.split(/\s+/),
)

// Kubernetes estimates costs with 0 for the size of numbers, objects and keys of maps; rules that are in use depend on it.
const requestBytes = 3 << 20
const stringBytes = requestBytes - 2

/**
 * The view of a schema (KEP-2876); undefined where expressions cannot look because the schema says too little. `isRoot`
 * adds the fields every object has.
 */
export function viewOf(schema: Schema, isRoot: boolean = schema.isEmbedded): CelView | undefined {
  if (isRoot !== schema.isEmbedded) return createView(schema, isRoot)
  if (!views.has(schema)) views.set(schema, createView(schema, isRoot))
  return views.get(schema)
}

const views = new WeakMap<Schema, CelView | undefined>()

function createView(schema: Schema, isRoot: boolean): CelView | undefined {
  if (schema.isIntOrString) {
    const maxElements = schema.source.maxLength === undefined ? stringBytes : schema.source.maxLength * 4
    return { type: { kind: 'dyn', minSize: 1, maxElements }, read: fromJson }
  }
  switch (schema.types[0]) {
    case 'array':
      return listView(schema)
    case 'object':
      return schema.additional === undefined ? objectView(schema, isRoot) : mapView(schema, schema.additional)
    case 'string':
      return textView(schema)
    case 'boolean':
      return { type: { kind: 'bool', minSize: 4, maxElements: 0 }, read: (value) => value as Value }
    case 'number':
      return {
        type: { kind: 'double', minSize: 1, maxElements: 0 },
        read: (value) => (typeof value === 'number' || typeof value === 'bigint' ? Number(value) : fromJson(value)),
      }
    case 'integer':
      return { type: { kind: 'int', minSize: 1, maxElements: 0 }, read: fromJson }
    default:
      return undefined
  }
}

function listView(schema: Schema): CelView | undefined {
  const items = schema.items === undefined ? undefined : viewOf(schema.items)
  if (items === undefined) return undefined
  const maxElements = schema.source.maxItems ?? Math.floor((requestBytes - 2) / ((items.type.minSize ?? 0) + 1))
  const keys = schema.listType === 'map' ? schema.listMapKeys.map(escapeName) : undefined
  return {
    type: { ...listOf(items.type), minSize: 2, maxElements },
    read(value) {
      if (!Array.isArray(value)) return fromJson(value)
      const list = value.map((item) => (item === null ? null : items.read(item)))
      if (schema.listType !== 'atomic') unordered.set(list, { keys })
      return list
    },
  }
}

function mapView(schema: Schema, additional: Schema): CelView | undefined {
  const values = viewOf(additional)
  if (values === undefined) return undefined
  const maxElements = schema.source.maxProperties ?? Math.floor((requestBytes - 2) / ((values.type.minSize ?? 0) + 6))
  const key: Type = { kind: 'string', maxElements: 0, minSize: 2 }
  return {
    type: { kind: 'map', key, value: values.type, minSize: 2, maxElements },
    read(value) {
      if (!isObject(value)) return fromJson(value)
      return new CelMap(
        Object.entries(value).map(([name, child]) => [name, child === null ? null : values.read(child)]),
      )
    },
  }
}

const plainText: CelView = {
  type: { kind: 'string', minSize: 2, maxElements: stringBytes },
  read: (value) => (typeof value === 'string' ? value : fromJson(value)),
}

const metadataView: CelView = objectOf(
  'metadata',
  new Map([
    ['name', plainText],
    ['generateName', plainText],
  ]),
  2,
)

function objectView(schema: Schema, isRoot: boolean): CelView {
  const fields = new Map<string, CelView>()
  let minSize = 2
  for (const [name, property] of schema.properties) {
    const view = viewOf(property)
    if (view === undefined) continue
    fields.set(name, view)
    if (schema.required.includes(name) && !property.hasDefault) minSize += name.length + (view.type.minSize ?? 0) + 4
  }
  if (isRoot) {
    fields.set('apiVersion', plainText)
    fields.set('kind', plainText)
    fields.set('metadata', metadataView)
  }
  return objectOf('object', fields, minSize)
}

function objectOf(name: string, views: ReadonlyMap<string, CelView>, minSize: number): CelView {
  const types = new Map<string, Type>()
  const readers = new Map<string, (value: unknown) => Value>()
  const names = new Map<string, string>()
  for (const [key, view] of views) {
    const field = escapeName(key)
    types.set(field, view.type)
    readers.set(field, (value) => (value === null ? null : view.read(value)))
    if (field !== key) names.set(field, key)
  }
  return {
    type: { kind: 'object', name, fields: types, minSize, maxElements: 0 },
    read: (value) => (isObject(value) ? new CelObject(name, value, readers, names) : fromJson(value)),
  }
}

function textView(schema: Schema): CelView {
  const { maxLength, enum: allowed } = schema.source
  switch (schema.source.format) {
    case 'byte':
      return {
        type: { kind: 'bytes', minSize: 2, maxElements: maxLength ?? stringBytes },
        read: (value) => (typeof value === 'string' ? Buffer.from(value, 'base64') : fromJson(value)),
      }
    case 'duration':
      return { type: { kind: 'duration', minSize: 3, maxElements: 32 }, read: (value) => parseDuration(String(value)) }
    case 'date':
      return { type: { kind: 'timestamp', minSize: 12, maxElements: 12 }, read: (value) => parseDate(String(value)) }
    case 'date-time':
      return {
        type: { kind: 'timestamp', minSize: 21, maxElements: 32 },
        read: (value) => parseTimestamp(String(value)),
      }
  }
  const longest = (allowed ?? []).reduce<number>(
    (most, each) => (typeof each === 'string' ? Math.max(most, Buffer.byteLength(each)) : most),
    0,
  )
  const maxElements = maxLength === undefined ? (allowed?.length ? longest : stringBytes) : maxLength * 4
  return { type: { kind: 'string', minSize: 2, maxElements }, read: (value) => plainText.read(value) }
}

/** A field's name as expressions write it: `__dot__` for a dot, keywords between double underscores. */
export function escapeName(name: string): string {
  if (keywords.has(name)) return `__${name}__`
  if (/^[A-Za-z_]\w*$/.test(name) && !name.includes('__')) return name
  return name
    .replaceAll('__', '\u0000')
    .replaceAll('.', '__dot__')
    .replaceAll('-', '__dash__')
    .replaceAll('/', '__slash__')
    .replaceAll('\u0000', '__underscores__')
}
