import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { splitDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import type { Descriptor } from '../../spec/image.ts'
import { blobsOf } from './collect.ts'
import type { RegistryStore } from './store.ts'

/** One thing that is wrong with a store. */
export interface StoreProblem {
  kind:
    | 'corrupt'
    | 'missing'
    /** A tag, an entry of `index.json` or a repository names a manifest that is not there or is none. */
    | 'dangling'
    /** A reference to a size that the content does not have. */
    | 'size'
  digest: Digest
  /** References and repositories that are concerned. */
  names: readonly string[]
  /** What was done about it, when it was asked for. */
  repaired?: string | undefined
}

/** What a check found. */
export interface StoreReport {
  dir: string
  blobs: number
  bytes: number
  references: number
  repositories: number
  problems: readonly StoreProblem[]
  /** Blobs nothing points at: no problem, the collector removes them in time. */
  orphans: readonly Digest[]
  orphanBytes: number
  /** Where repair put what it took away. */
  quarantine?: string | undefined
}

/** How to check. */
export interface CheckOptions {
  /** Read every blob and compare its digest; default true. Without, presence and sizes are looked at. */
  readContent?: boolean | undefined
  /** Move damaged blobs to `quarantine/` and forget names that mean nothing; default: only tell. */
  repair?: boolean | undefined
  /** Bytes read per second at most; default: no limit. A scrub beside a running registry wants one. */
  maxBytesPerSecond?: number | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((done: { blobs: number; bytes: number }) => void) | undefined
}

interface Root {
  name: string
  mediaType: string
  digest: Digest
  /** What it points at may be elsewhere: it came from another registry piece by piece. */
  isSparse: boolean
  forget: () => Promise<unknown>
}

/** Checks a layout or registry store: every name, every reference and, by default, every byte. */
export async function checkStore(store: RegistryStore, options: CheckOptions = {}): Promise<StoreReport> {
  const quarantine = options.repair ? new Quarantine(store) : undefined
  const sizes = new Map<Digest, number>()
  const problems: StoreProblem[] = []
  const names = new Map<Digest, Set<string>>()
  const roots = await rootsOf(store)
  const corrupt = await readBlobs(store, options, sizes)
  for (const digest of corrupt) sizes.delete(digest)
  const wanted = new Map<string, { digest: Digest; size: number; kind: 'missing' | 'size' }>()
  const reached = new Set<Digest>()
  for (const root of roots) {
    const isThere = sizes.has(root.digest) && store.manifestLinks(root.mediaType, root.digest) !== undefined
    note(names, root.digest, root.name)
    reached.add(root.digest)
    if (!isThere) {
      if (!corrupt.has(root.digest) || options.repair) problems.push(await dangling(root, quarantine))
      continue
    }
    for (const descriptor of store.closure({
      mediaType: root.mediaType,
      digest: root.digest,
      size: sizes.get(root.digest) ?? 0,
    })) {
      reached.add(descriptor.digest)
      if (isElsewhere(descriptor)) continue
      note(names, descriptor.digest, root.name)
      const size = sizes.get(descriptor.digest)
      const kind = size === undefined ? 'missing' : 'size'
      if (
        size === descriptor.size ||
        (kind === 'missing' && (root.isSparse || (corrupt.has(descriptor.digest) && !options.repair)))
      )
        continue
      wanted.set(`${kind} ${descriptor.digest}`, { digest: descriptor.digest, size: descriptor.size, kind })
    }
  }
  for (const digest of corrupt) {
    const repaired = await quarantine?.takeBlob(digest)
    problems.push({ kind: 'corrupt', digest, names: sorted(names.get(digest)), ...(repaired ? { repaired } : {}) })
  }
  for (const { digest, kind } of wanted.values()) problems.push({ kind, digest, names: sorted(names.get(digest)) })
  const orphans = [...sizes.keys()].filter((digest) => !reached.has(digest)).toSorted()
  await quarantine?.finish(problems)
  return {
    dir: store.dir,
    blobs: sizes.size + corrupt.size,
    bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0),
    references: store.index.read().manifests.length,
    repositories: (await store.repositories()).length,
    problems: problems.toSorted((a, b) => (`${a.kind}${a.digest}` < `${b.kind}${b.digest}` ? -1 : 1)),
    orphans,
    orphanBytes: orphans.reduce((sum, digest) => sum + (sizes.get(digest) ?? 0), 0),
    ...(quarantine?.isUsed ? { quarantine: quarantine.dir } : {}),
  }
}

async function rootsOf(store: RegistryStore): Promise<Root[]> {
  const roots: Root[] = []
  for (const entry of store.index.read().manifests) {
    const { mediaType, digest } = entry
    const name = entry.annotations?.['org.opencontainers.image.ref.name']
    const link = name?.startsWith('localhost/') ? linkOf(store, name, digest) : undefined
    const forget = (): Promise<void> =>
      store.index.change((manifests) => manifests.filter((other) => !isSame(other, entry)))
    roots.push({ name: name ?? `index.json ${digest}`, mediaType, digest, isSparse: link?.isCached === true, forget })
  }
  for (const repository of await store.repositories()) {
    for (const digest of store.links.manifests(repository)) {
      const link = store.links.manifest(repository, digest)
      const forget = async (): Promise<unknown> => store.links.remove(repository, '_manifests', digest)
      const mediaType = link?.mediaType ?? 'unknown'
      roots.push({
        name: `localhost/${repository}@${digest}`,
        mediaType,
        digest,
        isSparse: link?.isCached === true,
        forget,
      })
    }
  }
  return roots
}

function linkOf(store: RegistryStore, name: string, digest: Digest): { isCached?: boolean | undefined } | undefined {
  const path = name.slice('localhost/'.length)
  const colon = path.lastIndexOf(':')
  return store.links.manifest(colon === -1 ? path : path.slice(0, colon), digest)
}

/** Reads all blobs; fills `sizes` and answers those whose content is not what their name says. */
async function readBlobs(
  store: RegistryStore,
  options: CheckOptions,
  sizes: Map<Digest, number>,
): Promise<Set<Digest>> {
  const corrupt = new Set<Digest>()
  const pace = createPace(options)
  let bytes = 0
  for await (const digest of blobsOf(store.dir)) {
    options.signal?.throwIfAborted()
    const size = store.blobSize(digest)
    // Removed by the collector meanwhile.
    if (size === undefined) continue
    sizes.set(digest, size)
    bytes += size
    if (options.readContent !== false && (await isCorrupt(store, digest, pace, options.signal))) corrupt.add(digest)
    options.onProgress?.({ blobs: sizes.size, bytes })
  }
  return corrupt
}

async function isCorrupt(
  store: RegistryStore,
  digest: Digest,
  pace: (bytes: number) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { algorithm, hex } = splitDigest(digest)
  const hash = createHash(algorithm)
  try {
    for await (const chunk of createReadStream(store.layout.blobPath(digest), { highWaterMark: 1 << 18 })) {
      signal?.throwIfAborted()
      hash.update(chunk as Buffer)
      await pace((chunk as Buffer).byteLength)
    }
  } catch (error) {
    signal?.throwIfAborted()
    // EIO and its kind: what cannot be read is as lost as what reads wrong.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
  return hash.digest('hex') !== hex
}

function createPace({ maxBytesPerSecond, signal }: CheckOptions): (bytes: number) => Promise<void> {
  if (maxBytesPerSecond === undefined) return async () => {}
  const began = Date.now()
  let total = 0
  return async (bytes) => {
    total += bytes
    const aheadMs = (total / maxBytesPerSecond) * 1000 - (Date.now() - began)
    if (aheadMs > 20) await sleep(aheadMs, undefined, { signal })
  }
}

async function dangling(root: Root, quarantine: Quarantine | undefined): Promise<StoreProblem> {
  const problem: StoreProblem = { kind: 'dangling', digest: root.digest, names: [root.name] }
  if (!quarantine) return problem
  await root.forget()
  quarantine.isUsed = true
  return { ...problem, repaired: `forgot ${root.name}` }
}

/** Holds what repair took away, with a list of it, so that nothing is lost by a repair. */
class Quarantine {
  readonly dir: string
  readonly #store: RegistryStore
  isUsed = false

  constructor(store: RegistryStore) {
    this.#store = store
    this.dir = join(store.dir, 'quarantine', new Date().toISOString().replaceAll(':', '-'))
  }

  async takeBlob(digest: Digest): Promise<string> {
    const target = join(this.dir, digest.replace(':', '-'))
    await mkdir(this.dir, { recursive: true })
    await rename(this.#store.layout.blobPath(digest), target)
    this.isUsed = true
    return `moved to ${target}`
  }

  async finish(problems: readonly StoreProblem[]): Promise<void> {
    if (!this.isUsed) return
    await mkdir(this.dir, { recursive: true })
    await writeFile(join(this.dir, 'report.json'), `${JSON.stringify({ problems }, undefined, 2)}\n`)
  }
}

function isElsewhere({ mediaType }: Descriptor): boolean {
  return mediaType.includes('.nondistributable.') || mediaType.includes('.foreign.')
}

function isSame(a: Descriptor, b: Descriptor): boolean {
  return a.digest === b.digest && JSON.stringify(a.annotations) === JSON.stringify(b.annotations)
}

function note(names: Map<Digest, Set<string>>, digest: Digest, name: string): void {
  names.set(digest, (names.get(digest) ?? new Set()).add(name))
}

function sorted(names: ReadonlySet<string> | undefined): string[] {
  return [...(names ?? [])].toSorted()
}

/** Whether a repaired store still has a problem. */
export function isIntact(report: StoreReport): boolean {
  return report.problems.every(({ repaired }) => repaired !== undefined)
}
