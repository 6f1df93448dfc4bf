import { rmSync, statSync, utimesSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'

import { IndexFile } from '../../layout/index-file.ts'
import { openLayout } from '../../layout/layout.ts'
import type { Layout } from '../../layout/layout.ts'
import { splitDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import type { Descriptor } from '../../spec/image.ts'
import { listImages } from './images.ts'
import type { StoredImage } from './images.ts'
import { Links } from './links.ts'
import { parseManifest } from './manifest.ts'
import type { ManifestLinks } from './manifest.ts'
import { isKept, ManifestCache } from './manifest-cache.ts'
import { RegistryRefusal } from './protocol.ts'
import { Tags } from './tags.ts'

/** A manifest of a repository. */
export interface StoredManifest {
  mediaType: string
  digest: Digest
  size: number
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
  readonly #manifests: ManifestCache
  readonly #tags: Tags

  constructor(layout: Layout) {
    this.dir = layout.dir
    this.layout = layout
    this.links = new Links(layout.dir)
    this.index = new IndexFile(layout.dir)
    this.#manifests = new ManifestCache(layout)
    this.#tags = new Tags(this.index, this.#manifests)
  }

  // Repositories and tags

  /** Every repository, sorted. */
  async repositories(): Promise<string[]> {
    const names = new Set(this.#tags.read().tags.keys())
    for await (const name of this.links.repositories()) names.add(name)
    return [...names].toSorted()
  }

  hasRepository(repository: string): boolean {
    return this.#tags.read().tags.has(repository) || this.links.isRepository(repository)
  }

  /** Sorted by code units, which distribution-spec calls ASCIIbetical. */
  tags(repository: string): readonly string[] {
    return this.#tags.list(repository)
  }

  tag(repository: string, tag: string): Descriptor | undefined {
    return this.#tags.find(repository, tag)
  }

  untag(repository: string, tag: string): Promise<boolean> {
    return this.#tags.remove(repository, (entry) => entry === tag)
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
    return this.#manifests.bytes(digest)
  }

  /** What a manifest points at; `undefined` when it is not there or is none. */
  manifestLinks(mediaType: string, digest: Digest): ManifestLinks | undefined {
    return this.#manifests.links(mediaType, digest)
  }

  /** The manifest with everything below it, as far as it is there. */
  closure(root: Descriptor): Descriptor[] {
    return this.#manifests.closure(root)
  }

  /**
   * Stores a manifest, makes it part of the repository and moves the tags to it. When it returns, the manifest, what it
   * points at and its tags are on the disk.
   */
  async putManifest(repository: string, put: PutManifest): Promise<{ subject: Digest | undefined }> {
    const { mediaType, bytes, digest, tags } = put
    const parsed = parseManifest(mediaType, bytes)
    this.#tags.check(repository, put)
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
    if (tags.length > 0) await this.#tags.move(repository, { ...put, size: bytes.byteLength })
    await this.#sync(repository, digest, parsed)
    return { subject: parsed.subject }
  }

  /** Forgets a manifest and its tags. One that only an index built on this machine holds is refused. */
  async deleteManifest(repository: string, digest: Digest): Promise<boolean> {
    const member = this.#member(repository, digest)
    if (!member) return false
    const known = await this.#tags.remove(repository, (_tag, entry) => entry.digest === digest)
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
    for (const entry of this.#tags.read().tags.get(repository)?.values() ?? [])
      if (entry.digest === digest) return false
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
      const referrer = link && this.#manifests.referrer(link.mediaType, candidate)
      if (referrer?.subject === digest) found.set(candidate, referrer.descriptor)
    }
    for (const descriptor of this.#tags.read().tags.get(repository)?.values() ?? []) {
      const referrer = this.#manifests.referrer(descriptor.mediaType, descriptor.digest)
      if (referrer?.subject === digest) found.set(descriptor.digest, referrer.descriptor)
    }
    if (this.#member(repository, digest)) {
      for (const descriptor of this.#tags.read().attached.get(digest) ?? []) found.set(descriptor.digest, descriptor)
    }
    return [...found.values()].toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
  }

  /** Every image and artifact of the repository, newest first: what policies decide about. */
  images(repository: string): StoredImage[] {
    const { layout, links } = this
    return listImages({ layout, links, manifests: this.#manifests, tags: this.#tags }, repository)
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
    for (const [subject, descriptors] of this.#tags.read().attached) {
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
        for (const attached of this.#tags.read().attached.get(member.digest) ?? []) {
          if (this.closure(attached).some((descriptor) => descriptor.digest === digest)) return true
        }
      }
    }
    return false
  }

  *#unlinkedRoots(repository: string): Generator<Descriptor> {
    for (const entry of this.#tags.read().tags.get(repository)?.values() ?? []) {
      if (!this.links.manifest(repository, entry.digest)) yield entry
    }
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

  /** Names are on the disk only when their folders are (fsync(2)); files were synced when they were written. */
  async #sync(repository: string, digest: Digest, links: ManifestLinks): Promise<void> {
    const algorithms = new Set(
      [digest, ...links.blobs.map((blob) => blob.digest)].map((one) => splitDigest(one).algorithm),
    )
    const blobs = [...algorithms].map((algorithm) => join(this.dir, 'blobs', algorithm))
    await Promise.all([...blobs, ...this.links.folders(repository), this.dir].map(syncFolder))
  }
}

/** Opens the store in `dir`, which is or becomes an OCI layout. Throws FAIRLEAD_OCI_LAYOUT. */
export async function openRegistryStore(dir: string): Promise<RegistryStore> {
  return new RegistryStore(await openLayout(dir))
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
