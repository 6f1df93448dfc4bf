import { existsSync, readFileSync } from 'node:fs'
import { type Command, defineCommand } from '../command.ts'
import { notFound } from '../errors.ts'
import { suggest } from '../terminal/text.ts'

/** `fairlead explain CODE` */
export const explain: Command = defineCommand({
  name: 'explain',
  summary: 'explain the code of an error',
  description: 'Prints what the code means and what leads out of it. The same text stands in docs/reference/errors.md.',
  args: ['CODE'],
  options: {},
  examples: [{ command: 'fairlead explain FAIRLEAD_CLI_PORT_IN_USE', text: 'what to do when a port is taken' }],
  async run({ args: [given = ''], terminal }) {
    const code = given.toUpperCase()
    const sections = parseCatalogue(readCatalogue())
    const section = sections.get(code)
    if (section === undefined) {
      const near = suggest(code, sections.keys())
      throw notFound(
        given,
        'no error of Fairlead has this code',
        near === undefined
          ? 'Codes start with FAIRLEAD_ and stand below the message of an error'
          : `Did you mean ${near}?`,
      )
    }
    terminal.print(`${code}\n\n${section}`)
  },
})

/** The catalogue lies beside the sources in the repository, and in the package when it is installed. */
function readCatalogue(): string {
  const root = new URL('./', import.meta.resolve('fairlead/package.json'))
  const places = [new URL('../../docs/reference/errors.md', root), new URL('./dist/errors.md', root)]
  const place = places.find((candidate) => existsSync(candidate))
  return place === undefined ? '' : readFileSync(place, 'utf8')
}

/** Sections of the catalogue by code: a heading of any level that is a code, and the text below it. */
export function parseCatalogue(text: string): Map<string, string> {
  const sections = new Map<string, string>()
  for (const part of text.split(/^#+ +/m).slice(1)) {
    const end = part.indexOf('\n')
    const heading = part.slice(0, end).replaceAll('`', '').trim()
    if (/^FAIRLEAD_[A-Z0-9_]+$/.test(heading)) sections.set(heading, part.slice(end + 1).trim())
  }
  return sections
}
