import { joinName, qualifiedName } from './check.ts'
import type { Checked } from './check.ts'
import { functions, typeNames } from './declarations.ts'
import { runtimeCost } from './runtime-cost.ts'
import { library } from './library.ts'
import { findConstants } from './literals.ts'
import { noOverload, operators } from './operators.ts'
import type { Expr, Literal } from './syntax.ts'
import { CelBudgetError, CelError, CelMap, CelObject, isList, Optional, TypeValue, Uint } from './values.ts'
import type { Value } from './values.ts'

/** What an expression may cost, and what it has cost so far. */
export interface Meter {
  spent: number
  readonly limit: number
}

/** Runs a checked expression. Throws {@link CelError}, or {@link CelBudgetError} when it costs too much. */
export function evaluate(
  checked: Checked,
  constants: Constants,
  variables: ReadonlyMap<string, Value>,
  meter: Meter,
): Value {
  return new Evaluation(checked, constants, variables, meter).run(checked.expr)
}

/** The parts of an expression that are the same whenever it runs; each is worked out once, and costs nothing. */
export class Constants {
  readonly #ids: ReadonlySet<number>
  readonly #values = new Map<number, Value>()

  constructor(expr: Expr) {
    this.#ids = findConstants(expr)
  }

  has(expr: Expr): boolean {
    return this.#ids.has(expr.id)
  }

  get(expr: Expr, work: () => Value): Value {
    let value = this.#values.get(expr.id)
    if (value === undefined) {
      value = work()
      this.#values.set(expr.id, value)
    }
    return value
  }
}

class Evaluation {
  readonly #checked: Checked
  readonly #constants: Constants
  readonly #globals: ReadonlyMap<string, Value>
  readonly #meter: Meter
  readonly #locals: { readonly name: string; value: Value | CelError }[] = []

  constructor(checked: Checked, constants: Constants, variables: ReadonlyMap<string, Value>, meter: Meter) {
    this.#checked = checked
    this.#constants = constants
    this.#globals = variables
    this.#meter = meter
  }

  run(expr: Expr): Value {
    if (expr.kind === 'literal') return literalValue(expr.value)
    if (this.#constants.has(expr)) return this.#constants.get(expr, () => this.#free(expr))
    return this.#work(expr)
  }

  /** What is known before the expression runs is not counted. */
  #free(expr: Exclude<Expr, { kind: 'literal' }>): Value {
    const { spent } = this.#meter
    const value = this.#work(expr)
    this.#meter.spent = spent
    return value
  }

  #work(expr: Exclude<Expr, { kind: 'literal' }>): Value {
    switch (expr.kind) {
      case 'ident':
        return this.#ident(expr.name)
      case 'select':
        return this.#select(expr)
      case 'call':
        return this.#call(expr)
      case 'list':
        return this.#list(expr)
      case 'map':
        return this.#map(expr)
      case 'comprehension':
        return this.#fold(expr)
    }
  }

  #spend(cost: number): void {
    this.#meter.spent += cost
    if (this.#meter.spent > this.#meter.limit) throw new CelBudgetError()
  }

  /** A variable costs one to read; the name of a type is a constant. */
  #ident(name: string): Value {
    const value = this.#variable(name)
    const isType = value instanceof TypeValue && !this.#globals.has(name) && typeNames.has(name)
    if (!isType) this.#spend(1)
    return value
  }

  #variable(name: string): Value {
    for (let at = this.#locals.length - 1; at >= 0; at -= 1) {
      const local = this.#locals[at]
      if (local?.name !== name) continue
      if (local.value instanceof CelError) throw local.value
      return local.value
    }
    const value = this.#globals.get(name)
    if (value !== undefined) return value
    if (typeNames.has(name)) return new TypeValue(name)
    throw new CelError(`no such attribute(s): ${name}`)
  }

  #select(expr: Extract<Expr, { kind: 'select' }>): Value {
    const type = qualifiedName(expr)
    if (type !== undefined && typeNames.has(type) && this.#checked.types.get(expr.id)?.kind === 'type') {
      return new TypeValue(type)
    }
    const variable = type === undefined ? undefined : this.#globals.get(type)
    if (variable !== undefined) {
      this.#spend(1)
      return variable
    }
    const operand = this.run(expr.operand)
    if (operand instanceof Optional) {
      const { value } = operand
      const inner = value !== undefined && hasField(value, expr.field) ? fieldOf(value, expr.field) : undefined
      if (expr.isTest) return inner !== undefined
      this.#spend(1)
      return inner instanceof Optional ? inner : new Optional(inner)
    }
    this.#spend(isAttribute(expr.operand) ? 0 : 1)
    if (expr.isTest) return hasField(operand, expr.field)
    this.#spend(1)
    const value = fieldOf(operand, expr.field)
    if (value === undefined) throw new CelError(`no such key: ${expr.field}`)
    return value
  }

  #call(expr: Extract<Expr, { kind: 'call' }>): Value {
    const { name, target, args } = expr
    if (name === '_&&_' || name === '_||_') return this.#junction(args, name === '_||_')
    if (name === '_?_:_') return this.#condition(args)
    if (name === '@not_strictly_false') return this.#notFalse(args)
    if (name === '_?._') return this.#optionalSelect(args)
    if (target !== undefined && name === 'or') return this.#firstOf(target, args)
    if (target !== undefined && name === 'orValue') return this.#firstOf(target, args, true)
    const qualified = target === undefined ? name : joinName(target, name)
    const isNamespaced = target !== undefined && qualified !== undefined && functions.has(qualified)
    const own = isNamespaced ? (qualified ?? name) : name
    const values = [
      ...(target !== undefined && !isNamespaced ? [this.run(target)] : []),
      ...args.map((arg) => this.run(arg)),
    ]
    const implementation = operators.get(own) ?? library.get(own)
    if (implementation === undefined) throw noOverload()
    const result = implementation(values)
    if (own === '@in' && this.#isSet(args[1])) return result
    if (own === '_[_]' && !isAttribute(args[0])) this.#spend(1)
    // An index that is read from a variable is part of what is read.
    if (own === '_[_]' && isAttribute(args[1])) return result
    const overloads = this.#checked.overloads.get(expr.id) ?? []
    this.#spend(runtimeCost(own, overloads.length === 1 ? (overloads[0] ?? '') : '', values, result))
    return result
  }

  /** Whether a list is planned as a set: looking something up in it costs nothing. */
  #isSet(list: Expr | undefined): boolean {
    if (list?.kind !== 'list' || !this.#constants.has(list)) return false
    return list.items.every((item) => item.kind === 'literal' && !['bytes', 'null'].includes(item.value.type))
  }

  /** `or` and `orValue`: what comes second is evaluated only when it is needed, and the choice is free. */
  #firstOf(target: Expr, [other]: readonly Expr[], unwraps = false): Value {
    const first = this.run(target)
    if (!(first instanceof Optional) || other === undefined) throw noOverload()
    if (first.value === undefined) return this.run(other)
    return unwraps ? first.value : first
  }

  /** `&&` and `||`: one side that decides is enough, even when the other one fails. */
  #junction(args: readonly Expr[], deciding: boolean): Value {
    let failure: unknown
    for (const arg of args) {
      try {
        const value = this.run(arg)
        if (typeof value !== 'boolean') throw noOverload()
        if (value === deciding) return deciding
      } catch (error) {
        if (!(error instanceof CelError)) throw error
        failure ??= error
      }
    }
    if (failure !== undefined) throw failure
    return !deciding
  }

  #condition([condition, yes, no]: readonly Expr[]): Value {
    const value = this.run(condition as Expr)
    if (typeof value !== 'boolean') throw noOverload()
    const chosen = (value ? yes : no) as Expr
    // Upstream counts the branch of a condition only where it is more than a variable.
    return chosen.kind === 'ident' ? this.#variable(chosen.name) : this.run(chosen)
  }

  /** The condition of a loop: a failure so far may still be overruled by a later element. */
  #notFalse([arg]: readonly Expr[]): Value {
    try {
      const value = this.run(arg as Expr)
      this.#spend(1)
      return value !== false
    } catch (error) {
      if (error instanceof CelError) return true
      throw error
    }
  }

  #optionalSelect([operand, field]: readonly Expr[]): Value {
    const value = this.run(operand as Expr)
    this.#spend(1)
    const inner = value instanceof Optional ? value.value : value
    const name = field?.kind === 'literal' ? String(field.value.value) : ''
    const found = inner === undefined || !hasField(inner, name) ? undefined : fieldOf(inner, name)
    return found instanceof Optional ? found : new Optional(found)
  }

  #list(expr: Extract<Expr, { kind: 'list' }>): Value {
    const items: Value[] = []
    for (const [index, item] of expr.items.entries()) {
      const value = this.run(item)
      if (!expr.optional.has(index)) items.push(value)
      else if (value instanceof Optional && value.value !== undefined) items.push(value.value)
    }
    this.#spend(10)
    return items
  }

  #map(expr: Extract<Expr, { kind: 'map' }>): Value {
    const entries: [Value, Value][] = []
    for (const { key, value, isOptional } of expr.entries) {
      const name = this.run(key)
      const found = this.run(value)
      if (!isOptional) entries.push([name, found])
      else if (found instanceof Optional && found.value !== undefined) entries.push([name, found.value])
    }
    this.#spend(30)
    return new CelMap(entries)
  }

  #fold(expr: Extract<Expr, { kind: 'comprehension' }>): Value {
    const range = this.run(expr.range)
    const accumulator: { readonly name: string; value: Value | CelError } = {
      name: expr.accumulator,
      value: this.run(expr.init),
    }
    const depth = this.#locals.length
    this.#locals.push(accumulator)
    try {
      for (const [key, value] of entriesOf(range)) {
        if (this.run(expr.condition) !== true) break
        this.#locals.push({ name: expr.variable, value: expr.second === '' && isList(range) ? value : key })
        if (expr.second !== '') this.#locals.push({ name: expr.second, value })
        accumulator.value = this.#step(expr.step)
        this.#locals.length = depth + 1
      }
      return this.run(expr.result)
    } finally {
      this.#locals.length = depth
    }
  }

  /** A failing element does not end the loop: `exists` may find another one that is true. */
  #step(step: Expr): Value | CelError {
    try {
      return this.run(step)
    } catch (error) {
      if (error instanceof CelError) return error
      throw error
    }
  }
}

/** A variable and what is read from it: one thing to Kubernetes, which counts a look into any other value as one more. */
function isAttribute(expr: Expr | undefined): boolean {
  if (expr === undefined) return false
  if (expr.kind === 'call') return expr.name === '_[_]' || expr.name === '_[?_]' || expr.name === '_?._'
  return expr.kind === 'ident' || expr.kind === 'select'
}

function literalValue({ type, value }: Literal): Value {
  return type === 'uint' ? new Uint(value) : value
}

function hasField(value: Value, field: string): boolean {
  if (value instanceof CelObject) return value.has(field)
  // A test for a field never fails: what has no fields has not this one either.
  return value instanceof CelMap && value.get(field) !== undefined
}

function fieldOf(value: Value, field: string): Value | undefined {
  if (value instanceof CelObject || value instanceof CelMap) return value.get(field)
  throw noOverload()
}

function entriesOf(range: Value): Iterable<readonly [Value, Value]> {
  if (isList(range)) return range.map((value, index) => [BigInt(index), value] as const)
  if (range instanceof CelMap) return range.entries()
  if (range instanceof CelObject) return range.fields().map((field) => [field, range.get(field) as Value] as const)
  throw noOverload()
}
