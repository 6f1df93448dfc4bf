import { RE2JS } from 're2js'

import { noOverload, toText } from './operators.ts'
import type { Implementation } from './operators.ts'
import { CelError, CelMap, isList, numberOf } from './values.ts'
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
  if (start < 0 || start > characters.length) throw new CelError(`index out of range: ${start}`)
  for (let at = start; at <= characters.length - part.length; at += 1) {
    if (part.every((char, index) => characters[at + index] === char)) return BigInt(at)
  }
  return -1n
}

function lastIndexOf(characters: readonly string[], [wanted, offset]: readonly Value[]): Value {
  const part = Array.from(asText(wanted))
  const latest = characters.length - part.length
  const start = offset === undefined ? latest : Number(offset)
  if (offset !== undefined && (start < 0 || start > characters.length))
    throw new CelError(`index out of range: ${start}`)
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

/** `'%s has %d'.format([...])`. */
function format(_characters: readonly string[], [args]: readonly Value[], whole: string): Value {
  if (args === undefined || !isList(args)) throw noOverload()
  let next = 0
  return whole.replaceAll(
    /%(%|(?:\.(\d+))?([sdfeboxX]))?/g,
    (all, code: string | undefined, digits: string | undefined, verb: string | undefined) => {
      if (code === '%') return '%'
      if (verb === undefined)
        throw new CelError(`could not parse formatting clause: unrecognized formatting clause "${all}"`)
      const value = args[next]
      if (value === undefined) throw new CelError(`index ${next} out of range`)
      next += 1
      return formatOne(verb, value, digits === undefined ? undefined : Number(digits))
    },
  )
}

function formatOne(verb: string, value: Value, precision: number | undefined): string {
  const number = numberOf(value)
  if (verb === 's') return formatText(value)
  if (verb === 'f' && number !== undefined) return Number(number).toFixed(precision ?? 6)
  if (verb === 'e' && number !== undefined) {
    return Number(number)
      .toExponential(precision ?? 6)
      .replace(/e([+-])(\d)$/, 'e$10$2')
  }
  if (verb === 'd' && number !== undefined) return toText(value)
  const bases: Readonly<Record<string, number>> = { b: 2, o: 8, x: 16, X: 16 }
  const base = bases[verb]
  if (base !== undefined && typeof number === 'bigint') {
    return verb === 'X' ? number.toString(base).toUpperCase() : number.toString(base)
  }
  if (verb === 'b' && typeof value === 'boolean') return value ? '1' : '0'
  if ((verb === 'x' || verb === 'X') && (typeof value === 'string' || value instanceof Uint8Array)) {
    const hex = Buffer.from(value as string).toString('hex')
    return verb === 'X' ? hex.toUpperCase() : hex
  }
  throw new CelError(`error during formatting: %${verb} does not take this value`)
}

function formatText(value: Value): string {
  if (value === null) return 'null'
  if (isList(value)) return `[${value.map(formatText).join(', ')}]`
  if (value instanceof CelMap) {
    const parts = [...value.entries()].map(([key, child]) => `${formatText(key)}:${formatText(child)}`)
    return `{${parts.toSorted().join(', ')}}`
  }
  return toText(value)
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
  ['trim', text((_characters, _rest, whole) => whole.trim())],
  ['join', join],
  ['format', text(format)],
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
