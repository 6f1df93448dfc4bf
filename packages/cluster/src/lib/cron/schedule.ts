import { parseDuration } from './duration.ts'
import { parseField } from './field.ts'
import type { Field } from './field.ts'
import { findTimeZone } from './time-zone.ts'
import type { TimeZone, WallTime } from './time-zone.ts'

/** When something is to happen, again and again. */
export interface Schedule {
  /** The first time after `ms`; undefined when there is none within five years. Milliseconds since 1970. */
  next(ms: number): number | undefined
}

/** A schedule, or what is wrong with its text, in the words of the parser that Kubernetes has (robfig/cron). */
export type ParsedSchedule =
  | { readonly schedule: Schedule; readonly problem?: undefined }
  | { readonly schedule?: undefined; readonly problem: string }

const macros: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
}

const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const weekdays = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const bounds = [
  { min: 0, max: 59, names: [] },
  { min: 0, max: 23, names: [] },
  { min: 1, max: 31, names: [] },
  { min: 1, max: 12, names: months },
  { min: 0, max: 6, names: weekdays },
]

/**
 * Reads the five fields of cron (minute, hour, day of month, month, day of week), a macro such as `@hourly`, or
 * `@every 1h30m`. Times are those of `zone`; `TZ=Europe/Berlin` before the fields overrides it.
 */
export function parseSchedule(text: string, zone: TimeZone | undefined = findTimeZone(undefined)): ParsedSchedule {
  if (text === '') return { problem: 'empty spec string' }
  const prefixed = /^(?:CRON_)?TZ=(\S*)\s*(.*)$/s.exec(text)
  if (prefixed !== null) {
    const [, name = '', rest = ''] = prefixed
    const own = findTimeZone(name === '' ? 'UTC' : name)
    return own === undefined
      ? { problem: `provided bad location ${name}: unknown time zone ${name}` }
      : parseSpec(rest, own)
  }
  return parseSpec(text, zone)
}

function parseSpec(text: string, zone: TimeZone | undefined): ParsedSchedule {
  const macro = macros[text]
  if (text.startsWith('@every ')) return parseInterval(text)
  if (text.startsWith('@') && macro === undefined) return { problem: `unrecognized descriptor: ${text}` }
  const parts = (macro ?? text).split(/\s+/).filter((part) => part !== '')
  if (parts.length !== bounds.length) {
    return { problem: `expected exactly 5 fields, found ${parts.length}: [${parts.join(' ')}]` }
  }
  const fields: Field[] = []
  for (const [index, bound] of bounds.entries()) {
    const field = parseField(parts[index] ?? '', bound)
    if (typeof field === 'string') return { problem: field }
    fields.push(field)
  }
  const [minute, hour, day, month, weekday] = fields
  if (!minute || !hour || !day || !month || !weekday || !zone) return { problem: 'empty spec string' }
  return { schedule: createSchedule({ minute, hour, day, month, weekday }, zone) }
}

function parseInterval(text: string): ParsedSchedule {
  const duration = text.slice('@every '.length)
  const ms = parseDuration(duration)
  if (ms === undefined) {
    return { problem: `failed to parse duration ${text}: time: invalid duration ${JSON.stringify(duration)}` }
  }
  const everyMs = Math.max(1000, Math.floor(ms / 1000) * 1000)
  return { schedule: { next: (after) => Math.floor(after / 1000) * 1000 + everyMs } }
}

interface Fields {
  readonly minute: Field
  readonly hour: Field
  readonly day: Field
  readonly month: Field
  readonly weekday: Field
}

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs

/**
 * The first minute whose wall time matches. Time is walked as it passes: an hour that a change of the clock skips has no
 * matches, one that it repeats has them twice.
 */
function createSchedule(fields: Fields, zone: TimeZone): Schedule {
  return {
    next(after) {
      const limit = zone.wallTime(after).year + 5
      let time = Math.floor(after / minuteMs) * minuteMs + minuteMs
      for (;;) {
        const wall = zone.wallTime(time)
        if (wall.year > limit) return undefined
        const skip = skipMs(fields, wall)
        if (skip === 0) return time
        time += skip
      }
    },
  }
}

/** How far it is safe to go on from a time that does not match; 0 from one that does. */
function skipMs({ minute, hour, day, month, weekday }: Fields, wall: WallTime): number {
  if (!month.has(wall.month)) return wall.day < 27 ? (27 - wall.day) * dayMs : towardsMidnightMs(wall)
  const isDay = day.has(wall.day)
  const isWeekday = weekday.has(wall.weekday)
  // Two restrictions of the day widen each other; one alone narrows.
  const matches = day.isAny || weekday.isAny ? isDay && isWeekday : isDay || isWeekday
  if (!matches) return towardsMidnightMs(wall)
  if (!hour.has(wall.hour)) return (60 - wall.minute) * minuteMs
  return minute.has(wall.minute) ? 0 : minuteMs
}

/** Not beyond it, also on a day that a change of the clock makes up to three hours shorter. */
function towardsMidnightMs({ hour, minute }: WallTime): number {
  return hour < 21 ? (21 - hour) * hourMs : (60 - minute) * minuteMs
}
