import type { ValueSpec } from './spec.ts'
import type { Tree } from './tree.ts'
import { parseDuration, parseSize } from './units.ts'

type Scalar = Extract<Tree, { kind: 'scalar' }>

/** A value, or in words what it should have been. */
export type Parsed = { readonly value: unknown } | { readonly expected: string }

/** What is expected of a value, in words: `a duration such as 5s`. */
export function expectationOf(spec: ValueSpec): string {
  switch (spec.kind) {
    case 'text':
      return `a text${bounds(spec.minLength, spec.maxLength, ' characters')}${spec.pattern === undefined ? '' : ` that matches ${spec.pattern}`}`
    case 'number':
      return `a ${spec.isInteger ? 'whole ' : ''}number${bounds(spec.min, spec.max)}`
    case 'boolean':
      return 'true or false'
    case 'duration':
      return `a duration such as 5s${bounds(spec.min, spec.max)}`
    case 'size':
      return `a size such as 16MiB${bounds(spec.min, spec.max)}`
    case 'port':
      return `a port from ${spec.min ?? 1} to 65535`
    case 'url':
      return spec.protocols === undefined
        ? 'a URL such as https://example.com'
        : `a URL beginning with ${spec.protocols.map((protocol) => `${protocol}://`).join(' or ')}`
    case 'choice':
      return `one of ${spec.choices.join(', ')}`
    case 'list':
      return `a list${bounds(spec.minItems, spec.maxItems, ' items')}`
    case 'record':
      return 'values by name'
    case 'group':
      return `keys (${Object.keys(spec.keys).join(', ')})`
    case 'schema':
      return typeof spec.json?.['type'] === 'string' ? spec.json['type'] : 'what its schema says'
  }
}

/** One value of one of our own kinds. */
export function parseScalar(spec: ValueSpec, scalar: Scalar): Parsed {
  const expected = { expected: expectationOf(spec) }
  const value = parseKind(spec, scalar)
  return value === undefined ? expected : { value }
}

function parseKind(spec: ValueSpec, { value, isText }: Scalar): unknown {
  switch (spec.kind) {
    case 'text':
      return typeof value === 'string' && isTextFor(spec, value) ? value : undefined
    case 'number': {
      const amount = isText ? numberOf(value) : value
      if (typeof amount !== 'number' || !Number.isFinite(amount)) return undefined
      if (spec.isInteger && !Number.isSafeInteger(amount)) return undefined
      return within(amount, spec.min, spec.max)
    }
    case 'boolean':
      return typeof value === 'boolean' ? value : isText ? words.get(String(value).trim().toLowerCase()) : undefined
    case 'duration':
      return typeof value === 'string' ? withinUnits(parseDuration(value.trim()), spec, parseDuration) : undefined
    case 'size':
      if (typeof value === 'number' && (!Number.isSafeInteger(value) || value < 0)) return undefined
      return typeof value === 'string' || typeof value === 'number'
        ? withinUnits(parseSize(String(value).trim()), spec, parseSize)
        : undefined
    case 'port': {
      const found = isText ? numberOf(value) : value
      return typeof found === 'number' && Number.isInteger(found) ? within(found, spec.min ?? 1, 65_535) : undefined
    }
    case 'url':
      return typeof value === 'string' ? urlOf(value.trim(), spec.protocols) : undefined
    case 'choice':
      return spec.choices.find((word) => word === (typeof value === 'string' ? value.trim() : value))
    default:
      return undefined
  }
}

const words: ReadonlyMap<string, boolean> = new Map([
  ...['true', '1', 'yes', 'on'].map((word) => [word, true] as const),
  ...['false', '0', 'no', 'off'].map((word) => [word, false] as const),
])

function isTextFor(spec: Extract<ValueSpec, { kind: 'text' }>, value: string): boolean {
  if (value.length < (spec.minLength ?? 0) || value.length > (spec.maxLength ?? Infinity)) return false
  return spec.pattern === undefined || new RegExp(`^(?:${spec.pattern})$`, 'u').test(value)
}

/** Decimal numbers as people write them, not everything that `Number()` takes (hexadecimal, nothing at all). */
export function numberOf(value: unknown): number | undefined {
  if (typeof value !== 'string' || !/^\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*$/i.test(value)) return undefined
  return Number(value)
}

function within(value: number, min = -Infinity, max = Infinity): number | undefined {
  return value >= min && value <= max ? value : undefined
}

function withinUnits(
  value: number | undefined,
  { min, max }: { readonly min?: string | undefined; readonly max?: string | undefined },
  parse: (text: string) => number | undefined,
): number | undefined {
  if (value === undefined) return undefined
  return within(value, min === undefined ? undefined : parse(min), max === undefined ? undefined : parse(max))
}

function urlOf(value: string, protocols: readonly string[] | undefined): string | undefined {
  const url = URL.parse(value)
  // "localhost:8080" parses as a URL of the protocol "localhost".
  if (url === null || (!value.includes('://') && protocols === undefined)) return undefined
  return protocols === undefined || protocols.includes(url.protocol.slice(0, -1)) ? value : undefined
}

function bounds(min: number | string | undefined, max: number | string | undefined, unit = ''): string {
  if (min === 1 && max === undefined && unit !== '') return ', not empty'
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}${unit}`
  if (min !== undefined) return ` of at least ${min}${unit}`
  return max === undefined ? '' : ` of at most ${max}${unit}`
}
