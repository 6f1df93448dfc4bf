/** An expression of CEL, macros expanded as the language specification has it. */
export type Expr = { readonly id: number; readonly at: number } & (
  | { readonly kind: 'literal'; readonly value: Literal }
  | { readonly kind: 'ident'; readonly name: string }
  | { readonly kind: 'select'; readonly operand: Expr; readonly field: string; readonly isTest: boolean }
  | { readonly kind: 'call'; readonly name: string; readonly target: Expr | undefined; readonly args: readonly Expr[] }
  | { readonly kind: 'list'; readonly items: readonly Expr[]; readonly optional: ReadonlySet<number> }
  /** With `typeName`, a message literal, `Type{field: value}`: its keys are names of fields. */
  | { readonly kind: 'map'; readonly entries: readonly MapEntry[]; readonly typeName?: string }
  | Comprehension
)

export interface MapEntry {
  readonly key: Expr
  readonly value: Expr
  readonly isOptional: boolean
}

/** `accumulator = init; for (variable in range) { if (!condition) break; accumulator = step }; result`. */
export interface Comprehension {
  readonly kind: 'comprehension'
  readonly range: Expr
  readonly variable: string
  /** The value of an entry, where `variable` is its key or index; empty with one variable. */
  readonly second: string
  readonly accumulator: string
  readonly init: Expr
  readonly condition: Expr
  readonly step: Expr
  readonly result: Expr
}

export type Literal =
  | { readonly type: 'int' | 'uint'; readonly value: bigint }
  | { readonly type: 'double'; readonly value: number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'bytes'; readonly value: Uint8Array }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'null'; readonly value: null }

/** What is wrong with an expression before it runs: its syntax, or its types. */
export class CelSyntaxError extends SyntaxError {
  /** Position in the text, in UTF-16 units. */
  readonly at: number

  constructor(message: string, at: number) {
    super(message)
    this.at = at
  }
}

/** The error as upstream shows it: place, text of the line, and a mark below. */
export function renderIssue(error: CelSyntaxError, source: string): string {
  const before = source.slice(0, error.at).split('\n')
  const line = before.length
  const column = Array.from(before.at(-1) ?? '').length
  const text = source.split('\n')[line - 1] ?? ''
  return `ERROR: <input>:${line}:${column + 1}: ${error.message}\n | ${text}\n | ${'.'.repeat(column)}^`
}
