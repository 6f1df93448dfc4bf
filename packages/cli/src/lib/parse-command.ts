import { parseArgs, type ParseArgsConfig } from 'node:util'
import type { Command, OptionSpecs, OptionValues } from './command.ts'
import { usage } from './errors.ts'
import { suggest } from './terminal/text.ts'

/** Options and arguments of one call; `help` when the help was asked for. */
export type ParsedCommand =
  | { readonly help: true }
  | { readonly help: false; readonly options: OptionValues<OptionSpecs>; readonly args: readonly string[] }

/** Parses what follows the name of a command. Throws FAIRLEAD_CLI_USAGE. */
export function parseCommand(command: Command, words: readonly string[]): ParsedCommand {
  const { values, positionals } = parseStrictly(command, words)
  if (values['help'] === true) return { help: true }
  checkArgs(command, positionals)
  const options: Record<string, string | boolean | readonly string[] | undefined> = {}
  for (const [name, { type }] of Object.entries(command.options)) {
    const value = values[name]
    if (type === 'list') options[name] = Array.isArray(value) ? value.map(String) : []
    else options[name] = type === 'boolean' ? value === true : typeof value === 'string' ? value : undefined
  }
  return { help: false, options, args: positionals }
}

type Parsed = { values: Record<string, unknown>; positionals: string[] }

function parseStrictly(command: Command, words: readonly string[]): Parsed {
  const options: ParseArgsConfig['options'] = { help: { type: 'boolean', short: 'h' } }
  for (const [name, { type, short }] of Object.entries(command.options)) {
    const spec = type === 'list' ? ({ type: 'string', multiple: true } as const) : { type }
    options[name] = short === undefined ? spec : { ...spec, short }
  }
  try {
    return parseArgs({ args: [...words], options, allowPositionals: true, strict: true })
  } catch (error) {
    throw explain(command, error)
  }
}

function explain(command: Command, error: unknown): unknown {
  if (!(error instanceof TypeError) || !('code' in error)) return error
  const help = `Run fairlead ${command.name} --help to see its options`
  const unknown = /^Unknown option '(-{1,2}[^']*)'/.exec(error.message)?.[1]
  if (unknown === undefined) return usage(`Cannot run "fairlead ${command.name}": ${toState(error.message)}`, help)
  const near = suggest(unknown.replace(/^-+/, ''), Object.keys(visibleOptions(command.options)))
  return usage(
    `Cannot run "fairlead ${command.name}": there is no option "${unknown}"`,
    near === undefined ? help : `Did you mean --${near}? ${help}`,
  )
}

/** The first sentence of a message of parseArgs, as the middle of ours. */
function toState(message: string): string {
  const [sentence = message] = message.split(/\.\s|\n/)
  return `${sentence.charAt(0).toLowerCase()}${sentence.slice(1)}`
}

function checkArgs({ name, args = [] }: Command, given: readonly string[]): void {
  const help = `Run fairlead ${name} --help to see its arguments`
  const missing = args.slice(given.length).find((arg) => !arg.startsWith('['))
  if (missing !== undefined) throw usage(`Cannot run "fairlead ${name}": the argument ${missing} is missing`, help)
  const extra = args.at(-1)?.endsWith('...]') ? undefined : given[args.length]
  if (extra !== undefined) throw usage(`Cannot run "fairlead ${name}": the argument "${extra}" is one too many`, help)
}

/** Options that the help shows. */
export function visibleOptions(options: OptionSpecs): OptionSpecs {
  return Object.fromEntries(Object.entries(options).filter(([, { hidden }]) => hidden !== true))
}

/** A whole number within bounds, from the text of an option. Throws FAIRLEAD_CLI_USAGE. */
export function parseInteger(option: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= max) return value
  throw usage(
    `Cannot use "--${option} ${text}": expected a whole number between ${min} and ${max}`,
    'Correct the value',
  )
}

/** Milliseconds from `90s`, `2m` or a number of seconds. Throws FAIRLEAD_CLI_USAGE. */
export function parseTimeout(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text)
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
  const durationMs = Number(match?.[1]) * (units[match?.[2] ?? 's'] ?? Number.NaN)
  if (durationMs > 0 && durationMs <= 86_400_000) return durationMs
  throw usage(`Cannot use "--${option} ${text}": expected a time such as 90s or 2m`, 'Correct the value')
}

/** One of a few words. Throws FAIRLEAD_CLI_USAGE. */
export function parseChoice<const T extends string>(
  option: string,
  text: string | undefined,
  choices: readonly T[],
): T | undefined {
  if (text === undefined) return undefined
  const found = choices.find((choice) => choice === text)
  if (found !== undefined) return found
  throw usage(`Cannot use "--${option} ${text}": expected one of ${choices.join(', ')}`, 'Correct the value')
}

/** Names with commas between them. */
export function parseNames(text: string | undefined): readonly string[] | undefined {
  return text?.split(',').filter((name) => name !== '')
}
