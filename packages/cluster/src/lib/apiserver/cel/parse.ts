import { isReserved, lex } from './lex.ts'
import type { Token } from './lex.ts'
import { expandBind, expandMacro } from './macros.ts'
import { qualifiedName } from './check.ts'
import { CelSyntaxError } from './syntax.ts'
import type { Expr, MapEntry } from './syntax.ts'

const longestSource = 100_000
const deepest = 250
const beginnings =
  "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"

/** Reads an expression; throws {@link CelSyntaxError}. */
export function parse(source: string, options: ParseOptions = {}): Expr {
  if (source.length > longestSource) {
    throw new CelSyntaxError(
      `expression code point size exceeds limit: size: ${source.length}, limit ${longestSource}`,
      0,
    )
  }
  return new Parser(source, options.canBind === true).parseAll()
}

export interface ParseOptions {
  /** Whether `cel.bind(x, value, e)` may give a value a name, as selectors of devices may. Default: false. */
  readonly canBind?: boolean
}

/** Makes expressions; each has a number of its own. */
export class Builder {
  #next = 1

  literal(value: Extract<Expr, { kind: 'literal' }>['value'], at: number): Expr {
    return { kind: 'literal', value, at, id: this.#next++ }
  }

  ident(name: string, at: number): Expr {
    return { kind: 'ident', name, at, id: this.#next++ }
  }

  call(name: string, target: Expr | undefined, args: readonly Expr[], at: number): Expr {
    return { kind: 'call', name, target, args, at, id: this.#next++ }
  }

  select(operand: Expr, field: string, at: number, isTest = false): Expr {
    return { kind: 'select', operand, field, isTest, at, id: this.#next++ }
  }

  list(items: readonly Expr[], at: number, optional: ReadonlySet<number> = new Set()): Expr {
    return { kind: 'list', items, optional, at, id: this.#next++ }
  }

  map(entries: readonly MapEntry[], at: number, typeName?: string): Expr {
    return { kind: 'map', entries, at, id: this.#next++, ...(typeName === undefined ? {} : { typeName }) }
  }

  fold(parts: Omit<Extract<Expr, { kind: 'comprehension' }>, 'kind' | 'id'>): Expr {
    return { kind: 'comprehension', ...parts, id: this.#next++ }
  }
}

/** Left-associative operators, the loosest first, and the functions they stand for. */
const levels: readonly Readonly<Record<string, string>>[] = [
  { '||': '_||_' },
  { '&&': '_&&_' },
  { '==': '_==_', '!=': '_!=_', '<': '_<_', '<=': '_<=_', '>': '_>_', '>=': '_>=_', in: '@in' },
  { '+': '_+_', '-': '_-_' },
  { '*': '_*_', '/': '_/_', '%': '_%_' },
]

class Parser {
  readonly #tokens: readonly Token[]
  readonly #build = new Builder()
  readonly #canBind: boolean
  #position = 0
  #depth = 0

  constructor(source: string, canBind: boolean) {
    this.#tokens = lex(source)
    this.#canBind = canBind
  }

  parseAll(): Expr {
    const expr = this.#expr()
    if (this.#peek().kind !== 'end') this.#unexpected('<EOF>')
    return expr
  }

  #expr(): Expr {
    this.#depth += 1
    if (this.#depth > deepest) {
      throw new CelSyntaxError(`expression recursion limit exceeded: ${deepest}`, this.#peek().at)
    }
    const condition = this.#binary(0)
    const { at } = this.#peek()
    let expr = condition
    if (this.#take('?')) {
      const yes = this.#binary(0)
      this.#expect(':')
      expr = this.#build.call('_?_:_', undefined, [condition, yes, this.#expr()], at)
    }
    this.#depth -= 1
    return expr
  }

  #binary(level: number): Expr {
    const operators = levels[level]
    if (operators === undefined) return this.#unary()
    const terms = [this.#binary(level + 1)]
    const places: number[] = []
    let left = terms[0] as Expr
    for (;;) {
      const token = this.#peek()
      const name = token.kind === 'operator' && Object.hasOwn(operators, token.text) ? operators[token.text] : undefined
      if (name === undefined) break
      this.#position += 1
      const right = this.#binary(level + 1)
      if (level < 2) {
        terms.push(right)
        places.push(token.at)
      } else left = this.#build.call(name, undefined, [left, right], token.at)
    }
    return level < 2 ? this.#balance(Object.values(operators)[0] ?? '', terms, places, 0, terms.length - 1) : left
  }

  /** Long chains of `&&` and `||` become a balanced tree, so that depth stays small. */
  #balance(name: string, terms: readonly Expr[], places: readonly number[], low: number, high: number): Expr {
    if (low === high) return terms[low] as Expr
    const middle = Math.floor((low + high - 1) / 2)
    const left = this.#balance(name, terms, places, low, middle)
    const right = this.#balance(name, terms, places, middle + 1, high)
    return this.#build.call(name, undefined, [left, right], places[middle] ?? 0)
  }

  #unary(): Expr {
    const token = this.#peek()
    if (token.kind !== 'operator' || (token.text !== '!' && token.text !== '-')) return this.#member(this.#primary())
    this.#position += 1
    if (this.#take(token.text)) return this.#unnested(token.at)
    const following = this.#peek()
    if (token.text === '-' && following.kind === 'literal' && ['int', 'double'].includes(following.value.type)) {
      this.#position += 1
      return this.#member(this.#negative(following.value, token.at))
    }
    this.#depth += 1
    if (this.#depth > deepest) throw new CelSyntaxError(`expression recursion limit exceeded: ${deepest}`, token.at)
    const operand = this.#unary()
    this.#depth -= 1
    return this.#build.call(token.text === '!' ? '!_' : '-_', undefined, [operand], token.at)
  }

  /** Two negations are none. */
  #unnested(at: number): Expr {
    this.#depth += 1
    if (this.#depth > deepest) throw new CelSyntaxError(`expression recursion limit exceeded: ${deepest}`, at)
    const operand = this.#unary()
    this.#depth -= 1
    return operand
  }

  #negative(literal: Extract<Token, { kind: 'literal' }>['value'], at: number): Expr {
    if (literal.type === 'int') return this.#build.literal({ type: 'int', value: -literal.value }, at)
    return this.#build.literal({ type: 'double', value: -Number(literal.value) }, at)
  }

  #member(start: Expr): Expr {
    let expr = start
    for (;;) {
      const { at } = this.#peek()
      if (this.#take('.')) {
        const isOptional = this.#take('?')
        const name = this.#name()
        if (isOptional) {
          expr = this.#build.call(
            '_?._',
            undefined,
            [expr, this.#build.literal({ type: 'string', value: name }, at)],
            at,
          )
        } else if (this.#isNext('(')) expr = this.#call(name, expr, at)
        else expr = this.#build.select(expr, name, at)
      } else if (this.#take('[')) {
        const isOptional = this.#take('?')
        const index = this.#expr()
        this.#expect(']')
        expr = this.#build.call(isOptional ? '_[?_]' : '_[_]', undefined, [expr, index], at)
      } else if (this.#isNext('{') && qualifiedName(expr) !== undefined) {
        this.#take('{')
        expr = this.#message(qualifiedName(expr) ?? '', expr.at)
      } else return expr
    }
  }

  #message(typeName: string, at: number): Expr {
    const entries: MapEntry[] = []
    while (!this.#take('}')) {
      const isOptional = this.#take('?')
      const token = this.#peek()
      const key = this.#build.literal({ type: 'string', value: this.#name() }, token.at)
      this.#expect(':')
      entries.push({ key, value: this.#expr(), isOptional })
      if (!this.#take(',')) {
        this.#expect('}')
        break
      }
    }
    return this.#build.map(entries, at, typeName)
  }

  #name(): string {
    const token = this.#peek()
    if (token.kind === 'operator' && token.text === 'in') this.#unexpected('IDENTIFIER')
    if (token.kind !== 'ident') return this.#unexpected('IDENTIFIER')
    this.#position += 1
    return token.text
  }

  #call(name: string, target: Expr | undefined, at: number): Expr {
    this.#expect('(')
    const args = this.#list(')')
    const bound = this.#canBind ? expandBind(this.#build, name, target, args, at) : undefined
    const expanded = bound ?? expandMacro(this.#build, name, target, args, at)
    return expanded ?? this.#build.call(name, target, args, at)
  }

  #list(end: string): Expr[] {
    const items: Expr[] = []
    while (!this.#take(end)) {
      items.push(this.#expr())
      if (!this.#take(',')) {
        this.#expect(end)
        break
      }
    }
    return items
  }

  #primary(): Expr {
    const token = this.#peek()
    if (token.kind === 'literal') {
      this.#position += 1
      if (token.value.type === 'int' && token.value.value === 2n ** 63n) {
        throw new CelSyntaxError('invalid int literal', token.at)
      }
      return this.#build.literal(token.value, token.at)
    }
    if (token.kind === 'ident') {
      this.#position += 1
      if (isReserved(token.text)) throw new CelSyntaxError(`reserved identifier: ${token.text}`, token.at)
      return this.#isNext('(') ? this.#call(token.text, undefined, token.at) : this.#build.ident(token.text, token.at)
    }
    if (this.#take('.')) {
      const name = this.#name()
      return this.#isNext('(') ? this.#call(name, undefined, token.at) : this.#build.ident(name, token.at)
    }
    if (this.#take('(')) {
      const expr = this.#expr()
      this.#expect(')')
      return expr
    }
    if (this.#take('[')) return this.#listLiteral(token.at)
    if (this.#take('{')) return this.#mapLiteral(token.at)
    return this.#unexpected(beginnings)
  }

  #listLiteral(at: number): Expr {
    const items: Expr[] = []
    const optional = new Set<number>()
    while (!this.#take(']')) {
      if (this.#take('?')) optional.add(items.length)
      items.push(this.#expr())
      if (!this.#take(',')) {
        this.#expect(']')
        break
      }
    }
    return this.#build.list(items, at, optional)
  }

  #mapLiteral(at: number): Expr {
    const entries: MapEntry[] = []
    while (!this.#take('}')) {
      const isOptional = this.#take('?')
      const key = this.#expr()
      this.#expect(':')
      entries.push({ key, value: this.#expr(), isOptional })
      if (!this.#take(',')) {
        this.#expect('}')
        break
      }
    }
    return this.#build.map(entries, at)
  }

  #peek(): Token {
    return this.#tokens[this.#position] ?? { kind: 'end', at: 0 }
  }

  #isNext(text: string): boolean {
    const token = this.#peek()
    return token.kind === 'operator' && token.text === text
  }

  #take(text: string): boolean {
    const isThere = this.#isNext(text)
    if (isThere) this.#position += 1
    return isThere
  }

  #expect(text: string): void {
    if (!this.#take(text)) this.#unexpected(`'${text}'`)
  }

  #unexpected(expected: string): never {
    const token = this.#peek()
    const shown = token.kind === 'end' ? '<EOF>' : token.kind === 'literal' ? String(token.value.value) : token.text
    throw new CelSyntaxError(`Syntax error: mismatched input '${shown}' expecting ${expected}`, token.at)
  }
}
