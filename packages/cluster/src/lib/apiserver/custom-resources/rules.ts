import type { JSONSchemaProps, ValidationRule } from '@fairlead/kube/types/apiextensions-v1'

import { compile } from '../cel/compile.ts'
import type { Program } from '../cel/compile.ts'
import { CelSyntaxError, renderIssue } from '../cel/syntax.ts'
import type { Type } from '../cel/types.ts'
import { CelBudgetError, CelError, Optional } from '../cel/values.ts'
import type { Value } from '../cel/values.ts'
import { forbidden, invalid } from '../kinds/field-errors.ts'
import { isEqual } from '../metadata.ts'
import type { FieldError } from '../status.ts'
import { viewOf } from './cel-types.ts'
import type { CelView } from './cel-types.ts'
import { correlate } from './correlate.ts'
import { at, child } from './field-path.ts'
import { compileSchema, isObject } from './schema.ts'
import type { Schema } from './schema.ts'

/** The CEL rules of a schema (KEP-2876). */
export interface Rules {
  /** What the rules say against a value; `found` is what is wrong with it already. */
  check(value: unknown, old: unknown, found: readonly FieldError[]): FieldError[]
}

/** What all rules of one object may cost, and what one of them may. */
const objectBudget = 10_000_000
const ruleBudget = 1_000_000
const longestMessage = 5 * 1024

/** The rules of a schema, compiled; `isRoot` is false for the schema of a part of an object. */
export function compileRules(schema: Schema, isRoot = true): Rules {
  const node = schema.holds.rules ? createNode(schema, viewOf(schema, isRoot)) : undefined
  if (node === undefined) return { check: () => [] }
  return {
    check(value, old, found) {
      if (found.some(({ reason }) => blocking.has(reason))) {
        const why =
          'some validation rules were not checked because the object was invalid; correct the existing errors to complete validation'
        return [{ field: '<nil>', reason: 'FieldValueInvalid', message: `Invalid value: null: ${why}` }]
      }
      const run: Run = { errors: [], remaining: objectBudget }
      checkNode(node, value, old === undefined ? undefined : { value: old }, '', run)
      return run.errors
    },
  }
}

/** With values this wrong the rules would see something else than their types say. */
const blocking = new Set([
  'FieldValueRequired',
  'FieldValueTooLong',
  'FieldValueTooMany',
  'FieldValueTypeInvalid',
  'FieldValueInvalidType',
])

interface Node {
  readonly schema: Schema
  readonly view: CelView
  readonly rules: readonly CompiledRule[]
  readonly properties: ReadonlyMap<string, Node>
  readonly items: Node | undefined
  readonly additional: Node | undefined
}

interface CompiledRule {
  readonly rule: ValidationRule
  readonly program?: Program
  readonly message?: Program | undefined
  readonly failure?: string
}

interface Run {
  readonly errors: FieldError[]
  remaining: number
}

type Old = { readonly value: unknown } | undefined

function createNode(schema: Schema | undefined, view: CelView | undefined): Node | undefined {
  if (schema === undefined || view === undefined || !schema.holds.rules) return undefined
  const below = (each: Schema | undefined): Node | undefined =>
    each === undefined ? undefined : createNode(each, viewOf(each))
  const properties = [...schema.properties].flatMap(([name, property]) => {
    const node = below(property)
    return node === undefined ? [] : [[name, node] as const]
  })
  const rules = schema.rules.map((rule) => compileRule(rule, view.type))
  const [items, additional] = [below(schema.items), below(schema.additional)]
  return { schema, view, rules, properties: new Map(properties), items, additional }
}

function variablesOf(type: Type, rule: ValidationRule): ReadonlyMap<string, Type> {
  const oldSelf: Type = rule.optionalOldSelf === true ? { kind: 'optional', of: type } : type
  return new Map([
    ['self', type],
    ['oldSelf', oldSelf],
  ])
}

function compileRule(rule: ValidationRule, type: Type): CompiledRule {
  try {
    const variables = variablesOf(type, rule)
    const { messageExpression = '' } = rule
    const program = compile(rule.rule, variables)
    return {
      rule,
      program,
      message: messageExpression === '' ? undefined : compileMessage(messageExpression, variables),
    }
  } catch (error) {
    if (!(error instanceof CelSyntaxError)) throw error
    return { rule, failure: `compilation failed: ${renderIssue(error, rule.rule)}` }
  }
}

/** A message that cannot be made is left out: the rule says enough. */
function compileMessage(text: string, variables: ReadonlyMap<string, Type>): Program | undefined {
  try {
    return compile(text, variables)
  } catch (error) {
    if (error instanceof CelSyntaxError) return undefined
    throw error
  }
}

function checkNode(node: Node, value: unknown, old: Old, path: string, run: Run): void {
  if (value === null || value === undefined || run.remaining < 0) return
  checkRulesOf(node, value, old, path, run)
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      if (node.items !== undefined) {
        checkNode(node.items, item, correlate.item(old, node.schema, value, index), `${path}[${index}]`, run)
      }
    }
    return
  }
  if (!isObject(value)) return
  for (const key in value) {
    const property = node.properties.get(key)
    const below = property ?? (node.schema.properties.has(key) ? undefined : node.additional)
    if (below === undefined) continue
    const place = property === undefined ? `${path}[${key}]` : child(path, key)
    checkNode(below, value[key], correlate.key(old, node.schema, key), place, run)
  }
}

function checkRulesOf(node: Node, value: unknown, old: Old, path: string, run: Run): void {
  if (node.rules.length === 0) return
  const field = path === '' ? '<nil>' : path
  const type = node.schema.source.type ?? ''
  let self: Value | undefined
  for (const compiled of node.rules) {
    if (run.remaining <= 0) {
      const why = 'validation failed due to running out of cost budget, no further validation rules will be run'
      run.errors.push(invalid(field, type, why))
      run.remaining = -1
      return
    }
    const { rule, program, failure } = compiled
    if (program === undefined) {
      if (failure !== undefined) run.errors.push(invalid(field, type, `rule compile error: ${failure}`))
      continue
    }
    const isTransition = program.variables.has('oldSelf')
    const isOptional = rule.optionalOldSelf === true
    // There is nothing to compare with, and the rule does not know how to do without.
    if (isTransition && old === undefined && !isOptional) continue
    self ??= node.view.read(value)
    const before = isTransition && old !== undefined && old.value !== null ? node.view.read(old.value) : undefined
    const oldSelf = isOptional ? new Optional(before) : before
    const variables = new Map<string, Value>([
      ['self', self],
      ...(oldSelf === undefined ? [] : [['oldSelf', oldSelf] as const]),
    ])
    const error = runRule(compiled, program, variables, field, path, type, run)
    if (error !== undefined && !isRatcheted(isTransition, value, old)) run.errors.push(error)
  }
}

/** What was wrong before and did not change is not held against the writer; a transition is always looked at. */
function isRatcheted(isTransition: boolean, value: unknown, old: Old): boolean {
  return !isTransition && old !== undefined && isEqual(value, old.value)
}

function runRule(
  compiled: CompiledRule,
  program: Program,
  variables: ReadonlyMap<string, Value>,
  field: string,
  path: string,
  type: string,
  run: Run,
): FieldError | undefined {
  const { rule } = compiled
  const meter = { spent: 0, limit: Math.min(ruleBudget, run.remaining) }
  try {
    if (program.evaluate(variables, meter) === true) return undefined
    return failureOf(compiled, variables, field, path, run)
  } catch (error) {
    if (error instanceof CelBudgetError) {
      run.remaining = meter.limit < ruleBudget ? -1 : run.remaining
      const why = `'${messageOf(rule)}': call cost exceeds limit for rule: ${ruleText(rule)}`
      return invalid(field, type, `${why}: ${error.message}`)
    }
    if (error instanceof CelError) return invalid(field, type, `${error.message} evaluating rule: ${messageOf(rule)}`)
    throw error
  } finally {
    run.remaining -= meter.spent
  }
}

function failureOf(
  { rule, message }: CompiledRule,
  variables: ReadonlyMap<string, Value>,
  field: string,
  path: string,
  run: Run,
): FieldError {
  const detail = (message === undefined ? undefined : runMessage(message, variables, run)) ?? messageOf(rule)
  const place = fieldOf(rule, field, path)
  const type = 'object'
  switch (rule.reason) {
    case 'FieldValueRequired':
      return { field: place, reason: 'FieldValueRequired', message: `Required value: ${detail}` }
    case 'FieldValueForbidden':
      return forbidden(place, detail)
    case 'FieldValueDuplicate':
      return { field: place, reason: 'FieldValueDuplicate', message: `Duplicate value: ${JSON.stringify(type)}` }
    default:
      return invalid(place, renderSelf(variables.get('self')), detail)
  }
}

/** Upstream names the type of the value, not the value. */
function renderSelf(self: Value | undefined): unknown {
  if (typeof self === 'string') return 'string'
  if (typeof self === 'bigint') return 'integer'
  if (typeof self === 'number') return 'number'
  if (typeof self === 'boolean') return 'boolean'
  return Array.isArray(self) ? 'array' : 'object'
}

function fieldOf({ fieldPath = '' }: ValidationRule, field: string, path: string): string {
  const relative = fieldPath.replace(/^\./, '')
  if (relative === '') return field
  return path === '' ? relative : `${path}${fieldPath.startsWith('[') ? '' : '.'}${relative}`
}

function runMessage(program: Program, variables: ReadonlyMap<string, Value>, run: Run): string | undefined {
  const meter = { spent: 0, limit: Math.min(ruleBudget, Math.max(run.remaining, 0)) }
  try {
    const text = program.evaluate(variables, meter)
    const isGood = typeof text === 'string' && text.trim() !== '' && !/[\n\r]/.test(text)
    return isGood && Buffer.byteLength(text) <= longestMessage ? text.trim() : undefined
  } catch (error) {
    if (error instanceof CelError || error instanceof CelBudgetError) return undefined
    throw error
  } finally {
    run.remaining -= meter.spent
  }
}

function messageOf(rule: ValidationRule): string {
  const message = (rule.message ?? '').trim()
  return message === '' ? `failed rule: ${ruleText(rule)}` : message
}

function ruleText({ rule }: ValidationRule): string {
  return rule.trim()
}

const mostPerRule = 10_000_000
const mostPerSchema = 100_000_000
const mostReported = 4

/** What is wrong with the rules of a schema as CEL: syntax, types, cost. Unchanged rules may cost what they did. */
export function checkRules(
  source: JSONSchemaProps,
  path: string,
  { isUnchanged }: { readonly isUnchanged: boolean },
): FieldError[] {
  const schema = compileSchema(source)
  if (!schema.holds.rules) return []
  const tally: Tally = { errors: [], costs: [], total: 0, isUnchanged }
  tallyRules(schema, viewOf(schema, true), path, { times: 1, uncorrelated: undefined }, tally)
  if (tally.total > mostPerSchema) {
    for (const { field } of tally.costs.toSorted((a, b) => b.cost - a.cost).slice(0, mostReported)) {
      const why = 'contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema'
      tally.errors.push(forbidden(field, why))
    }
    const name = 'x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema'
    tally.errors.push(forbidden(path, tooExpensive(name, tally.total, mostPerSchema)))
  }
  return tally.errors
}

interface Tally {
  readonly errors: FieldError[]
  readonly costs: { readonly field: string; readonly cost: number }[]
  total: number
  readonly isUnchanged: boolean
}

interface Context {
  /** How often a place can be in one object; undefined when nothing bounds it. */
  readonly times: number | undefined
  /** The list or map above whose parts cannot be told apart between versions. */
  readonly uncorrelated: string | undefined
}

function tallyRules(schema: Schema, view: CelView | undefined, path: string, context: Context, tally: Tally): void {
  if (!schema.holds.rules) return
  for (const [index, rule] of schema.rules.entries()) {
    tallyRule(schema, rule, view, at(child(path, 'x-kubernetes-validations'), index), context, tally)
  }
  const repeat = (most: number | undefined): number | undefined =>
    most === undefined || context.times === undefined ? undefined : most * context.times
  for (const [name, property] of schema.properties) {
    const uncorrelated = context.uncorrelated ?? (schema.isAtomicMap ? path : undefined)
    tallyRules(property, viewOf(property), at(child(path, 'properties'), name), { ...context, uncorrelated }, tally)
  }
  if (schema.additional !== undefined) {
    const times = repeat(schema.source.maxProperties)
    tallyRules(
      schema.additional,
      viewOf(schema.additional),
      child(path, 'additionalProperties'),
      { ...context, times },
      tally,
    )
  }
  if (schema.items !== undefined) {
    const times = repeat(schema.source.maxItems)
    const uncorrelated = context.uncorrelated ?? (schema.listType === 'map' ? undefined : path)
    tallyRules(schema.items, viewOf(schema.items), child(path, 'items'), { times, uncorrelated }, tally)
  }
}

function tallyRule(
  _schema: Schema,
  rule: ValidationRule,
  view: CelView | undefined,
  path: string,
  { times, uncorrelated }: Context,
  tally: Tally,
): void {
  if (view === undefined) return
  const variables = variablesOf(view.type, rule)
  const perRequest = Math.floor((3 << 20) / ((view.type.minSize ?? 0) + 1))
  const program = tryCompile(rule.rule, variables, 'bool', child(path, 'rule'), rule, tally)
  if (program === undefined) return
  tallyCost('estimated rule cost', program.estimatedCost * (times ?? perRequest), child(path, 'rule'), tally)
  if (!program.variables.has('oldSelf')) {
    if (rule.optionalOldSelf !== undefined) {
      const why = 'may not be set if oldSelf is not used in rule'
      tally.errors.push(invalid(child(path, 'optionalOldSelf'), rule.optionalOldSelf, why))
    }
  } else if (uncorrelated !== undefined) {
    const why = `oldSelf cannot be used on the uncorrelatable portion of the schema within ${uncorrelated}`
    tally.errors.push(invalid(child(path, 'rule'), rule.rule, why))
  }
  const { messageExpression = '' } = rule
  if (messageExpression === '') return
  const place = child(path, 'messageExpression')
  const message = tryCompile(messageExpression, variables, 'string', place, rule, tally)
  if (message !== undefined) tallyCost('estimated messageExpression cost', message.estimatedCost, place, tally)
}

function tryCompile(
  text: string,
  variables: ReadonlyMap<string, Type>,
  wanted: 'bool' | 'string',
  field: string,
  rule: ValidationRule,
  tally: Tally,
): Program | undefined {
  const prefix = wanted === 'bool' ? '' : 'messageExpression '
  try {
    const program = compile(text, variables)
    if (program.type.kind === wanted) return program
    const why =
      wanted === 'bool' ? 'cel expression must evaluate to a bool' : 'messageExpression must evaluate to a string'
    tally.errors.push(invalidRule(field, rule, why))
  } catch (error) {
    if (!(error instanceof CelSyntaxError)) throw error
    tally.errors.push(invalidRule(field, rule, `${prefix}compilation failed: ${renderIssue(error, text)}`))
  }
  return undefined
}

/** A rule is shown as Go shows it. */
function invalidRule(field: string, given: ValidationRule, why: string): FieldError {
  const { rule, message = '', messageExpression = '', reason = null, fieldPath = '', optionalOldSelf = null } = given
  const shown = {
    Rule: rule,
    Message: message,
    MessageExpression: messageExpression,
    Reason: reason,
    FieldPath: fieldPath,
    OptionalOldSelf: optionalOldSelf,
  }
  const text = JSON.stringify(shown).replaceAll(/[<>&]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`)
  return { field, reason: 'FieldValueInvalid', message: `Invalid value: ${text}: ${why}` }
}

function tallyCost(name: string, cost: number, field: string, tally: Tally): void {
  tally.total += cost
  // The rest is too little to be worth telling.
  if (cost >= mostPerSchema / 100) tally.costs.push({ field, cost })
  if (cost > mostPerRule && !tally.isUnchanged)
    tally.errors.push(forbidden(field, tooExpensive(name, cost, mostPerRule)))
}

function tooExpensive(name: string, cost: number, most: number): string {
  const times = cost / most
  const factor = times > 100 ? 'more than 100x' : times < 1.5 ? `${times.toFixed(6)}x` : `${times.toFixed(1)}x`
  return `${name} exceeds budget by factor of ${factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)`
}
