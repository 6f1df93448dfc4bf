import { commands, type LazyCommand } from './commands/index.ts'
import { usage } from './errors.ts'
import { renderGroup, renderHelp, renderOverview } from './help.ts'
import { resolveHomes } from './homes.ts'
import { parseCommand } from './parse-command.ts'
import { exitCodeOf, renderError } from './terminal/report.ts'
import type { Terminal } from './terminal/terminal.ts'
import { suggest } from './terminal/text.ts'

/** One call of the CLI. */
export interface Call {
  /** Words after `fairlead`. */
  readonly words: readonly string[]
  readonly terminal: Terminal
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  /** Aborted when the person asks to stop; its reason is an {@link Interruption}. */
  readonly signal: AbortSignal
}

/** Ctrl-C or SIGTERM. The exit code is the one of a shell: 128 and the number of the signal. */
export class Interruption extends Error {
  readonly exitCode: number
  constructor(signal: string, exitCode: number) {
    super(`Interrupted by ${signal}`)
    this.name = 'Interruption'
    this.exitCode = exitCode
  }
}

/** Runs one command and resolves to the exit code; errors are printed, never thrown. */
export async function runCli(call: Call): Promise<number> {
  const { terminal, env, signal } = call
  try {
    return await dispatch(call)
  } catch (error) {
    const interruption: unknown = signal.aborted ? signal.reason : undefined
    if (interruption instanceof Interruption) {
      terminal.note(terminal.paint('dim', 'interrupted'))
      return interruption.exitCode
    }
    terminal.note(renderError(error, terminal.paint, { stack: Boolean(env['FAIRLEAD_DEBUG']) }))
    return exitCodeOf(error)
  }
}

async function dispatch({ words, terminal, env, cwd, signal }: Call): Promise<number> {
  const [first] = words
  if (first === undefined || first === '--help' || first === '-h') {
    terminal.print(await describe([]))
    return first === undefined ? 2 : 0
  }
  if (isGroupHelp(words)) {
    terminal.print(await describe(words.slice(0, -1)))
    return 0
  }
  const { command: entry, rest } = findCommand(words)
  const command = await entry.load()
  const parsed = parseCommand(command, rest)
  if (parsed.help) {
    terminal.print(renderHelp(command))
    return 0
  }
  const { options, args } = parsed
  const homes = resolveHomes(env)
  return (await command.run({ options, args, terminal, homes, env, cwd, signal, describe })) ?? 0
}

async function describe(words: readonly string[]): Promise<string> {
  if (words.length === 0) return renderOverview(visibleCommands())
  const group = findGroup(words)
  if (group.length > 0) return renderGroup(words.join(' '), group)
  return renderHelp(await findCommand(words).command.load())
}

/** Whether the words are a group of commands and `--help`, such as `cluster --help`. */
function isGroupHelp(words: readonly string[]): boolean {
  const last = words.at(-1)
  return (last === '--help' || last === '-h') && findGroup(words.slice(0, -1)).length > 0
}

/** The commands of a group such as `cluster`; none where the words name a command of their own. */
function findGroup(words: readonly string[]): LazyCommand[] {
  const group = words.join(' ')
  const isCommand = commands.some(({ name }) => name === group)
  return isCommand ? [] : visibleCommands().filter(({ name }) => name.startsWith(`${group} `))
}

/** Commands that the help shows. */
export function visibleCommands(): LazyCommand[] {
  return commands.filter(({ hidden }) => hidden !== true)
}

/** The command that the first words name, the longest name first, and the words after it. Throws FAIRLEAD_CLI_USAGE. */
function findCommand(words: readonly string[]): { command: LazyCommand; rest: readonly string[] } {
  const named = words.map((word) => (word === '--version' ? 'version' : word))
  for (let count = Math.min(longestName, named.length); count > 0; count -= 1) {
    const command = commands.find(({ name }) => name === named.slice(0, count).join(' '))
    if (command) return { command, rest: words.slice(count) }
  }
  const [first = '', second = ''] = named
  throw unknownCommand(first, second)
}

/** Words in the longest name of a command. */
const longestName = Math.max(...commands.map(({ name }) => name.split(' ').length))

function unknownCommand(first: string, second: string): Error {
  const names = visibleCommands().map(({ name }) => name)
  const group = names.filter((name) => name.startsWith(`${first} `))
  if (group.length > 0 && (second === '' || second.startsWith('-'))) {
    const choices = group.map((name) => name.slice(first.length + 1)).join(', ')
    const hint = `Run fairlead ${first} --help to see what each does`
    return usage(`Cannot run "fairlead ${first}": it needs one of ${choices}`, hint)
  }
  const typed = group.length > 0 ? `${first} ${second}` : first
  const near = suggest(`${first} ${second}`.trim(), names) ?? suggest(first, names)
  return usage(
    `Cannot run "fairlead ${typed}": there is no such command`,
    near === undefined ? 'Run fairlead help to see every command' : `Did you mean fairlead ${near}?`,
  )
}
