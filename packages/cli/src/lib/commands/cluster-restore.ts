import { existsSync, mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { embeddedFiles } from '../embedded/cluster.ts'
import { findProcess } from '../embedded/process.ts'
import { inputUnreadable, usage } from '../errors.ts'
import { prepareHomes } from '../homes.ts'

/** `fairlead cluster restore` */
export const clusterRestore: Command = defineCommand({
  name: 'cluster restore',
  summary: 'give the embedded cluster the objects of a backup',
  description: [
    'The cluster must be stopped. Its objects are replaced by those of the backup, all of them or none; with fairlead cluster start it',
    'goes on from there: pods run as the backup has them, and clients that watched are told to list again (410). A cluster',
    'that was reset, or is new, or whose data is damaged, can be restored as well.',
  ].join('\n'),
  args: ['FILE'],
  options: { json: jsonOption },
  examples: [
    { command: 'fairlead cluster restore before-upgrade.backup', text: 'go back; then: fairlead cluster start' },
  ],
  async run({ options, args: [name = ''], homes, cwd, terminal }) {
    const file = resolve(cwd, name)
    if (!existsSync(file)) throw inputUnreadable(file, 'there is no such file')
    const files = embeddedFiles(homes)
    if (findProcess(files) !== undefined) {
      throw usage('Cannot restore cluster "embedded": it is running', 'Stop it first with fairlead cluster stop')
    }
    prepareHomes(homes)
    mkdirSync(files.data, { recursive: true, mode: 0o700 })
    const { restoreCluster } = await import('@fairlead/cluster')
    const { revision, objects } = await restoreCluster(file, files.data)
    if (options.json) terminal.printJson({ file, revision, objects })
    else terminal.note(`restored ${objects} objects; next: fairlead cluster start`)
  },
})
