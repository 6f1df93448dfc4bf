import { RE2JS } from 're2js'

import { formatValues } from './format.ts'
import { noOverload } from './operators.ts'
import type { Implementation } from './operators.ts'
import { CelError, isList } from './values.ts'
import type { Value } from './values.ts'

function text(use: (characters: readonly string[], rest: readonly Value[], whole: string) => Value): Implementation {
  return ([value, ...rest]) => {
    if (typeof value !== 'string') throw noOverload()
    return use(Array.from(value), rest, value)
  }
}

function asText(value: Value | undefined): string {
  if (typeof value !== 'string') throw noOverload()
  return value
}

function substring(characters: readonly string[], [from, to]: readonly Value[]): Value {
  const start = Number(from)
  const end = to === undefined ? characters.length : Number(to)
  if (start < 0 || start > characters.length) throw new CelError(`index out of range: ${start}`)
  if (end < 0 || end > characters.length) throw new CelError(`index out of range: ${end}`)
  if (start > end) throw new CelError(`invalid substring range. start: ${start}, end: ${end}`)
  return characters.slice(start, end).join('')
}

function indexOf(characters: readonly string[], [wanted, offset]: readonly Value[]): Value {
  const part = Array.from(asText(wanted))
  const start = offset === undefined ? 0 : Number(offset)
  if (part.length === 0) return BigInt(start)
  if (start < 0) throw new CelError(`index out of range: ${start}`)
  for (let at = start; at <= characters.length - part.length; at += 1) {
    if (part.every((char, index) => characters[at + index] === char)) return BigInt(at)
  }
  return -1n
}

function lastIndexOf(characters: readonly string[], [wanted, offset]: readonly Value[]): Value {
  const part = Array.from(asText(wanted))
  const latest = characters.length - part.length
  const start = offset === undefined ? latest : Number(offset)
  if (offset !== undefined && part.length === 0) return BigInt(start)
  if (offset !== undefined && start < 0) throw new CelError(`index out of range: ${start}`)
  if (offset !== undefined && start >= characters.length) return -1n
  for (let at = Math.min(start, latest); at >= 0; at -= 1) {
    if (part.every((char, index) => characters[at + index] === char)) return BigInt(at)
  }
  return -1n
}

function replace(_characters: readonly string[], [from, to, count]: readonly Value[], whole: string): Value {
  if (typeof from !== 'string' || typeof to !== 'string') throw noOverload()
  const limit = count === undefined || Number(count) < 0 ? Infinity : Number(count)
  if (from === '') {
    const characters = Array.from(whole)
    return (
      characters.reduce((done, char, index) => done + (index < limit ? to : '') + char, '') +
      (characters.length < limit ? to : '')
    )
  }
  const parts = whole.split(from)
  return parts.reduce((done, part, index) => (index === 0 ? part : done + (index <= limit ? to : from) + part), '')
}

function split(characters: readonly string[], [separator, count]: readonly Value[], whole: string): Value {
  const limit = count === undefined ? -1 : Number(count)
  if (limit === 0) return []
  const parts = separator === '' ? [...characters] : whole.split(asText(separator))
  if (limit < 0 || parts.length <= limit) return parts
  return [...parts.slice(0, limit - 1), parts.slice(limit - 1).join(asText(separator))]
}

function join([list, separator]: readonly Value[]): Value {
  if (list === undefined || !isList(list) || !list.every((item) => typeof item === 'string')) throw noOverload()
  return list.join(typeof separator === 'string' ? separator : '')
}

function compiled(pattern: Value): RE2JS {
  try {
    return RE2JS.compile(asText(pattern))
  } catch (error) {
    throw new CelError(`Illegal regex: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function findAll(whole: string, pattern: Value, limit: number): string[] {
  const found: string[] = []
  const matcher = compiled(pattern).matcher(whole)
  while (found.length < limit && matcher.find()) found.push(matcher.group() ?? '')
  return found
}

function lower(whole: string): string {
  return whole.replaceAll(/[A-Z]/g, (char) => char.toLowerCase())
}

function upper(whole: string): string {
  return whole.replaceAll(/[a-z]/g, (char) => char.toUpperCase())
}

function quote([value]: readonly Value[]): Value {
  if (typeof value !== 'string') throw noOverload()
  const escapes: Readonly<Record<string, string>> = {
    '\u0007': '\\a',
    '\b': '\\b',
    '\f': '\\f',
    '\n': '\\n',
    '\r': '\\r',
    '\t': '\\t',
    '\v': '\\v',
    '\\': '\\\\',
    '"': '\\"',
  }
  return `"${Array.from(value)
    .map((char) => escapes[char] ?? char)
    .join('')}"`
}

/** White space as Unicode has it; JavaScript's own also counts the byte order mark, and not U+0085. */
const outerSpace =
  /^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+|[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+$/g

/** Functions on texts (cel-go's strings extension, version 2) and Kubernetes' `find`. */
export const textFunctions: ReadonlyMap<string, Implementation> = new Map<string, Implementation>([
  [
    'charAt',
    text((characters, [at]) => {
      const index = Number(at)
      if (index < 0 || index > characters.length) throw new CelError(`index out of range: ${index}`)
      return characters[index] ?? ''
    }),
  ],
  ['indexOf', text(indexOf)],
  ['lastIndexOf', text(lastIndexOf)],
  ['lowerAscii', text((_characters, _rest, whole) => lower(whole))],
  ['upperAscii', text((_characters, _rest, whole) => upper(whole))],
  ['replace', text(replace)],
  ['split', text(split)],
  ['substring', text(substring)],
  ['trim', text((_characters, _rest, whole) => whole.replaceAll(outerSpace, ''))],
  ['join', join],
  [
    'format',
    text((_characters, [values], whole) => {
      if (values === undefined || !isList(values)) throw noOverload()
      return formatValues(whole, values)
    }),
  ],
  ['strings.quote', quote],
  ['find', text((_characters, [pattern], whole) => findAll(whole, pattern as Value, 1)[0] ?? '')],
  [
    'findAll',
    text((_characters, [pattern, limit], whole) => {
      const most = limit === undefined || Number(limit) < 0 ? Infinity : Number(limit)
      return findAll(whole, pattern as Value, most)
    }),
  ],
])
