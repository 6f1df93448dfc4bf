import type { JSONSchemaProps } from '@fairlead/kube/types/apiextensions-v1'

import type { Resource } from '../resource.ts'
import { renderDefinition } from './schema.ts'
import type { Schema } from './schema.ts'

const objectMeta = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'
const listMeta = 'io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta'
const prefix = '#/components/schemas/'

/** Schemas of custom resources and of lists of them, as their definitions have them, and of the metadata they carry. */
export function renderCustomSchemas(resources: readonly Resource[]): Record<string, Schema> {
  const schemas: Record<string, Schema> = {}
  for (const { info, custom } of resources) {
    if (custom === undefined) continue
    const name = definitionNameOf(info)
    const { group, version, kind } = info
    schemas[name] = {
      ...renderObject(custom.schema),
      'x-kubernetes-group-version-kind': [{ group, kind, version }],
    }
    schemas[`${name}List`] = {
      ...renderList(name, info.plural, kind),
      'x-kubernetes-group-version-kind': [{ group, kind: custom.listKind, version }],
    }
  }
  if (Object.keys(schemas).length > 0) renderDefinition(objectMeta, schemas)
  if (Object.keys(schemas).length > 0) renderDefinition(listMeta, schemas)
  return schemas
}

/** `com.example.v1.Widget`: the group backwards, as a package would be named. */
function definitionNameOf({ group, version, kind }: Resource['info']): string {
  return [...group.split('.').toReversed(), version, kind].join('.')
}

const apiVersion: Schema = {
  type: 'string',
  description:
    'APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources',
}
const kindField: Schema = {
  type: 'string',
  description:
    'Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds',
}

function renderObject(schema: JSONSchemaProps): Schema {
  if (schema['x-kubernetes-preserve-unknown-fields'] === true && schema.properties === undefined) return { ...schema }
  const properties = { ...schema.properties, apiVersion, kind: kindField, metadata: reference(objectMeta) }
  return { ...schema, properties }
}

function renderList(name: string, plural: string, kind: string): Schema {
  const items = { type: 'array', description: `List of ${plural}.`, items: reference(name) }
  return {
    description: `${kind}List is a list of ${kind}`,
    type: 'object',
    required: ['items'],
    properties: { apiVersion, items, kind: kindField, metadata: reference(listMeta) },
  }
}

function reference(name: string): Schema {
  return { allOf: [{ $ref: prefix + name }] }
}
