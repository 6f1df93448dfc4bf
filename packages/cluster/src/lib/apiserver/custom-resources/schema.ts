import type { JSONSchemaProps, ValidationRule } from '@fairlead/kube/types/apiextensions-v1'

import { compilePattern } from './pattern.ts'
import type { Pattern } from './pattern.ts'

export type JsonObject = { [key: string]: unknown }

/** A structural schema of a custom resource, read once into what pruning, defaulting and validation ask for. */
export interface Schema {
  readonly source: JSONSchemaProps
  /** Types a value may have; empty for any. */
  readonly types: readonly string[]
  readonly isNullable: boolean
  readonly properties: ReadonlyMap<string, Schema>
  /** Whether keys beyond the properties are known: `additionalProperties` is there. */
  readonly hasAdditional: boolean
  /** Whether keys beyond the properties are an error: `additionalProperties: false`. */
  readonly forbidsAdditional: boolean
  /** What the values of further keys look like; undefined when anything goes. */
  readonly additional: Schema | undefined
  readonly items: Schema | undefined
  readonly required: readonly string[]
  readonly hasDefault: boolean
  readonly default: unknown
  readonly pattern: Pattern | undefined
  /** The format that is checked; empty for none and for unknown ones. */
  readonly format: string
  readonly allOf: readonly Schema[]
  readonly anyOf: readonly Schema[]
  readonly oneOf: readonly Schema[]
  readonly not: Schema | undefined
  readonly preservesUnknown: boolean
  /** Whether values carry `apiVersion`, `kind` and `metadata` of their own. */
  readonly isEmbedded: boolean
  readonly isIntOrString: boolean
  readonly listType: 'atomic' | 'set' | 'map'
  readonly listMapKeys: readonly string[]
  readonly isAtomicMap: boolean
  readonly rules: readonly ValidationRule[]
  /** What is found here or anywhere below; walks leave out the parts that hold nothing for them. */
  readonly holds: Contents
}

interface Contents {
  readonly defaults: boolean
  readonly rules: boolean
  /** Lists of type set or map. */
  readonly keyedLists: boolean
  readonly embedded: boolean
}

/** Reads the schema of a version. Whoever calls this has checked that it is structural. */
export function compileSchema(source: JSONSchemaProps): Schema {
  const items = schemaOf(source.items)
  const additional = schemaOf(source.additionalProperties)
  const parts = {
    properties: new Map(Object.entries(source.properties ?? {}).map(([name, each]) => [name, compileSchema(each)])),
    additional: additional === undefined ? undefined : compileSchema(additional),
    items: items === undefined ? undefined : compileSchema(items),
  }
  return {
    source,
    ...parts,
    ...readTypes(source),
    ...readJunctors(source),
    ...readExtensions(source),
    hasAdditional: source.additionalProperties !== undefined,
    forbidsAdditional: source.additionalProperties === false,
    required: source.required ?? [],
    hasDefault: source.default !== undefined && source.default !== null,
    default: source.default,
    pattern: source.pattern === undefined || source.pattern === '' ? undefined : compilePattern(source.pattern),
    holds: contentsOf(source, [...parts.properties.values(), parts.additional, parts.items]),
  }
}

/** The schema in a place that may hold something else (`true`, a list of schemas). */
export function schemaOf(value: unknown): JSONSchemaProps | undefined {
  return isObject(value) ? value : undefined
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function readTypes(source: JSONSchemaProps): Pick<Schema, 'types' | 'isNullable' | 'format' | 'isIntOrString'> {
  const { type = '', format = '' } = source
  const isIntOrString = source['x-kubernetes-int-or-string'] === true
  const types = isIntOrString ? ['integer', 'string'] : type === '' ? [] : [type]
  const checked = isKnownFormat(isIntOrString ? '' : type, format) ? format : ''
  return { types, isNullable: source.nullable === true, format: checked, isIntOrString }
}

function readJunctors(source: JSONSchemaProps): Pick<Schema, 'allOf' | 'anyOf' | 'oneOf' | 'not'> {
  const { allOf = [], anyOf = [], oneOf = [], not } = source
  return {
    allOf: allOf.map(compileSchema),
    anyOf: anyOf.map(compileSchema),
    oneOf: oneOf.map(compileSchema),
    not: not === undefined ? undefined : compileSchema(not),
  }
}

function readExtensions(
  source: JSONSchemaProps,
): Pick<Schema, 'preservesUnknown' | 'isEmbedded' | 'listType' | 'listMapKeys' | 'isAtomicMap' | 'rules'> {
  const listType = source['x-kubernetes-list-type']
  return {
    preservesUnknown: source['x-kubernetes-preserve-unknown-fields'] === true,
    isEmbedded: source['x-kubernetes-embedded-resource'] === true,
    listType: listType === 'set' || listType === 'map' ? listType : 'atomic',
    listMapKeys: source['x-kubernetes-list-map-keys'] ?? [],
    isAtomicMap: source['x-kubernetes-map-type'] === 'atomic',
    rules: source['x-kubernetes-validations'] ?? [],
  }
}

function contentsOf(source: JSONSchemaProps, below: readonly (Schema | undefined)[]): Contents {
  const any = (key: keyof Contents): boolean => below.some((schema) => schema?.holds[key] === true)
  const listType = source['x-kubernetes-list-type']
  return {
    defaults: (source.default !== undefined && source.default !== null) || any('defaults'),
    rules: (source['x-kubernetes-validations'] ?? []).length > 0 || any('rules'),
    keyedLists: listType === 'set' || listType === 'map' || any('keyedLists'),
    embedded: source['x-kubernetes-embedded-resource'] === true || any('embedded'),
  }
}

const textFormats = new Set(
  `bsonobjectid uri email hostname ipv4 ipv6 cidr mac uuid uuid3 uuid4 uuid5 isbn isbn10 isbn13 creditcard ssn hexcolor
rgbcolor byte password date duration datetime k8sshortname k8slongname`.split(/\s+/),
)

/** Formats of other names are ignored. */
function isKnownFormat(type: string, format: string): boolean {
  if (type === '' || type === 'string') return textFormats.has(format.replaceAll('-', ''))
  if (type === 'integer') return format === 'int32' || format === 'int64'
  return type === 'number' && (format === 'float' || format === 'double')
}
