import { readFileSync } from 'node:fs'
import { type Command, defineCommand, jsonOption } from '../command.ts'

/** `fairlead version` */
export const version: Command = defineCommand({
  name: 'version',
  summary: 'print the version',
  options: { json: jsonOption },
  examples: [{ command: 'fairlead version --json', text: 'with the versions of Node and the platform' }],
  async run({ options, terminal }) {
    const facts = {
      fairlead: readVersion(),
      node: process.versions.node,
      platform: `${process.platform}/${process.arch}`,
    }
    if (options.json) terminal.printJson(facts)
    else terminal.print(`fairlead ${facts.fairlead} (node ${facts.node}, ${facts.platform})`)
  },
})

/** Version of this package. */
export function readVersion(): string {
  const manifest: { version?: string } = JSON.parse(
    readFileSync(new URL(import.meta.resolve('fairlead/package.json')), 'utf8'),
  )
  return manifest.version ?? '0.0.0'
}
