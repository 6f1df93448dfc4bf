import { resolve } from 'node:path'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { prepareHomes } from '../homes.ts'
import { renderDuration } from '../terminal/text.ts'

/** `fairlead image scan db import` */
export const imageScanDbImport: Command = defineCommand({
  name: 'image scan db import',
  summary: 'import advisories, for scans without a network',
  description: [
    'Reads advisories in the OSV format: a folder of JSON files and all.zip archives in any depth, one archive, or an archive by',
    'HTTP(S); also index.json of the security group of Node.js. Only what changed is taken; of a whole set (npm/all.zip, or any',
    'archive with --ecosystem) what is gone is removed. Until all of it is read, scans use the state before.',
  ].join('\n'),
  args: ['SOURCE'],
  options: {
    ecosystem: {
      type: 'string',
      value: 'NAME',
      help: 'the archive is the whole set of this ecosystem, such as npm or Debian',
    },
    replace: { type: 'boolean', help: 'forget what was imported before' },
    db: { type: 'string', value: 'FILE', help: 'database; default: the one image scan uses' },
    json: jsonOption,
  },
  examples: [
    {
      command: 'fairlead image scan db import https://osv-vulnerabilities.storage.googleapis.com/npm/all.zip',
      text: 'npm, as published; the same with Debian and Alpine',
    },
    {
      command: 'fairlead image scan db import /media/osv',
      text: 'a folder such as osv-scanner keeps, without a network',
    },
  ],
  async run({ options, args: [source = ''], homes, cwd, terminal, signal }) {
    prepareHomes(homes)
    const { importAdvisories } = await import('@fairlead/build/scan')
    const { databasePath } = await import('../scan/subjects.ts')
    using steps = terminal.steps()
    const step = steps.start('advisories')
    try {
      const result = await importAdvisories(/^https?:/.test(source) ? source : resolve(cwd, source), {
        path: options.db === undefined ? databasePath(homes) : resolve(cwd, options.db),
        ecosystem: options.ecosystem,
        replace: options.replace,
        signal,
        onProgress: (done) => step.update(`${done} read`),
      })
      const { added, updated, unchanged, removed, durationMs, database } = result
      step.done(`${added} added, ${updated} updated, ${removed} removed, ${unchanged} as before`)
      if (options.json) terminal.printJson(result)
      else terminal.print(`${database.advisories} advisories in ${database.path} (${renderDuration(durationMs)})`)
    } catch (error) {
      step.fail(signal.aborted ? 'interrupted' : 'failed')
      throw error
    }
  },
})
