import { renderExactJson } from '@fairlead/kube/codec'
import { isEqual } from '../metadata.ts'
import type { FieldError } from '../status.ts'
import { correlate } from './correlate.ts'
import { hasFormat } from './formats.ts'
import { isObject } from './schema.ts'
import type { JsonObject, Schema } from './schema.ts'

export interface ValueOptions {
  /** Field the value stands in, when that is not the whole object (`status`). */
  readonly root?: string
  /**
   * The value as it was before. What did not change is not held against the writer, however wrong it is (KEP-4008).
   * Absent for a create.
   */
  readonly old?: { readonly value: unknown }
}

/** What is wrong with a value by its schema, in the words of Kubernetes. CEL rules are not evaluated here. */
export function validateValue(value: unknown, schema: Schema, options: ValueOptions = {}): FieldError[] {
  const findings = new Findings(options.root ?? '')
  validate(value, schema, '', options.old, findings)
  return findings.errors
}

type Old = { readonly value: unknown } | undefined

/** Errors, and how much was looked at: of several alternatives that fail, the one that got furthest is told. */
class Findings {
  readonly errors: FieldError[] = []
  readonly #root: string
  count = 0

  constructor(root: string) {
    this.#root = root
  }

  fresh(): Findings {
    return new Findings(this.#root)
  }

  add(path: string, reason: string, message: string): void {
    const name = path.startsWith('.') ? path.slice(1) : path
    const field = this.#root === '' || name === '' ? this.#root + name : `${this.#root}.${name}`
    this.errors.push({ field, reason, message })
  }

  invalid(path: string, value: unknown, why: string): void {
    this.add(path, 'FieldValueInvalid', `Invalid value: ${renderValue(value)}: ${why}`)
  }

  /** Findings about a whole object come without its place, as upstream has them. */
  whole(why: string): void {
    const field = this.#root === '' ? '<nil>' : this.#root
    this.errors.push({ field, reason: 'FieldValueInvalid', message: `Invalid value: "": ${why}` })
  }

  merge(other: Findings): void {
    this.errors.push(...other.errors)
    this.count += other.count
  }
}

function validate(value: unknown, schema: Schema, path: string, old: Old, findings: Findings): void {
  const own = old === undefined ? findings : findings.fresh()
  validateFresh(value, schema, path, old, own)
  if (own === findings) return
  if (own.errors.length > 0 && isEqual(value, old?.value)) own.errors.length = 0
  findings.merge(own)
}

function validateFresh(value: unknown, schema: Schema, path: string, old: Old, findings: Findings): void {
  findings.count += 1
  checkType(value, schema, path, findings)
  if (value === null) return checkEnum(value, schema, path, findings)
  checkJunctors(value, schema, path, old, findings)
  if (typeof value === 'string') checkText(value, schema, path, findings)
  else if (typeof value === 'number' || typeof value === 'bigint') checkNumber(value, schema, path, findings)
  else if (Array.isArray(value)) checkList(value, schema, path, old, findings)
  checkEnum(value, schema, path, findings)
  if (isObject(value)) checkObject(value, schema, path, old, findings)
}

function checkType(value: unknown, schema: Schema, path: string, findings: Findings): void {
  const { types, format } = schema
  const wrong = (expected: string, got: string): void =>
    findings.add(
      path,
      'FieldValueTypeInvalid',
      `Invalid value: ${JSON.stringify(got)}: ${path} in body must be of type ${expected}: ${JSON.stringify(got)}`,
    )
  if (value === null) {
    if (types.length > 0 && !schema.isNullable) wrong(types.join(), 'null')
    return
  }
  if (types.length === 0) return
  const type = typeOf(value)
  const isIn = types.includes(type) || (type === 'integer' && types.includes('number'))
  if (isIn) return
  const isTextual = typeof value === 'string' || Array.isArray(value)
  if (format !== '' && !isTextual)
    return wrong(format, type === 'integer' ? 'int64' : type === 'number' ? 'double' : '')
  wrong(types.join(), type)
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'bigint') return 'integer'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

function checkText(value: string, schema: Schema, path: string, findings: Findings): void {
  const { minLength, maxLength } = schema.source
  findings.count += 1
  if (maxLength !== undefined || minLength !== undefined) {
    const length = lengthOf(value)
    if (maxLength !== undefined && length > maxLength) {
      findings.add(path, 'FieldValueTooLong', `Too long: may not be more than ${plural(maxLength, 'byte')}`)
    }
    if (minLength !== undefined && length < minLength) {
      findings.invalid(path, value, `${path} in body should be at least ${minLength} chars long`)
    }
  }
  if (schema.pattern !== undefined && !schema.pattern.test(value)) {
    findings.invalid(path, value, `${path} in body should match '${schema.pattern.source}'`)
  }
  if (schema.format !== '' && !hasFormat(schema.format, value)) {
    findings.invalid(path, value, `${path} in body must be of type ${schema.format}: ${JSON.stringify(value)}`)
  }
}

/** Length in code points. */
function lengthOf(text: string): number {
  let length = text.length
  for (let at = 0; at < text.length; at += 1) if ((text.charCodeAt(at) & 0xfc00) === 0xdc00) length -= 1
  return length
}

function checkNumber(value: number | bigint, schema: Schema, path: string, findings: Findings): void {
  const { maximum, minimum, exclusiveMaximum, exclusiveMinimum, multipleOf } = schema.source
  findings.count += 1
  if (multipleOf !== undefined && !isMultiple(value, multipleOf)) {
    findings.invalid(path, value, `${path} in body should be a multiple of ${multipleOf}`)
  }
  if (maximum !== undefined && (exclusiveMaximum === true ? value >= maximum : value > maximum)) {
    const bound = exclusiveMaximum === true ? 'less than' : 'less than or equal to'
    findings.invalid(path, value, `${path} in body should be ${bound} ${maximum}`)
  }
  if (minimum !== undefined && (exclusiveMinimum === true ? value <= minimum : value < minimum)) {
    const bound = exclusiveMinimum === true ? 'greater than' : 'greater than or equal to'
    findings.invalid(path, value, `${path} in body should be ${bound} ${minimum}`)
  }
  if (schema.format === 'int32' && isInteger(value) && (value > 2147483647 || value < -2147483648)) {
    findings.invalid(path, value, `${path} in body must be of type int32: ${JSON.stringify(String(value))}`)
  }
}

function isMultiple(value: number | bigint, of: number): boolean {
  if (isInteger(value) && Number.isInteger(of)) return BigInt(value) % BigInt(of) === 0n
  const quotient = Number(value) / of
  return Math.abs(quotient - Math.round(quotient)) < 1e-9 * Math.max(1, Math.abs(quotient))
}

function isInteger(value: number | bigint): boolean {
  return typeof value === 'bigint' || Number.isInteger(value)
}

function checkList(value: readonly unknown[], schema: Schema, path: string, old: Old, findings: Findings): void {
  const { minItems, maxItems } = schema.source
  const { items } = schema
  if (items !== undefined) {
    for (const [index, item] of value.entries()) {
      validate(item, items, `${path}[${index}]`, correlate.item(old, schema, value, index), findings)
    }
  }
  if (minItems !== undefined && value.length < minItems) {
    findings.invalid(path, value.length, `${path} in body should have at least ${minItems} items`)
  }
  if (maxItems !== undefined && value.length > maxItems) tooMany(path, value.length, maxItems, findings)
  findings.count += 1
}

function checkEnum(value: unknown, schema: Schema, path: string, findings: Findings): void {
  const allowed = schema.source.enum
  findings.count += 1
  if (allowed === undefined || allowed.length === 0 || allowed.some((each) => isEqual(each, value))) return
  if (value === null && schema.isNullable) return
  const list = allowed.map((each) => JSON.stringify(typeof each === 'string' ? each : renderExactJson(each))).join(', ')
  findings.add(path, 'FieldValueNotSupported', `Unsupported value: ${renderValue(value)}: supported values: ${list}`)
}

function checkObject(value: JsonObject, schema: Schema, path: string, old: Old, findings: Findings): void {
  const { minProperties, maxProperties } = schema.source
  if (minProperties !== undefined || maxProperties !== undefined) {
    const size = Object.keys(value).length
    if (minProperties !== undefined && size < minProperties) {
      findings.invalid(path, size, `${path} in body should have at least ${minProperties} properties`)
    }
    if (maxProperties !== undefined && size > maxProperties) tooMany(path, size, maxProperties, findings)
  }
  for (const key in value) {
    const property = schema.properties.get(key)
    if (property !== undefined) {
      const before =
        path === '' && (key === 'kind' || key === 'apiVersion') ? undefined : correlate.key(old, schema, key)
      validate(value[key], property, path === '' ? key : `${path}.${key}`, before, findings)
    } else if (schema.forbidsAdditional) {
      findings.invalid(path, key, `${path}.${key} in body is a forbidden property`)
    } else if (schema.additional !== undefined) {
      validate(value[key], schema.additional, `${path}.${key}`, correlate.key(old, schema, key), findings)
    }
  }
  for (const key of schema.required) {
    if (!Object.hasOwn(value, key)) findings.add(`${path}.${key}`, 'FieldValueRequired', 'Required value')
  }
}

function checkJunctors(value: unknown, schema: Schema, path: string, old: Old, findings: Findings): void {
  if (schema.anyOf.length > 0) checkAny(value, schema.anyOf, path, old, findings)
  if (schema.oneOf.length > 0) checkOne(value, schema.oneOf, path, old, findings)
  if (schema.allOf.length > 0) checkAll(value, schema.allOf, path, old, findings)
  if (schema.not !== undefined && tryAlternative(value, schema.not, path, old, findings).errors.length === 0) {
    findings.whole(`${JSON.stringify(path)} must not validate the schema (not)`)
  }
}

function checkAny(value: unknown, schemas: readonly Schema[], path: string, old: Old, findings: Findings): void {
  let best: Findings | undefined
  for (const schema of schemas) {
    const result = tryAlternative(value, schema, path, old, findings)
    if (result.errors.length === 0) {
      findings.count += result.count
      return
    }
    if (best === undefined || result.count > best.count) best = result
  }
  findings.whole(`${JSON.stringify(path)} must validate at least one schema (anyOf)`)
  if (best !== undefined) findings.merge(best)
}

function checkOne(value: unknown, schemas: readonly Schema[], path: string, old: Old, findings: Findings): void {
  const results = schemas.map((schema) => tryAlternative(value, schema, path, old, findings))
  const valid = results.filter(({ errors }) => errors.length === 0)
  if (valid.length === 1) {
    findings.count += valid[0]?.count ?? 0
    return
  }
  const found = valid.length === 0 ? 'Found none valid' : `Found ${valid.length} valid alternatives`
  findings.whole(`${JSON.stringify(path)} must validate one and only one schema (oneOf). ${found}`)
  if (valid.length > 0) return
  const best = results.reduce((a, b) => (b.count > a.count ? b : a))
  findings.merge(best)
}

function checkAll(value: unknown, schemas: readonly Schema[], path: string, old: Old, findings: Findings): void {
  const results = schemas.map((schema) => tryAlternative(value, schema, path, old, findings))
  const valid = results.filter(({ errors }) => errors.length === 0).length
  for (const result of results) findings.merge(result)
  if (valid === schemas.length) return
  const extra = valid === 0 ? '. None validated' : ''
  findings.whole(`${JSON.stringify(path)} must validate all the schemas (allOf)${extra}`)
}

/** Alternatives are about the value as a whole: what is below is compared with before, the value itself is not. */
function tryAlternative(value: unknown, schema: Schema, path: string, old: Old, findings: Findings): Findings {
  const result = findings.fresh()
  validateFresh(value, schema, path, old, result)
  return result
}

function tooMany(path: string, actual: number, most: number, findings: Findings): void {
  findings.add(path, 'FieldValueTooMany', `Too many: ${actual}: must have at most ${plural(most, 'item')}`)
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`
}

function renderValue(value: unknown): string {
  return value === null ? 'null' : (renderExactJson(value) ?? 'null')
}
