import type { Command, OptionSpecs } from './command.ts'
import { visibleOptions } from './parse-command.ts'

/** Name and summary of a command, for the overview. */
export interface CommandEntry {
  readonly name: string
  readonly summary: string
}

/** What `fairlead help` prints. */
export function renderOverview(entries: readonly CommandEntry[]): string {
  return [
    'fairlead takes TypeScript services from source to production.',
    '',
    'Usage: fairlead COMMAND [options]',
    '',
    ...renderEntries(entries),
    '',
    'fairlead COMMAND --help tells the options of a command and shows examples.',
    'Exit codes: 0 done, 1 failed, 2 bad usage or bad input.',
  ].join('\n')
}

/** What `fairlead GROUP --help` prints, such as `fairlead cluster --help`; the entries have their whole names. */
export function renderGroup(group: string, entries: readonly CommandEntry[]): string {
  const short = entries.map(({ name, summary }) => ({ name: name.slice(group.length + 1), summary }))
  return [
    `Usage: fairlead ${group} COMMAND [options]`,
    '',
    ...renderEntries(short),
    '',
    `fairlead ${group} COMMAND --help tells the options of a command and shows examples.`,
  ].join('\n')
}

function renderEntries(entries: readonly CommandEntry[]): string[] {
  const width = Math.max(...entries.map(({ name }) => name.length))
  return entries.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`)
}

/** What `fairlead COMMAND --help` prints. */
export function renderHelp({ name, summary, description, args = [], options, examples }: Command): string {
  const usage = ['fairlead', name, ...args, '[options]'].join(' ')
  return [
    `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`,
    '',
    `Usage: ${usage}`,
    ...(description === undefined ? [] : ['', description]),
    '',
    'Options:',
    ...renderOptions(options),
    '',
    examples.length === 1 ? 'Example:' : 'Examples:',
    ...examples.flatMap(({ command, text }) => [`  ${command}`, `      ${text}`]),
  ].join('\n')
}

function renderOptions(options: OptionSpecs): string[] {
  const rows = Object.entries(visibleOptions(options)).map(([name, { short, value, help }]) => ({
    flag: `${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`,
    help,
  }))
  rows.push({ flag: '-h, --help', help: 'show this help' })
  const width = Math.max(...rows.map(({ flag }) => flag.length))
  return rows.map(({ flag, help }) => `  ${flag.padEnd(width)}  ${help}`)
}
