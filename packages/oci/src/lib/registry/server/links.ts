import { mkdirSync, readdirSync, readFileSync, statSync, unlinkSync, utimesSync } from 'node:fs'
import type { Dirent } from 'node:fs'
import { mkdir, open, opendir, rm, rmdir } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'

import { writeWhole } from '../../layout/whole-file.ts'
import { isDigest, splitDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'

/** What a repository remembers of a manifest that was pushed to it. */
export interface ManifestLink {
  mediaType: string
  size: number
  /** ISO 8601. */
  pushedAt: string
  /** Came from another registry, piece by piece: what it points at need not be here. */
  isCached?: boolean | undefined
}

type Kind = '_manifests' | '_blobs' | '_pulled'

/**
 * Which manifests and blobs belong to which repository: one small file each, below
 * `registry/repositories/<name>/_manifests|_blobs/<algorithm>/<hex>`. A file is there whole or not at all, so a crash
 * leaves nothing between. Looks are synchronous: one `stat` of a warm directory is cheaper than a turn of the thread pool.
 */
export class Links {
  readonly #root: string
  readonly #ingestDir: string
  readonly #parsed = new Map<string, ManifestLink>()

  constructor(dir: string) {
    this.#root = join(dir, 'registry', 'repositories')
    this.#ingestDir = join(dir, '.ingest')
  }

  manifest(repository: string, digest: Digest): ManifestLink | undefined {
    const path = this.#path(repository, '_manifests', digest)
    const found = statSync(path, { throwIfNoEntry: false })
    if (!found) return undefined
    const key = `${path} ${found.mtimeMs} ${found.ino}`
    const known = this.#parsed.get(key)
    if (known) return known
    const link = parseLink(path)
    if (link) remember(this.#parsed, key, link)
    return link
  }

  async addManifest(repository: string, digest: Digest, link: ManifestLink): Promise<void> {
    const path = this.#path(repository, '_manifests', digest)
    await inFolder(dirname(path), () =>
      writeWhole(this.#ingestDir, async (file) => {
        await file.writeFile(JSON.stringify(link))
        return path
      }),
    )
  }

  /** Notes that a manifest refers to another one. Written before the link of the manifest, and only read beside it. */
  async addReferrer(repository: string, subject: Digest, digest: Digest): Promise<void> {
    const folder = this.#referrersOf(repository, subject)
    await inFolder(folder, async () => (await open(join(folder, digest.replace(':', '-')), 'w')).close())
  }

  referrers(repository: string, subject: Digest): Digest[] {
    const digests = namesIn(this.#referrersOf(repository, subject)).map((name) => name.replace('-', ':'))
    return digests.filter((digest) => isDigest(digest))
  }

  async removeReferrer(repository: string, subject: Digest, digest: Digest): Promise<void> {
    const folder = this.#referrersOf(repository, subject)
    await rm(join(folder, digest.replace(':', '-')), { force: true })
    await rmdir(folder).catch(() => {})
  }

  hasBlob(repository: string, digest: Digest): boolean {
    return statSync(this.#path(repository, '_blobs', digest), { throwIfNoEntry: false }) !== undefined
  }

  async addBlob(repository: string, digest: Digest): Promise<void> {
    const path = this.#path(repository, '_blobs', digest)
    await inFolder(dirname(path), async () => {
      await (await open(path, 'w')).close()
      touch(path)
    })
  }

  /** When the link was made or last renewed, in milliseconds. */
  blobAge(repository: string, digest: Digest): number | undefined {
    return statSync(this.#path(repository, '_blobs', digest), { throwIfNoEntry: false })?.mtimeMs
  }

  remove(repository: string, kind: Kind, digest: Digest): boolean {
    try {
      unlinkSync(this.#path(repository, kind, digest))
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
      throw error
    }
  }

  /** Remembers that somebody pulled the manifest: the time of an empty file. */
  markPulled(repository: string, digest: Digest, now: number): void {
    const path = this.#path(repository, '_pulled', digest)
    const last = statSync(path, { throwIfNoEntry: false })?.mtimeMs
    if (last !== undefined && now - last < PULL_RECORD_MS) return
    if (last !== undefined) return touch(path)
    mkdirSync(dirname(path), { recursive: true })
    void open(path, 'w').then(
      (file) => file.close(),
      () => {},
    )
  }

  lastPulled(repository: string, digest: Digest): number | undefined {
    return statSync(this.#path(repository, '_pulled', digest), { throwIfNoEntry: false })?.mtimeMs
  }

  manifests(repository: string): Digest[] {
    return this.#list(repository, '_manifests')
  }

  blobs(repository: string): Digest[] {
    return this.#list(repository, '_blobs')
  }

  isRepository(repository: string): boolean {
    const found = statSync(join(this.#root, repository, '_manifests'), { throwIfNoEntry: false })
    return (
      found !== undefined || statSync(join(this.#root, repository, '_blobs'), { throwIfNoEntry: false }) !== undefined
    )
  }

  /** Every repository something was ever pushed to, in no order. */
  async *repositories(): AsyncGenerator<string> {
    const waiting = ['']
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      let isOne = false
      for await (const entry of entriesOf(join(this.#root, at))) {
        if (!entry.isDirectory()) continue
        if (!entry.name.startsWith('_')) waiting.push(join(at, entry.name))
        else isOne ||= entry.name === '_manifests' || entry.name === '_blobs'
      }
      if (isOne) yield at.split(sep).join('/')
    }
  }

  /** Takes away the folders of a repository that holds nothing any more. */
  async prune(repository: string): Promise<void> {
    for (const kind of ['_manifests', '_blobs', '_pulled', '_referrers']) {
      for (const algorithm of ['sha256', 'sha512'])
        await rmdir(join(this.#root, repository, kind, algorithm)).catch(() => {})
      await rmdir(join(this.#root, repository, kind)).catch(() => {})
    }
    for (let path = repository; path !== '.' && path !== ''; path = dirname(path)) {
      const isGone = await rmdir(join(this.#root, path)).then(
        () => true,
        () => false,
      )
      if (!isGone) return
    }
  }

  /** Folders to sync so that the links of a manifest survive a loss of power. */
  folders(repository: string): string[] {
    return ['_manifests', '_blobs'].flatMap((kind) =>
      ['sha256', 'sha512'].map((algorithm) => join(this.#root, repository, kind, algorithm)),
    )
  }

  #list(repository: string, kind: Kind): Digest[] {
    const found: Digest[] = []
    for (const algorithm of ['sha256', 'sha512'] as const) {
      for (const hex of namesIn(join(this.#root, repository, kind, algorithm))) {
        const digest = `${algorithm}:${hex}`
        if (isDigest(digest)) found.push(digest)
      }
    }
    return found.toSorted()
  }

  #referrersOf(repository: string, subject: Digest): string {
    return join(this.#root, repository, '_referrers', subject.replace(':', '-'))
  }

  #path(repository: string, kind: Kind, digest: Digest): string {
    const { algorithm, hex } = splitDigest(digest)
    return join(this.#root, repository, kind, algorithm, hex)
  }
}

/** ECR renews the time of the last pull about once a day; an hour is close enough for any policy and cheap. */
const PULL_RECORD_MS = 3_600_000
const MAX_PARSED = 20_000

function remember<V>(map: Map<string, V>, key: string, value: V): void {
  if (map.size >= MAX_PARSED) map.clear()
  map.set(key, value)
}

function parseLink(path: string): ManifestLink | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ManifestLink
  } catch {
    return undefined
  }
}

function touch(path: string): void {
  const now = new Date()
  utimesSync(path, now, now)
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch {
    return []
  }
}

/** Makes the folder and acts in it, again when the collector took the folder away, empty as it was, in between. */
async function inFolder(folder: string, act: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await mkdir(folder, { recursive: true })
      return await act()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === 20) throw error
    }
  }
}

async function* entriesOf(dir: string): AsyncGenerator<Dirent> {
  const opened = await opendir(dir).catch(() => undefined)
  if (opened) yield* opened
}
