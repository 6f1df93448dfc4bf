import { renderDuration, renderTimestamp, parseDuration, parseTimestamp, partOf, toMoment } from './time.ts'
import {
  CelError,
  CelMap,
  CelObject,
  compare,
  Duration,
  equals,
  isList,
  numberOf,
  Opaque,
  Optional,
  sizeOf,
  Timestamp,
  typeOf,
  TypeValue,
  Uint,
  unordered,
} from './values.ts'
import type { Value } from './values.ts'
import { compilePattern } from '../custom-resources/pattern.ts'

export type Implementation = (args: readonly Value[]) => Value

const most = 2n ** 63n - 1n
const least = -(2n ** 63n)
const mostUnsigned = 2n ** 64n - 1n

export function noOverload(): CelError {
  return new CelError('no such overload')
}

function toInt(value: bigint, what = 'integer overflow'): bigint {
  if (value > most || value < least) throw new CelError(what)
  return value
}

function toUint(value: bigint): Uint {
  if (value > mostUnsigned || value < 0n) throw new CelError('unsigned integer overflow')
  return new Uint(value)
}

function arithmetic(
  ints: (a: bigint, b: bigint) => bigint,
  doubles?: (a: number, b: number) => number,
): Implementation {
  return ([a, b]) => {
    if (typeof a === 'bigint' && typeof b === 'bigint') return toInt(ints(a, b))
    if (a instanceof Uint && b instanceof Uint) return toUint(ints(a.value, b.value))
    if (typeof a === 'number' && typeof b === 'number' && doubles !== undefined) return doubles(a, b)
    throw noOverload()
  }
}

const addNumbers = arithmetic(
  (a, b) => a + b,
  (a, b) => a + b,
)
const subtractNumbers = arithmetic(
  (a, b) => a - b,
  (a, b) => a - b,
)

function add(args: readonly Value[]): Value {
  const [a, b] = args as readonly [Value, Value]
  if (typeof a === 'string' && typeof b === 'string') return a + b
  if (isList(a) && isList(b)) return addLists(a, b)
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.concat([a, b])
  if (a instanceof Timestamp && b instanceof Duration) return toMoment(a.nanos + b.nanos)
  if (a instanceof Duration && b instanceof Timestamp) return toMoment(a.nanos + b.nanos)
  if (a instanceof Duration && b instanceof Duration) return new Duration(toInt(a.nanos + b.nanos))
  return addNumbers(args)
}

/** Lists of type set and map keep their meaning: what is there already is not added, or replaced by its key. */
function addLists(a: readonly Value[], b: readonly Value[]): readonly Value[] {
  const order = unordered.get(a)
  if (order === undefined) return [...a, ...b]
  const { keys } = order
  const isSame = (x: Value, y: Value): boolean =>
    keys === undefined
      ? equals(x, y)
      : x instanceof CelObject &&
        y instanceof CelObject &&
        keys.every((key) => equals(x.get(key) ?? null, y.get(key) ?? null))
  const result = [...a]
  for (const item of b) {
    const at = result.findIndex((known) => isSame(known, item))
    if (at < 0) result.push(item)
    else result[at] = item
  }
  unordered.set(result, order)
  return result
}

function subtract(args: readonly Value[]): Value {
  const [a, b] = args as readonly [Value, Value]
  if (a instanceof Timestamp && b instanceof Timestamp) return new Duration(toInt(a.nanos - b.nanos))
  if (a instanceof Timestamp && b instanceof Duration) return toMoment(a.nanos - b.nanos)
  if (a instanceof Duration && b instanceof Duration) return new Duration(toInt(a.nanos - b.nanos))
  return subtractNumbers(args)
}

function divide(what: 'divide' | 'modulus'): Implementation {
  return (args) => {
    const [a, b] = args as readonly [Value, Value]
    if (typeof a === 'number' && typeof b === 'number' && what === 'divide') return a / b
    const [x, y] = [numberOf(a), numberOf(b)]
    if (typeof x !== 'bigint' || typeof y !== 'bigint' || a instanceof Uint !== b instanceof Uint) throw noOverload()
    if (y === 0n) throw new CelError(what === 'divide' ? 'division by zero' : 'modulus by zero')
    if (what === 'modulus' && x === least && y === -1n) throw new CelError('integer overflow')
    const result = what === 'divide' ? x / y : x % y
    return a instanceof Uint ? toUint(result) : toInt(result)
  }
}

function ordered(test: (order: number) => boolean): Implementation {
  return ([a, b]) => {
    const order = compare(a as Value, b as Value)
    if (order === undefined) throw noOverload()
    if (Number.isNaN(a) || Number.isNaN(b)) throw new CelError('NaN values cannot be ordered')
    return test(order)
  }
}

/** Element of a list or value of a map; throws when it is not there. */
function index(container: Value, key: Value): Value {
  const found = lookUp(container, key)
  if (found !== undefined) return found
  if (isList(container)) throw new CelError(`index out of bounds: ${String(numberOf(key))}`)
  throw new CelError(`no such key: ${renderKey(key)}`)
}

function lookUp(container: Value, key: Value): Value | undefined {
  if (container instanceof CelMap) return container.get(key)
  if (container instanceof CelObject && typeof key === 'string') return container.get(key)
  const at = numberOf(key)
  if (!isList(container) || at === undefined) throw noOverload()
  return container[Number(at)]
}

function renderKey(key: Value): string {
  return typeof key === 'string' ? key : typeof key === 'boolean' ? String(key) : String(numberOf(key))
}

function optionalIndex([container, key]: readonly Value[]): Value {
  const inner = container instanceof Optional ? container.value : container
  return new Optional(inner === undefined || !hasElements(inner) ? undefined : lookUp(inner, key as Value))
}

/** Of what has no elements, an element that may be missing is missing. */
function hasElements(value: Value): boolean {
  return isList(value) || value instanceof CelMap || value instanceof CelObject
}

function contains([item, container]: readonly Value[]): Value {
  if (isList(container as Value)) return (container as readonly Value[]).some((each) => equals(each, item as Value))
  if (container instanceof CelMap) return container.get(item as Value) !== undefined
  if (container instanceof CelObject && typeof item === 'string') return container.has(item)
  throw noOverload()
}

function size([value]: readonly Value[]): Value {
  const hasSize =
    typeof value === 'string' || value instanceof Uint8Array || value instanceof CelMap || isList(value as Value)
  if (!hasSize) throw noOverload()
  return BigInt(sizeOf(value as Value))
}

function texts(use: (a: string, b: string) => Value): Implementation {
  return ([a, b]) => {
    if (typeof a !== 'string' || typeof b !== 'string') throw noOverload()
    return use(a, b)
  }
}

function matches(text: string, pattern: string): boolean {
  try {
    return compilePattern(pattern).test(text)
  } catch (error) {
    throw new CelError(error instanceof Error ? error.message : String(error))
  }
}

function convertInt([value]: readonly Value[]): Value {
  if (typeof value === 'bigint') return value
  if (value instanceof Uint) return toInt(value.value)
  if (value instanceof Timestamp) return value.nanos / 1_000_000_000n
  if (value instanceof Duration) return value.nanos
  if (typeof value === 'number') {
    if (!Number.isFinite(value) || value >= 2 ** 63 || value <= -(2 ** 63)) throw new CelError('integer overflow')
    return BigInt(Math.trunc(value))
  }
  if (typeof value !== 'string') throw noOverload()
  if (!/^[-+]?\d+$/.test(value)) throw noConversion('int')
  return toInt(BigInt(value.replace('+', '')), noConversion('int').message)
}

function convertUint([value]: readonly Value[]): Value {
  if (value instanceof Uint) return value
  if (typeof value === 'bigint') return toUint(value)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new CelError('unsigned integer overflow')
    return toUint(BigInt(Math.trunc(value)))
  }
  if (typeof value !== 'string') throw noOverload()
  if (!/^\d+$/.test(value) || BigInt(value) > mostUnsigned) throw noConversion('uint')
  return toUint(BigInt(value))
}

function convertDouble([value]: readonly Value[]): Value {
  const number = numberOf(value as Value)
  if (number !== undefined) return Number(number)
  if (typeof value !== 'string') throw noOverload()
  return parseDouble(value)
}

/** A number as Go reads it. */
function parseDouble(text: string): number {
  if (/^[-+]?nan$/i.test(text)) return Number.NaN
  if (/^[-+]?inf(inity)?$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity
  const isNumber = /^[-+]?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+(_\d+)*)(e[-+]?\d+)?$/i.test(text)
  const parsed = isNumber ? Number(text.replaceAll('_', '')) : parseHexadecimal(text)
  if (!Number.isFinite(parsed)) throw noConversion('double')
  return parsed
}

function parseHexadecimal(text: string): number {
  const match = /^([-+]?)0x([0-9a-f]*)\.?([0-9a-f]*)p([-+]?\d+)$/i.exec(text)
  const [, sign = '', whole = '', fraction = '', exponent = ''] = match ?? []
  if (match === null || whole + fraction === '') return Number.NaN
  const size = Number.parseInt(whole + fraction, 16) * 2 ** (Number(exponent) - 4 * fraction.length)
  return sign === '-' ? -size : size
}

function noConversion(type: string): CelError {
  return new CelError(`type conversion error from 'string' to '${type}'`)
}

export function toText(value: Value): string {
  if (typeof value === 'string') return value
  const number = numberOf(value)
  if (typeof number === 'bigint') return String(number)
  if (typeof number === 'number') return renderDouble(number)
  if (typeof value === 'boolean') return String(value)
  if (value instanceof Timestamp) return renderTimestamp(value)
  if (value instanceof Duration) return renderDuration(value)
  if (value instanceof Uint8Array) return decodeText(value)
  if (value instanceof TypeValue) return value.name
  const text = value instanceof Opaque ? value.toText() : undefined
  if (text === undefined) throw noOverload()
  return text
}

/** The shortest text of a double; with an exponent below 1e-4 and from 1e6 on (`%g` of Go, without a precision). */
export function renderDouble(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf'
  if (value === 0) return Object.is(value, -0) ? '-0' : '0'
  const size = Math.abs(value)
  if (size >= 1e-4 && size < 1e6) return String(value)
  return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2')
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new CelError('invalid UTF-8 in bytes, cannot convert to string')
  }
}

function convertBool([value]: readonly Value[]): Value {
  if (typeof value === 'boolean') return value
  if (typeof value !== 'string') throw noOverload()
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(value)) return true
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(value)) return false
  throw noConversion('bool')
}

function timePart(name: string): Implementation {
  return ([value, zone]) => {
    if (value instanceof Duration) return durationPart(name, value)
    if (!(value instanceof Timestamp)) throw noOverload()
    return partOf(name, value, typeof zone === 'string' ? zone : undefined)
  }
}

function durationPart(name: string, { nanos }: Duration): bigint {
  const units: Readonly<Record<string, bigint>> = {
    getHours: 3_600_000_000_000n,
    getMinutes: 60_000_000_000n,
    getSeconds: 1_000_000_000n,
    getMilliseconds: 1_000_000n,
  }
  const unit = units[name]
  if (unit === undefined) throw noOverload()
  return nanos / unit
}

function isZero(value: Value): boolean {
  if (value === null || value === '' || value === false) return true
  if (value instanceof CelObject) return value.fields().length === 0
  const number = numberOf(value)
  if (number !== undefined) return Number(number) === 0
  return (isList(value) || value instanceof CelMap) && sizeOf(value) === 0
}

function mapInsert([map, key, value]: readonly Value[]): Value {
  if (!(map instanceof CelMap)) throw noOverload()
  const added: readonly (readonly [Value, Value])[] =
    value === undefined ? (key instanceof CelMap ? [...key.entries()] : []) : [[key as Value, value]]
  for (const [each] of added)
    if (map.get(each) !== undefined) throw new CelError(`insert failed: key ${renderKey(each)} already exists`)
  return new CelMap([...map.entries(), ...added])
}

const timeParts =
  'getFullYear getMonth getDayOfYear getDayOfMonth getDate getDayOfWeek getHours getMinutes getSeconds getMilliseconds'

/** The functions of the language itself; those that look at their arguments one by one are part of the evaluator. */
export const operators: ReadonlyMap<string, Implementation> = new Map<string, Implementation>([
  ['!_', ([a]) => (typeof a === 'boolean' ? !a : fail())],
  ['-_', ([a]) => (typeof a === 'bigint' ? toInt(-a) : typeof a === 'number' ? -a : fail())],
  ['_==_', ([a, b]) => equals(a as Value, b as Value)],
  ['_!=_', ([a, b]) => !equals(a as Value, b as Value)],
  ['_<_', ordered((order) => order < 0)],
  ['_<=_', ordered((order) => order <= 0)],
  ['_>_', ordered((order) => order > 0)],
  ['_>=_', ordered((order) => order >= 0)],
  ['_+_', add],
  ['_-_', subtract],
  [
    '_*_',
    arithmetic(
      (a, b) => a * b,
      (a, b) => a * b,
    ),
  ],
  ['_/_', divide('divide')],
  ['_%_', divide('modulus')],
  ['_[_]', ([a, b]) => (a instanceof Optional ? optionalIndex([a, b as Value]) : index(a as Value, b as Value))],
  ['_[?_]', optionalIndex],
  ['@in', contains],
  ['size', size],
  ['contains', texts((a, b) => a.includes(b))],
  ['startsWith', texts((a, b) => a.startsWith(b))],
  ['endsWith', texts((a, b) => a.endsWith(b))],
  ['matches', texts(matches)],
  ['int', convertInt],
  ['uint', convertUint],
  ['double', convertDouble],
  ['string', ([a]) => toText(a as Value)],
  ['bytes', ([a]) => (typeof a === 'string' ? Buffer.from(a) : a instanceof Uint8Array ? a : fail())],
  ['bool', convertBool],
  ['dyn', ([a]) => a as Value],
  ['type', ([a]) => new TypeValue(typeOf(a as Value))],
  ['timestamp', ([a]) => toTimestamp(a as Value)],
  ['duration', ([a]) => (typeof a === 'string' ? parseDuration(a) : a instanceof Duration ? a : fail())],
  ...timeParts.split(' ').map((name) => [name, timePart(name)] as const),
  ['optional.of', ([a]) => new Optional(a)],
  ['optional.ofNonZeroValue', ([a]) => new Optional(isZero(a as Value) ? undefined : a)],
  ['optional.none', () => new Optional(undefined)],
  ['hasValue', ([a]) => (a instanceof Optional ? a.value !== undefined : fail())],
  ['value', ([a]) => (a instanceof Optional ? (a.value ?? fail('optional.none() dereference')) : fail())],
  ['cel.@mapInsert', mapInsert],
])

function toTimestamp(value: Value): Value {
  if (typeof value === 'string') return parseTimestamp(value)
  if (typeof value === 'bigint') return toMoment(value * 1_000_000_000n)
  return value instanceof Timestamp ? value : fail()
}

function fail(message = 'no such overload'): never {
  throw new CelError(message)
}
