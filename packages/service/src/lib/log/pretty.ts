import { inspect, styleText } from 'node:util'
import { merge } from './json.ts'
import type { LogEvent } from './logger.ts'

type Style = Parameters<typeof styleText>[0]

const looks: Record<LogEvent['level'], readonly [label: string, style: Style]> = {
  trace: ['TRACE', 'gray'],
  debug: ['DEBUG', 'gray'],
  info: ['INFO ', 'green'],
  warn: ['WARN ', 'yellow'],
  error: ['ERROR', 'red'],
  fatal: ['FATAL', 'magenta'],
}

/** One readable line; an error's stack follows on lines of its own. */
export function renderPrettyLine(event: LogEvent): string {
  const [label, style] = looks[event.level]
  const stacks: string[] = []
  let line = `${paint('gray', new Date(event.time).toISOString().slice(11, 23))} ${paint(style, label)} ${event.message}`
  for (const [key, value] of Object.entries(merge(event.fields))) {
    if (value === undefined) continue
    if (value instanceof Error) stacks.push(inspect(value))
    const shown = value instanceof Error ? value.message : value
    line += ` ${paint('cyan', `${key}=`)}${typeof shown === 'string' ? shown : inspect(shown, { breakLength: Infinity })}`
  }
  return `${[line, ...stacks.map((stack) => stack.replaceAll(/^/gm, '    '))].join('\n')}\n`
}

function paint(style: Style, text: string): string {
  // Whoever asks for the pretty form asks for its colours; NO_COLOR still wins.
  return process.env['NO_COLOR'] ? text : styleText(style, text, { validateStream: false })
}
