const pattern = /^([+-]?)(\d+\.?\d*|\.\d+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d+)?$/
const decimalSuffixes = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E']
const binarySuffixes = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei']

/** Everything is counted in nanos, the smallest step of a Kubernetes quantity. */
const nano = 1_000_000_000n

type Format = 'decimal' | 'binary' | 'exponent'

/**
 * Number of a Kubernetes quantity (`500m`, `1.5Gi`, `2e3`), in units: cores, bytes, pieces. Undefined for text that is
 * no quantity.
 */
export function parseQuantity(text: string | number): number | undefined {
  return read(String(text)).amount
}

/**
 * The one spelling Kubernetes stores for a quantity: `1000m` becomes `1`, `0.5` `500m`, `1024Mi` `1Gi`. Undefined for
 * text that is no quantity.
 */
export function canonicalQuantity(text: string | number): string | undefined {
  return read(String(text)).canonical
}

interface Reading {
  readonly amount: number | undefined
  readonly canonical: string | undefined
}

const maxKnown = 4096
const maxKnownLength = 32
const known = new Map<string, Reading>()

/** The same few quantities come again and again, several times with each pod: arithmetic of large integers is done once. */
function read(text: string): Reading {
  let reading = known.get(text)
  if (reading !== undefined) return reading
  const parsed = parse(text)
  reading = {
    amount: parsed === undefined ? undefined : Number(parsed.nanos) / 1e9,
    canonical: parsed === undefined ? undefined : render(parsed),
  }
  if (text.length > maxKnownLength) return reading
  if (known.size >= maxKnown) known.clear()
  known.set(text, reading)
  return reading
}

function render({ nanos, format }: Parsed): string {
  if (nanos === 0n) return '0'
  const sign = nanos < 0n ? '-' : ''
  const size = nanos < 0n ? -nanos : nanos
  if (format === 'binary' && size >= 1024n * nano && size % nano === 0n) return sign + renderBinary(size / nano)
  return sign + renderDecimal(size, format === 'exponent')
}

interface Parsed {
  readonly nanos: bigint
  readonly format: Format
}

function parse(text: string): Parsed | undefined {
  const match = pattern.exec(text)
  if (match === null) return undefined
  const [, sign, digits = '', suffix = ''] = match
  const [whole = '', fraction = ''] = digits.split('.')
  const mantissa = BigInt(whole + fraction)
  const { factor, exponent, format } = readSuffix(suffix)
  const scale = exponent + 9 - fraction.length
  if (scale > 60) return undefined
  const scaled = mantissa * factor
  // Smaller steps are rounded up, as upstream does.
  const nanos = scale >= 0 ? scaled * 10n ** BigInt(scale) : divideUp(scaled, 10n ** BigInt(Math.min(-scale, 60)))
  return { nanos: sign === '-' ? -nanos : nanos, format }
}

function readSuffix(suffix: string): { factor: bigint; exponent: number; format: Format } {
  const binary = binarySuffixes.indexOf(suffix)
  if (binary > 0) return { factor: 1024n ** BigInt(binary), exponent: 0, format: 'binary' }
  const decimal = decimalSuffixes.indexOf(suffix)
  if (decimal >= 0) return { factor: 1n, exponent: (decimal - 3) * 3, format: 'decimal' }
  return { factor: 1n, exponent: Number(suffix.slice(1)), format: 'exponent' }
}

function divideUp(value: bigint, by: bigint): bigint {
  return (value + by - 1n) / by
}

function renderBinary(value: bigint): string {
  let index = 0
  let rest = value
  while (rest % 1024n === 0n && index < binarySuffixes.length - 1) {
    rest /= 1024n
    index++
  }
  return `${rest}${binarySuffixes[index]}`
}

function renderDecimal(nanos: bigint, asExponent: boolean): string {
  let index = 0
  let rest = nanos
  while (rest % 1000n === 0n && index < decimalSuffixes.length - 1) {
    rest /= 1000n
    index++
  }
  const exponent = (index - 3) * 3
  if (asExponent) return exponent === 0 ? String(rest) : `${rest}e${exponent}`
  return `${rest}${decimalSuffixes[index]}`
}
