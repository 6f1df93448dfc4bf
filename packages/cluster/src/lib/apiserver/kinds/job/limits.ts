import type { FieldError } from '../../status.ts'

/** A finding about a value that is too large to be repeated in it. */
export function invalidWhole(field: string, why: string): FieldError {
  return { field, reason: 'FieldValueInvalid', message: `Invalid value: ${why}` }
}

export function atMost(field: string, count: number, limit: number): FieldError[] {
  if (count <= limit) return []
  return [{ field, reason: 'FieldValueTooMany', message: `Too many: ${count}: must have at most ${limit} items` }]
}

export function noLonger(field: string, text: string, limit: number): FieldError[] {
  if (text.length <= limit) return []
  return [{ field, reason: 'FieldValueTooLong', message: `Too long: may not be more than ${limit} bytes` }]
}
