import { CelError, Duration, Timestamp } from './values.ts'

const second = 1_000_000_000n
const timestamp = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))$/
/** From the year 1 to the end of 9999. */
const [earliest, latest] = [-62_135_596_800n * second, 253_402_300_800n * second - 1n]

export function parseTimestamp(text: string): Timestamp {
  const match = timestamp.exec(text)
  const millis = match === null ? Number.NaN : Date.parse(text.replace(/[.,]\d+/, ''))
  if (match === null || Number.isNaN(millis) || !isOnCalendar(match)) {
    throw new CelError("type conversion error from 'string' to 'google.protobuf.Timestamp'")
  }
  return toMoment(BigInt(millis) * 1_000_000n + BigInt((match[7] ?? '').padEnd(9, '0')))
}

/** JavaScript takes 30 February for 2 March, and hour 24 for the next day. */
function isOnCalendar([, year, month, day, hour]: RegExpExecArray): boolean {
  return Number(hour) < 24 && Number(day) <= new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()
}

/** A point in time; throws {@link CelError} for one the language has not. */
export function toMoment(nanos: bigint): Timestamp {
  if (nanos < earliest || nanos > latest) throw new CelError('timestamp overflow')
  return new Timestamp(nanos)
}

/** A day as JSON schemas have it (`2006-01-02`). */
export function parseDate(text: string): Timestamp {
  return parseTimestamp(`${text}T00:00:00Z`)
}

export function renderTimestamp({ nanos }: Timestamp): string {
  const whole = nanos >= 0n ? nanos / second : (nanos - second + 1n) / second
  const rest = nanos - whole * second
  const fraction = rest === 0n ? '' : `.${String(rest).padStart(9, '0').replace(/0+$/, '')}`
  return `${new Date(Number(whole) * 1000).toISOString().slice(0, 19)}${fraction}Z`
}

const units: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
}

export function parseDuration(text: string): Duration {
  const match = /^([-+]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0)$/.exec(text)
  if (match === null) throw noDuration()
  let nanos = 0n
  for (const [, digits = '', unit = ''] of (match[2] ?? '').matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    const [whole = '', fraction = ''] = digits.split('.')
    const factor = units[unit] ?? 0
    nanos += BigInt(whole === '' ? 0 : whole) * BigInt(factor)
    if (fraction !== '') nanos += BigInt(Math.trunc(Number(`0.${fraction}`) * factor))
  }
  const total = match[1] === '-' ? -nanos : nanos
  if (BigInt.asIntN(64, total) !== total) throw noDuration()
  return new Duration(total)
}

function noDuration(): CelError {
  return new CelError("type conversion error from 'string' to 'google.protobuf.Duration'")
}

export function renderDuration({ nanos }: Duration): string {
  const size = nanos < 0n ? -nanos : nanos
  const rest = size % second
  const fraction = rest === 0n ? '' : `.${String(rest).padStart(9, '0').replace(/0+$/, '')}`
  return `${nanos < 0n ? '-' : ''}${size / second}${fraction}s`
}

/** One part of a point in time, in a zone (`Europe/Berlin`, `+02:00`); UTC without. */
export function partOf(name: string, { nanos }: Timestamp, zone: string | undefined): bigint {
  const millis = Number(nanos / 1_000_000n)
  if (name === 'getMilliseconds') return (((nanos / 1_000_000n) % 1000n) + 1000n) % 1000n
  const date = new Date(millis + offsetOf(millis, zone))
  const parts: Readonly<Record<string, () => number>> = {
    getFullYear: () => date.getUTCFullYear(),
    getMonth: () => date.getUTCMonth(),
    getDayOfYear: () => Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / 86_400_000),
    getDayOfMonth: () => date.getUTCDate() - 1,
    getDate: () => date.getUTCDate(),
    getDayOfWeek: () => date.getUTCDay(),
    getHours: () => date.getUTCHours(),
    getMinutes: () => date.getUTCMinutes(),
    getSeconds: () => date.getUTCSeconds(),
  }
  return BigInt(parts[name]?.() ?? 0)
}

function offsetOf(millis: number, zone: string | undefined): number {
  if (zone === undefined || zone === '' || zone === 'UTC') return 0
  const fixed = /^([-+]?)(\d\d):(\d\d)$/.exec(zone)
  if (fixed !== null) {
    const size = (Number(fixed[2]) * 60 + Number(fixed[3])) * 60_000
    return fixed[1] === '-' ? -size : size
  }
  try {
    const shown = new Date(millis).toLocaleString('sv-SE', { timeZone: zone })
    return Date.parse(`${shown.replace(' ', 'T')}Z`) - Math.floor(millis / 1000) * 1000
  } catch {
    throw new CelError(`unknown time zone ${zone}`)
  }
}
