import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'

import { disk, syncDirectory } from './disk.ts'
import { lockDirectory } from './lock.ts'
import { Log } from './log.ts'
import type { LogRecord } from './record.ts'
import { recover } from './recovery.ts'
import { readSnapshot, verifyDigest, writeSnapshot } from './snapshot.ts'

/** What a backup holds. */
export interface BackupInfo {
  readonly revision: number
  readonly objects: number
}

/** Reads a backup to its end; throws `FAIRLEAD_CLUSTER_STORAGE_CORRUPT` unless every byte is as it was written. */
export function verifyBackup(file: string): BackupInfo {
  const { revision, objects } = verifyDigest(file)
  return { revision, objects }
}

/**
 * Puts the state of a backup in place of the store in `dir`, whole or not at all; the store must not be open. The
 * first revision after it is far above every one that a client may have seen: who watches or lists at an older one is
 * told that it is gone (410) and lists again, as etcd's `--bump-revision --mark-compacted` has it.
 */
export async function restoreStore(file: string, dir: string): Promise<BackupInfo> {
  const { objects, revision: saved } = verifyBackup(file)
  const next = `${dir}.restoring`
  const previous = `${dir}.replaced`
  mkdirSync(dirname(dir), { recursive: true, mode: 0o700 })
  finishRestore(dir)
  const unlock = existsSync(dir) ? lockDirectory(dir) : undefined
  try {
    const revision = Math.max(saved, await newestRevision(dir)) + revisionGap
    rmSync(next, { recursive: true, force: true })
    mkdirSync(next, { mode: 0o700 })
    await writeRestored(file, next, revision)
    const ready = restoredName(dir)
    rmSync(ready, { recursive: true, force: true })
    renameSync(next, ready)
    syncDirectory(dirname(dir))
    rmSync(previous, { recursive: true, force: true })
    if (existsSync(dir)) renameSync(dir, previous)
    finishRestore(dir)
    syncDirectory(dirname(dir))
    rmSync(previous, { recursive: true, force: true })
    return { revision, objects }
  } catch (error) {
    unlock?.()
    throw error
  }
}

/** A restore that was interrupted between taking the old store away and putting the new one there is completed. */
export function finishRestore(dir: string): void {
  const ready = restoredName(dir)
  if (!existsSync(dir) && existsSync(ready)) renameSync(ready, dir)
}

/** Larger than what a store writes while a backup grows old, even at thousands of writes per second. */
const revisionGap = 1_000_000_000

function restoredName(dir: string): string {
  return `${dir}.restored`
}

async function writeRestored(file: string, dir: string, revision: number): Promise<void> {
  const records: LogRecord[] = []
  // The reader uses the memory of a record again.
  const load = (record: LogRecord): void => void records.push({ ...record, bytes: Buffer.from(record.bytes) })
  readSnapshot(file, { startAt: () => undefined, load })
  await writeSnapshot(dir, { revision, firstSegment: 1, records })
  // A store always has a segment to go on with: without one, its log would seem lost.
  const log = new Log(dir, { disk, segmentBytes: firstSegmentBytes, firstSegmentBytes, sync: true })
  await log.rotate(0)
  await log.close()
}

const firstSegmentBytes = 1 << 20

/** The newest revision of the store that is replaced, as far as it can be read: it may be damaged. */
async function newestRevision(dir: string): Promise<number> {
  if (!existsSync(dir)) return 0
  let newest = 0
  for (const name of readdirSync(dir)) newest = Math.max(newest, Number(/^snapshot-(\d{15})$/.exec(name)?.[1] ?? 0))
  const see = ({ revision }: { revision: number }): void => void (newest = Math.max(newest, revision))
  try {
    const { position } = await recover(dir, { startAt: () => undefined, load: see, replay: see })
    if (position !== undefined) await disk.close(position.fd)
  } catch {
    // What could be read before the damage counts.
  }
  return newest
}
