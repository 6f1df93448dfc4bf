/** The values that one field of a schedule allows. */
export interface Field {
  has(value: number): boolean
  /** Written as `*` or `?`. */
  readonly isAny: boolean
}

export interface Bounds {
  readonly min: number
  readonly max: number
  /** Names of the values from `min` on. */
  readonly names: readonly string[]
}

/** Reads a field such as `1-5`, `*` with a step, or `mon,fri`; what is wrong with it when it cannot be read. */
export function parseField(text: string, bounds: Bounds): Field | string {
  const values = new Set<number>()
  let isAny = false
  for (const part of text.split(',').filter((one) => one !== '')) {
    const range = parseRange(part, bounds)
    if (typeof range === 'string') return range
    for (let value = range.first; value <= range.last; value += range.step) values.add(value)
    isAny ||= range.isAny
  }
  return { has: (value) => values.has(value), isAny }
}

interface Range {
  readonly first: number
  readonly last: number
  readonly step: number
  readonly isAny: boolean
}

function parseRange(text: string, bounds: Bounds): Range | string {
  const [span = '', stepText, ...tooMuch] = text.split('/')
  const limits = parseLimits(span, bounds, text)
  if (typeof limits === 'string') return limits
  if (tooMuch.length > 0) return `too many slashes: ${text}`
  const step = stepText === undefined ? 1 : parseNumber(stepText, text)
  if (typeof step === 'string') return step
  // A single value with a step begins there and goes on to the end.
  const last = stepText !== undefined && !span.includes('-') ? bounds.max : limits.last
  const { first } = limits
  if (first < bounds.min) return `beginning of range (${first}) below minimum (${bounds.min}): ${text}`
  if (last > bounds.max) return `end of range (${last}) above maximum (${bounds.max}): ${text}`
  if (first > last) return `beginning of range (${first}) beyond end of range (${last}): ${text}`
  if (step === 0) return `step of range should be a positive number: ${text}`
  return { first, last, step, isAny: limits.isAny && step === 1 }
}

function parseLimits(span: string, bounds: Bounds, text: string): Omit<Range, 'step'> | string {
  const [start = '', end, ...tooMuch] = span.split('-')
  if (start === '*' || start === '?') return { first: bounds.min, last: bounds.max, isAny: true }
  const first = parseValue(start, bounds, text)
  if (typeof first === 'string') return first
  if (tooMuch.length > 0) return `too many hyphens: ${text}`
  const last = end === undefined ? first : parseValue(end, bounds, text)
  return typeof last === 'string' ? last : { first, last, isAny: false }
}

function parseValue(text: string, { names, min }: Bounds, range: string): number | string {
  const index = names.indexOf(text.toLowerCase())
  return index < 0 ? parseNumber(text, range) : index + min
}

function parseNumber(text: string, range: string): number | string {
  if (/^[+-]?\d+$/.test(text)) {
    const value = Number(text)
    return value < 0 ? `negative number (${value}) not allowed: ${range}` : value
  }
  return `failed to parse int from ${text}: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`
}
