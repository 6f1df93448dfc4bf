import type { JSONSchemaProps } from '@fairlead/kube/types/apiextensions-v1'

import { forbidden, invalid, required } from '../kinds/field-errors.ts'
import { isEqual } from '../metadata.ts'
import type { FieldError } from '../status.ts'
import { at, child } from './field-path.ts'
import { compilePattern } from './pattern.ts'
import { isObject, schemaOf } from './schema.ts'

type Level = 'root' | 'item' | 'field'

/**
 * Why a schema is not structural (KEP-1111's rules): every field has a type outside of `allOf`, `anyOf`, `oneOf` and
 * `not`, which may only restrict values of fields that are described outside of them.
 */
export function checkStructural(schema: JSONSchemaProps, path: string): FieldError[] {
  const errors = [...checkInvariants(schema, 'root', path), ...checkCompleteness(schema, schema, path, path)]
  return errors.toSorted((a, b) => (`${a.field}: ${a.message}` < `${b.field}: ${b.message}` ? -1 : 1))
}

function checkInvariants(schema: JSONSchemaProps, level: Level, path: string): FieldError[] {
  const items = schemaOf(schema.items)
  const additional = schemaOf(schema.additionalProperties)
  const errors: FieldError[] = []
  if (schema.type === 'array' && items === undefined) errors.push(required(child(path, 'items'), 'must be specified'))
  if (items !== undefined) errors.push(...checkInvariants(items, 'item', child(path, 'items')))
  for (const [key, property] of Object.entries(schema.properties ?? {})) {
    errors.push(...checkInvariants(property, 'field', at(child(path, 'properties'), key)))
  }
  if (schema.additionalProperties !== undefined && level === 'root') {
    errors.push(forbidden(child(path, 'additionalProperties'), 'must not be used at the root'))
  }
  if (additional !== undefined)
    errors.push(...checkInvariants(additional, 'field', child(path, 'additionalProperties')))
  return [
    ...errors,
    ...checkExtensions(schema, path),
    ...checkValues(schema, path, isIntOrStringPattern(schema)),
    ...checkType(schema, level, path),
    ...checkMeta(schema, level, path),
  ]
}

function checkExtensions(schema: JSONSchemaProps, path: string): FieldError[] {
  if (schema['x-kubernetes-int-or-string'] !== true) return []
  const excluded = ['x-kubernetes-preserve-unknown-fields', 'x-kubernetes-embedded-resource'] as const
  return excluded
    .filter((key) => schema[key] === true)
    .map((key) => invalid(child(path, key), true, 'must be false if x-kubernetes-int-or-string is true'))
}

const emptyTypes = {
  root: 'must not be empty at the root',
  item: 'must not be empty for specified array items',
  field: 'must not be empty for specified object fields',
} as const

function checkType(schema: JSONSchemaProps, level: Level, path: string): FieldError[] {
  const { type = '' } = schema
  const isEmbedded = schema['x-kubernetes-embedded-resource'] === true
  const mayBeEmpty =
    schema['x-kubernetes-int-or-string'] === true || schema['x-kubernetes-preserve-unknown-fields'] === true
  const errors: FieldError[] = []
  const embeddedRule = 'must be object if x-kubernetes-embedded-resource is true'
  if (isEmbedded && type !== 'object') {
    errors.push(
      type === '' ? required(child(path, 'type'), embeddedRule) : invalid(child(path, 'type'), type, embeddedRule),
    )
  } else if (type === '' && !mayBeEmpty) errors.push(required(child(path, 'type'), emptyTypes[level]))
  if (isEmbedded && schema.additionalProperties !== undefined) {
    errors.push(
      forbidden(child(path, 'additionalProperties'), 'must not be used if x-kubernetes-embedded-resource is set'),
    )
  }
  if (level === 'root' && type !== '' && type !== 'object') {
    errors.push(invalid(child(path, 'type'), type, 'must be object at the root'))
  }
  return errors
}

/** `apiVersion`, `kind` and `metadata` of an object are what they are everywhere. */
function checkMeta(schema: JSONSchemaProps, level: Level, path: string): FieldError[] {
  const isEmbedded = schema['x-kubernetes-embedded-resource'] === true
  const { kind, apiVersion, metadata } = schema.properties ?? {}
  const place = child(path, 'properties')
  const errors: FieldError[] = []
  if (level === 'root' || isEmbedded) {
    for (const [key, property] of Object.entries({ kind, apiVersion })) {
      if (property !== undefined && property.type !== 'string') {
        errors.push(invalid(child(at(place, key), 'type'), property.type ?? '', 'must be string'))
      }
    }
    if (metadata !== undefined && metadata.type !== 'object') {
      errors.push(invalid(child(at(place, 'metadata'), 'type'), metadata.type ?? '', 'must be object'))
    }
  }
  if (level === 'root' && metadata !== undefined && !restrictsNamesOnly(metadata)) {
    const why = 'must not specify anything other than name and generateName, but metadata is implicitly specified'
    errors.push(forbidden(at(place, 'metadata'), why))
  }
  const isKnown =
    schema['x-kubernetes-preserve-unknown-fields'] === true || Object.keys(schema.properties ?? {}).length > 0
  if (isEmbedded && !isKnown) {
    const why =
      'must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields'
    errors.push(required(child(path, 'properties'), why))
  }
  return errors
}

function restrictsNamesOnly({ type: _type, default: _default, properties = {}, ...rest }: JSONSchemaProps): boolean {
  const isOther = Object.values(rest).some((value) => value !== undefined)
  return !isOther && Object.keys(properties).every((key) => key === 'name' || key === 'generateName')
}

/** The two ways to say "integer or string" that may name types inside `anyOf`. */
function isIntOrStringPattern(schema: JSONSchemaProps): 'anyOf' | 'allOf' | undefined {
  const either = [{ type: 'integer' }, { type: 'string' }]
  if (isEqual(schema.anyOf, either)) return 'anyOf'
  return isEqual(schema.allOf?.[0]?.anyOf, either) ? 'allOf' : undefined
}

function checkValues(schema: JSONSchemaProps, path: string, exempt: 'anyOf' | 'allOf' | undefined): FieldError[] {
  const { anyOf = [], allOf = [], oneOf = [], not, pattern = '' } = schema
  const errors: FieldError[] = []
  if (exempt !== 'anyOf') {
    for (const [index, each] of anyOf.entries()) errors.push(...checkNested(each, at(child(path, 'anyOf'), index)))
  }
  for (const [index, each] of allOf.entries()) {
    const isExempt = exempt === 'allOf' && index === 0
    errors.push(...checkNested(each, at(child(path, 'allOf'), index), isExempt ? 'anyOf' : undefined))
  }
  for (const [index, each] of oneOf.entries()) errors.push(...checkNested(each, at(child(path, 'oneOf'), index)))
  if (not !== undefined) errors.push(...checkNested(not, child(path, 'not')))
  if (pattern !== '') errors.push(...checkPattern(pattern, child(path, 'pattern')))
  return errors
}

function checkPattern(pattern: string, field: string): FieldError[] {
  try {
    compilePattern(pattern)
    return []
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return [invalid(field, pattern, `must be a valid regular expression, but isn't: ${why}`)]
  }
}

const nestedRules: readonly (readonly [keyof JSONSchemaProps, string])[] = [
  ['type', 'must be empty to be structural'],
  ['additionalProperties', 'must be undefined to be structural'],
  ['default', 'must be undefined to be structural'],
  ['title', 'must be empty to be structural'],
  ['description', 'must be empty to be structural'],
  ['nullable', 'must be false to be structural'],
  ['x-kubernetes-preserve-unknown-fields', 'must be false to be structural'],
  ['x-kubernetes-embedded-resource', 'must be false to be structural'],
  ['x-kubernetes-int-or-string', 'must be false to be structural'],
  ['x-kubernetes-list-map-keys', 'must be empty to be structural'],
  ['x-kubernetes-list-type', 'must be undefined to be structural'],
  ['x-kubernetes-map-type', 'must be undefined to be structural'],
  ['x-kubernetes-validations', 'must be empty to be structural'],
]

/** Below `allOf`, `anyOf`, `oneOf` and `not` only values may be restricted. */
function checkNested(schema: JSONSchemaProps, path: string, exempt?: 'anyOf'): FieldError[] {
  const items = schemaOf(schema.items)
  const errors = checkValues(schema, path, exempt)
  if (items !== undefined) errors.push(...checkNested(items, child(path, 'items')))
  for (const [key, property] of Object.entries(schema.properties ?? {})) {
    errors.push(...checkNested(property, at(child(path, 'properties'), key)))
  }
  for (const [key, why] of nestedRules) {
    const value = schema[key]
    const isEmpty =
      value === undefined || value === '' || value === false || (Array.isArray(value) && value.length === 0)
    if (!isEmpty || (key === 'additionalProperties' && value === false)) errors.push(forbidden(child(path, key), why))
  }
  if (schema.properties?.['metadata'] !== undefined) {
    errors.push(forbidden(at(child(path, 'properties'), 'metadata'), 'must not be specified in a nested context'))
  }
  return errors
}

/** Fields that `allOf` and its like restrict must be described by the schema itself. */
function checkCompleteness(
  nested: JSONSchemaProps,
  schema: JSONSchemaProps,
  schemaPath: string,
  nestedPath: string,
): FieldError[] {
  const { not, allOf = [], anyOf = [], oneOf = [] } = nested
  const check = (each: JSONSchemaProps, path: string): FieldError[] => checkCovered(each, schema, schemaPath, path)
  return [
    ...(not === undefined ? [] : check(not, child(nestedPath, 'not'))),
    ...allOf.flatMap((each, index) => check(each, at(child(nestedPath, 'allOf'), index))),
    ...anyOf.flatMap((each, index) => check(each, at(child(nestedPath, 'anyOf'), index))),
    ...oneOf.flatMap((each, index) => check(each, at(child(nestedPath, 'oneOf'), index))),
  ]
}

function checkCovered(
  nested: JSONSchemaProps,
  schema: JSONSchemaProps | undefined,
  schemaPath: string,
  nestedPath: string,
): FieldError[] {
  if (schema === undefined) return [required(schemaPath, `because it is defined in ${nestedPath}`)]
  const errors = checkCompleteness(nested, schema, schemaPath, nestedPath)
  const items = schemaOf(nested.items)
  if (items !== undefined) {
    const own = schemaOf(schema.items)
    errors.push(...checkCovered(items, own, child(schemaPath, 'items'), child(nestedPath, 'items')))
  }
  for (const [key, property] of Object.entries(nested.properties ?? {})) {
    const own = schema.properties?.[key]
    const place = at(child(schemaPath, 'properties'), key)
    errors.push(...checkCovered(property, own, place, at(child(nestedPath, 'properties'), key)))
  }
  return errors
}

/** Every schema of a tree, the root first. */
export function* everySchema(schema: JSONSchemaProps): Generator<JSONSchemaProps> {
  yield schema
  const { items, additionalProperties, properties = {}, allOf = [], anyOf = [], oneOf = [], not } = schema
  const below = [items, additionalProperties, not, ...Object.values(properties), ...allOf, ...anyOf, ...oneOf]
  for (const each of below) if (isObject(each)) yield* everySchema(each)
}
