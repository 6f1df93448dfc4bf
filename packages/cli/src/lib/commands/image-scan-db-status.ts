import { resolve } from 'node:path'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { renderAge, renderSize, renderTable } from '../terminal/text.ts'

/** `fairlead image scan db status` */
export const imageScanDbStatus: Command = defineCommand({
  name: 'image scan db status',
  summary: 'tell which advisories there are, and how old they are',
  description:
    'NEWEST is the age of the newest change of an advisory, IMPORTED that of the import. Exit code 1 without any.',
  options: {
    db: { type: 'string', value: 'FILE', help: 'database; default: the one image scan uses' },
    json: jsonOption,
  },
  examples: [{ command: 'fairlead image scan db status', text: 'ecosystems with number and age of their advisories' }],
  async run({ options, homes, cwd, terminal }) {
    const { databaseStatus } = await import('@fairlead/build/scan')
    const { databasePath } = await import('../scan/subjects.ts')
    const status = await databaseStatus(options.db === undefined ? databasePath(homes) : resolve(cwd, options.db))
    if (options.json) terminal.printJson(status)
    else if (!status.exists) terminal.note('there are no advisories yet; fairlead image scan db import brings them')
    else {
      const now = Date.now()
      const rows = status.ecosystems.map(({ ecosystem, advisories, newest, importedAt }) => [
        ecosystem,
        String(advisories),
        renderAge(newest, now),
        renderAge(importedAt, now),
      ])
      terminal.print(renderTable(['ECOSYSTEM', 'ADVISORIES', 'NEWEST', 'IMPORTED'], rows))
      terminal.note(`${status.advisories} advisories, ${renderSize(status.sizeBytes)}, in ${status.path}`)
    }
    return status.exists ? 0 : 1
  },
})
