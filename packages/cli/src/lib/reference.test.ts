import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { visibleCommands } from './cli.ts'
import { renderHelp, renderOverview } from './help.ts'
import { visibleOptions } from './parse-command.ts'

const page = new URL('../../../../docs/reference/cli.md', import.meta.url)
const intro = `# The command line

Every command prints results on stdout and progress on stderr (a live display on a terminal, plain lines otherwise;
\`NO_COLOR\` is honoured), and has \`--help\`. Exit codes: 0 done, 1 failed, 2 bad usage or bad input; 130 after Ctrl-C.

| variable         | default                                                   | meaning                   |
| ---------------- | --------------------------------------------------------- | ------------------------- |
| \`FAIRLEAD_HOME\`  | \`$XDG_DATA_HOME/fairlead\`, else \`~/.local/share/fairlead\` | images and clusters       |
| \`FAIRLEAD_CACHE\` | \`$XDG_CACHE_HOME/fairlead\`, else \`~/.cache/fairlead\`      | what can be made again    |
| \`FAIRLEAD_DEBUG\` | off                                                       | print the stack of errors |

This page is what \`--help\` prints; a test holds the two together.
`

describe('docs/reference/cli.md', () => {
  // Written anew by: UPDATE_GOLDEN=1 node --test ...
  it('is what --help prints', async () => {
    const sections = [`${intro}\n\`\`\`\n${renderOverview(visibleCommands())}\n\`\`\`\n`]
    for (const entry of visibleCommands()) {
      sections.push(`## fairlead ${entry.name}\n\n\`\`\`\n${renderHelp(await entry.load())}\n\`\`\`\n`)
    }
    const text = sections.join('\n')
    if (process.env['UPDATE_GOLDEN']) writeFileSync(page, text)
    assert.equal(readFileSync(page, 'utf8'), text)
  })

  for (const entry of visibleCommands()) {
    it(`has an example, and the same name and summary everywhere, for ${entry.name}`, async () => {
      const command = await entry.load()
      assert.deepEqual([command.name, command.summary], [entry.name, entry.summary])
      assert.ok(command.examples.length > 0)
      for (const example of command.examples) assert.match(example.command, /fairlead/)
      for (const { help } of Object.values(visibleOptions(command.options))) assert.notEqual(help, '')
    })
  }
})
