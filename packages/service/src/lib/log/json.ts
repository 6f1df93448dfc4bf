import { inspect } from 'node:util'
import type { LogEvent } from './logger.ts'

/** Names a field may not take: they are the line's own. A field of that name is written with `_` behind it. */
const reserved = new Set(['time', 'level', 'msg'])

/** One JSON object and a line feed. Never throws: what JSON cannot hold is written as text. */
export function renderJsonLine(event: LogEvent): string {
  let line = `{"time":"${timestamp(event.time)}","level":"${event.level}","msg":${JSON.stringify(event.message)}`
  for (const [key, value] of Object.entries(merge(event.fields))) {
    if (value === undefined) continue
    line += `,${JSON.stringify(reserved.has(key) ? `${key}_` : key)}:${renderValue(value)}`
  }
  return `${line}}\n`
}

/** The plain form of an error: everything a reader needs, causes included, at most five deep. */
function describeError(error: Error, depth = 0): Record<string, unknown> {
  const known: Record<string, unknown> = { type: error.name, message: error.message }
  if ('code' in error) known['code'] = error.code
  if ('hint' in error) known['hint'] = error.hint
  known['stack'] = error.stack
  if (error.cause !== undefined && depth < 5) known['cause'] = describeCause(error.cause, depth + 1)
  if (error instanceof AggregateError && depth < 5)
    known['errors'] = error.errors.slice(0, 10).map((inner) => describeCause(inner, depth + 1))
  return known
}

export function merge(fields: LogEvent['fields']): Record<string, unknown> {
  const [first, ...others] = fields.filter((set) => set !== undefined)
  return others.length === 0 ? (first ?? {}) : Object.assign({}, first, ...others)
}

function describeCause(cause: unknown, depth: number): unknown {
  return cause instanceof Error ? describeError(cause, depth) : cause
}

function renderValue(value: unknown): string {
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : `"${value}"`
  try {
    return (
      JSON.stringify(value instanceof Error ? describeError(value) : value, writable) ?? JSON.stringify(String(value))
    )
  } catch {
    // Circular, or a getter that throws.
    return JSON.stringify(inspect(value, { depth: 2, breakLength: Infinity }))
  }
}

function writable(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  return value instanceof Error ? describeError(value) : value
}

let lastTime = Number.NaN
let lastText = ''

/** RFC 3339. Remembered for the millisecond: under load many lines share one. */
function timestamp(time: number): string {
  if (time !== lastTime) {
    lastText = new Date(time).toISOString()
    lastTime = time
  }
  return lastText
}
