import { link, open, readFile, rename, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { randomUUID } from 'node:crypto'

import { layoutLocked } from '../errors.ts'
import { currentProcess, isProcessGone } from './process-identity.ts'

/** How long to wait for a lock that another living process holds. */
export interface LockOptions {
  /** Default 30 s: holders keep it for milliseconds. */
  timeoutMs?: number | undefined
  signal?: AbortSignal | undefined
}

/**
 * Runs `act` while holding the lock file `path`, which names its holder. A lock whose process is gone is taken over.
 * Throws `FAIRLEAD_OCI_LAYOUT_LOCKED` when the holder lives and does not let go in time.
 */
export async function withLock<T>(path: string, act: () => Promise<T>, options: LockOptions = {}): Promise<T> {
  const owner = `${currentProcess()}|${randomUUID()}`
  await acquire(path, owner, options)
  try {
    return await act()
  } finally {
    // Only our own: it may have been taken over if this process was mistaken for a dead one.
    if ((await holderOf(path)) === owner) await rm(path, { force: true })
  }
}

async function acquire(path: string, owner: string, options: LockOptions): Promise<void> {
  const deadline = Date.now() + (options.timeoutMs ?? 30_000)
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 50)) {
    options.signal?.throwIfAborted()
    if (await tryCreate(path, owner)) return
    const holder = await holderOf(path)
    if (holder === undefined) continue
    if (isProcessGone(holder)) await removeStale(path, holder)
    else if (Date.now() > deadline) throw layoutLocked(path, `process ${holder.split('|')[1] ?? 'unknown'}`)
    else await sleep(waitMs, undefined, { signal: options.signal })
  }
}

/** Links a finished file into place, so that nobody ever sees a lock without its holder's name. */
async function tryCreate(path: string, owner: string): Promise<boolean> {
  const prepared = `${path}.${randomUUID()}`
  const file = await open(prepared, 'wx')
  try {
    await file.writeFile(owner)
  } finally {
    await file.close()
  }
  try {
    await link(prepared, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    await rm(prepared, { force: true })
  }
}

async function holderOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Moves the stale lock aside before removing it: between reading and removing, another process may have taken over. */
async function removeStale(path: string, holder: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  if ((await holderOf(aside)) !== holder) await link(aside, path).catch(() => {})
  await rm(aside, { force: true })
}
