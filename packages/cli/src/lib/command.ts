import type { Homes } from './homes.ts'
import type { Terminal } from './terminal/terminal.ts'

/** One option of a command, as `parseArgs` and the help need it. */
interface OptionSpec {
  /** `list`: may be given several times. */
  readonly type: 'string' | 'boolean' | 'list'
  readonly short?: string
  /** What the value stands for in the help, such as `NAME`. */
  readonly value?: string
  readonly help: string
  /** Left out of the help: an option of ours for ourselves. */
  readonly hidden?: true
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>

/** A flag that was not given is false, a text that was not given is undefined, a list is empty. */
type OptionValue<T> = T extends 'boolean' ? boolean : T extends 'list' ? readonly string[] : string | undefined

/** The values parsed for a table of options. */
export type OptionValues<O extends OptionSpecs> = {
  readonly [K in keyof O]: OptionValue<O[K]['type']>
}

/** What a command gets to work with. */
interface Invocation<O extends OptionSpecs> {
  readonly options: OptionValues<O>
  readonly args: readonly string[]
  readonly terminal: Terminal
  readonly homes: Homes
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  /** Aborted by Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal
  /** The help of the command these words name; the overview for none. Throws FAIRLEAD_CLI_USAGE. */
  readonly describe: (words: readonly string[]) => Promise<string>
}

/** A command of the CLI. `run` resolves to the exit code; nothing means 0. */
export interface Command<O extends OptionSpecs = OptionSpecs> {
  /** Words after `fairlead`, such as `cluster start`. */
  readonly name: string
  readonly summary: string
  /** Paragraphs below the usage line. */
  readonly description?: string
  /** Positional arguments; `[dir]` may be left out, `CODE` must be there, `[args...]` takes all that follow. */
  readonly args?: readonly string[]
  readonly options: O
  readonly examples: readonly { readonly command: string; readonly text: string }[]
  run(invocation: Invocation<O>): Promise<number | void>
}

/** Types a command by its own options; to others it is a command like any. */
export function defineCommand<const O extends OptionSpecs>(command: Command<O>): Command {
  // Sound because parseCommand gives `run` the values of `command.options`, each of its type.
  return command
}

/** An option whose value is text. */
export type TextOption = OptionSpec & { readonly type: 'string' }
/** An option that is there or not. */
export type Flag = OptionSpec & { readonly type: 'boolean' }

/** `--json` */
export const jsonOption: Flag = { type: 'boolean', help: 'print the result as JSON on stdout' }
/** `--context NAME` */
export const contextOption: TextOption = {
  type: 'string',
  value: 'NAME',
  help: 'a context of your kubeconfig instead of the embedded cluster',
}
/** `--namespace NAME` */
export const namespaceOption: TextOption = {
  type: 'string',
  short: 'n',
  value: 'NAME',
  help: 'the namespace; default: the one of the context',
}
