import { CelSyntaxError } from './syntax.ts'
import type { Literal } from './syntax.ts'

export type Token = { readonly at: number } & (
  | { readonly kind: 'literal'; readonly value: Literal }
  | { readonly kind: 'ident'; readonly text: string }
  | { readonly kind: 'operator'; readonly text: string }
  | { readonly kind: 'end' }
)

const space = /(?:[\t\n\f\r ]|\/\/[^\n]*)+/y
const number = /(?:0x[0-9a-fA-F]+[uU]?|\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?|\d+[uU]?)/y
const word = /[A-Za-z_][A-Za-z0-9_]*/y
const quoted = /`([A-Za-z0-9_.\-/ ]+)`/y
const text =
  /([rR]?[bB]?|[bB][rR])("""[^]*?(?<!\\)(?:\\\\)*"""|'''[^]*?(?<!\\)(?:\\\\)*'''|"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*')/y
const rawText = /([rR][bB]?|[bB][rR])("""[^]*?"""|'''[^]*?'''|"[^"\r\n]*"|'[^'\r\n]*')/y
const operator = /(?:&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()[\]{}])/y

/** Splits an expression into tokens. */
export function lex(source: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    return pattern.exec(source)
  }
  for (;;) {
    at += match(space)?.[0].length ?? 0
    if (at >= source.length) break
    const token = next(match, at)
    if (token === undefined) {
      throw new CelSyntaxError(`Syntax error: token recognition error at: '${source[at]}'`, at)
    }
    tokens.push(token.token)
    at += token.length
  }
  tokens.push({ kind: 'end', at })
  return tokens
}

type Match = (pattern: RegExp) => RegExpExecArray | null

function next(match: Match, at: number): { token: Token; length: number } | undefined {
  const string = match(rawText) ?? match(text)
  if (string !== null) {
    const [all, prefix = '', body = ''] = string
    return { token: { kind: 'literal', at, value: readText(prefix.toLowerCase(), body, at) }, length: all.length }
  }
  const digits = match(number)
  if (digits !== null)
    return { token: { kind: 'literal', at, value: readNumber(digits[0], at) }, length: digits[0].length }
  const name = match(word)
  if (name !== null) return { token: readWord(name[0], at), length: name[0].length }
  const escaped = match(quoted)
  // The language has it; Kubernetes 1.36 does not turn it on.
  if (escaped !== null) throw new CelSyntaxError("unsupported syntax: '`'", at)
  const symbol = match(operator)
  return symbol === null ? undefined : { token: { kind: 'operator', text: symbol[0], at }, length: symbol[0].length }
}

const reserved = new Set(
  'as break const continue else for function if import let loop package namespace return var void while'.split(' '),
)

function readWord(name: string, at: number): Token {
  if (name === 'true' || name === 'false')
    return { kind: 'literal', at, value: { type: 'bool', value: name === 'true' } }
  if (name === 'null') return { kind: 'literal', at, value: { type: 'null', value: null } }
  if (name === 'in') return { kind: 'operator', text: 'in', at }
  return { kind: 'ident', text: name, at }
}

export function isReserved(name: string): boolean {
  return reserved.has(name)
}

const longest = 2n ** 63n

function readNumber(digits: string, at: number): Literal {
  const isUnsigned = /u$/i.test(digits)
  const plain = isUnsigned ? digits.slice(0, -1) : digits
  if (!plain.startsWith('0x') && /[.eE]/.test(plain)) return { type: 'double', value: Number(plain) }
  const value = BigInt(plain)
  // One more than the largest int is read here: with a minus before it, it is the smallest one.
  if (value > (isUnsigned ? 2n * longest - 1n : longest)) {
    throw new CelSyntaxError(`invalid ${isUnsigned ? 'uint' : 'int'} literal`, at)
  }
  return { type: isUnsigned ? 'uint' : 'int', value }
}

function readText(prefix: string, body: string, at: number): Literal {
  const quotes = body.startsWith('"""') || body.startsWith("'''") ? 3 : 1
  const content = body.slice(quotes, -quotes)
  const isBytes = prefix.includes('b')
  if (isBytes) {
    return { type: 'bytes', value: prefix.includes('r') ? Buffer.from(content) : unescapeBytes(content, at) }
  }
  return { type: 'string', value: prefix.includes('r') ? content : unescape(content, at) }
}

const escapes = /\\(x[0-9a-fA-F]{2}|X[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|[^])/g
const simple: Readonly<Record<string, string>> = {
  a: '\u0007',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '?': '?',
  '"': '"',
  "'": "'",
  '`': '`',
}

function unescape(content: string, at: number): string {
  return content.replaceAll(escapes, (_all, code: string) => {
    const point = codeOf(code)
    return point === undefined ? simpleEscape(code, at) : String.fromCodePoint(point)
  })
}

function unescapeBytes(content: string, at: number): Uint8Array {
  const parts: Buffer[] = []
  let done = 0
  for (const match of content.matchAll(escapes)) {
    parts.push(Buffer.from(content.slice(done, match.index)))
    const code = match[1] ?? ''
    const point = codeOf(code)
    parts.push(point === undefined ? Buffer.from(simpleEscape(code, at)) : Buffer.of(point))
    done = match.index + match[0].length
  }
  return Buffer.concat([...parts, Buffer.from(content.slice(done))])
}

function codeOf(code: string): number | undefined {
  if (/^[xXuU]./.test(code)) return Number.parseInt(code.slice(1), 16)
  return /^[0-3][0-7]{2}$/.test(code) ? Number.parseInt(code, 8) : undefined
}

function simpleEscape(code: string, at: number): string {
  const found = simple[code]
  if (found === undefined) throw new CelSyntaxError(`Syntax error: invalid escape sequence '\\${code}'`, at)
  return found
}
