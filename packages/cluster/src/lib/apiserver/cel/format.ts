import {
  CelError,
  CelMap,
  CelObject,
  Duration,
  isList,
  numberOf,
  Opaque,
  Optional,
  Timestamp,
  typeOf,
} from './values.ts'
import type { Value } from './values.ts'
import { renderDouble, toText } from './operators.ts'

/** One clause of a format: `%.2f`. */
export interface Clause {
  readonly verb: string
  readonly precision: number | undefined
}

/** Text, and what stands between it; what is wrong with a format is found when a clause is come to, as upstream does. */
export type Piece = string | Clause | { readonly fault: string }

/** Splits the format of `'...'.format([...])` (cel-go's strings extension, version 2). */
export function* readFormat(format: string): Generator<Piece> {
  let at = 0
  while (at < format.length) {
    const percent = format.indexOf('%', at)
    if (percent < 0) return yield format.slice(at)
    if (percent > at) yield format.slice(at, percent)
    if (format[percent + 1] === '%') {
      yield '%'
      at = percent + 2
      continue
    }
    const [all = '', digits, verb = ''] = /(?:\.(\d*))?([^])?/y.exec(format.slice(percent + 1)) ?? []
    yield readClause(all, digits, verb)
    at = percent + 1 + all.length
  }
}

function readClause(all: string, digits: string | undefined, verb: string): Piece {
  if (all === '') return { fault: 'unexpected end of string' }
  const where = 'could not parse formatting clause'
  if (digits !== undefined && verb === '') {
    return { fault: `${where}: error while parsing precision: could not find end of precision specifier` }
  }
  if (digits === '') {
    return {
      fault: `${where}: error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing "": invalid syntax`,
    }
  }
  if (!'sdfebxXo'.includes(verb)) return { fault: `${where}: unrecognized formatting clause "${verb}"` }
  return { verb, precision: digits === undefined ? undefined : Number(digits) }
}

/** What a clause takes, and what is said of everything else. */
const clauses: Readonly<Record<string, { readonly takes: readonly string[]; readonly refuses: string }>> = {
  s: {
    takes:
      'list map int uint double bool string google.protobuf.Timestamp bytes google.protobuf.Duration type null_type'.split(
        ' ',
      ),
    refuses:
      'string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps',
  },
  d: { takes: ['int', 'uint'], refuses: 'decimal clause can only be used on integers' },
  f: { takes: ['double', 'string'], refuses: 'fixed-point clause can only be used on doubles' },
  e: { takes: ['double', 'string'], refuses: 'scientific clause can only be used on doubles' },
  b: { takes: ['int', 'uint', 'bool'], refuses: 'only integers and bools can be formatted as binary' },
  o: { takes: ['int', 'uint'], refuses: 'octal clause can only be used on integers' },
  x: {
    takes: ['int', 'uint', 'string', 'bytes'],
    refuses: 'only integers, byte buffers, and strings can be formatted as hex',
  },
}

/** Texts that stand for numbers. */
const numberWords = new Set(['NaN', 'Infinity', '-Infinity'])

/** Why a clause does not take values of this type; undefined when it does. */
export function refusal(verb: string, type: string): string | undefined {
  const clause = clauses[verb.toLowerCase()]
  if (clause === undefined || clause.takes.includes(type)) return undefined
  return `error during formatting: ${clause.refuses}, was given ${type}`
}

/** `'%s has %d'.format([...])`. */
export function formatValues(format: string, values: readonly Value[]): string {
  let text = ''
  let next = 0
  for (const piece of readFormat(format)) {
    if (typeof piece === 'string') {
      text += piece
      continue
    }
    const value = values[next]
    if (value === undefined) throw new CelError(`index ${next} out of range`)
    if ('fault' in piece) throw new CelError(piece.fault)
    text += formatOne(piece, value)
    next += 1
  }
  return text
}

function formatOne({ verb, precision }: Clause, value: Value): string {
  const type = typeOf(value)
  const isWord = 'fe'.includes(verb) && typeof value === 'string' && !numberWords.has(value)
  const wrong = refusal(verb, isWord ? 'string ' : type)?.trim()
  if (wrong !== undefined) throw new CelError(wrong)
  if (verb === 's') return renderText(value)
  if (verb === 'f') return renderFixed(Number(value), precision ?? 6)
  if (verb === 'e') return renderScientific(Number(value))
  if (typeof value === 'boolean') return value ? '1' : '0'
  const hex =
    typeof value === 'string' || value instanceof Uint8Array ? Buffer.from(value as string).toString('hex') : ''
  const bases: Readonly<Record<string, number>> = { d: 10, b: 2, o: 8, x: 16, X: 16 }
  const number = numberOf(value)
  const shown = typeof number === 'bigint' && typeof value !== 'string' ? number.toString(bases[verb]) : hex
  return verb === 'X' ? shown.toUpperCase() : shown
}

function renderText(value: Value): string {
  if (value === null) return 'null'
  if (isList(value) || value instanceof CelMap || value instanceof CelObject) return renderLiteral(value)
  return toText(value)
}

/** A value inside of a list or map: as CEL would have it written. */
function renderLiteral(value: Value): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (value instanceof Uint8Array) return `b${JSON.stringify(Buffer.from(value).toString())}`
  if (typeof value === 'number') {
    return Number.isFinite(value) ? roundTo(value, 6) : JSON.stringify(renderDouble(value))
  }
  if (value instanceof Timestamp) return `timestamp("${toText(value)}")`
  if (value instanceof Duration) return `duration("${toText(value)}")`
  if (isList(value)) return `[${value.map(renderLiteral).join(', ')}]`
  if (value instanceof CelMap) return renderEntries(value.entries())
  if (value instanceof CelObject)
    return renderEntries(value.fields().map((field) => [field, value.get(field) as Value]))
  if (value instanceof Opaque || value instanceof Optional) {
    throw new CelError(`error during formatting: no formatting function for ${typeOf(value)}`)
  }
  return renderText(value)
}

function renderEntries(entries: Iterable<readonly [Value, Value]>): string {
  const parts = Array.from(entries, ([key, value]) => [renderLiteral(key), renderLiteral(value)] as const)
  const sorted = parts.toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  return `{${sorted.map((part) => part.join(':')).join(', ')}}`
}

/** With commas between thousands: upstream formats by the rules of American English. */
function renderFixed(value: number, digits: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '-∞'
  const [whole = '', fraction] = roundTo(value, digits).split('.')
  const grouped = whole.replaceAll(/(?<=\d)(?=(?:\d{3})+$)/g, ',')
  return fraction === undefined ? grouped : `${grouped}.${fraction}`
}

const superscripts = '⁰¹²³⁴⁵⁶⁷⁸⁹'

/** `1.052033×10⁰³`. The precision of a clause is its width upstream, and is less than six digits take in any case. */
function renderScientific(value: number): string {
  if (!Number.isFinite(value)) return renderFixed(value, 0).padStart(6)
  const [mantissa = '', exponent = ''] = value.toExponential(6).split('e')
  const digits = Array.from(exponent.slice(1).padStart(2, '0'), (digit) => superscripts[Number(digit)])
  return `${mantissa}×10${exponent.startsWith('-') ? '⁻' : ''}${digits.join('')}`
}

/** Decimal digits of the exact value of a double, rounded half to even, as Go does it: `toFixed` rounds halves up. */
function roundTo(value: number, digits: number): string {
  const bits = new DataView(new ArrayBuffer(8))
  bits.setFloat64(0, Math.abs(value))
  const raw = bits.getBigUint64(0)
  const biased = Number(raw >> 52n)
  const fraction = raw & ((1n << 52n) - 1n)
  const mantissa = biased === 0 ? fraction : fraction | (1n << 52n)
  const exponent = Math.max(biased, 1) - 1075
  const scaled = mantissa * 10n ** BigInt(digits)
  const whole = exponent >= 0 ? scaled << BigInt(exponent) : halve(scaled, BigInt(-exponent))
  const text = String(whole).padStart(digits + 1, '0')
  const sign = value < 0 || Object.is(value, -0) ? '-' : ''
  return digits === 0 ? sign + text : `${sign}${text.slice(0, -digits)}.${text.slice(-digits)}`
}

function halve(value: bigint, times: bigint): bigint {
  const down = value >> times
  const rest = value - (down << times)
  const half = 1n << (times - 1n)
  return rest > half || (rest === half && (down & 1n) === 1n) ? down + 1n : down
}
