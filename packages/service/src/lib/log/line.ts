import { lineLevels } from './levels.ts'
import type { LineLevel } from './levels.ts'
import type { LogFields } from './logger.ts'
import { accessMessage } from './presets.ts'
import type { Preset } from './presets.ts'
import { redacted } from './redact.ts'
import { read } from './value.ts'
import type { ValueWriter } from './value.ts'

/** Fields that a logger puts on each of its lines, rendered once. */
export interface Bound {
  readonly fields: LogFields
  readonly names: ReadonlySet<string>
  readonly text: string
}

export interface LineRenderer {
  /** Adds fields to those of `parent`; later ones win. */
  bind(parent: Bound | undefined, fields: LogFields): Bound
  /** One line, line feed included. Never throws. */
  line(
    level: LineLevel,
    time: number,
    message: string,
    bound: Bound | undefined,
    context: LogFields | undefined,
    fields: LogFields | undefined,
  ): string
}

interface Plan {
  /** `,"key":` */
  readonly text: string
  /** Nothing is special about this field. */
  readonly isPlain: boolean
  readonly isSecret: boolean
  readonly change: ((value: unknown) => unknown) | undefined
  /** The line this field was last a part of the event's own fields of. */
  inEventOf: number
}

const maxPlans = 2000
const noPath: readonly string[] = []

export interface JsonOptions {
  readonly maxLineLength: number
  /** Whether values are redacted by path, so that paths have to be kept. */
  readonly hasPaths: boolean
}

/**
 * JSON lines. What does not change from line to line is text already: names of fields, the fields of a logger, the
 * second of the time. Strict readers refuse an object with a name twice; when a later field replaces an earlier one, the line is
 * put together the slow way.
 */
export function createJsonRenderer(preset: Preset, writer: ValueWriter, options: JsonOptions): LineRenderer {
  const plans = new Map<string, Plan>()
  const heads = byLevel(preset.head)
  const middles = byLevel(preset.middle)
  const reserved = new Set(preset.reserved)
  let lineNumber = 1
  const { hasPaths, maxLineLength } = options

  const makePlan = (name: string): Plan => {
    const change = preset.values?.[name]
    const isSecret = writer.isSecret(name, noPath)
    const isError = name === 'err' && preset.error !== undefined
    const shown = Object.hasOwn(preset.names, name) ? preset.names[name] : undefined
    const plan = {
      text: `,${JSON.stringify((shown ?? (reserved.has(name) ? `${name}_` : name)).slice(0, 256))}:`,
      isPlain: !isSecret && !isError && change === undefined,
      isSecret,
      change,
      inEventOf: 0,
    }
    if (plans.size < maxPlans && name.length <= 256) plans.set(name, plan)
    return plan
  }
  /** Undefined when a field is there already, in `taken`. Those of the context that the event has itself are left out. */
  const render = (
    fields: LogFields,
    limit: number,
    taken?: ReadonlySet<string>,
    isContext = false,
  ): string | undefined => {
    let text = ''
    for (const name in fields) {
      const value = fields[name]
      if (value === undefined) continue
      if (taken !== undefined && taken.has(name)) return undefined
      const plan = plans.get(name) ?? makePlan(name)
      if (!isContext) plan.inEventOf = lineNumber
      else if (plan.inEventOf === lineNumber) continue
      const before = text
      if (!plan.isPlain) text += renderSpecial(name, plan, value, limit - text.length)
      else if (typeof value === 'string') text += plan.text + writer.quote(value)
      else if (typeof value === 'number') text += plan.text + (Number.isFinite(value) ? value : `"${value}"`)
      else {
        writer.left = limit - text.length
        text += plan.text + writer.write(value, hasPaths ? [name] : noPath)
      }
      if (text.length > limit) return `${before},"cut":true`
    }
    return text
  }
  const renderSpecial = (name: string, plan: Plan, value: unknown, left: number): string => {
    if (plan.isSecret && value !== null && typeof value !== 'boolean') return `${plan.text}"${redacted}"`
    writer.left = left
    if (name === 'err' && preset.error !== undefined && value instanceof Error)
      return renderOwn(preset.error(writer.describeError(value)))
    return plan.text + writer.write(plan.change === undefined ? value : plan.change(value), [name])
  }
  /** Fields that bear their final names. */
  const renderOwn = (fields: LogFields): string => {
    let text = ''
    for (const [name, value] of Object.entries(fields))
      if (value !== undefined) text += `,${JSON.stringify(name)}:${writer.write(value, hasPaths ? [name] : noPath)}`
    return text
  }
  const renderAccess = (fields: LogFields, access: NonNullable<Preset['access']>): string => {
    const { own, rest } = access(fields)
    writer.left = maxLineLength
    return renderOwn(own) + (render(rest, maxLineLength) ?? '')
  }
  const renderQuickly = (
    message: string,
    bound: Bound | undefined,
    context: LogFields | undefined,
    fields: LogFields | undefined,
  ): string | undefined => {
    if (message === accessMessage && preset.access !== undefined) return undefined
    lineNumber += 1
    let text = bound === undefined ? always : bound.text
    const limit = maxLineLength - message.length - text.length
    // First, though they stand behind: what the event says itself counts more than its context.
    const own = fields === undefined ? '' : render(fields, limit, bound?.names)
    if (own === undefined) return undefined
    if (context !== undefined) {
      const around = render(context, limit, bound?.names, true)
      if (around === undefined) return undefined
      text += around
    }
    return text + own
  }
  const renderSlowly = (message: string, sets: readonly (LogFields | undefined)[]): string => {
    lineNumber += 1
    const all = mergeSafely(sets)
    if (message === accessMessage && preset.access !== undefined) return always + renderAccess(all, preset.access)
    return always + (render(all, maxLineLength - message.length) ?? '')
  }
  const always = preset.fields === undefined ? '' : (render(preset.fields, maxLineLength) ?? '')

  return {
    bind(parent, fields) {
      lineNumber += 1
      const all = mergeSafely([parent?.fields, fields])
      return { fields: all, names: new Set(Object.keys(all)), text: always + (render(all, maxLineLength / 2) ?? '') }
    },
    line(level, time, message, bound, context, fields) {
      let text: string | undefined
      try {
        text = renderQuickly(message, bound, context, fields)
      } catch {
        // A getter among the fields that throws.
      }
      text ??= renderSlowly(message, [bound?.fields, context, fields])
      return `${heads[level]}${timestamp(time)}${middles[level]}${writer.quote(message)}${text}}\n`
    },
  }
}

/** Later sets win. */
export function mergeSafely(sets: readonly (LogFields | undefined)[]): Record<string, unknown> {
  const all: Record<string, unknown> = {}
  for (const fields of sets) {
    if (fields === undefined || fields === null) continue
    for (const name of keysOf(fields)) {
      const value = read(fields, name)
      if (value !== undefined)
        Object.defineProperty(all, name, { value, enumerable: true, configurable: true, writable: true })
    }
  }
  return all
}

function keysOf(fields: LogFields): string[] {
  try {
    return Object.keys(fields)
  } catch {
    return []
  }
}

function byLevel(text: (level: LineLevel) => string): Readonly<Record<LineLevel, string>> {
  return Object.fromEntries(lineLevels.map((level) => [level, text(level)])) as Record<LineLevel, string>
}

let lastSecond = Number.NaN
let lastText = ''

/** RFC 3339. All but the milliseconds are remembered for the second. */
export function timestamp(time: number): string {
  const second = Math.floor(time / 1000)
  if (second !== lastSecond) {
    // What is no time must not keep the line from being written.
    if (!(Math.abs(time) <= 8.64e15)) return 'invalid'
    lastText = new Date(second * 1000).toISOString().slice(0, -4)
    lastSecond = second
  }
  const rest = Math.floor(time - second * 1000)
  return rest < 10 ? `${lastText}00${rest}Z` : rest < 100 ? `${lastText}0${rest}Z` : `${lastText}${rest}Z`
}
