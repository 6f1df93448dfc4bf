import { randomUUID } from 'node:crypto'
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { containerMissing } from '../errors.ts'
import type { ContainerUser } from './driver.ts'

/** What is kept on disk about one container, so that a later process can take it over. */
export interface ContainerRecord {
  readonly id: string
  readonly createdAt: number
  readonly startedAt?: number | undefined
  /** Identity of the container's first process, see `identifyProcess`. */
  readonly process?: string | undefined
  /** Identity of the process that owns its output and exit code. */
  readonly monitor?: string | undefined
  readonly cgroupPath?: string | undefined
  readonly user?: ContainerUser | undefined
  /** Its processes do not end with the first of them. */
  readonly sharesPids?: boolean | undefined
}

/** The directory of containers: a folder each, with `container.json` in it. */
export interface ContainerRecords {
  readonly dir: string
  dirOf(id: string): string
  ids(): Promise<readonly string[]>
  find(id: string): Promise<ContainerRecord | undefined>
  /** Throws `FAIRLEAD_OCI_CONTAINER` when there is none. */
  read(id: string): Promise<ContainerRecord>
  write(record: ContainerRecord): Promise<void>
  remove(id: string): Promise<void>
}

/** Opens the records in `dir`. They are cached: a runtime directory has one owner at a time. */
export async function openRecords(dir: string): Promise<ContainerRecords> {
  await mkdir(dir, { recursive: true, mode: 0o711 })
  const known = new Map<string, ContainerRecord>()
  // A record read from disk while one was removed may be of the removed one, and must not come back from the cache.
  let removals = 0
  const dirOf = (id: string): string => join(dir, id)

  async function find(id: string): Promise<ContainerRecord | undefined> {
    const cached = known.get(id)
    if (cached) return cached
    const removalsBefore = removals
    const text = await readFile(join(dirOf(id), 'container.json'), 'utf8').catch(() => undefined)
    if (text === undefined) return undefined
    const record = JSON.parse(text) as ContainerRecord
    if (removals === removalsBefore) known.set(id, record)
    return record
  }

  return {
    dir,
    dirOf,
    ids: () => readdir(dir),
    find,
    async read(id) {
      const record = await find(id)
      if (!record) throw containerMissing(id)
      return record
    },
    async write(record) {
      const path = join(dirOf(record.id), 'container.json')
      const temporary = `${path}.${randomUUID()}`
      try {
        await writeFile(temporary, JSON.stringify(record))
        await rename(temporary, path)
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => {})
        throw error
      }
      known.set(record.id, record)
    },
    async remove(id) {
      await rm(dirOf(id), { recursive: true, force: true })
      removals += 1
      known.delete(id)
    },
  }
}
