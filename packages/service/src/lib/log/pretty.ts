import { inspect, styleText } from 'node:util'
import type { LineLevel } from './levels.ts'
import { mergeSafely, timestamp } from './line.ts'
import type { LineRenderer } from './line.ts'
import type { LogFields } from './logger.ts'
import { redacted } from './redact.ts'
import { read } from './value.ts'
import type { ValueWriter } from './value.ts'

type Style = Parameters<typeof styleText>[0]

const looks: Record<LineLevel, readonly [label: string, style: Style]> = {
  trace: ['TRACE', 'gray'],
  debug: ['DEBUG', 'gray'],
  info: ['INFO ', 'green'],
  warn: ['WARN ', 'yellow'],
  error: ['ERROR', 'red'],
  fatal: ['FATAL', 'magenta'],
}

/** They say where a line belongs, and are rarely read: at the end, and quieter. */
const quiet = new Set(['request_id', 'trace_id', 'span_id'])

/**
 * Lines for people: one readable line, an error's stack below it. Values go through the same writer as in JSON, so
 * that nothing is shown here that is a secret there, and nothing can write control codes to the terminal.
 */
export function createPrettyRenderer(writer: ValueWriter, maxLineLength: number): LineRenderer {
  const renderField = (name: string, value: unknown): string => {
    writer.left = maxLineLength
    const isHidden = writer.isSecret(name, []) && value !== null && typeof value !== 'boolean'
    const shown = isHidden ? redacted : showValue(value)
    const look = quiet.has(name) ? 'gray' : 'cyan'
    return ` ${paint(look, `${plain(name)}=`)}${quiet.has(name) ? paint('gray', shown) : shown}`
  }
  const showValue = (value: unknown): string => {
    const text = writer.write(value instanceof Error ? read(value, 'message') : value, [])
    const held: unknown = JSON.parse(text)
    if (typeof held === 'string')
      return value instanceof Error || /^[\w.:/@+%[\]-]+$/.test(held) ? plain(held) : plain(text)
    return inspect(held, { depth: 5, breakLength: Infinity, colors: isColoured() })
  }
  /** Stack, own properties and causes, each below the last. */
  const renderError = (error: Error): string => {
    writer.left = maxLineLength
    const told = JSON.parse(writer.write(error, [])) as unknown
    return isRecord(told) ? showError(told, '').replaceAll(/^/gm, '    ') : ''
  }
  return {
    bind(parent, fields) {
      const all = mergeSafely([parent?.fields, fields])
      return { fields: all, names: new Set(), text: '' }
    },
    line(level, time, message, bound, context, fields) {
      const [label, style] = looks[level]
      const { logger, ...all } = mergeSafely([bound?.fields, context, fields])
      const entries = Object.entries(all)
      const name = typeof logger === 'string' ? `${paint('blue', `[${plain(logger)}]`)} ` : ''
      const ordered = [...entries.filter(([key]) => !quiet.has(key)), ...entries.filter(([key]) => quiet.has(key))]
      const stacks = entries.flatMap(([, value]) => (value instanceof Error ? [renderError(value)] : []))
      const text = JSON.parse(writer.quote(message)) as string
      const line = `${paint('gray', timestamp(time).slice(11, 23))} ${paint(style, label)} ${name}${plain(text)}`
      return `${[line + ordered.map(([key, value]) => renderField(key, value)).join(''), ...stacks].join('\n')}\n`
    },
  }
}

function showError(told: Readonly<Record<string, unknown>>, prefix: string): string {
  const { type, message, stack, cause, errors, ...own } = told
  const title = `${String(type)}: ${String(message)}`
  const lines = [prefix + plainLines(typeof stack === 'string' ? stack : title)]
  if (Object.keys(own).length > 0) lines.push(`  ${inspect(own, { depth: 5, colors: isColoured() })}`)
  if (isRecord(cause)) lines.push(showError(cause, 'Caused by '))
  else if (cause !== undefined) lines.push(`Caused by ${inspect(cause)}`)
  if (Array.isArray(errors))
    for (const inner of errors) if (isRecord(inner)) lines.push(showError(inner, 'One of them: '))
  return lines.join('\n')
}

function isRecord(value: unknown): value is LogFields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Control codes would move the reader's cursor or colour, and a line feed would make up a line. */
function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001F\u007F-\u009F\u2028\u2029]/g, (code) =>
    JSON.stringify(code)
      .slice(1, -1)
      .replace(/^[\u007F-\u009F\u2028\u2029]$/, (raw) => `\\u${raw.charCodeAt(0).toString(16).padStart(4, '0')}`),
  )
}

function plainLines(text: string): string {
  return text.split('\n').map(plain).join('\n')
}

function isColoured(): boolean {
  // Whoever asks for the pretty form asks for its colours; NO_COLOR still wins.
  return !process.env['NO_COLOR']
}

function paint(style: Style, text: string): string {
  return isColoured() ? styleText(style, text, { validateStream: false }) : text
}
