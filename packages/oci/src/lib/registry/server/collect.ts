import { linkSync, mkdirSync, renameSync, rmSync, statSync, unlinkSync } from 'node:fs'
import { opendir } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'

import { withLock } from '../../layout/lock.ts'
import { isDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import type { StoredImage } from './images.ts'
import type { RegistryStore } from './store.ts'

/** What to keep although nothing points at it. */
export interface CollectOptions {
  /**
   * How long after its last use (push, mount, a question whether it is there) a blob is kept that nothing points at: a push
   * that is under way relies on it. Default 24 hours.
   */
  graceMs?: number | undefined
  /** Manifests without a tag, which no index and no kept subject holds, go after this time. Default: they stay. */
  untaggedAfterMs?: number | undefined
  /** Only these blobs go, and nothing else is looked at. */
  among?: ReadonlySet<Digest> | undefined
  /** Only counts what would go. */
  isDryRun?: boolean | undefined
  signal?: AbortSignal | undefined
}

/** What a collection removed. */
export interface Collected {
  blobs: number
  bytes: number
  /** Manifests without a tag that were forgotten. */
  manifests: number
  /** Blobs that repositories no longer list. */
  links: number
}

const DEFAULT_GRACE_MS = 24 * 3_600_000

/**
 * Removes what nothing points at, while the registry serves and other processes build into the same layout. Roots are every
 * entry of `index.json` and every manifest a repository holds. No push is held up: whoever relies on a blob renews its time, and a
 * blob is looked at once more after it was moved aside; one whose time was renewed meanwhile goes back.
 */
export async function collectGarbage(store: RegistryStore, options: CollectOptions = {}): Promise<Collected> {
  return withLock(join(store.dir, '.ingest', 'collect.lock'), () => collect(store, options), { timeoutMs: 1000 })
}

async function collect(store: RegistryStore, options: CollectOptions): Promise<Collected> {
  const before = Date.now() - (options.graceMs ?? DEFAULT_GRACE_MS)
  const done: Collected = { blobs: 0, bytes: 0, manifests: 0, links: 0 }
  const repositories = await store.repositories()
  if (options.untaggedAfterMs !== undefined) {
    for (const name of repositories) done.manifests += await dropUntagged(store, name, options.untaggedAfterMs, options)
  }
  let marked = await mark(store, repositories)
  for (const name of options.among === undefined ? repositories : []) {
    options.signal?.throwIfAborted()
    done.links += dropBlobLinks(store, name, before, options.isDryRun === true)
    if (!options.isDryRun) await store.links.prune(name)
  }
  const candidates: Digest[] = []
  for await (const digest of options.among ?? blobsOf(store.dir)) {
    if (!marked.has(digest) && isOlder(store.layout.blobPath(digest), before)) candidates.push(digest)
  }
  // What became a root since then, without any blob of it being written: a tag set anew on an old manifest.
  marked = candidates.length > 0 ? await mark(store, await store.repositories()) : marked
  for (const [at, digest] of candidates.entries()) {
    if (at % 64 === 0) {
      options.signal?.throwIfAborted()
      await turn()
    }
    const bytes = marked.has(digest) ? undefined : removeBlob(store, digest, before, options.isDryRun === true)
    if (bytes === undefined) continue
    done.blobs += 1
    done.bytes += bytes
  }
  return done
}

/** Everything that can be reached. */
async function mark(store: RegistryStore, repositories: readonly string[]): Promise<Set<Digest>> {
  const marked = new Set<Digest>()
  const add = (mediaType: string, digest: Digest): void => {
    if (marked.has(digest)) return
    for (const descriptor of store.closure({ mediaType, digest, size: 0 })) marked.add(descriptor.digest)
  }
  for (const { mediaType, digest } of store.index.read().manifests) add(mediaType, digest)
  for (const [at, name] of repositories.entries()) {
    if (at % 16 === 0) await turn()
    for (const digest of store.links.manifests(name)) {
      const link = store.links.manifest(name, digest)
      marked.add(digest)
      if (link)
        for (const { digest: below } of store.closure({ mediaType: link.mediaType, digest, size: 0 })) marked.add(below)
    }
  }
  return marked
}

async function dropUntagged(
  store: RegistryStore,
  name: string,
  afterMs: number,
  { isDryRun }: CollectOptions,
): Promise<number> {
  const images = store.images(name)
  const kept = new Set<Digest>()
  const keep = ({ mediaType, digest, size }: StoredImage): void => {
    for (const descriptor of store.closure({ mediaType, digest, size })) kept.add(descriptor.digest)
  }
  for (const image of images) if (image.tags.length > 0) keep(image)
  // A signature is kept for as long as what it speaks of, and so is a signature of a signature.
  for (let size = -1; size !== kept.size;) {
    size = kept.size
    for (const image of images) if (image.subject && kept.has(image.subject)) keep(image)
  }
  const before = new Date(Date.now() - afterMs).toISOString()
  let dropped = 0
  for (const { digest, pushedAt } of images) {
    if (kept.has(digest) || pushedAt > before || !store.links.manifest(name, digest)) continue
    if (isDryRun || (await store.forgetUntagged(name, digest))) dropped += 1
  }
  return dropped
}

/** A blob that no manifest of the repository took up in time is no part of it. */
function dropBlobLinks(store: RegistryStore, name: string, before: number, isDryRun: boolean): number {
  const used = new Set<Digest>()
  for (const digest of store.links.manifests(name)) {
    const link = store.links.manifest(name, digest)
    const points = link && store.manifestLinks(link.mediaType, digest)
    for (const blob of [...(points?.blobs ?? []), ...(points?.manifests ?? [])]) used.add(blob.digest)
  }
  let dropped = 0
  for (const digest of store.links.blobs(name)) {
    if (used.has(digest) || (store.links.blobAge(name, digest) ?? Infinity) > before) continue
    if (!isOlder(store.layout.blobPath(digest), before) && store.blobSize(digest) !== undefined) continue
    dropped += 1
    if (!isDryRun) store.links.remove(name, '_blobs', digest)
  }
  return dropped
}

/**
 * Synchronous from the first look to the last, so nothing of this process comes between; another process that renews the time
 * either does so before the blob is moved aside, and it goes back, or finds no blob and writes it again.
 */
function removeBlob(store: RegistryStore, digest: Digest, before: number, isDryRun: boolean): number | undefined {
  const path = store.layout.blobPath(digest)
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found || found.mtimeMs > before) return undefined
  if (isDryRun) return found.size
  const asideDir = join(store.dir, '.ingest', 'collected')
  mkdirSync(asideDir, { recursive: true })
  const aside = join(asideDir, digest.replace(':', '-'))
  renameSync(path, aside)
  const after = statSync(aside)
  if (after.mtimeMs > before) {
    putBack(aside, path)
    return undefined
  }
  rmSync(aside, { force: true })
  return found.size
}

/** Not over a blob that was written meanwhile: that one is newer and whole. */
function putBack(aside: string, path: string): void {
  try {
    linkSync(aside, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  unlinkSync(aside)
}

/** Takes back what a collection that was killed had moved aside. */
export async function recoverCollected(store: RegistryStore): Promise<void> {
  const asideDir = join(store.dir, '.ingest', 'collected')
  const opened = await opendir(asideDir).catch(() => undefined)
  if (!opened) return
  await withLock(join(store.dir, '.ingest', 'collect.lock'), async () => {
    for await (const { name } of opened) {
      const digest = name.replace('-', ':')
      if (isDigest(digest)) putBack(join(asideDir, name), store.layout.blobPath(digest))
    }
  })
}

/** Digests of all blobs in the layout. */
export async function* blobsOf(dir: string): AsyncGenerator<Digest> {
  for (const algorithm of ['sha256', 'sha512']) {
    const opened = await opendir(join(dir, 'blobs', algorithm)).catch(() => undefined)
    if (!opened) continue
    for await (const { name } of opened) {
      const digest = `${algorithm}:${name}`
      if (isDigest(digest)) yield digest
    }
  }
}

function isOlder(path: string, before: number): boolean {
  const found = statSync(path, { throwIfNoEntry: false })
  return found !== undefined && found.mtimeMs <= before
}
