import { validateFields } from '@fairlead/kube/types'
import type { KindInfo, KubeObject } from '@fairlead/kube/types'

import { pruneFields } from '../body.ts'
import { invalid, required } from '../kinds/field-errors.ts'
import { dnsLabel1035 } from '../kinds/names.ts'
import { validateMetadata } from '../metadata.ts'
import type { FieldError } from '../status.ts'
import { isObject } from './schema.ts'
import type { JsonObject, Schema } from './schema.ts'

const metadataDefinition = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'

/** Fields of `metadata` that Kubernetes does not know (they are removed), and values of the wrong type in it. */
export function readMetadata(object: JsonObject, path = 'metadata'): { unknown: string[]; wrong: string[] } {
  const { metadata } = object
  if (metadata === undefined || metadata === null) return { unknown: [], wrong: [] }
  const { unknown, wrong } = validateFields(metadataDefinition, metadata)
  if (unknown.length > 0) pruneFields(metadataDefinition, metadata)
  return { unknown: unknown.map((each) => `${path}.${each}`), wrong }
}

/** The same for every object embedded in another one. Changes the object. */
export function readEmbedded(value: unknown, schema: Schema, path = ''): { unknown: string[]; wrong: string[] } {
  const found = { unknown: [] as string[], wrong: [] as string[] }
  walk(value, schema, path, (object, place) => {
    const { unknown, wrong } = readMetadata(object, join(place, 'metadata'))
    found.unknown.push(...unknown)
    found.wrong.push(...wrong)
    for (const key of ['apiVersion', 'kind']) {
      if (key in object && typeof object[key] !== 'string') found.wrong.push(`${join(place, key)}: must be a string`)
    }
  })
  return found
}

/** What is wrong with the identity of objects embedded in another one. */
export function checkEmbedded(value: unknown, schema: Schema): FieldError[] {
  const errors: FieldError[] = []
  walk(value, schema, '', (object, path) => errors.push(...checkIdentity(object, path)))
  return errors
}

function checkIdentity(object: JsonObject, path: string): FieldError[] {
  const { apiVersion, kind, metadata } = object
  const errors: FieldError[] = []
  const place = { apiVersion: join(path, 'apiVersion'), kind: join(path, 'kind') }
  if (apiVersion === undefined) errors.push(required(place.apiVersion))
  else if (apiVersion === '') errors.push(invalid(place.apiVersion, '', 'must not be empty'))
  else if (typeof apiVersion === 'string' && apiVersion.split('/').length > 2) {
    errors.push(invalid(place.apiVersion, apiVersion, `unexpected GroupVersion string: ${apiVersion}`))
  }
  if (kind === undefined) errors.push(required(place.kind))
  else if (kind === '') errors.push(invalid(place.kind, '', 'must not be empty'))
  else if (typeof kind === 'string') errors.push(...checkKind(place.kind, kind))
  if (isObject(metadata)) errors.push(...checkMetadata(metadata, path))
  return errors
}

function checkKind(field: string, kind: string): FieldError[] {
  return dnsLabel1035(field, kind.toLowerCase()).map(({ message }) =>
    invalid(
      field,
      kind,
      `may have mixed case, but should otherwise match: ${message.replace(/^Invalid value: "[^"]*": /, '')}`,
    ),
  )
}

function checkMetadata(metadata: JsonObject, path: string): FieldError[] {
  const named = { ...metadata, name: metadata['name'] ?? 'fakename' }
  const object = { apiVersion: '', kind: '', metadata: named } as KubeObject
  // Names inside other objects follow the most lenient rule there is.
  const lenient = { group: 'rbac.authorization.k8s.io', kind: '' } as KindInfo
  return validateMetadata(lenient, object).map((error) => ({ ...error, field: join(path, error.field) }))
}

function walk(
  value: unknown,
  schema: Schema | undefined,
  path: string,
  visit: (object: JsonObject, path: string) => void,
): void {
  if (schema === undefined || !schema.holds.embedded) return
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) walk(item, schema.items, `${path}[${index}]`, visit)
    return
  }
  if (!isObject(value)) return
  if (schema.isEmbedded) visit(value, path)
  for (const key in value) {
    const property = schema.properties.get(key)
    const place = property === undefined ? `${path}[${key}]` : join(path, key)
    walk(value[key], property ?? schema.additional, place, visit)
  }
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}
