import { labelKey, labelValue } from './kinds/names.ts'
import type { FieldError } from './status.ts'
import { badRequest } from './status.ts'
import type { Requirement } from './selectors.ts'

/**
 * Reads a label selector such as `app=web,tier in (a,b),!legacy`; throws 400 in upstream's words for anything else. Keys and
 * values have to be such as labels can have.
 */
export function parseLabelSelector(text: string): Requirement[] {
  const reader = new Reader(tokenise(text))
  const requirements: Requirement[] = []
  for (;;) {
    if (reader.isEnd) return requirements
    if (!reader.isWord && reader.token !== '!') {
      throw badRequest(`found '${reader.token}', expected: !, identifier, or 'end of string'`)
    }
    requirements.push(parseRequirement(reader))
    if (reader.isEnd) return requirements
    const separator = reader.take()
    if (separator !== ',') throw badRequest(`found '${separator}', expected: ',' or 'end of string'`)
    if (!reader.isWord && reader.token !== '!') {
      throw badRequest(`found '${reader.token}', expected: identifier after ','`)
    }
  }
}

/** Symbols, the longest first, and words: everything else without white space. */
function tokenise(text: string): string[] {
  return text.match(/==|!=|[(),=!<>]|[^\s(),=!<>]+/g) ?? []
}

class Reader {
  readonly #tokens: readonly string[]
  #at = 0

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens
  }

  /** The next token; empty at the end. */
  get token(): string {
    return this.#tokens[this.#at] ?? ''
  }

  get isEnd(): boolean {
    return this.#at >= this.#tokens.length
  }

  get isWord(): boolean {
    return /^[^(),=!<>]/.test(this.token)
  }

  take(): string {
    const { token } = this
    this.#at += 1
    return token
  }
}

function parseRequirement(reader: Reader): Requirement {
  const isAbsent = reader.token === '!'
  if (isAbsent) reader.take()
  if (!reader.isWord) throw unparsable(`found '${reader.token}', expected: identifier`)
  const key = reader.take()
  check(labelKey('<nil>', key))
  // Like upstream, what follows a key with "!" is the next requirement's or an error of the whole.
  if (isAbsent) return { key, operator: 'absent', values: [] }
  if (reader.isEnd || reader.token === ',') return { key, operator: 'exists', values: [] }
  const symbol = reader.take()
  if (symbol === 'in' || symbol === 'notin') return checked({ key, operator: symbol, values: parseValues(reader) })
  const operator = comparisons.get(symbol)
  if (operator === undefined) throw unparsable(`found '${symbol}', expected: in, notin, =, ==, !=, gt, lt`)
  return checked({ key, operator, values: [parseValue(reader)] })
}

const comparisons: ReadonlyMap<string, Requirement['operator']> = new Map([
  ['=', 'in'],
  ['==', 'in'],
  ['!=', 'notin'],
  ['>', 'greater'],
  ['<', 'less'],
])

/** One value; an empty one is legal: `key=` means the label is there and empty. */
function parseValue(reader: Reader): string {
  if (reader.isEnd || reader.token === ',') return ''
  if (!reader.isWord) throw unparsable(`found '${reader.token}', expected: identifier`)
  return reader.take()
}

/** `(a,b)`; where a value is missing between commas and brackets it is the empty one. */
function parseValues(reader: Reader): string[] {
  const open = reader.take()
  if (open !== '(') throw unparsable(`found '${open}' expected: '('`)
  if (!reader.isWord && reader.token !== ',' && reader.token !== ')') {
    throw unparsable(`found '${reader.token}', expected: ',', ')' or identifier`)
  }
  const values = new Set<string>()
  for (;;) {
    values.add(reader.isWord ? reader.take() : '')
    if (reader.token === ')') {
      reader.take()
      return [...values].toSorted()
    }
    if (reader.token !== ',') throw unparsable(`found '${reader.token}', expected: ',' or ')'`)
    reader.take()
  }
}

function checked(requirement: Requirement): Requirement {
  const { key, operator, values } = requirement
  const isNumeric = operator === 'greater' || operator === 'less'
  for (const [index, value] of values.entries()) {
    if (isNumeric && !/^[+-]?\d{1,18}$/.test(value)) {
      const detail = "for 'Gt', 'Lt' operators, the value must be an integer"
      throw unparsable(`values[${index}]: Invalid value: ${JSON.stringify(value)}: ${detail}`)
    }
    check(labelValue(`values[${index}][${key}]`, value))
  }
  return requirement
}

function check(errors: readonly FieldError[]): void {
  const [error] = errors
  if (error !== undefined) throw unparsable(`${error.field}: ${error.message}`)
}

function unparsable(detail: string): Error {
  return badRequest(`unable to parse requirement: ${detail}`)
}
