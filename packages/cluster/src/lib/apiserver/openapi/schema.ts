import { fieldsOf } from '@fairlead/kube/types'
import type { FieldInfo } from '@fairlead/kube/types'

import { descriptionOf } from './descriptions.ts'
import type { Dialect, Schema } from './dialect.ts'
import { renderScalar, scalarDefinition } from './scalars.ts'

/**
 * Collects the schemas of definitions and of everything they consist of, by definition name, with the extensions of
 * Kubernetes. Only metadata has descriptions: the texts about the others are not ours to give.
 */
export class SchemaCollector {
  readonly #dialect: Dialect
  readonly #schemas = new Map<string, Schema>()
  /** Definitions that are replaced as a whole wherever they stand. */
  readonly #atomic = new Set<string>()

  constructor(dialect: Dialect) {
    this.#dialect = dialect
  }

  add(definition: string): void {
    if (this.#schemas.has(definition)) return
    const fields = [...fieldsOf(definition).values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
    const required = fields.flatMap((field) => (field.required ? [field.name] : []))
    const schema: Schema = { type: 'object', ...(required.length > 0 ? { required } : {}) }
    // Before its properties: a definition may contain itself.
    this.#schemas.set(definition, schema)
    if (fields.length === 0) return
    schema['properties'] = Object.fromEntries(fields.map((field) => [field.name, this.#field(field, definition)]))
  }

  /** Adds a schema that is in no table. */
  put(definition: string, schema: Schema): void {
    this.#schemas.set(definition, schema)
  }

  /** Says which kinds a definition is of. */
  mark(definition: string, kinds: readonly Schema[]): void {
    const schema = this.#schemas.get(definition)
    if (schema !== undefined) schema['x-kubernetes-group-version-kind'] = kinds
  }

  /** Everything collected, in the order of the names. */
  finish(): Record<string, Schema> {
    for (const definition of this.#atomic) {
      const schema = this.#schemas.get(definition)
      if (schema !== undefined) schema['x-kubernetes-map-type'] = 'atomic'
    }
    return Object.fromEntries([...this.#schemas].toSorted(([a], [b]) => (a < b ? -1 : 1)))
  }

  #field(field: FieldInfo, owner: string): Schema {
    const element = this.#element(field, owner)
    const listed: Schema = field.list ? { type: 'array', items: element } : element
    const schema: Schema = field.map ? { type: 'object', additionalProperties: listed } : listed
    const description = descriptionOf(owner, field.name)
    const described = description === undefined ? schema : { description, ...schema }
    return { ...described, ...renderExtensions(field, this.#dialect) }
  }

  #element(field: FieldInfo, owner: string): Schema {
    const { type, format, ref } = field
    const scalar = scalarDefinition(field, owner)
    if (scalar !== undefined) {
      this.#schemas.set(scalar, this.#schemas.get(scalar) ?? renderScalar(scalar, this.#dialect))
      return this.#dialect.reference(scalar)
    }
    if (ref !== undefined) {
      this.add(ref)
      if (field.mapType === 'atomic' && !field.list && !field.map) this.#atomic.add(ref)
      return this.#dialect.reference(ref)
    }
    switch (type) {
      case 'integer':
        return { type, format: format ?? 'int64' }
      case 'number':
        return { type, format: 'double' }
      case 'bytes':
        return { type: 'string', format: 'byte' }
      default:
        return { type }
    }
  }
}

function renderExtensions(field: FieldInfo, { version }: Dialect): Schema {
  const extensions: Schema = {}
  if (field.default !== undefined && version === 3) extensions['default'] = field.default
  if (field.list && !field.map && field.listType !== undefined) extensions['x-kubernetes-list-type'] = field.listType
  if (field.listMapKeys !== undefined) extensions['x-kubernetes-list-map-keys'] = field.listMapKeys
  if (field.map && field.mapType !== undefined) extensions['x-kubernetes-map-type'] = field.mapType
  if (field.mergeKey !== undefined) extensions['x-kubernetes-patch-merge-key'] = field.mergeKey
  if (field.mergeStrategies !== undefined) {
    extensions['x-kubernetes-patch-strategy'] = field.mergeStrategies.join(',')
  }
  return extensions
}
