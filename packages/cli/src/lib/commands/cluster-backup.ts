import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { connectEmbedded, embeddedFiles } from '../embedded/cluster.ts'
import { findProcess } from '../embedded/process.ts'
import { clusterAbsent, usage } from '../errors.ts'
import type { Homes } from '../homes.ts'

const idleMs = 30_000

/** `fairlead cluster backup` */
export const clusterBackup: Command = defineCommand({
  name: 'cluster backup',
  summary: 'save the objects of the embedded cluster to a file, also while it runs',
  description: [
    'The file holds every object as it is at one revision, secrets too (it is readable by you only), and a digest. It is whole or',
    'not there; one that is there is not replaced without --force. Images and the data of volumes are not part of it.',
  ].join('\n'),
  args: ['FILE'],
  options: {
    force: { type: 'boolean', help: 'replace a file that is there' },
    json: jsonOption,
  },
  examples: [{ command: 'fairlead cluster backup before-upgrade.backup', text: 'a copy to come back to' }],
  async run({ options, args: [name = ''], homes, cwd, terminal, signal }) {
    const file = resolve(cwd, name)
    if (existsSync(file) && !options.force) {
      throw usage(`Cannot write "${file}": it is there already`, 'Choose another name, or replace it with --force')
    }
    const temporary = `${file}.${randomUUID()}.tmp`
    try {
      await writeAll(temporary, await openSource(homes, signal))
      const { verifyBackup } = await import('@fairlead/cluster')
      const { revision, objects } = verifyBackup(temporary)
      await rename(temporary, file)
      if (options.json) terminal.printJson({ file, revision, objects })
      else terminal.note(`saved ${objects} objects at revision ${revision} to ${file}`)
    } finally {
      await rm(temporary, { force: true })
    }
  },
})

/** From the cluster when it runs, else from its files. */
async function openSource(homes: Homes, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  const files = embeddedFiles(homes)
  if (findProcess(files) !== undefined) {
    const request = { method: 'GET', path: '/fairlead/v1/backup', deadlineMs: 0, idleMs, signal }
    const { status, body } = await connectEmbedded(homes).request(request)
    if (status === 200) return body
    throw usage(
      `Cannot back up cluster "embedded": it answered ${status}`,
      'It may run another version: fairlead cluster stop, then again',
    )
  }
  if (!existsSync(files.data)) throw clusterAbsent()
  const { readBackup } = await import('@fairlead/cluster')
  return readBackup(files.data)
}

async function writeAll(path: string, source: AsyncIterable<Uint8Array>): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    for await (const chunk of source) await file.writeFile(chunk)
    await file.datasync()
  } finally {
    await file.close()
  }
}
