import { fieldsOf } from '@fairlead/kube/types'
import type { FieldInfo, KindInfo } from '@fairlead/kube/types'

/** An OpenAPI v3 schema as far as Kubernetes uses it. */
export type Schema = { [key: string]: unknown }

const prefix = '#/components/schemas/'

/** Schemas of everything the kinds consist of, by definition name, with Kubernetes' extensions. */
export function renderSchemas(kinds: readonly KindInfo[]): Record<string, Schema> {
  const schemas: Record<string, Schema> = {}
  for (const { definition } of kinds) renderDefinition(definition, schemas)
  for (const { definition, group, version, kind } of kinds) {
    schemas[definition] = { ...schemas[definition], 'x-kubernetes-group-version-kind': [{ group, kind, version }] }
  }
  return Object.fromEntries(Object.entries(schemas).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** Adds the schema of a definition and of everything it consists of. */
export function renderDefinition(definition: string, into: Record<string, Schema>): void {
  if (into[definition] !== undefined) return
  const fields = [...fieldsOf(definition).values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const required = fields.flatMap((field) => (field.required ? [field.name] : []))
  into[definition] = {
    type: 'object',
    ...(required.length > 0 ? { required } : {}),
    properties: Object.fromEntries(fields.map((field) => [field.name, renderField(field)])),
  }
  for (const { ref } of fields) if (ref !== undefined) renderDefinition(ref, into)
}

function renderField(field: FieldInfo): Schema {
  const element = renderElement(field)
  const listed: Schema = field.list ? { type: 'array', items: element } : element
  const schema: Schema = field.map ? { type: 'object', additionalProperties: listed } : listed
  return { ...schema, ...renderExtensions(field) }
}

function renderElement({ type, format, ref }: FieldInfo): Schema {
  // A reference takes no siblings in OpenAPI 3.0; inside allOf the extensions may stand beside it.
  if (ref !== undefined) return { allOf: [{ $ref: prefix + ref }] }
  switch (type) {
    case 'integer':
      return { type, format: format ?? 'int64' }
    case 'number':
      return { type, format: 'double' }
    case 'bytes':
      return { type: 'string', format: 'byte' }
    case 'time':
    case 'microTime':
      return { type: 'string', format: 'date-time' }
    case 'quantity':
      return { oneOf: [{ type: 'string' }, { type: 'number' }] }
    case 'intOrString':
      return { format: 'int-or-string', oneOf: [{ type: 'integer' }, { type: 'string' }] }
    case 'any':
      return { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
    default:
      return { type }
  }
}

function renderExtensions(field: FieldInfo): Schema {
  const extensions: Schema = {}
  if (field.default !== undefined) extensions['default'] = field.default
  if (field.list && !field.map && field.listType !== undefined) extensions['x-kubernetes-list-type'] = field.listType
  if (field.listMapKeys !== undefined) extensions['x-kubernetes-list-map-keys'] = field.listMapKeys
  if (field.mapType !== undefined) extensions['x-kubernetes-map-type'] = field.mapType
  if (field.mergeKey !== undefined) extensions['x-kubernetes-patch-merge-key'] = field.mergeKey
  if (field.mergeStrategies !== undefined) {
    extensions['x-kubernetes-patch-strategy'] = field.mergeStrategies.join(',')
  }
  return extensions
}
