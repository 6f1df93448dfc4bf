import { deducedType, mergeTypeOf } from '@fairlead/kube/patch'
import type { MergeField, MergeType } from '@fairlead/kube/patch'
import type { JSONSchemaProps } from '@fairlead/kube/types/apiextensions-v1'

const objectMeta = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'
const text: MergeType = { scalar: 'string' }

/** How objects of a custom resource are merged, by their schema. */
export function mergeTypeOfSchema(schema: JSONSchemaProps): MergeType {
  const type = convert({ ...schema, 'x-kubernetes-embedded-resource': true })
  return type.map === undefined ? deducedType : type
}

function convert(schema: JSONSchemaProps): MergeType {
  if (schema['x-kubernetes-int-or-string'] === true) return { scalar: 'untyped' }
  switch (schema.type) {
    case 'string':
      return text
    case 'integer':
    case 'number':
      return { scalar: 'numeric' }
    case 'boolean':
      return { scalar: 'boolean' }
    case 'array':
      return convertList(schema)
    case 'object':
      return convertMap(schema)
    default:
      return schema.properties === undefined ? deducedType : convertMap(schema)
  }
}

function convertList(schema: JSONSchemaProps): MergeType {
  const { items } = schema
  const element = items === undefined || Array.isArray(items) ? deducedType : convert(items)
  const listType = schema['x-kubernetes-list-type']
  const keys = listType === 'map' ? (schema['x-kubernetes-list-map-keys'] ?? []) : []
  return { list: { isAtomic: listType !== 'map' && listType !== 'set', keys, element } }
}

function convertMap(schema: JSONSchemaProps): MergeType {
  const fields = new Map<string, MergeField>()
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    fields.set(name, fieldOf(name, convert(property), property.default))
  }
  if (schema['x-kubernetes-embedded-resource'] === true) {
    fields.set('apiVersion', fieldOf('apiVersion', text))
    fields.set('kind', fieldOf('kind', text))
    fields.set('metadata', { ...fieldOf('metadata', mergeTypeOf(objectMeta)) })
  }
  const isAtomic = schema['x-kubernetes-map-type'] === 'atomic'
  return { map: { isAtomic, fields, element: elementOf(schema, fields.size), present: [] } }
}

function fieldOf(name: string, type: MergeType, fallback?: unknown): MergeField {
  return { name, type, element: `f:${name}`, ...(fallback === undefined ? {} : { default: fallback }) }
}

function elementOf(schema: JSONSchemaProps, fields: number): MergeType | undefined {
  const { additionalProperties } = schema
  if (typeof additionalProperties === 'object') return convert(additionalProperties)
  const isOpen = additionalProperties === true || schema['x-kubernetes-preserve-unknown-fields'] === true
  return isOpen || fields === 0 ? deducedType : undefined
}
