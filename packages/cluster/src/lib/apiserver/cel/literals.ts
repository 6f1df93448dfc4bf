import type { Checked } from './check.ts'
import { readFormat, refusal } from './format.ts'
import { operators } from './operators.ts'
import { CelSyntaxError } from './syntax.ts'
import type { Expr } from './syntax.ts'
import { renderType } from './types.ts'
import type { Type } from './types.ts'

type Call = Extract<Expr, { kind: 'call' }>

/**
 * Refuses what is written out and can only fail: durations, points in time, regular expressions and formats with their
 * values. These are the validators Kubernetes adds to the language. Throws {@link CelSyntaxError}.
 */
export function checkLiterals({ expr, types }: Checked): void {
  visit(expr, (each) => {
    if (each.kind !== 'call') return
    checkArgument(each)
    checkFormat(each, types)
  })
}

const checkedFunctions = new Set(['duration', 'timestamp', 'matches'])

function checkArgument({ name, target, args }: Call): void {
  const [argument] = args
  if (!checkedFunctions.has(name) || argument?.kind !== 'literal') return
  // Upstream looks at the first argument, which is the pattern only where the text stands before the dot.
  const values = name === 'matches' ? ['', argument.value.value] : [argument.value.value]
  if (name === 'matches' && target === undefined) return
  try {
    operators.get(name)?.(values)
  } catch {
    throw new CelSyntaxError(`invalid ${name} argument`, argument.at)
  }
}

function checkFormat(call: Call, types: ReadonlyMap<number, Type>): void {
  const [values] = call.args
  const { target } = call
  if (call.name !== 'format' || target?.kind !== 'literal' || target.value.type !== 'string') return
  if (values?.kind !== 'list') return
  let next = 0
  for (const piece of readFormat(target.value.value)) {
    if (typeof piece === 'string') continue
    const item = values.items[next]
    // A fault of the whole call is shown at its opening parenthesis, as upstream does.
    if (item === undefined) throw new CelSyntaxError(`index ${next} out of range`, call.at)
    if ('fault' in piece) throw new CelSyntaxError(piece.fault, call.at)
    checkValue(piece.verb, item, types)
    next += 1
  }
  if (values.items.length > next) {
    const counts = `(expected ${next}, got ${values.items.length})`
    throw new CelSyntaxError(`too many arguments supplied to string.format ${counts}`, call.at)
  }
}

function checkValue(verb: string, item: Expr, types: ReadonlyMap<number, Type>): void {
  const type = types.get(item.id)
  if (type === undefined || type.kind === 'dyn' || type.kind === 'param') return
  const wrong = refusal(verb, runtimeName(type))
  if (wrong !== undefined) throw new CelSyntaxError(wrong, item.at)
  if (item.kind === 'list') for (const each of item.items) checkValue('s', each, types)
  if (item.kind !== 'map') return
  for (const { key, value } of item.entries) {
    checkValue('s', key, types)
    checkValue('s', value, types)
  }
}

const names: Readonly<Record<string, string>> = {
  list: 'list',
  map: 'map',
  optional: 'optional_type',
  null: 'null_type',
  timestamp: 'google.protobuf.Timestamp',
  duration: 'google.protobuf.Duration',
}

function runtimeName(type: Type): string {
  return names[type.kind] ?? renderType(type)
}

const conversions = new Set('bool bytes double duration dyn int string timestamp type uint'.split(' '))

/**
 * The parts whose value is known before the expression runs: lists and maps of literals, and conversions of one. Kubernetes
 * plans them away, so they cost nothing when it runs.
 */
export function findConstants(expr: Expr): ReadonlySet<number> {
  const found = new Set<number>()
  visit(expr, (each) => {
    if (isConstant(each, found)) found.add(each.id)
  })
  return found
}

function isConstant(expr: Expr, found: ReadonlySet<number>): boolean {
  const isKnown = (part: Expr): boolean => found.has(part.id)
  switch (expr.kind) {
    case 'literal':
      return true
    case 'list':
      return expr.optional.size === 0 && expr.items.every(isKnown)
    case 'map':
      return (
        expr.typeName === undefined &&
        expr.entries.every(({ key, value, isOptional }) => !isOptional && isKnown(key) && isKnown(value))
      )
    case 'call':
      if (expr.name === '@in') return isEmptyList(expr.args[1], found)
      return (
        expr.target === undefined && conversions.has(expr.name) && expr.args.length === 1 && expr.args.every(isKnown)
      )
    default:
      return false
  }
}

function isEmptyList(expr: Expr | undefined, found: ReadonlySet<number>): boolean {
  return expr?.kind === 'list' && expr.items.length === 0 && found.has(expr.id)
}

/** Visits the parts of an expression before the whole. */
function visit(expr: Expr, use: (expr: Expr) => void): void {
  for (const part of partsOf(expr)) visit(part, use)
  use(expr)
}

function partsOf(expr: Expr): readonly Expr[] {
  switch (expr.kind) {
    case 'select':
      return [expr.operand]
    case 'call':
      return expr.target === undefined ? expr.args : [expr.target, ...expr.args]
    case 'list':
      return expr.items
    case 'map':
      return expr.entries.flatMap(({ key, value }) => [key, value])
    case 'comprehension':
      return [expr.range, expr.init, expr.condition, expr.step, expr.result]
    default:
      return []
  }
}
