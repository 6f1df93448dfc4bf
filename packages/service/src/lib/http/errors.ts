import { coded, messageOf, quote } from '../errors.ts'
import type { ServiceError } from '../errors.ts'

export function tlsInvalid(cause: unknown): ServiceError {
  return coded(
    new Error(`Cannot use the TLS certificate: ${messageOf(cause)}`, { cause }),
    'FAIRLEAD_SERVICE_TLS',
    'Give the certificate chain and its private key as PEM text; they must belong together',
  )
}

export function eventInvalid(field: 'event' | 'id' | 'retry', value: unknown, state: string): ServiceError {
  return coded(
    new TypeError(`Cannot send event with ${field} ${quote(String(value))}: ${state}`),
    'FAIRLEAD_SERVICE_EVENT',
    'Put text with line breaks into data, which may have any',
  )
}

export function schemaUndescribed(place: string, cause: unknown, vendor?: string): ServiceError {
  const state = vendor === undefined ? messageOf(cause) : `schemas of ${quote(vendor)} do not say what they are`
  const hint =
    vendor === 'valibot'
      ? 'Install @valibot/to-json-schema'
      : 'Use a schema that has a JSON Schema (Standard Schema 1.1), or leave the route out with openapi: { hidden: true }'
  return coded(
    new TypeError(`Cannot describe the schema of ${quote(place)}: ${state}`, { cause }),
    'FAIRLEAD_SERVICE_OPENAPI',
    hint,
  )
}
