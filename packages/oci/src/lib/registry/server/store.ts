import { readFileSync, rmSync, statSync, utimesSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'

import { IndexFile } from '../../layout/index-file.ts'
import { openLayout } from '../../layout/layout.ts'
import type { Layout } from '../../layout/layout.ts'
import { referrerOf } from '../../layout/referrer.ts'
import { createDigester, splitDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import type { Descriptor } from '../../spec/image.ts'
import { isIndexType, isManifestType } from '../../spec/media-types.ts'
import { parseReference } from '../../spec/reference.ts'
import { Links } from './links.ts'
import { parseManifest } from './manifest.ts'
import type { ManifestLinks } from './manifest.ts'
import { RegistryRefusal } from './protocol.ts'

/** A manifest of a repository. */
export interface StoredManifest {
  mediaType: string
  digest: Digest
  size: number
}

/** What is known of an image or artifact of a repository; times are ISO 8601. */
export interface StoredImage extends StoredManifest {
  tags: readonly string[]
  /** When it was pushed; for what was built into the store on this machine, when it was written. */
  pushedAt: string
  lastPulledAt?: string | undefined
  /** Bytes of config and layers as stored; for an index, of its children. */
  contentBytes: number
  artifactType?: string | undefined
  subject?: Digest | undefined
  /** An index of the same repository points at it. */
  isChild: boolean
}

/** What to write for a manifest. */
export interface PutManifest {
  mediaType: string
  bytes: Buffer
  digest: Digest
  tags: readonly string[]
  /** Default: content that is not there is refused with MANIFEST_BLOB_UNKNOWN. */
  missingContent?: 'reject' | 'accept' | undefined
  isCached?: boolean | undefined
  /** Looked at under the lock: a tag that stands may not be moved. */
  isImmutable?: ((tag: string) => boolean) | undefined
}

interface Snapshot {
  index: unknown
  /** Repository -> tag -> what it means. */
  tags: ReadonlyMap<string, ReadonlyMap<string, Descriptor>>
  sorted: Map<string, readonly string[]>
  /** Manifests of `index.json` without a reference that refer to another one, by that one. */
  attached: ReadonlyMap<Digest, readonly Descriptor[]>
}

const REFERENCE_NAME = 'org.opencontainers.image.ref.name'
const MAX_CACHED_MANIFEST_BYTES = 32 << 20

/**
 * The content of a registry, in the same directory as an OCI layout. Tags are the entries `localhost/<repository>:<tag>` of
 * `index.json`, so what is built on this machine is served without a step between, and what is pushed can be run without
 * one. What else a repository holds (manifests without a tag, blobs) are the files of {@link Links}.
 */
export class RegistryStore {
  readonly dir: string
  readonly layout: Layout
  readonly links: Links
  readonly index: IndexFile
  #snapshot: Snapshot | undefined
  readonly #manifests = new Map<string, { bytes: Buffer; links?: ManifestLinks }>()
  #manifestBytes = 0
  readonly #referrers = new Map<Digest, { subject: Digest; descriptor: Descriptor } | null>()
  readonly #places = new Map<string, { repository: string; tag: string } | null>()

  constructor(layout: Layout) {
    this.dir = layout.dir
    this.layout = layout
    this.links = new Links(layout.dir)
    this.index = new IndexFile(layout.dir)
  }

  // Repositories and tags

  /** Every repository, sorted. */
  async repositories(): Promise<string[]> {
    const names = new Set(this.#read().tags.keys())
    for await (const name of this.links.repositories()) names.add(name)
    return [...names].toSorted()
  }

  hasRepository(repository: string): boolean {
    return this.#read().tags.has(repository) || this.links.isRepository(repository)
  }

  /** Sorted by code units, which distribution-spec calls ASCIIbetical. */
  tags(repository: string): readonly string[] {
    const snapshot = this.#read()
    let sorted = snapshot.sorted.get(repository)
    if (!sorted) {
      sorted = [...(snapshot.tags.get(repository)?.keys() ?? [])].toSorted()
      snapshot.sorted.set(repository, sorted)
    }
    return sorted
  }

  tag(repository: string, tag: string): Descriptor | undefined {
    return this.#read().tags.get(repository)?.get(tag)
  }

  async untag(repository: string, tag: string): Promise<boolean> {
    const { known } = await this.#removeTags(repository, (entry) => entry === tag)
    return known
  }

  // Manifests

  /** The manifest a tag or digest means in the repository, when its bytes are there. */
  findManifest(repository: string, target: { tag: string } | { digest: Digest }): StoredManifest | undefined {
    const found = 'tag' in target ? this.tag(repository, target.tag) : this.#member(repository, target.digest)
    if (!found) return undefined
    const size = this.blobSize(found.digest)
    return size === undefined ? undefined : { mediaType: found.mediaType, digest: found.digest, size }
  }

  /** The bytes, as they were pushed; checked against the digest when they are read from the disk. */
  manifestBytes(digest: Digest): Buffer | undefined {
    return this.#load(digest)?.bytes
  }

  /** What a manifest points at; `undefined` when it is not there or is none. */
  manifestLinks(mediaType: string, digest: Digest): ManifestLinks | undefined {
    const loaded = this.#load(digest)
    if (!loaded) return undefined
    if (!loaded.links) {
      try {
        loaded.links = parseManifest(mediaType, loaded.bytes)
      } catch (error) {
        if (error instanceof RegistryRefusal) return undefined
        throw error
      }
    }
    return loaded.links
  }

  /**
   * Stores a manifest, makes it part of the repository and moves the tags to it. When it returns, the manifest, what it
   * points at and its tags are on the disk.
   */
  async putManifest(repository: string, put: PutManifest): Promise<{ subject: Digest | undefined }> {
    const { mediaType, bytes, digest, tags } = put
    const parsed = parseManifest(mediaType, bytes)
    this.#checkTags(repository, put)
    const missing = this.#relyOn(repository, parsed)
    if (missing.length > 0 && put.missingContent !== 'accept') throw contentMissing(missing)
    // A manifest that was damaged on the disk has its size still: writeBlob would take it for the same.
    if (this.blobSize(digest) !== undefined && !this.manifestBytes(digest))
      rmSync(this.layout.blobPath(digest), { force: true })
    await this.layout.writeBlob(bytes, digest)
    if (parsed.subject) await this.links.addReferrer(repository, parsed.subject, digest)
    const known = this.links.manifest(repository, digest)
    const pushedAt = new Date().toISOString()
    const cached = put.isCached ? { isCached: true } : {}
    if (!known || known.mediaType !== mediaType || (known.isCached && !put.isCached)) {
      await this.links.addManifest(repository, digest, { mediaType, size: bytes.byteLength, pushedAt, ...cached })
    }
    if (tags.length > 0) await this.#moveTags(repository, put)
    await this.#sync(repository, digest, parsed)
    return { subject: parsed.subject }
  }

  /** Forgets a manifest and its tags. One that only an index built on this machine holds is refused. */
  async deleteManifest(repository: string, digest: Digest): Promise<boolean> {
    const member = this.#member(repository, digest)
    if (!member) return false
    const { known } = await this.#removeTags(repository, (_tag, entry) => entry.digest === digest)
    const wasLinked = this.links.remove(repository, '_manifests', digest)
    this.links.remove(repository, '_pulled', digest)
    const subject = this.manifestLinks(member.mediaType, digest)?.subject
    if (subject) await this.links.removeReferrer(repository, subject, digest)
    const wasAttached = !known && !wasLinked && (await this.layout.detach(digest))
    if (known || wasLinked || wasAttached) return true
    throw new RegistryRefusal(405, 'DENIED', 'an index of the repository points at the manifest: delete that first', {
      detail: { exception: 'ImageReferencedByManifestList' },
    })
  }

  /**
   * Forgets a manifest that has no tag at this moment. Tags are never touched: one that is set meanwhile keeps the manifest,
   * as a tag of what was built on this machine does.
   */
  async forgetUntagged(repository: string, digest: Digest): Promise<boolean> {
    for (const entry of this.#read().tags.get(repository)?.values() ?? []) if (entry.digest === digest) return false
    const link = this.links.manifest(repository, digest)
    if (!link || !this.links.remove(repository, '_manifests', digest)) return false
    this.links.remove(repository, '_pulled', digest)
    const subject = this.manifestLinks(link.mediaType, digest)?.subject
    if (subject) await this.links.removeReferrer(repository, subject, digest)
    return true
  }

  /** Manifests of the repository whose subject is `digest`, as the referrers API describes them, sorted by digest. */
  referrers(repository: string, digest: Digest): Descriptor[] {
    const found = new Map<Digest, Descriptor>()
    for (const candidate of this.links.referrers(repository, digest)) {
      const link = this.links.manifest(repository, candidate)
      const referrer = link && this.#referrer(link.mediaType, candidate)
      if (referrer?.subject === digest) found.set(candidate, referrer.descriptor)
    }
    for (const descriptor of this.#read().tags.get(repository)?.values() ?? []) {
      const referrer = this.#referrer(descriptor.mediaType, descriptor.digest)
      if (referrer?.subject === digest) found.set(descriptor.digest, referrer.descriptor)
    }
    if (this.#member(repository, digest)) {
      for (const descriptor of this.#read().attached.get(digest) ?? []) found.set(descriptor.digest, descriptor)
    }
    return [...found.values()].toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
  }

  /** Every image and artifact of the repository, newest first: what policies decide about. */
  images(repository: string): StoredImage[] {
    const tagsOf = new Map<Digest, string[]>()
    const members = new Map<Digest, Descriptor>()
    for (const [tag, entry] of this.#read().tags.get(repository) ?? []) {
      tagsOf.set(entry.digest, [...(tagsOf.get(entry.digest) ?? []), tag])
      for (const descriptor of this.closure(entry)) if (isKept(descriptor)) members.set(descriptor.digest, descriptor)
    }
    for (const digest of this.links.manifests(repository)) {
      const link = this.links.manifest(repository, digest)
      if (link) members.set(digest, { mediaType: link.mediaType, digest, size: link.size })
    }
    for (const digest of members.keys()) {
      for (const descriptor of this.#read().attached.get(digest) ?? []) members.set(descriptor.digest, descriptor)
    }
    const children = new Set<Digest>()
    for (const { mediaType, digest } of members.values()) {
      for (const child of this.manifestLinks(mediaType, digest)?.manifests ?? []) children.add(child.digest)
    }
    const images = [...members.values()].flatMap((descriptor) =>
      this.#describe(repository, descriptor, tagsOf, children),
    )
    return images.toSorted((a, b) =>
      a.pushedAt === b.pushedAt ? (a.digest < b.digest ? -1 : 1) : a.pushedAt < b.pushedAt ? 1 : -1,
    )
  }

  // Blobs

  /** Size of a blob in the store, whichever repository it belongs to. */
  blobSize(digest: Digest): number | undefined {
    const found = statSync(this.layout.blobPath(digest), { throwIfNoEntry: false })
    return found?.isFile() ? found.size : undefined
  }

  /** Whether the repository holds the blob, by a push or as part of an image built on this machine. */
  hasBlob(repository: string, digest: Digest): boolean {
    if (this.blobSize(digest) === undefined) return false
    return (
      this.links.hasBlob(repository, digest) ||
      this.#isWithin(repository, digest) ||
      this.#member(repository, digest) !== undefined
    )
  }

  /** Renews the time of a blob: a push relies on it. `false` when it is not there (any more). */
  relyOnBlob(digest: Digest): boolean {
    const now = new Date()
    try {
      utimesSync(this.layout.blobPath(digest), now, now)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
      throw error
    }
  }

  /** Makes a blob of the store part of a repository; `false` when the store does not have it. */
  async linkBlob(repository: string, digest: Digest): Promise<boolean> {
    if (!this.relyOnBlob(digest)) return false
    await this.links.addBlob(repository, digest)
    return true
  }

  /** Forgets that the blob belongs to the repository; `undefined` when a manifest of the repository needs it. */
  deleteBlob(repository: string, digest: Digest): boolean | undefined {
    if (!this.hasBlob(repository, digest)) return false
    if (this.isBlobUsed(repository, digest)) return undefined
    return this.links.remove(repository, '_blobs', digest)
  }

  /** Whether a manifest of the repository points at the blob. */
  isBlobUsed(repository: string, digest: Digest): boolean {
    if (this.#isWithin(repository, digest)) return true
    return this.links.manifests(repository).some((manifest) => {
      const link = this.links.manifest(repository, manifest)
      const points = link && this.manifestLinks(link.mediaType, manifest)
      return points?.blobs.some((blob) => blob.digest === digest) ?? false
    })
  }

  /** The size a manifest of the repository gives for a blob; `undefined` when none points at it. */
  describeBlob(repository: string, digest: Digest): Descriptor | undefined {
    for (const manifest of this.links.manifests(repository)) {
      const link = this.links.manifest(repository, manifest)
      const found = link && this.manifestLinks(link.mediaType, manifest)?.blobs.find((blob) => blob.digest === digest)
      if (found) return found
    }
    return undefined
  }

  // Inside

  /** A manifest that belongs to the repository: pushed, tagged, child of a tagged index, or attached to one of these. */
  #member(repository: string, digest: Digest, depth = 0): { mediaType: string; digest: Digest } | undefined {
    const link = this.links.manifest(repository, digest)
    if (link) return { mediaType: link.mediaType, digest }
    for (const root of this.#unlinkedRoots(repository)) {
      const found = this.closure(root).find((descriptor) => descriptor.digest === digest)
      if (found && isKept(found)) return found
    }
    const referrer = depth < 4 ? this.#attachedOf(digest) : undefined
    return referrer && this.#member(repository, referrer.subject, depth + 1) ? referrer.descriptor : undefined
  }

  #attachedOf(digest: Digest): { subject: Digest; descriptor: Descriptor } | undefined {
    for (const [subject, descriptors] of this.#read().attached) {
      const descriptor = descriptors.find((entry) => entry.digest === digest)
      if (descriptor) return { subject, descriptor }
    }
    return undefined
  }

  /** Whether an image that was put into the store past the registry brings the blob into the repository. */
  #isWithin(repository: string, digest: Digest): boolean {
    for (const root of this.#unlinkedRoots(repository)) {
      const members = this.closure(root)
      if (members.some((descriptor) => descriptor.digest === digest)) return true
      for (const member of members) {
        for (const attached of this.#read().attached.get(member.digest) ?? []) {
          if (this.closure(attached).some((descriptor) => descriptor.digest === digest)) return true
        }
      }
    }
    return false
  }

  *#unlinkedRoots(repository: string): Generator<Descriptor> {
    for (const entry of this.#read().tags.get(repository)?.values() ?? []) {
      if (!this.links.manifest(repository, entry.digest)) yield entry
    }
  }

  /** The manifest with everything below it, as far as it is there. */
  closure(root: Descriptor): Descriptor[] {
    const found = new Map<Digest, Descriptor>()
    const waiting = [root]
    for (let next = waiting.pop(); next && found.size < MAX_CLOSURE; next = waiting.pop()) {
      if (found.has(next.digest)) continue
      found.set(next.digest, next)
      if (!isKept(next)) continue
      const links = this.manifestLinks(next.mediaType, next.digest)
      waiting.push(...(links?.manifests ?? []), ...(links?.blobs ?? []))
    }
    return [...found.values()]
  }

  #describe(
    repository: string,
    { mediaType, digest }: Descriptor,
    tagsOf: ReadonlyMap<Digest, string[]>,
    children: ReadonlySet<Digest>,
  ): StoredImage[] {
    const found = statSync(this.layout.blobPath(digest), { throwIfNoEntry: false })
    if (!found) return []
    const link = this.links.manifest(repository, digest)
    const pulled = this.links.lastPulled(repository, digest)
    const referrer = this.#referrer(mediaType, digest)
    const blobs = this.closure({ mediaType, digest, size: found.size }).filter((entry) => !isKept(entry))
    return [
      {
        mediaType,
        digest,
        size: found.size,
        tags: (tagsOf.get(digest) ?? []).toSorted(),
        pushedAt: link?.pushedAt ?? found.mtime.toISOString(),
        ...(pulled === undefined ? {} : { lastPulledAt: new Date(pulled).toISOString() }),
        contentBytes: blobs.reduce((sum, blob) => sum + blob.size, 0),
        ...(referrer ? { subject: referrer.subject, artifactType: referrer.descriptor.artifactType } : {}),
        isChild: children.has(digest),
      },
    ]
  }

  #referrer(mediaType: string, digest: Digest): { subject: Digest; descriptor: Descriptor } | undefined {
    const known = this.#referrers.get(digest)
    if (known !== undefined) return known ?? undefined
    const bytes = this.manifestBytes(digest)
    if (!bytes) return undefined
    const isOne = this.manifestLinks(mediaType, digest)?.subject !== undefined
    const referrer = isOne ? referrerOf(mediaType, digest, bytes) : undefined
    if (this.#referrers.size >= MAX_CLOSURE) this.#referrers.clear()
    this.#referrers.set(digest, referrer ?? null)
    return referrer
  }

  /** Renews the time of everything a manifest points at; what is not part of the repository is answered. */
  #relyOn(repository: string, links: ManifestLinks): Descriptor[] {
    const missing = links.blobs.filter(
      (blob) =>
        !this.hasBlob(repository, blob.digest) ||
        this.blobSize(blob.digest) !== blob.size ||
        !this.relyOnBlob(blob.digest),
    )
    const children = links.manifests.filter((child) => {
      // An index may hold what is no manifest (image-spec, image-index.md): then it is a blob of the repository.
      const isThere = isKept(child) ? this.#member(repository, child.digest) : this.hasBlob(repository, child.digest)
      return !isThere || !this.relyOnBlob(child.digest)
    })
    return [...missing, ...children]
  }

  #checkTags(repository: string, { tags, digest, isImmutable }: PutManifest): void {
    if (!isImmutable) return
    for (const tag of tags) {
      const standing = this.tag(repository, tag)
      if (standing && standing.digest !== digest && isImmutable(tag)) throw new TagStands(tag)
    }
  }

  async #moveTags(repository: string, put: PutManifest): Promise<void> {
    const { digest, mediaType, bytes, tags, isImmutable } = put
    const names = new Map(tags.map((tag) => [`localhost/${repository}:${tag}`, tag]))
    await this.index.change((manifests) => {
      const kept: Descriptor[] = []
      let same = 0
      for (const entry of manifests) {
        const tag = names.get(entry.annotations?.[REFERENCE_NAME] ?? '')
        if (tag === undefined) kept.push(entry)
        else if (entry.digest === digest && entry.mediaType === mediaType) same += 1
        else if (entry.digest !== digest && isImmutable?.(tag)) throw new TagStands(tag)
      }
      if (same === names.size) return manifests
      const added = [...names.keys()].map((name) => ({
        mediaType,
        digest,
        size: bytes.byteLength,
        annotations: { [REFERENCE_NAME]: name },
      }))
      return [...kept, ...added]
    })
  }

  async #removeTags(
    repository: string,
    isMeant: (tag: string, entry: Descriptor) => boolean,
  ): Promise<{ known: boolean }> {
    const prefix = `localhost/${repository}:`
    const meant = ({ annotations }: Descriptor, entry: Descriptor): boolean => {
      const name = annotations?.[REFERENCE_NAME] ?? ''
      return name.startsWith(prefix) && isMeant(name.slice(prefix.length), entry)
    }
    // Most deletions by digest move no tag: they need not wait for the lock.
    if (!this.index.read().manifests.some((entry) => meant(entry, entry))) return { known: false }
    let known = false
    await this.index.change((manifests) => {
      const kept = manifests.filter((entry) => !meant(entry, entry))
      known = kept.length < manifests.length
      return known ? kept : manifests
    })
    return { known }
  }

  /** Names are on the disk only when their folders are (fsync(2)); files were synced when they were written. */
  async #sync(repository: string, digest: Digest, links: ManifestLinks): Promise<void> {
    const algorithms = new Set(
      [digest, ...links.blobs.map((blob) => blob.digest)].map((one) => splitDigest(one).algorithm),
    )
    const blobs = [...algorithms].map((algorithm) => join(this.dir, 'blobs', algorithm))
    await Promise.all([...blobs, ...this.links.folders(repository), this.dir].map(syncFolder))
  }

  #load(digest: Digest): { bytes: Buffer; links?: ManifestLinks } | undefined {
    const known = this.#manifests.get(digest)
    if (known) {
      // Moved to the end, so that the front is what was not asked for longest.
      this.#manifests.delete(digest)
      this.#manifests.set(digest, known)
      return known
    }
    const bytes = readManifest(this.layout.blobPath(digest), digest)
    if (!bytes) return undefined
    const loaded = { bytes }
    this.#manifests.set(digest, loaded)
    this.#manifestBytes += bytes.byteLength
    for (const [oldest, { bytes: dropped }] of this.#manifests) {
      if (this.#manifestBytes <= MAX_CACHED_MANIFEST_BYTES) break
      this.#manifests.delete(oldest)
      this.#manifestBytes -= dropped.byteLength
    }
    return loaded
  }

  #place(name: string): { repository: string; tag: string } | null {
    const known = this.#places.get(name)
    if (known !== undefined) return known
    if (this.#places.size >= MAX_CLOSURE) this.#places.clear()
    const place = placeOf(name) ?? null
    this.#places.set(name, place)
    return place
  }

  #read(): Snapshot {
    const index = this.index.read()
    if (this.#snapshot?.index === index) return this.#snapshot
    const tags = new Map<string, Map<string, Descriptor>>()
    const attached = new Map<Digest, Descriptor[]>()
    for (const entry of index.manifests) {
      const name = entry.annotations?.[REFERENCE_NAME]
      const place = name === undefined ? undefined : this.#place(name)
      if (place) {
        const known = tags.get(place.repository) ?? new Map<string, Descriptor>()
        tags.set(place.repository, known.set(place.tag, entry))
      } else if (name === undefined) {
        const referrer = this.#referrer(entry.mediaType, entry.digest)
        if (referrer) attached.set(referrer.subject, [...(attached.get(referrer.subject) ?? []), referrer.descriptor])
      }
    }
    this.#snapshot = { index, tags, sorted: new Map(), attached }
    return this.#snapshot
  }
}

/** A tag of this name stands and may not be moved. */
export class TagStands extends Error {
  readonly tag: string
  constructor(tag: string) {
    super(`tag "${tag}" stands and may not be moved`)
    this.name = 'TagStands'
    this.tag = tag
  }
}

const MAX_CLOSURE = 100_000

/** Opens the store in `dir`, which is or becomes an OCI layout. Throws FAIRLEAD_OCI_LAYOUT. */
export async function openRegistryStore(dir: string): Promise<RegistryStore> {
  return new RegistryStore(await openLayout(dir))
}

/** Only images of this machine are served: what was pulled from elsewhere was not put here to be passed on. */
function placeOf(name: string): { repository: string; tag: string } | undefined {
  if (!name.startsWith('localhost/')) return undefined
  try {
    const { repository, tag } = parseReference(name)
    return tag === undefined ? undefined : { repository, tag }
  } catch {
    return undefined
  }
}

function isKept({ mediaType }: { mediaType: string }): boolean {
  return isManifestType(mediaType) || isIndexType(mediaType)
}

function readManifest(path: string, digest: Digest): Buffer | undefined {
  const size = statSync(path, { throwIfNoEntry: false })?.size
  if (size === undefined || size > 2 * MAX_CACHED_MANIFEST_BYTES) return undefined
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch {
    return undefined
  }
  const digester = createDigester(splitDigest(digest).algorithm)
  digester.update(bytes)
  // A damaged manifest is as good as none: fsck tells of it.
  return digester.digest() === digest ? bytes : undefined
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined)
  try {
    await folder?.sync()
  } finally {
    await folder?.close()
  }
}

function contentMissing(missing: readonly Descriptor[]): RegistryRefusal {
  const digests = missing.map(({ digest }) => digest)
  return new RegistryRefusal(
    404,
    'MANIFEST_BLOB_UNKNOWN',
    `the manifest points at what is not in the repository: ${digests.slice(0, 5).join(', ')}`,
    {
      detail: digests.slice(0, 50),
    },
  )
}
