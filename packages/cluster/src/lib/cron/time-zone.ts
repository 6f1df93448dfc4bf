/** What a clock on the wall of some place shows. */
export interface WallTime {
  readonly year: number
  /** From 1. */
  readonly month: number
  readonly day: number
  /** From 0, Sunday. */
  readonly weekday: number
  readonly hour: number
  readonly minute: number
  readonly second: number
}

/** Tells the wall time of an IANA time zone. */
export interface TimeZone {
  readonly name: string
  /** `ms` since 1970. */
  wallTime(ms: number): WallTime
}

const characters = /^[A-Za-z0-9_.+-]+$/

/** The zone of this name, such as `Europe/Berlin`; undefined when there is none. Without a name: this machine's. */
export function findTimeZone(name: string | undefined): TimeZone | undefined {
  const parts = name?.split('/') ?? []
  if (parts.some((part) => part === '.' || part === '..' || /^[+-]/.test(part) || !characters.test(part)))
    return undefined
  try {
    const format = createFormat(name)
    const { timeZone } = format.resolvedOptions()
    // Names are files where Kubernetes runs: their case matters.
    const isMiscased = name !== undefined && timeZone !== name && timeZone.toLowerCase() === name.toLowerCase()
    return isMiscased ? undefined : { name: timeZone, wallTime: (ms) => toWallTime(format, ms) }
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function createFormat(timeZone: string | undefined): Intl.DateTimeFormat {
  const numeric = 'numeric'
  return new Intl.DateTimeFormat('en-US', {
    ...(timeZone !== undefined && { timeZone }),
    calendar: 'iso8601',
    hourCycle: 'h23',
    year: numeric,
    month: numeric,
    day: numeric,
    hour: numeric,
    minute: numeric,
    second: numeric,
  })
}

function toWallTime(format: Intl.DateTimeFormat, ms: number): WallTime {
  const parts: Record<string, number> = {}
  for (const { type, value } of format.formatToParts(ms)) parts[type] = Number(value)
  const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = parts
  return { year, month, day, weekday: new Date(Date.UTC(year, month - 1, day)).getUTCDay(), hour, minute, second }
}

/** A time as RFC 3339 writes it in a zone: with its offset, or `Z` where that is none. */
export function renderZonedTime(ms: number, zone: TimeZone): string {
  const { year, month, day, hour, minute, second } = zone.wallTime(ms)
  const wall = Date.UTC(year, month - 1, day, hour, minute, second)
  const offset = Math.round((wall - Math.floor(ms / 1000) * 1000) / 60_000)
  const text = new Date(wall).toISOString().slice(0, 19)
  if (offset === 0) return `${text}Z`
  const two = (count: number): string => String(count).padStart(2, '0')
  return `${text}${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`
}
