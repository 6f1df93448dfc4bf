import type { JSONSchemaProps } from '@fairlead/kube/types/apiextensions-v1'

import { schemaOf } from './schema.ts'

/**
 * The schema a simple path leads to (`.spec.containers`, `['a.b']`, `.list[0]`), and the path as errors name it.
 * Undefined when the schema knows no such field.
 */
export function findField(
  schema: JSONSchemaProps,
  path: string,
  options: { readonly allowsIndexes?: boolean } = {},
): { readonly schema: JSONSchemaProps; readonly field: string; readonly first: string } | undefined {
  const { allowsIndexes = true } = options
  let rest = path
  let found: JSONSchemaProps | undefined = schema
  let field = ''
  let first = ''
  while (rest !== '') {
    const match = step.exec(rest)
    if (match === null || found === undefined) return undefined
    const [all, name, quoted, index] = match
    const key = name ?? quoted
    if (key === undefined) {
      if (!allowsIndexes) return undefined
      found = schemaOf(found.items)
      field += `[${index}]`
    } else {
      const property: JSONSchemaProps | undefined = found.properties?.[key]
      const isMapKey = property === undefined && schemaOf(found.additionalProperties) !== undefined
      found = property ?? schemaOf(found.additionalProperties)
      field += isMapKey ? `[${key}]` : `${field === '' ? '' : '.'}${key}`
      if (first === '') first = key
    }
    rest = rest.slice(all.length)
  }
  return found === undefined || field === '' ? undefined : { schema: found, field, first }
}

const step = /^(?:\.([A-Za-z_$][\w$-]*)|\['((?:[^'\\]|\\.)*)'\]|\[(\d+)\])/
