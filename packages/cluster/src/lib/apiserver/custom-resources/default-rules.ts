import type { JSONSchemaProps } from '@fairlead/kube/types/apiextensions-v1'

import { invalid } from '../kinds/field-errors.ts'
import type { FieldError } from '../status.ts'
import { checkEmbedded, readEmbedded } from './embedded.ts'
import { at, child } from './field-path.ts'
import { isPruned } from './prune.ts'
import { compileRules } from './rules.ts'
import { compileSchema, schemaOf } from './schema.ts'
import { validateValue } from './validate-value.ts'

/** Defaults must be values their own schema accepts, without fields it does not know. */
export function checkDefaults(schema: JSONSchemaProps, path: string): FieldError[] {
  const items = schemaOf(schema.items)
  const own =
    schema.default === undefined || schema.default === null ? [] : checkDefault(schema, child(path, 'default'))
  const below = Object.entries(schema.properties ?? {}).flatMap(([key, property]) =>
    checkDefaults(property, at(child(path, 'properties'), key)),
  )
  // Defaults below additionalProperties are not looked at, as upstream.
  return [...own, ...(items === undefined ? [] : checkDefaults(items, child(path, 'items'))), ...below]
}

function checkDefault(source: JSONSchemaProps, path: string): FieldError[] {
  const schema = compileSchema(source)
  const value = structuredClone(source.default)
  if (!isPruned(value, schema)) return [invalid(path, source.default, 'must not have unknown fields')]
  const { wrong } = readEmbedded(value, schema, path)
  if (wrong.length > 0) return [invalid(path, source.default, `must result in valid metadata: ${wrong[0]}`)]
  const errors = [...checkEmbedded(value, schema), ...validateValue(value, schema)].map((error) => ({
    ...error,
    field: error.field === '' || error.field === '<nil>' ? path : child(path, error.field),
  }))
  if (errors.length > 0) return errors
  return compileRules(schema, schema.isEmbedded)
    .check(value, undefined, [])
    .map((error) => ({ ...error, field: child(path, error.field) }))
}
