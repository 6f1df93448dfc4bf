import type { FieldError } from '../status.ts'
import type { Schema } from './schema.ts'

/** The CEL rules of a schema. */
export interface Rules {
  /** What the rules say against an object; `found` is what is wrong with it already. */
  check(object: unknown, old: unknown, found: readonly FieldError[]): FieldError[]
}

export function compileRules(_schema: Schema): Rules {
  return { check: () => [] }
}

/** What is wrong with the rules of a schema as CEL: syntax, types, cost. */
export function checkRules(_schema: unknown, _path: string, _options: { readonly isUnchanged: boolean }): FieldError[] {
  return []
}
