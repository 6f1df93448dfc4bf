import { readdir, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { findCommand } from './command.ts'
import type { RuntimeConfig } from './config.ts'

/** With fewer namespaces it takes longer to take them out of sight than the runtime takes to look at them. */
const MANY = 50
/** The runtime works where the folder is: a mount that is not there is no reason not to. */
const WITHOUT_MOUNT = 'umount -i -l "$1" 2>/dev/null; shift; exec "$@"'

/** A command line of an OCI runtime, and the configuration that goes with it. */
export interface RuntimeCall {
  /** Program and arguments, before the verb. */
  readonly command: readonly string[]
  readonly config: RuntimeConfig
}

/**
 * Lets the runtime make a container without the mounts of other network namespaces in sight. Each is a mount, and the runtime reads and
 * copies the table of all mounts again and again: with a thousand of them a container takes four times as long to make. What the
 * runtime sees is a copy of the mounts that goes away with it; the container's own namespace is found through this process. Calls with
 * a mount that has to do with the folder of namespaces, or with mounts that are made later, stay as they are.
 */
export async function trimMounts(call: RuntimeCall, processId: number = process.pid): Promise<RuntimeCall> {
  const { command, config } = call
  const network = config.linux.namespaces.find(({ type }) => type === 'network')?.path
  if (network === undefined || !(await hasMany(dirname(network))) || (await dependsOn(config, dirname(network))))
    return call
  const unshare = await findCommand('unshare')
  if (unshare === undefined) return call
  const namespaces = config.linux.namespaces.map((one) =>
    one.path === network ? { ...one, path: join(`/proc/${processId}/root`, network) } : one,
  )
  return {
    command: [unshare, '--mount', '--propagation=slave', 'sh', '-c', WITHOUT_MOUNT, 'sh', dirname(network), ...command],
    config: { ...config, linux: { ...config.linux, namespaces } },
  }
}

async function dependsOn({ mounts, linux }: RuntimeConfig, folder: string): Promise<boolean> {
  if (linux.rootfsPropagation !== undefined) return true
  const bound = mounts.filter(({ type }) => type === 'bind')
  // One of them may be a link: `/var/run` is `/run`.
  const sources = await Promise.all(bound.map(({ source }) => realpath(source).catch(() => source)))
  return sources.some((source) => isBelow(source, folder) || isBelow(folder, source))
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}

async function hasMany(folder: string): Promise<boolean> {
  return (await readdir(folder).catch(() => [])).length > MANY
}
