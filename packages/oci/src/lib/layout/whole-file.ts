import { randomUUID } from 'node:crypto'
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { diskFull } from '../errors.ts'
import { currentProcess, isProcessGone } from './process-identity.ts'

/**
 * Lets `fill` write a new file in `ingestDir` and moves it to the path `fill` answers; a failure leaves nothing behind.
 * Both must be on one file system. Synced to the disk before the move, so a name never stands for half a content.
 * A full disk is `FAIRLEAD_OCI_DISK_FULL`.
 */
export async function writeWhole(ingestDir: string, fill: (file: FileHandle) => Promise<string>): Promise<void> {
  const temporary = join(ingestDir, `${encodeURIComponent(currentProcess())}.${randomUUID()}`)
  let target = temporary
  try {
    const file = await openIn(temporary)
    try {
      target = await fill(file)
      await file.datasync()
    } finally {
      await file.close()
    }
    await rename(temporary, target)
  } catch (error) {
    await rm(temporary, { force: true })
    throw isDiskFull(error) ? diskFull(target, error) : error
  }
}

/** Removes what processes that were killed left in `ingestDir`. */
export async function sweepIngest(ingestDir: string): Promise<void> {
  for (const name of await readdir(ingestDir).catch(() => [])) {
    if (isProcessGone(ownerOf(name))) await rm(join(ingestDir, name), { force: true, recursive: true })
  }
}

function ownerOf(name: string): string {
  try {
    return decodeURIComponent(name.slice(0, name.lastIndexOf('.')))
  } catch {
    return ''
  }
}

async function openIn(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    await mkdir(dirname(path), { recursive: true })
    return open(path, 'wx')
  }
}

function isDiskFull(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code
  return code === 'ENOSPC' || code === 'EDQUOT'
}
