import { createHash, randomUUID } from 'node:crypto'
import type { Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { diskFull } from '../../errors.ts'
import { writeWhole } from '../../layout/whole-file.ts'
import { splitDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import { RegistryRefusal } from './protocol.ts'
import type { RegistryStore } from './store.ts'

/** How much may be under way. */
export interface UploadLimits {
  /** Uploads begun and not ended; default 1000. */
  maxUploads: number
  /** Bytes of one blob; default 20 GiB. */
  maxBlobBytes: number
  /** How long an upload that nothing is added to is kept; default 24 hours. */
  uploadIdleMs: number
}

type Algorithm = 'sha256' | 'sha512'

interface Session {
  id: string
  repository: string
  size: number
  /** Runs along with what arrives; gone when another process received the beginning. */
  hash: { algorithm: Algorithm; running: Hash } | undefined
  activeAt: number
  isBusy: boolean
}

interface Saved {
  repository: string
  algorithm: Algorithm
}

/** First and last byte of a chunk, as `Content-Range: <first>-<last>`. */
export interface ChunkRange {
  first: number
  last: number
}

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * Blobs on their way in: `registry/uploads/<id>` grows as chunks arrive, `<id>.json` says for whom. They survive a restart;
 * the digest is then taken from the file at the end. A finished one is synced and renamed to its place.
 */
export class Uploads {
  readonly #store: RegistryStore
  readonly #dir: string
  readonly #limits: UploadLimits
  readonly #sessions = new Map<string, Session>()

  constructor(store: RegistryStore, limits: UploadLimits) {
    this.#store = store
    this.#dir = join(store.dir, 'registry', 'uploads')
    this.#limits = limits
  }

  /** Takes up what an earlier process left, and removes what is older than allowed. */
  async load(): Promise<void> {
    await mkdir(this.#dir, { recursive: true })
    for (const name of await readdir(this.#dir)) {
      const id = name.replace(/\.json$/, '')
      if (!ID.test(id)) await rm(join(this.#dir, name), { force: true, recursive: true })
      else if (!this.#sessions.has(id)) await this.#resume(id)
    }
    await this.expire()
  }

  async #resume(id: string): Promise<void> {
    try {
      const saved = JSON.parse(await readFile(join(this.#dir, `${id}.json`), 'utf8')) as Saved
      const found = await stat(join(this.#dir, id))
      const { repository } = saved
      const session = { id, repository, size: found.size, hash: undefined, activeAt: found.mtimeMs, isBusy: false }
      this.#sessions.set(id, session)
    } catch {
      await this.#remove(id)
    }
  }

  get size(): number {
    return this.#sessions.size
  }

  async start(repository: string, algorithm: Algorithm = 'sha256'): Promise<string> {
    if (this.#sessions.size >= this.#limits.maxUploads) {
      throw new RegistryRefusal(429, 'TOOMANYREQUESTS', 'too many uploads are under way', {
        headers: { 'retry-after': '10' },
      })
    }
    const id = randomUUID()
    const hash = { algorithm, running: createHash(algorithm) }
    // Busy until its files are there: one that expired meanwhile would leave behind what is written afterwards.
    const session: Session = { id, repository, size: 0, hash, activeAt: Date.now(), isBusy: true }
    this.#sessions.set(id, session)
    try {
      await (await open(join(this.#dir, id), 'wx')).close()
      await writeWhole(join(this.#store.dir, '.ingest'), async (file) => {
        await file.writeFile(JSON.stringify({ repository, algorithm } satisfies Saved))
        return join(this.#dir, `${id}.json`)
      })
    } catch (error) {
      await this.#remove(id)
      throw error
    }
    session.isBusy = false
    session.activeAt = Date.now()
    return id
  }

  /** Bytes that are here. Throws BLOB_UPLOAD_UNKNOWN. */
  offset(repository: string, id: string): number {
    return this.#find(repository, id).size
  }

  /**
   * Adds what the client sends. A chunk that does not begin where the upload stands is answered 416, and so the client
   * learns where it stands. What arrived of a chunk that breaks off is kept.
   */
  async append(
    repository: string,
    id: string,
    content: AsyncIterable<Uint8Array>,
    range: ChunkRange | undefined,
  ): Promise<number> {
    const session = this.#find(repository, id)
    await this.#exclusively(session, () => this.#receive(session, content, range))
    return session.size
  }

  /** Adds the last of it, checks the digest and makes the blob part of the repository. */
  async finish(
    repository: string,
    id: string,
    digest: Digest,
    content?: AsyncIterable<Uint8Array>,
    range?: ChunkRange,
  ): Promise<void> {
    const session = this.#find(repository, id)
    await this.#exclusively(session, async () => {
      if (content) await this.#receive(session, content, range)
      const actual = await this.#digest(session, splitDigest(digest).algorithm)
      if (actual !== digest) {
        await this.#remove(id)
        throw new RegistryRefusal(400, 'DIGEST_INVALID', 'what was sent has another digest', {
          detail: { digest, actual },
        })
      }
      await this.#place(session, digest)
    })
  }

  async cancel(repository: string, id: string): Promise<void> {
    const session = this.#find(repository, id)
    await this.#exclusively(session, () => this.#remove(session.id))
  }

  /** Removes uploads nothing was added to for too long. */
  async expire(now: number = Date.now()): Promise<number> {
    const old = [...this.#sessions.values()].filter(
      ({ isBusy, activeAt }) => !isBusy && now - activeAt > this.#limits.uploadIdleMs,
    )
    for (const { id } of old) await this.#remove(id)
    return old.length
  }

  async #exclusively(session: Session, act: () => Promise<void>): Promise<void> {
    if (session.isBusy) {
      throw new RegistryRefusal(409, 'BLOB_UPLOAD_INVALID', 'another request is adding to this upload')
    }
    session.isBusy = true
    try {
      await act()
    } catch (error) {
      throw isDiskFull(error) ? diskFull(this.#dir, error) : error
    } finally {
      session.isBusy = false
      session.activeAt = Date.now()
    }
  }

  async #receive(session: Session, content: AsyncIterable<Uint8Array>, range: ChunkRange | undefined): Promise<void> {
    if (range && range.first !== session.size) throw outOfOrder(session)
    const { maxBlobBytes } = this.#limits
    const end = range ? range.last + 1 : maxBlobBytes
    if (end > maxBlobBytes) throw tooLarge(maxBlobBytes)
    const file = await open(join(this.#dir, session.id), 'r+')
    try {
      for await (const chunk of content) {
        if (session.size + chunk.byteLength > end) throw range ? outOfOrder(session) : tooLarge(maxBlobBytes)
        await writeAt(file, chunk, session.size)
        session.hash?.running.update(chunk)
        session.size += chunk.byteLength
        session.activeAt = Date.now()
      }
    } finally {
      await file.close()
    }
    if (range && session.size !== end)
      throw new RegistryRefusal(400, 'SIZE_INVALID', 'the chunk is shorter than its range')
  }

  async #digest(session: Session, algorithm: Algorithm): Promise<Digest> {
    if (session.hash?.algorithm === algorithm) return `${algorithm}:${session.hash.running.copy().digest('hex')}`
    const hash = createHash(algorithm)
    for await (const chunk of createReadStream(join(this.#dir, session.id), { highWaterMark: 1 << 18 })) {
      hash.update(chunk as Buffer)
    }
    return `${algorithm}:${hash.digest('hex')}`
  }

  async #place(session: Session, digest: Digest): Promise<void> {
    const from = join(this.#dir, session.id)
    const file = await open(from, 'r+')
    try {
      await file.datasync()
    } finally {
      await file.close()
    }
    // Also over a blob that is there: what was just checked heals one that was damaged on the disk.
    const target = this.#store.layout.blobPath(digest)
    await mkdir(dirname(target), { recursive: true })
    await rename(from, target)
    await this.#store.linkBlob(session.repository, digest)
    await this.#remove(session.id)
  }

  #find(repository: string, id: string): Session {
    const session = this.#sessions.get(id)
    if (session?.repository === repository) return session
    throw new RegistryRefusal(404, 'BLOB_UPLOAD_UNKNOWN', 'there is no such upload')
  }

  async #remove(id: string): Promise<void> {
    this.#sessions.delete(id)
    await rm(join(this.#dir, id), { force: true })
    await rm(join(this.#dir, `${id}.json`), { force: true })
  }
}

/** Reads `Content-Range` as distribution-spec writes it (`0-99`), or as HTTP does (`bytes 0-99/200`). */
export function parseChunkRange(header: string | undefined, length: number | undefined): ChunkRange | undefined {
  if (header === undefined) return undefined
  const match = /^(?:bytes[ =])?\s*(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header.trim())
  const first = Number(match?.[1])
  const last = Number(match?.[2])
  if (!match || last < first)
    throw new RegistryRefusal(400, 'BLOB_UPLOAD_INVALID', 'Content-Range is not <first>-<last>')
  if (length !== undefined && length !== last - first + 1) {
    throw new RegistryRefusal(400, 'SIZE_INVALID', 'Content-Length and Content-Range differ')
  }
  return { first, last }
}

/** `Range` of an upload: inclusive, and `0-0` also when there is nothing yet, as everybody writes it. */
export function rangeOf(size: number): string {
  return `0-${Math.max(size - 1, 0)}`
}

function outOfOrder({ size }: Session): RegistryRefusal {
  return new RegistryRefusal(416, 'BLOB_UPLOAD_INVALID', `the upload stands at byte ${size}`, {
    headers: { range: rangeOf(size) },
  })
}

function tooLarge(maxBytes: number): RegistryRefusal {
  return new RegistryRefusal(413, 'SIZE_INVALID', `a blob may have ${maxBytes} bytes at most`)
}

async function writeAt(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  let written = 0
  while (written < chunk.byteLength) {
    written += (await file.write(chunk, written, chunk.byteLength - written, position + written)).bytesWritten
  }
}

function isDiskFull(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code
  return code === 'ENOSPC' || code === 'EDQUOT'
}
