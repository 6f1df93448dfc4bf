import { functions, typeNames } from './declarations.ts'
import type { Overload } from './declarations.ts'
import { CelSyntaxError } from './syntax.ts'
import type { Expr } from './syntax.ts'
import { boolType, dyn, listOf, renderType } from './types.ts'
import type { Type } from './types.ts'

/** What is known of an expression once its types fit. */
export interface Checked {
  readonly expr: Expr
  readonly type: Type
  readonly types: ReadonlyMap<number, Type>
  /** The overloads a call may turn out to be. */
  readonly overloads: ReadonlyMap<number, readonly string[]>
  /** Variables the expression reads. */
  readonly variables: ReadonlySet<string>
}

/** Gives every part of an expression its type; throws {@link CelSyntaxError} where they do not fit. */
export function check(expr: Expr, variables: ReadonlyMap<string, Type>): Checked {
  const checker = new Checker(variables)
  const type = checker.check(expr)
  return checker.result(expr, type)
}

class Checker {
  readonly #types = new Map<number, Type>()
  readonly #overloads = new Map<number, readonly string[]>()
  readonly #used = new Set<string>()
  readonly #bindings = new Map<string, Type>()
  readonly #scopes: Map<string, Type>[]
  readonly #globals: ReadonlyMap<string, Type>
  #fresh = 0
  #mixing = 0

  constructor(variables: ReadonlyMap<string, Type>) {
    this.#globals = variables
    this.#scopes = []
  }

  result(expr: Expr, type: Type): Checked {
    const types = new Map([...this.#types].map(([id, each]) => [id, this.#resolve(each)]))
    const known = { expr, type: this.#resolve(type), types, overloads: this.#overloads, variables: this.#used }
    return known
  }

  check(expr: Expr): Type {
    const type = this.#typeOf(expr)
    this.#types.set(expr.id, type)
    return type
  }

  #typeOf(expr: Expr): Type {
    switch (expr.kind) {
      case 'literal':
        return { kind: expr.value.type }
      case 'ident':
        return this.#ident(expr.name, expr.at)
      case 'select':
        return this.#select(expr)
      case 'call':
        return this.#call(expr)
      case 'list':
        return this.#list(expr)
      case 'map':
        return this.#map(expr)
      case 'comprehension':
        return this.#comprehension(expr)
    }
  }

  #ident(name: string, at: number): Type {
    for (const scope of this.#scopes.toReversed()) {
      const type = scope.get(name)
      if (type !== undefined) return type
    }
    const type = this.#globals.get(name)
    if (type !== undefined) {
      this.#used.add(name)
      return type
    }
    if (typeNames.has(name)) return { kind: 'type' }
    throw new CelSyntaxError(`undeclared reference to '${name}' (in container '')`, at)
  }

  #select(expr: Extract<Expr, { kind: 'select' }>): Type {
    const qualified = qualifiedName(expr)
    if (qualified !== undefined && typeNames.has(qualified)) return { kind: 'type' }
    const variable = qualified === undefined ? undefined : this.#globals.get(qualified)
    // A variable may have dots in its name; the longest name wins.
    if (qualified !== undefined && variable !== undefined) {
      this.#used.add(qualified)
      return variable
    }
    const operand = this.#resolve(this.check(expr.operand))
    const isOptional = operand.kind === 'optional'
    const field = this.#fieldOf(isOptional ? operand.of : operand, expr.field, expr.at)
    if (expr.isTest) return boolType
    return isOptional ? { kind: 'optional', of: field.kind === 'optional' ? field.of : field } : field
  }

  #fieldOf(found: Type, field: string, at: number): Type {
    const operand = this.#resolve(found)
    if (operand.kind === 'dyn' || operand.kind === 'param') return dyn
    if (operand.kind === 'map') return operand.value
    if (operand.kind !== 'object') {
      throw new CelSyntaxError(`type '${renderType(operand)}' does not support field selection`, at)
    }
    const type = operand.fields.get(field)
    if (type === undefined) throw new CelSyntaxError(`undefined field '${field}'`, at)
    return type
  }

  #call(expr: Extract<Expr, { kind: 'call' }>): Type {
    const { name, target, args, at } = expr
    if (name === '_?._') return this.#optionalSelect(expr)
    // `optional.of(x)` reads like a method; it is a function with a dot in its name.
    const qualified = target === undefined ? name : joinName(target, name)
    const isNamespaced = target !== undefined && qualified !== undefined && functions.has(qualified)
    const declared = functions.get(isNamespaced ? (qualified ?? name) : name)
    if (declared === undefined) throw new CelSyntaxError(`undeclared reference to '${name}' (in container '')`, at)
    const isMember = target !== undefined && !isNamespaced
    const receiver = isMember ? [this.check(target)] : []
    // What is formatted may be of all kinds.
    this.#mixing += name === 'format' ? 1 : 0
    const given = [...receiver, ...args.map((arg) => this.check(arg))]
    this.#mixing -= name === 'format' ? 1 : 0
    return this.#pick(expr, isNamespaced ? (qualified ?? name) : name, declared, isMember, given)
  }

  #pick(
    expr: Extract<Expr, { kind: 'call' }>,
    name: string,
    declared: readonly Overload[],
    isMember: boolean,
    given: readonly Type[],
  ): Type {
    const fitting: string[] = []
    let result: Type | undefined
    for (const overload of declared) {
      if (overload.isMember !== isMember || overload.params.length !== given.length) continue
      const saved = new Map(this.#bindings)
      const fresh = this.#instantiate(overload)
      if (!given.every((type, index) => this.#assign(fresh.params[index] as Type, type))) {
        this.#bindings.clear()
        for (const [key, value] of saved) this.#bindings.set(key, value)
        continue
      }
      fitting.push(overload.id)
      const type = this.#resolve(fresh.result)
      result = result === undefined || same(result, type) ? type : dyn
    }
    if (result === undefined) {
      const shown = given.map((type) => renderType(this.#resolve(type)))
      const applied = isMember ? `${shown[0]}.(${shown.slice(1).join(', ')})` : `(${shown.join(', ')})`
      throw new CelSyntaxError(`found no matching overload for '${name}' applied to '${applied}'`, expr.at)
    }
    this.#overloads.set(expr.id, fitting)
    return result
  }

  #optionalSelect(expr: Extract<Expr, { kind: 'call' }>): Type {
    const [operand, field] = expr.args as [Expr, Expr]
    const found = this.#resolve(this.check(operand))
    this.check(field)
    this.#overloads.set(expr.id, ['select_optional_field'])
    const name = field.kind === 'literal' ? String(field.value.value) : ''
    const type = this.#fieldOf(found.kind === 'optional' ? found.of : found, name, expr.at)
    return { kind: 'optional', of: type.kind === 'optional' ? type.of : type }
  }

  #list(expr: Extract<Expr, { kind: 'list' }>): Type {
    let of: Type | undefined
    for (const [index, item] of expr.items.entries()) {
      const checked = this.#resolve(this.check(item))
      const type = expr.optional.has(index) ? this.#unwrap(checked, item.at) : checked
      of = this.#join(of, type, item.at)
    }
    return listOf(of ?? this.#param())
  }

  #map(expr: Extract<Expr, { kind: 'map' }>): Type {
    if (expr.typeName !== undefined) return this.#message(expr, expr.typeName)
    let key: Type | undefined
    let value: Type | undefined
    for (const entry of expr.entries) {
      key = this.#join(key, this.#resolve(this.check(entry.key)), entry.key.at)
      const checked = this.#resolve(this.check(entry.value))
      const type = entry.isOptional ? this.#unwrap(checked, entry.value.at) : checked
      value = this.#join(value, type, entry.value.at)
    }
    return { kind: 'map', key: key ?? this.#param(), value: value ?? this.#param() }
  }

  /** Types are declared as variables of kind `type`; below them (`Object.spec`) everything is what it is written as. */
  #message(expr: Extract<Expr, { kind: 'map' }>, name: string): Type {
    const [root = ''] = name.split('.')
    const declared = this.#globals.get(root)
    if (declared?.kind !== 'type' || (root !== name && root !== 'Object')) {
      throw new CelSyntaxError(`undeclared reference to '${name}' (in container '')`, expr.at)
    }
    for (const { key, value, isOptional } of expr.entries) {
      this.check(key)
      const checked = this.#resolve(this.check(value))
      if (isOptional) this.#unwrap(checked, value.at)
      if (root === 'JSONPatch' && key.kind === 'literal' && !patchFields.has(String(key.value.value))) {
        throw new CelSyntaxError(`undefined field '${String(key.value.value)}'`, key.at)
      }
    }
    return { kind: 'object', name, fields: new Map() }
  }

  #unwrap(type: Type, at: number): Type {
    if (type.kind === 'optional') return type.of
    if (type.kind === 'dyn') return type
    throw new CelSyntaxError(`expected type 'optional_type(${renderType(type)})' but found '${renderType(type)}'`, at)
  }

  /** Kubernetes wants the elements of a list, and the keys and values of a map, to be of one type. */
  #join(known: Type | undefined, next: Type, at: number): Type {
    if (known === undefined || same(known, next)) return next
    if (this.#assign(known, next)) return this.#resolve(known)
    if (this.#mixing > 0) return dyn
    throw new CelSyntaxError(`expected type '${renderType(this.#resolve(known))}' but found '${renderType(next)}'`, at)
  }

  #comprehension(expr: Extract<Expr, { kind: 'comprehension' }>): Type {
    const range = this.#resolve(this.check(expr.range))
    const [first, second] = this.#variablesOf(range, expr)
    const accumulator = this.check(expr.init)
    this.#scopes.push(new Map([[expr.accumulator, accumulator]]))
    this.#scopes.push(
      new Map([[expr.variable, first], ...(expr.second === '' ? [] : [[expr.second, second] as const])]),
    )
    const condition = this.check(expr.condition)
    if (!this.#assign(boolType, condition)) this.#mismatch(boolType, condition, expr.condition.at)
    const step = this.check(expr.step)
    if (!this.#assign(accumulator, step)) this.#mismatch(accumulator, step, expr.step.at)
    this.#scopes.pop()
    const type = this.check(expr.result)
    this.#scopes.pop()
    return type
  }

  #mismatch(expected: Type, found: Type, at: number): never {
    const [a, b] = [renderType(this.#resolve(expected)), renderType(this.#resolve(found))]
    throw new CelSyntaxError(`expected type '${a}' but found '${b}'`, at)
  }

  #variablesOf(range: Type, expr: Extract<Expr, { kind: 'comprehension' }>): [Type, Type] {
    const hasTwo = expr.second !== ''
    if (range.kind === 'list') return hasTwo ? [{ kind: 'int' }, range.of] : [range.of, dyn]
    if (range.kind === 'map') return [range.key, range.value]
    if (range.kind === 'dyn' || range.kind === 'param') return [dyn, dyn]
    const shown = renderType(range)
    throw new CelSyntaxError(
      `expression of type '${shown}' cannot be range of a comprehension (must be list, map, or dynamic)`,
      expr.range.at,
    )
  }

  #param(): Type {
    this.#fresh += 1
    return { kind: 'param', name: `#${this.#fresh}` }
  }

  #instantiate(overload: Overload): { params: readonly Type[]; result: Type } {
    const names = new Map<string, Type>()
    const rename = (type: Type): Type => {
      switch (type.kind) {
        case 'param': {
          const known = names.get(type.name) ?? this.#param()
          names.set(type.name, known)
          return known
        }
        case 'list':
        case 'optional':
          return { ...type, of: rename(type.of) }
        case 'map':
          return { ...type, key: rename(type.key), value: rename(type.value) }
        default:
          return type
      }
    }
    return { params: overload.params.map(rename), result: rename(overload.result) }
  }

  #resolve(type: Type): Type {
    switch (type.kind) {
      case 'param': {
        const bound = this.#bindings.get(type.name)
        return bound === undefined ? type : this.#resolve(bound)
      }
      case 'list':
      case 'optional':
        return { ...type, of: this.#resolve(type.of) }
      case 'map':
        return { ...type, key: this.#resolve(type.key), value: this.#resolve(type.value) }
      default:
        return type
    }
  }

  /** Whether a value of type `source` may stand where `target` is expected; binds type parameters on the way. */
  #assign(target: Type, source: Type): boolean {
    const to = this.#resolve(target)
    const from = this.#resolve(source)
    if (to.kind === 'param' || from.kind === 'param') return this.#bind(to, from)
    if (to.kind === 'dyn' || from.kind === 'dyn') return true
    if (to.kind === 'list' && from.kind === 'list') return this.#assign(to.of, from.of)
    if (to.kind === 'optional' && from.kind === 'optional') return this.#assign(to.of, from.of)
    if (to.kind === 'map' && from.kind === 'map')
      return this.#assign(to.key, from.key) && this.#assign(to.value, from.value)
    if (from.kind === 'null') return ['null', 'timestamp', 'duration', 'opaque', 'object'].includes(to.kind)
    return same(to, from)
  }

  #bind(to: Type, from: Type): boolean {
    if (to.kind === 'param' && from.kind === 'param' && to.name === from.name) return true
    if (to.kind === 'param') this.#bindings.set(to.name, from)
    else if (from.kind === 'param') this.#bindings.set(from.name, to)
    return true
  }
}

const patchFields = new Set(['op', 'path', 'from', 'value'])

function same(a: Type, b: Type): boolean {
  if (a === b) return true
  if (a.kind !== b.kind) return false
  if ('of' in a && 'of' in b) return same(a.of, b.of)
  if (a.kind === 'map' && b.kind === 'map') return same(a.key, b.key) && same(a.value, b.value)
  return 'name' in a && 'name' in b ? a.name === b.name : true
}

/** `a.b.c` when an expression is nothing but names. */
export function qualifiedName(expr: Expr): string | undefined {
  if (expr.kind === 'ident') return expr.name
  return expr.kind === 'select' && !expr.isTest ? joinName(expr.operand, expr.field) : undefined
}

export function joinName(target: Expr, name: string): string | undefined {
  const first = qualifiedName(target)
  return first === undefined ? undefined : `${first}.${name}`
}
