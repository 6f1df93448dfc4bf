import { joinName } from './check.ts'
import type { Checked } from './check.ts'
import { functions } from './declarations.ts'
import type { Expr } from './syntax.ts'
import type { Type } from './types.ts'
import { textLength } from './values.ts'

const unbounded = Number.MAX_SAFE_INTEGER
const traversal = 0.1
const regex = 0.25

/** What a value can be at most: its length, and that of its keys and elements where something says so. */
interface Size {
  readonly max: number
  readonly of?: Type | undefined
  /** Whether `of` was computed here: Kubernetes' own functions look at declared types only. */
  readonly isComputed?: boolean
}

/**
 * The most an expression can cost, computed from the limits of its variables (`maxElements`), as Kubernetes estimates it.
 * `Number.MAX_SAFE_INTEGER` for anything beyond.
 */
export function estimateCost(checked: Checked, variables: ReadonlyMap<string, Type>): number {
  return new Estimate(checked, variables).cost(checked.expr).cost
}

interface Estimated {
  readonly cost: number
  readonly size: Size
}

const one: Size = { max: 1 }

function cap(cost: number): number {
  return cost > unbounded ? unbounded : cost
}

class Estimate {
  readonly #checked: Checked
  readonly #scope: Map<string, Size>

  constructor(checked: Checked, variables: ReadonlyMap<string, Type>) {
    this.#checked = checked
    this.#scope = new Map([...variables].map(([name, type]) => [name, sizeOfType(type)]))
  }

  cost(expr: Expr): Estimated {
    switch (expr.kind) {
      case 'literal':
        return { cost: 0, size: { max: literalSize(expr.value.value) } }
      case 'ident':
        return { cost: 1, size: this.#scope.get(expr.name) ?? sizeOfType(this.#typeOf(expr)) }
      case 'select':
        return this.#select(expr)
      case 'call':
        return this.#call(expr)
      case 'list': {
        const items = expr.items.map((item) => this.cost(item))
        return { cost: cap(10 + sum(items)), size: { max: items.length, of: largest(items), isComputed: true } }
      }
      case 'map': {
        const parts = expr.entries.flatMap(({ key, value }) => [this.cost(key), this.cost(value)])
        return { cost: cap(30 + sum(parts)), size: { max: expr.entries.length } }
      }
      case 'comprehension':
        return this.#fold(expr)
    }
  }

  #typeOf(expr: Expr): Type | undefined {
    return this.#checked.types.get(expr.id)
  }

  #select(expr: Extract<Expr, { kind: 'select' }>): Estimated {
    const operand = this.cost(expr.operand)
    if (expr.isTest) return { cost: operand.cost, size: one }
    const { of } = operand.size
    const field = of?.kind === 'object' ? of.fields.get(expr.field) : of?.kind === 'map' ? of.value : undefined
    const size = field === undefined ? sizeOfType(this.#typeOf(expr)) : sizeOfType(field)
    return { cost: cap(operand.cost + 1), size }
  }

  #call(expr: Extract<Expr, { kind: 'call' }>): Estimated {
    const { name, target, args } = expr
    const qualified = target === undefined ? name : joinName(target, name)
    const isNamespaced = target !== undefined && qualified !== undefined && functions.has(qualified)
    const own = isNamespaced ? (qualified ?? name) : name
    const given = [...(target !== undefined && !isNamespaced ? [target] : []), ...args].map((each) => this.cost(each))
    if (own === '_?_:_') {
      const [condition, yes, no] = given
      const size = (yes?.size.max ?? 0) >= (no?.size.max ?? 0) ? yes?.size : no?.size
      return { cost: cap((condition?.cost ?? 0) + Math.max(yes?.cost ?? 0, no?.cost ?? 0)), size: size ?? one }
    }
    const { cost, size } = this.#own(own, expr, given)
    return { cost: cap(cost + sum(given)), size: size ?? sizeOfType(this.#typeOf(expr)) }
  }

  #own(name: string, expr: Expr, args: readonly Estimated[]): { cost: number; size?: Size } {
    const max = (index: number): number => args[index]?.size.max ?? 1
    const walk = (length: number, factor = traversal): number => Math.ceil(length * factor)
    switch (name) {
      case '_&&_':
      case '_||_':
        return { cost: 0 }
      case 'check':
        return { cost: 350_000 }
      case 'dyn':
        return { cost: 1, size: args[0]?.size ?? one }
      case '_[_]':
      case '_[?_]':
        return { cost: 1, size: elementSize(args[0]?.size) }
      case '_?._':
        return { cost: 1 }
      case '_==_':
      case '_!=_':
      case '_<_':
      case '_<=_':
      case '_>_':
      case '_>=_':
        return { cost: walk(Math.min(max(0), max(1))), size: one }
      case '_+_':
        return this.#addition(expr, args)
      case '@in':
        return { cost: this.#typeOf(callArgument(expr, 1))?.kind === 'map' ? 1 : max(1), size: one }
      case 'startsWith':
      case 'endsWith':
        return { cost: walk(max(1)), size: one }
      case 'contains':
        return { cost: walk(max(0)) * walk(max(1)), size: one }
      case 'matches':
        return { cost: walk(max(0) + 1) * walk(max(1), regex), size: one }
      case 'find':
      case 'findAll':
        return { cost: walk(max(0) + 1) * walk(max(1), regex), size: { max: max(0) } }
      case 'isSorted':
      case 'sum':
      case 'max':
      case 'min':
      case 'indexOf':
      case 'lastIndexOf':
        return { cost: this.#listWalk(expr, args) }
      case 'lowerAscii':
      case 'upperAscii':
      case 'substring':
      case 'trim':
      case 'url':
        return { cost: walk(max(0)), size: { max: max(0) } }
      case 'replace':
        return { cost: walk(max(0), 2 * traversal), size: { max: replacedSize(max(0), args) } }
      case 'split':
        return { cost: walk(max(0), 2 * traversal), size: { max: max(0), of: { kind: 'string', maxElements: max(0) } } }
      case 'join': {
        const length = cap(max(0) * declaredElement(args[0]?.size).max + (args.length > 1 ? max(1) * max(0) : 0))
        return { cost: walk(length), size: { max: length } }
      }
      case 'quantity':
      case 'isQuantity':
      case 'semver':
      case 'isSemver':
      case 'isIP':
      case 'cidr':
      case 'isCIDR':
      case 'ip':
        return { cost: walk(max(0)) }
      case 'ip.isCanonical':
        return { cost: walk(max(0), 2 * traversal) }
      case 'validate':
        return { cost: walk(walk(max(1)), 128 * regex) }
      case 'containsIP':
        return { cost: 4 + (this.#typeOf(callArgument(expr, 0))?.kind === 'string' ? walk(max(1)) : 0) }
      case 'containsCIDR':
        return { cost: 7 + (this.#typeOf(callArgument(expr, 0))?.kind === 'string' ? walk(max(1)) : 0) }
      case 'sets.contains':
      case 'sets.intersects':
        return { cost: cap(max(0) * max(1) + 10), size: one }
      case 'sets.equivalent':
        return { cost: cap(2 * max(0) * max(1) + 10), size: one }
      case 'reverse':
      case 'distinct':
      case 'sort':
        return { cost: cap(max(0) * (name === 'reverse' ? 1 : max(0)) + 10), size: args[0]?.size ?? one }
      default:
        return { cost: 1 }
    }
  }

  #addition(expr: Expr, [a, b]: readonly Estimated[]): { cost: number; size?: Size } {
    const type = this.#typeOf(expr)?.kind
    const size = { max: cap((a?.size.max ?? 0) + (b?.size.max ?? 0)), of: a?.size.of ?? b?.size.of }
    if (type === 'list') return { cost: 1, size }
    return type === 'string' || type === 'bytes' ? { cost: Math.ceil(size.max * traversal), size } : { cost: 1 }
  }

  #listWalk(expr: Expr, [target]: readonly Estimated[]): number {
    const max = target?.size.max ?? 1
    const isText = expr.kind === 'call' && expr.target !== undefined && this.#typeOf(expr.target)?.kind === 'string'
    if (isText) return Math.ceil(max * traversal)
    const element = declaredElement(target?.size)
    const isTextual = expr.kind === 'call' && expr.target !== undefined && isTextList(this.#typeOf(expr.target))
    return cap(max * (1 + (isTextual ? Math.ceil(element.max * traversal) : 0)))
  }

  #fold(expr: Extract<Expr, { kind: 'comprehension' }>): Estimated {
    const range = this.cost(expr.range)
    const init = this.cost(expr.init)
    const saved = new Map(this.#scope)
    const isMap = this.#typeOf(expr.range)?.kind === 'map'
    this.#scope.set(expr.accumulator, init.size)
    const element = elementSize(range.size)
    this.#scope.set(expr.variable, expr.second === '' && !isMap ? element : isMap ? keySize(range.size) : one)
    if (expr.second !== '') this.#scope.set(expr.second, element)
    const condition = this.cost(expr.condition)
    const step = this.cost(expr.step)
    const result = this.cost(expr.result)
    this.#scope.clear()
    for (const [name, size] of saved) this.#scope.set(name, size)
    const isBinding = expr.variable === '#unused'
    const loops = isBinding ? 0 : range.size.max * (condition.cost + step.cost)
    const isContainer = expr.init.kind === 'list' || expr.init.kind === 'map'
    const size = isContainer
      ? { max: range.size.max, of: step.size.of, isComputed: true }
      : isBinding
        ? result.size
        : init.size
    return { cost: cap(range.cost + init.cost + loops + result.cost), size }
  }
}

function callArgument(expr: Expr, index: number): Expr {
  return (expr.kind === 'call' ? expr.args[index] : undefined) ?? expr
}

function isTextList(type: Type | undefined): boolean {
  return type?.kind === 'list' && (type.of.kind === 'string' || type.of.kind === 'bytes')
}

function replacedSize(length: number, args: readonly Estimated[]): number {
  const from = args[1]?.size.max ?? 1
  const to = args[2]?.size.max ?? 1
  if (from === 0) return cap((length + 1) * to + length)
  return to <= from ? length : cap(Math.ceil(length / from) * to)
}

function literalSize(value: unknown): number {
  if (typeof value === 'string') return textLength(value)
  return value instanceof Uint8Array ? value.length : 1
}

function sizeOfType(type: Type | undefined): Size {
  switch (type?.kind) {
    case 'bool':
    case 'int':
    case 'uint':
    case 'double':
    case 'null':
    case 'type':
    case 'timestamp':
    case 'duration':
      return { max: type.maxElements ?? 1 }
    case 'list':
      return { max: type.maxElements ?? unbounded, of: type.of }
    case 'map':
      return { max: type.maxElements ?? unbounded, of: type }
    case 'object':
      return { max: type.maxElements ?? 1, of: type }
    case 'optional':
      return sizeOfType(type.of)
    case 'opaque':
      return one
    default:
      return { max: type?.maxElements ?? unbounded }
  }
}

function elementSize(size: Size | undefined): Size {
  if (size?.of === undefined) return { max: unbounded }
  return sizeOfType(size.of.kind === 'map' ? size.of.value : size.of)
}

function declaredElement(size: Size | undefined): Size {
  return size?.isComputed === true ? { max: unbounded } : elementSize(size)
}

function keySize(size: Size): Size {
  return size.of?.kind === 'map' ? sizeOfType(size.of.key) : { max: unbounded }
}

function sum(parts: readonly Estimated[]): number {
  return parts.reduce((total, { cost }) => total + cost, 0)
}

function largest(items: readonly Estimated[]): Type | undefined {
  const max = items.reduce((most, { size }) => Math.max(most, size.max), 0)
  return items.length === 0 ? undefined : { kind: 'string', maxElements: max }
}
