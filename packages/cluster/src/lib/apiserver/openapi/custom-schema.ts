import type { JSONSchemaProps } from '@fairlead/kube/types/apiextensions-v1'

import type { Resource } from '../resource.ts'
import { typeDescriptions } from './descriptions.ts'
import type { Dialect, Schema } from './dialect.ts'
import type { SchemaCollector } from './schema.ts'

const objectMeta = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'
const listMeta = 'io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta'

/** Adds the schemas of custom resources and of lists of them, as their definitions have them. */
export function addCustomSchemas(collector: SchemaCollector, resources: readonly Resource[], dialect: Dialect): void {
  for (const { info, custom } of resources) {
    if (custom === undefined) continue
    const name = definitionNameOf(info)
    const { group, version, kind } = info
    collector.put(name, renderObject(custom.schema, dialect))
    collector.mark(name, [{ group, kind, version }])
    collector.put(`${name}List`, renderList(name, info.plural, kind, dialect))
    collector.mark(`${name}List`, [{ group, kind: custom.listKind, version }])
    collector.add(objectMeta)
    collector.add(listMeta)
  }
}

/** `com.example.v1.Widget`: the group backwards, as a package would be named. */
export function definitionNameOf({ group, version, kind }: Resource['info']): string {
  return [...group.split('.').toReversed(), version, kind].join('.')
}

const apiVersion: Schema = { type: 'string', description: typeDescriptions.apiVersion }
const kindField: Schema = { type: 'string', description: typeDescriptions.kind }

function renderObject(schema: JSONSchemaProps, dialect: Dialect): Schema {
  // Clients of version 2 take what is listed for all there is: of open objects nothing is said.
  if (dialect.version === 2 && schema['x-kubernetes-preserve-unknown-fields'] === true) return { type: 'object' }
  const rendered = dialect.version === 2 ? toVersion2(schema) : { ...schema }
  const own = (rendered['properties'] ?? {}) as Schema
  const metadata = { description: typeDescriptions.metadata, ...dialect.reference(objectMeta) }
  return { ...rendered, properties: { ...own, apiVersion, kind: kindField, metadata } }
}

function renderList(name: string, plural: string, kind: string, dialect: Dialect): Schema {
  const items = { type: 'array', description: `The ${plural}.`, items: dialect.reference(name) }
  return {
    description: `Several objects of kind ${kind}.`,
    type: 'object',
    required: ['items'],
    properties: { apiVersion, items, kind: kindField, metadata: dialect.reference(listMeta) },
  }
}

const beyondVersion2 = new Set(['allOf', 'anyOf', 'oneOf', 'not', 'nullable', 'default', 'x-kubernetes-validations'])

/**
 * What version 2 can say of a schema. Clients that check by it must not refuse what the server takes: where null is allowed
 * or unknown fields stay, nothing is said of the inside.
 */
function toVersion2(schema: JSONSchemaProps): Schema {
  const {
    nullable,
    type,
    'x-kubernetes-preserve-unknown-fields': isOpen,
    'x-kubernetes-int-or-string': isEither,
  } = schema
  const hidden = new Set(beyondVersion2)
  const hidesInside = nullable === true || isOpen === true
  if (nullable === true || isEither === true || (hidesInside && type !== undefined && nested.has(type)))
    hidden.add('type')
  if (hidesInside) for (const key of ['properties', 'items']) hidden.add(key)
  const entries = Object.entries(schema).filter(([key]) => !hidden.has(key))
  const rendered = Object.fromEntries(entries.map(([key, value]) => [key, inside(key, value)]))
  const required = requiredOf(schema)
  if (required.length === 0) delete rendered['required']
  else rendered['required'] = required
  return rendered
}

const nested = new Set(['object', 'array'])

/** A field that may be null looks absent to clients of version 2. */
function requiredOf({ required = [], properties = {}, additionalProperties }: JSONSchemaProps): string[] {
  if (isSchema(additionalProperties) && additionalProperties.nullable === true) return []
  return required.filter((name) => properties[name]?.nullable !== true)
}

function isSchema(value: unknown): value is JSONSchemaProps {
  return typeof value === 'object' && value !== null
}

function inside(key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (key === 'items' || key === 'additionalProperties') return toVersion2(value)
  if (key !== 'properties') return value
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, toVersion2(child as JSONSchemaProps)]))
}
