import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { unmountAll } from '@fairlead/oci/runtime'

import { mountTool } from './mount-tool.ts'

/** A file system in memory for what pods have of secrets: one for the node, a folder for each pod. */
export interface MemoryVolumes {
  dirOf(uid: string): string
  /** Removes folders of pods that `isOwned` does not know. */
  sweep(isOwned: (uid: string) => boolean): Promise<void>
  /** Takes it away. */
  remove(): Promise<void>
}

/**
 * Mounts it at `dir`, or finds it there: it lasts as long as the machine runs, as do the containers that look into it. One mount
 * serves all pods, for a mount for each volume would cost each pod the start of a process.
 */
export async function openMemoryVolumes(dir: string): Promise<MemoryVolumes> {
  await mkdir(dir, { recursive: true, mode: 0o711 })
  if (!(await isMounted(dir))) await mount(dir)
  return {
    dirOf: (uid) => join(dir, encodeURIComponent(uid).replaceAll('.', '%2E')),
    async sweep(isOwned) {
      for (const name of await readdir(dir)) {
        if (!isOwned(decodeURIComponent(name))) await rm(join(dir, name), { recursive: true, force: true })
      }
    },
    async remove() {
      await unmountAll(dir)
      await rm(dir, { recursive: true, force: true })
    },
  }
}

async function isMounted(dir: string): Promise<boolean> {
  const { dev: own } = await stat(dir)
  return own !== (await stat(join(dir, '..'))).dev
}

/** Not onto the disk by way of swap either, where the kernel can promise that (Linux 6.4). */
async function mount(dir: string): Promise<void> {
  const options = 'nosuid,nodev,noexec,mode=0711'
  const run = (more: string): Promise<void> =>
    mountTool('mount', ['-i', '-t', 'tmpfs', '-o', `${options}${more}`, 'tmpfs', dir])
  await run(',noswap').catch(() => run(''))
}
