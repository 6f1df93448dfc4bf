import type { ConfigMap, Secret, ServiceAccount } from '@fairlead/kube/types/core-v1'

import { isEqual } from '../metadata.ts'
import { defineKind } from './define.ts'
import type { Stored } from './define.ts'
import { forbidden, immutable, invalid, required } from './field-errors.ts'
import { configMapKey } from './names.ts'
import { age, ageColumn, column, nameColumn } from './printing.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

/** Upstream's bound for what one ConfigMap or Secret may hold. */
const maxBytes = 1024 * 1024
const lockedMessage = 'field is immutable when `immutable` is set'
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

export const configMap: KindStrategy = defineKind<ConfigMap>({
  validate(object, old) {
    const { data = {}, binaryData = {} } = object
    const errors = [
      ...Object.keys(data).flatMap((key) => [
        ...configMapKey(`data[${key}]`, key),
        ...(Object.hasOwn(binaryData, key)
          ? [invalid(`data[${key}]`, key, 'duplicate of key present in binaryData')]
          : []),
      ]),
      ...Object.entries(binaryData).flatMap(([key, value]) => [
        ...configMapKey(`binaryData[${key}]`, key),
        ...validateBase64(`binaryData[${key}]`, value),
      ]),
      ...validateSize('', [...Object.values(data), ...Object.values(binaryData)]),
    ]
    if (old?.immutable !== true) return errors
    if (object.immutable !== true) errors.push(forbidden('immutable', lockedMessage))
    if (!isEqual(data, old.data ?? {})) errors.push(forbidden('data', lockedMessage))
    if (!isEqual(binaryData, old.binaryData ?? {})) errors.push(forbidden('binaryData', lockedMessage))
    return errors
  },
  columns: [nameColumn, column('Data'), ageColumn],
  row({ metadata, data = {}, binaryData = {} }, now) {
    const count = Object.keys(data).length + Object.keys(binaryData).length
    return [metadata.name, count, age(metadata.creationTimestamp, now)]
  },
})

/** Keys a secret of a type must have. */
const keysOfType: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
}

export const secret: KindStrategy = defineKind<Secret>({
  default(object) {
    if ((object.type ?? '') === '') object.type = 'Opaque'
    if (object.stringData === undefined) return
    const added = Object.entries(object.stringData).map(([key, value]) => [key, Buffer.from(value).toString('base64')])
    object.data = { ...object.data, ...Object.fromEntries(added) }
    delete object.stringData
  },
  validate(object, old) {
    const { data = {}, type = '' } = object
    const errors = [
      ...Object.entries(data).flatMap(([key, value]) => [
        ...configMapKey(`data[${key}]`, key),
        ...validateBase64(`data[${key}]`, value),
      ]),
      ...validateSize('data', Object.values(data)),
      ...validateType(object),
    ]
    if (old === undefined) return errors
    errors.push(...immutable('type', type, type === old.type))
    if (old.immutable !== true) return errors
    if (object.immutable !== true) errors.push(forbidden('immutable', lockedMessage))
    if (!isEqual(data, old.data ?? {})) errors.push(forbidden('data', lockedMessage))
    return errors
  },
  fields: ({ type = '' }) => ({ type }),
  columns: [nameColumn, column('Type'), column('Data'), ageColumn],
  row({ metadata, type = '', data = {} }, now) {
    return [metadata.name, type, Object.keys(data).length, age(metadata.creationTimestamp, now)]
  },
})

const accountAnnotation = 'kubernetes.io/service-account.name'

/** What a secret of a type of Kubernetes must hold. */
function validateType({ type = '', data = {}, metadata }: Stored<Secret>): FieldError[] {
  if (type === 'kubernetes.io/service-account-token') {
    const name = metadata.annotations?.[accountAnnotation] ?? ''
    return name === '' ? [required(`metadata.annotations[${accountAnnotation}]`)] : []
  }
  if (type === 'kubernetes.io/basic-auth') {
    const keys = ['username', 'password']
    return keys.some((key) => Object.hasOwn(data, key)) ? [] : keys.map((key) => required(`data[${key}]`))
  }
  const needed = keysOfType[type] ?? []
  const isMissing = (key: string): boolean =>
    type === 'kubernetes.io/ssh-auth' ? (data[key] ?? '') === '' : !Object.hasOwn(data, key)
  const missing = needed.filter(isMissing).map((key) => required(`data[${key}]`))
  const [key = ''] = needed
  return missing.length > 0 || !type.startsWith('kubernetes.io/dockerc') ? missing : validateJson(data[key] ?? '', key)
}

function validateJson(value: string, key: string): FieldError[] {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(value, 'base64').toString('utf8'))
    if (typeof parsed === 'object' && !Array.isArray(parsed)) return []
    return [invalid(`data[${key}]`, '<secret contents redacted>', 'the JSON value is not an object')]
  } catch {
    // What the parser says would show a part of the secret.
    return [invalid(`data[${key}]`, '<secret contents redacted>', 'invalid character looking for beginning of value')]
  }
}

export const serviceAccount: KindStrategy = defineKind<ServiceAccount>({
  columns: [nameColumn, ageColumn],
  row: ({ metadata }, now) => [metadata.name, age(metadata.creationTimestamp, now)],
})

function validateBase64(field: string, value: string): FieldError[] {
  return base64.test(value) ? [] : [invalid(field, '<hidden>', 'must be base64-encoded')]
}

function validateSize(field: string, values: readonly string[]): FieldError[] {
  const size = values.reduce((sum, value) => sum + Buffer.byteLength(value), 0)
  if (size <= maxBytes) return []
  return [{ field, reason: 'FieldValueTooLong', message: `Too long: may not be more than ${maxBytes} bytes` }]
}
