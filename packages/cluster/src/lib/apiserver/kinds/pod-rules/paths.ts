import type { FieldError } from '../../status.ts'
import { invalid } from '../field-errors.ts'

/** A path that stays below where it begins. */
export function descendingPath(field: string, path: string): FieldError[] {
  return [
    ...(path.startsWith('/') ? [invalid(field, path, 'must be a relative path')] : []),
    ...withoutBacksteps(field, path),
  ]
}

export function withoutBacksteps(field: string, path: string): FieldError[] {
  return path.split('/').includes('..') ? [invalid(field, path, "must not contain '..'")] : []
}

/** The path of a file in a volume whose names with two dots are taken by what updates it as a whole. */
export function filePath(field: string, path: string): FieldError[] {
  const errors = descendingPath(field, path)
  const isReserved = path.startsWith('..') && !path.startsWith('../')
  return isReserved && path !== '..' ? [...errors, invalid(field, path, "must not start with '..'")] : errors
}
