import { type Command, defineCommand } from '../command.ts'

/** `fairlead help` */
export const help: Command = defineCommand({
  name: 'help',
  summary: 'show the commands, or the help of one',
  args: ['[COMMAND]', '[SUBCOMMAND]'],
  options: {},
  examples: [{ command: 'fairlead help cluster start', text: 'the same as fairlead cluster start --help' }],
  async run({ args, terminal, describe }) {
    terminal.print(await describe(args))
  },
})
