import {
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  fsyncSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { basename, dirname, extname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate as yieldToOthers } from 'node:timers/promises'

import { withLock } from '@fairlead/oci/layout'

import { databaseInvalid, databaseSource } from '../errors.ts'
import { parseAdvisory } from '../osv.ts'
import { AdvisoryDatabase, DatabaseWriter, FORMAT } from './database.ts'
import type { DatabaseStatus, ImportCounts } from './database.ts'
import { downloadArchive } from './download.ts'
import { parseNodeAdvisories } from './node-core.ts'
import { readZip, ZipError } from './zip.ts'
import type { ZipLimits } from './zip.ts'

/** How to import. */
export interface ImportOptions {
  /** The database; made when it is not there. */
  path: string
  /**
   * The ecosystem whose whole set a zip archive is; default: the name of its folder, as published
   * (`…/npm/all.zip`). What the archive does not have any more is then removed.
   */
  ecosystem?: string | undefined
  /** Forget what the database held; default false. */
  replace?: boolean | undefined
  limits?: ZipLimits | undefined
  /** Default: the time of the call. */
  now?: Date | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((done: number) => void) | undefined
}

/** What an import did. */
export interface ImportResult extends ImportCounts {
  database: DatabaseStatus
  durationMs: number
}

const MAX_FILE_BYTES = 32 << 20
const YIELD_EVERY = 500

/**
 * Imports advisories in the OSV format: a folder of JSON files and `all.zip` archives in any depth, one archive, one JSON
 * file, or an archive by HTTP(S). The Node.js security group's `index.json` is understood too. The database is replaced
 * whole when all of the source has been read; until then, and when anything fails, readers see the one before. Throws
 * `FAIRLEAD_BUILD_SCAN_SOURCE` and `FAIRLEAD_BUILD_SCAN_DATABASE`.
 */
export async function importAdvisories(source: string, options: ImportOptions): Promise<ImportResult> {
  const startedAt = performance.now()
  mkdirSync(dirname(options.path), { recursive: true })
  const counts = await withLock(`${options.path}.lock`, () => replaceDatabase(source, options), {
    timeoutMs: 10 * 60_000,
    signal: options.signal,
  })
  const database = await databaseStatus(options.path)
  return { ...counts, database, durationMs: Math.round(performance.now() - startedAt) }
}

/** What is in the database; one that is not there has nothing. */
export async function databaseStatus(path: string): Promise<DatabaseStatus> {
  const found = await stat(path).catch(() => undefined)
  if (!found) return { path, exists: false, advisories: 0, sizeBytes: 0, ecosystems: [] }
  using database = new AdvisoryDatabase(path)
  const ecosystems = database.ecosystems()
  return { path, exists: true, advisories: database.count(), sizeBytes: found.size, ecosystems }
}

async function replaceDatabase(source: string, options: ImportOptions): Promise<ImportCounts> {
  const temporary = `${options.path}.${randomUUID()}.tmp`
  try {
    if (options.replace !== true && isUsable(options.path)) {
      copyFileSync(options.path, temporary, constants.COPYFILE_FICLONE)
    }
    const counts = await fill(temporary, source, options)
    const file = openSync(temporary, 'r+')
    fsyncSync(file)
    closeSync(file)
    renameSync(temporary, options.path)
    const folder = openSync(dirname(options.path), 'r')
    fsyncSync(folder)
    closeSync(folder)
    return counts
  } finally {
    rmSync(temporary, { force: true })
  }
}

/** A database of another format is not worth keeping: the advisories come again with the import. */
function isUsable(path: string): boolean {
  if (!existsSync(path)) return false
  try {
    const db = new DatabaseSync(path, { readOnly: true })
    const { user_version: format } = db.prepare('pragma user_version').get() as { user_version: number }
    db.close()
    return format === FORMAT
  } catch (error) {
    throw databaseInvalid(path, 'it is no SQLite database', error)
  }
}

async function fill(path: string, source: string, options: ImportOptions): Promise<ImportCounts> {
  using writer = new DatabaseWriter(path)
  const reading = new Reading(writer, options)
  if (/^https?:\/\//.test(source)) {
    await downloadArchive(source, dirname(options.path), options.signal, (file) =>
      reading.archive(file, source, options.ecosystem ?? folderOf(new URL(source).pathname)),
    )
  } else await reading.path(source, options.ecosystem)
  const { added, updated, unchanged } = writer.counts
  if (added + updated + unchanged === 0) throw databaseSource(source, 'there is no advisory in it')
  writer.finish(options.now ?? new Date())
  return writer.counts
}

class Reading {
  readonly #writer: DatabaseWriter
  readonly #options: ImportOptions
  #done = 0

  constructor(writer: DatabaseWriter, options: ImportOptions) {
    this.#writer = writer
    this.#options = options
  }

  async path(path: string, ecosystem: string | undefined): Promise<void> {
    const found = await stat(path).catch((error: unknown) => {
      throw databaseSource(path, 'it does not exist, or cannot be read', error)
    })
    if (found.isDirectory()) {
      const names = await readdir(path)
      for (const name of names.toSorted()) {
        const child = join(path, name)
        const isFolder = extname(name) === '' && (await stat(child).catch(() => undefined))?.isDirectory() === true
        if (isFolder || /\.(json|zip)$/.test(name)) await this.path(child, ecosystem)
      }
    } else if (extname(path) === '.zip') await this.archive(path, path, ecosystem ?? folderOf(path))
    else if (found.size > MAX_FILE_BYTES) throw databaseSource(path, `it is larger than ${MAX_FILE_BYTES} bytes`)
    else await this.#file(path, await readFile(path))
  }

  /** `shown` is what messages name: the file itself may be a temporary one. */
  async archive(path: string, shown: string, ecosystem: string | undefined): Promise<void> {
    const file = openSync(path, 'r')
    try {
      for (const entry of readZip(file, this.#options.limits)) {
        if (entry.name.endsWith('.json')) await this.#file(`${shown}: ${entry.name}`, entry.read())
      }
    } catch (error) {
      throw error instanceof ZipError ? databaseSource(shown, error.message, error) : error
    } finally {
      closeSync(file)
    }
    if (ecosystem !== undefined && ecosystem !== '') this.#writer.retain(ecosystem)
  }

  async #file(shown: string, content: Buffer): Promise<void> {
    this.#done += 1
    if (this.#done % YIELD_EVERY === 0) {
      this.#options.onProgress?.(this.#done)
      await yieldToOthers()
      this.#options.signal?.throwIfAborted()
    }
    const value = parseJson(content)
    if (value === undefined) throw databaseSource(shown, 'it is no JSON')
    const advisory = parseAdvisory(value)
    const found = advisory ? [advisory] : parseNodeAdvisories(value, this.#options.now ?? new Date())
    for (const item of found) this.#writer.put(item)
    if (found.length === 0) this.#writer.counts.skipped += 1
  }
}

function parseJson(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'))
  } catch {
    return undefined
  }
}

/** `npm` of `…/npm/all.zip`: how sets are published. Archives of another name are a choice of advisories, not a set. */
function folderOf(path: string): string | undefined {
  if (basename(path) !== 'all.zip') return undefined
  const folder = decodeURIComponent(basename(dirname(path)))
  return /^[A-Z][A-Za-z .:-]*$|^npm$/.test(folder) ? folder : undefined
}
