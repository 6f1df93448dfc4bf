import { renderExactJson } from '@fairlead/kube/codec'

import type { FieldError } from '../status.ts'

/** Findings worded as upstream's field errors are; clients and people search for these words. */

export function required(field: string, detail = ''): FieldError {
  return {
    field,
    reason: 'FieldValueRequired',
    message: detail === '' ? 'Required value' : `Required value: ${detail}`,
  }
}

export function invalid(field: string, value: unknown, why: string): FieldError {
  return { field, reason: 'FieldValueInvalid', message: `Invalid value: ${renderExactJson(value) ?? 'null'}: ${why}` }
}

/** {@link invalid} where upstream does not say why. */
export function invalidAsIs(field: string, value: unknown): FieldError {
  return { field, reason: 'FieldValueInvalid', message: `Invalid value: ${renderExactJson(value) ?? 'null'}` }
}

export function duplicate(field: string, value: unknown): FieldError {
  return { field, reason: 'FieldValueDuplicate', message: `Duplicate value: ${renderExactJson(value)}` }
}

export function notFound(field: string, value: string): FieldError {
  return { field, reason: 'FieldValueNotFound', message: `Not found: ${renderExactJson(value)}` }
}

export function forbidden(field: string, why: string): FieldError {
  return { field, reason: 'FieldValueForbidden', message: `Forbidden: ${why}` }
}

export function notSupported(field: string, value: unknown, allowed: readonly string[]): FieldError {
  return unsupported(field, value, allowed.toSorted())
}

/** {@link notSupported} where upstream does not sort what it supports. */
export function unsupported(field: string, value: unknown, allowed: readonly string[]): FieldError {
  const list = allowed.map((each) => JSON.stringify(each)).join(', ')
  return {
    field,
    reason: 'FieldValueNotSupported',
    message: `Unsupported value: ${renderExactJson(value)}: supported values: ${list}`,
  }
}

export function tooLong(field: string, longest: number): FieldError {
  return { field, reason: 'FieldValueTooLong', message: `Too long: may not be more than ${longest} bytes` }
}

export function tooMany(field: string, count: number, most: number): FieldError {
  return { field, reason: 'FieldValueTooMany', message: `Too many: ${count}: must have at most ${most} items` }
}

/** Checks a text of a closed set; absent and empty are fine, defaulting has filled what must be there. */
export function oneOf(field: string, value: string | undefined, allowed: readonly string[]): FieldError[] {
  return value === undefined || value === '' || allowed.includes(value) ? [] : [notSupported(field, value, allowed)]
}

export function nonNegative(field: string, value: number | undefined): FieldError[] {
  return value !== undefined && value < 0 ? [invalid(field, value, 'must be greater than or equal to 0')] : []
}

export function immutable(field: string, value: unknown, isSame: boolean): FieldError[] {
  return isSame ? [] : [invalid(field, value, 'field is immutable')]
}
