import type { JSONSchemaProps } from '@fairlead/kube/types/apiextensions-v1'

import { forbidden, invalid, notSupported, required } from '../kinds/field-errors.ts'
import type { FieldError } from '../status.ts'
import { at, child } from './field-path.ts'
import { checkRuleTexts } from './rule-texts.ts'
import { schemaOf } from './schema.ts'

/** What holds for the place a schema stands in. */
interface Place {
  readonly isRoot: boolean
  /** Why defaults are forbidden here; undefined where they are not. */
  readonly noDefaults: string | undefined
  /** Inside `metadata`, `apiVersion` or `kind` of an object. */
  readonly isInMeta: boolean
}

/** What Kubernetes does not allow in the schema of a custom resource, whether it is structural or not. */
export function checkSchema(schema: JSONSchemaProps, path: string): FieldError[] {
  return check(schema, path, { isRoot: true, noDefaults: undefined, isInMeta: false })
}

const metaFields = new Set(['apiVersion', 'kind', 'metadata'])

function check(schema: JSONSchemaProps, path: string, place: Place): FieldError[] {
  return [
    ...checkKeywords(schema, path, place),
    ...checkAdditional(schema, path, place),
    ...checkProperties(schema, path, place),
    ...checkBelow(schema, path, { ...place, isRoot: false }),
    ...checkMapType(schema, path),
    ...checkListType(schema, path),
    ...checkRuleTexts(schema, path),
  ]
}

const types = ['array', 'boolean', 'integer', 'number', 'object', 'string']
const unsupported = ['id', 'additionalItems', 'patternProperties', 'definitions', 'dependencies', '$ref'] as const

function checkKeywords(schema: JSONSchemaProps, path: string, place: Place): FieldError[] {
  const { type = '' } = schema
  const errors: FieldError[] = []
  if (type !== '' && !types.includes(type)) errors.push(notSupported(child(path, 'type'), type, types))
  if (schema.default !== undefined && place.noDefaults !== undefined) {
    errors.push(forbidden(child(path, 'default'), `must not be set ${place.noDefaults}`.trim()))
  }
  for (const key of unsupported) {
    const value = schema[key]
    const isSet = value !== undefined && value !== '' && !(typeof value === 'object' && Object.keys(value).length === 0)
    if (isSet) errors.push(forbidden(child(path, key), `${key} is not supported`))
  }
  if (type === 'null') {
    errors.push(forbidden(child(path, 'type'), 'type cannot be set to null, use nullable as an alternative'))
  }
  if (Array.isArray(schema.items) && schema.items.length > 0) {
    errors.push(forbidden(child(path, 'items'), 'items must be a schema object and not an array'))
  }
  if (place.isInMeta && schema['x-kubernetes-embedded-resource'] === true) {
    errors.push(forbidden(child(path, 'x-kubernetes-embedded-resource'), 'must not be used inside of resource meta'))
  }
  if (schema.uniqueItems === true) {
    const why = 'uniqueItems cannot be set to true since the runtime complexity becomes quadratic'
    errors.push(forbidden(child(path, 'uniqueItems'), why))
  }
  if (schema['x-kubernetes-preserve-unknown-fields'] === false) {
    errors.push(invalid(child(path, 'x-kubernetes-preserve-unknown-fields'), false, 'must be true or undefined'))
  }
  return errors
}

function checkAdditional(schema: JSONSchemaProps, path: string, place: Place): FieldError[] {
  const { additionalProperties, properties = {} } = schema
  if (additionalProperties === undefined) return []
  const additional = schemaOf(additionalProperties)
  const errors: FieldError[] = []
  if (Object.keys(properties).length > 0 && additionalProperties !== true) {
    const why = 'additionalProperties and properties are mutual exclusive'
    errors.push(forbidden(child(path, 'additionalProperties'), why))
  }
  if (additional === undefined) return errors
  const noDefaults = place.isInMeta ? 'inside additionalProperties applying to object metadata' : place.noDefaults
  const below = { ...place, isRoot: false, noDefaults }
  return [...errors, ...check(additional, child(path, 'additionalProperties'), below)]
}

function checkProperties(schema: JSONSchemaProps, path: string, place: Place): FieldError[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, property]) => {
    const isMeta = (place.isRoot || schema['x-kubernetes-embedded-resource'] === true) && metaFields.has(key)
    const below = {
      isRoot: false,
      isInMeta: place.isInMeta || isMeta,
      noDefaults: place.isRoot && isMeta ? `in top-level ${key}` : place.noDefaults,
    }
    return check(property, at(child(path, 'properties'), key), below)
  })
}

function checkBelow(schema: JSONSchemaProps, path: string, place: Place): FieldError[] {
  const { not, allOf = [], oneOf = [], anyOf = [] } = schema
  const items = schemaOf(schema.items)
  const list = (key: string, schemas: readonly JSONSchemaProps[]): FieldError[] =>
    schemas.flatMap((each, index) => check(each, at(child(path, key), index), place))
  return [
    ...(not === undefined ? [] : check(not, child(path, 'not'), place)),
    ...list('allOf', allOf),
    ...list('oneOf', oneOf),
    ...list('anyOf', anyOf),
    ...(items === undefined ? [] : check(items, child(path, 'items'), place)),
  ]
}

function checkMapType(schema: JSONSchemaProps, path: string): FieldError[] {
  const mapType = schema['x-kubernetes-map-type']
  if (mapType === undefined) return []
  const errors = mustHaveType(schema, 'object', 'must be object if x-kubernetes-map-type is specified', path)
  const known = ['atomic', 'granular']
  if (!known.includes(mapType)) errors.push(notSupported(child(path, 'x-kubernetes-map-type'), mapType, known))
  return errors
}

function mustHaveType({ type = '' }: JSONSchemaProps, wanted: string, why: string, path: string): FieldError[] {
  if (type === wanted) return []
  return [type === '' ? required(child(path, 'type'), why) : invalid(child(path, 'type'), type, why)]
}

function checkListType(schema: JSONSchemaProps, path: string): FieldError[] {
  const listType = schema['x-kubernetes-list-type']
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  const errors: FieldError[] = []
  if (listType !== undefined && schema.type !== 'array') {
    errors.push(...mustHaveType(schema, 'array', 'must be array if x-kubernetes-list-type is specified', path))
  } else if (listType === 'set') errors.push(...checkSetItems(schema, path))
  const known = ['atomic', 'map', 'set']
  if (listType !== undefined && !known.includes(listType)) {
    errors.push(notSupported(child(path, 'x-kubernetes-list-type'), listType, known))
  }
  if (keys.length > 0 && listType !== 'map') {
    const why = 'must be map if x-kubernetes-list-map-keys is non-empty'
    const field = child(path, 'x-kubernetes-list-type')
    errors.push(listType === undefined ? required(field, why) : invalid(field, listType, why))
  }
  if (listType === 'map') errors.push(...checkMapItems(schema, keys, path))
  return [...errors, ...checkKeyedItems(schema, path)]
}

function checkSetItems(schema: JSONSchemaProps, path: string): FieldError[] {
  const items = schemaOf(schema.items)
  const why = 'must be atomic as item of a list with x-kubernetes-list-type=set'
  const place = child(path, 'items')
  const { 'x-kubernetes-list-type': listType = 'atomic', 'x-kubernetes-map-type': mapType } = items ?? {}
  if (items?.type === 'array' && listType !== 'atomic') {
    return [invalid(child(place, 'x-kubernetes-list-type'), listType, why)]
  }
  if (items?.type === 'object' && mapType !== 'atomic') {
    return [invalid(child(place, 'x-kubernetes-map-type'), mapType ?? null, why)]
  }
  return []
}

function checkMapItems(schema: JSONSchemaProps, keys: readonly string[], path: string): FieldError[] {
  const errors: FieldError[] = []
  const keysField = child(path, 'x-kubernetes-list-map-keys')
  if (keys.length === 0) errors.push(required(keysField, 'must not be empty if x-kubernetes-list-type is map'))
  if (schema.items === undefined) {
    errors.push(required(child(path, 'items'), 'must have a schema if x-kubernetes-list-type is map'))
    return errors
  }
  const items = schemaOf(schema.items)
  if (items === undefined) {
    const why = 'must only have a single schema if x-kubernetes-list-type is map'
    return [...errors, invalid(child(path, 'items'), schema.items, why)]
  }
  if (items.type !== 'object') {
    const why = "must be object if parent array's x-kubernetes-list-type is map"
    return [...errors, invalid(child(path, 'items', 'type'), items.type ?? '', why)]
  }
  for (const [index, key] of keys.entries()) {
    const property = items.properties?.[key]
    if (property === undefined) errors.push(invalid(keysField, keys, 'entries must all be names of item properties'))
    else if (property.type === 'array' || property.type === 'object') {
      const why = "must be a scalar type if parent array's x-kubernetes-list-type is map"
      errors.push(invalid(child(at(child(path, 'items', 'properties'), key), 'type'), items.type, why))
    }
    if (keys.indexOf(key) < index) errors.push(invalid(keysField, keys, 'must not contain duplicate entries'))
  }
  return errors
}

/** Elements of sets and maps are found by their value or keys, which must therefore be there. */
function checkKeyedItems(schema: JSONSchemaProps, path: string): FieldError[] {
  const listType = schema['x-kubernetes-list-type']
  const items = schemaOf(schema.items)
  if (items === undefined || (listType !== 'set' && listType !== 'map')) return []
  const place = child(path, 'items')
  const errors: FieldError[] = []
  if (items.nullable === true) {
    const why = `cannot be nullable when x-kubernetes-list-type is ${listType}`
    errors.push(forbidden(child(place, 'nullable'), why))
  }
  for (const key of listType === 'map' ? (schema['x-kubernetes-list-map-keys'] ?? []) : []) {
    const property = items.properties?.[key]
    if (property === undefined) continue
    const field = at(child(place, 'properties'), key)
    const what = 'this property is in x-kubernetes-list-map-keys'
    if (items.required?.includes(key) !== true && property.default === undefined) {
      const why = `${what}, so it must have a default or be a required property`
      errors.push(required(child(field, 'default'), why))
    }
    if (property.nullable === true)
      errors.push(forbidden(child(field, 'nullable'), `${what}, so it cannot be nullable`))
  }
  return errors
}
