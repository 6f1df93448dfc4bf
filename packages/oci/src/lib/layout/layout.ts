import { mkdir, readFile, stat, utimes } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'

import { blobMissing, digestMismatch, diskFull, layoutInvalid, platformMissing } from '../errors.ts'
import { renderCanonicalJson } from '../spec/canonical.ts'
import { createDigester, digestOf, splitDigest } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor, ImageConfig, ImageIndex, ImageManifest } from '../spec/image.ts'
import { isIndexType, isManifestType, mediaTypes } from '../spec/media-types.ts'
import { hostPlatform, matchesPlatform, parsePlatform, renderPlatform } from '../spec/platform.ts'
import type { Platform } from '../spec/platform.ts'
import { parseReference, renderReference } from '../spec/reference.ts'
import { IndexFile } from './index-file.ts'
import { referrerOf } from './referrer.ts'
import { sweepIngest, writeWhole } from './whole-file.ts'

/** An image found in a layout: the manifest for one platform, with its configuration. */
export interface ResolvedImage {
  descriptor: Descriptor
  manifest: ImageManifest
  config: ImageConfig
}

/** What is stored about a blob: enough to make a {@link Descriptor} of it. */
export interface StoredBlob {
  digest: Digest
  size: number
}

/**
 * An OCI image layout (image-spec, image-layout.md) used as a content store that many processes read and write at
 * once: blobs and `index.json` are replaced whole, changes of `index.json` are made one after another under a lock.
 * It holds no open files, so there is nothing to close.
 */
export interface Layout {
  readonly dir: string
  /** Whether the blob is there. Asking counts as use: the collector of garbage leaves it alone for its time of grace. */
  hasBlob(digest: Digest): Promise<boolean>
  /** The content, checked against the digest; `FAIRLEAD_OCI_BLOB_MISSING`, `FAIRLEAD_OCI_DIGEST_MISMATCH`. */
  readBlob(digest: Digest): Promise<Buffer>
  /** Where the blob lies, whether it is there or not. */
  blobPath(digest: Digest): string
  /** Stores content under its digest; one that is not the expected one is refused and nothing is left. */
  writeBlob(content: Uint8Array | AsyncIterable<Uint8Array>, expected?: Digest): Promise<StoredBlob>
  /** Stores a manifest, index or configuration as canonical JSON and describes it. */
  writeJson(mediaType: string, value: unknown): Promise<Descriptor>
  /** Makes `reference` mean `descriptor` from now on, in place of what it meant before. */
  tag(reference: string, descriptor: Descriptor): Promise<void>
  /** Takes several references at once: readers see all or none of them. */
  tagAll(tags: readonly { reference: string; descriptor: Descriptor }[]): Promise<void>
  /** Forgets a reference; the blobs stay. Returns whether it was known. */
  untag(reference: string): Promise<boolean>
  /**
   * Keeps a manifest that has no reference of its own, such as a signature: it becomes an entry of `index.json` without a
   * name. One that is there already stays as it is.
   */
  attach(descriptor: Descriptor): Promise<void>
  /** Forgets a manifest without a reference; the blobs stay. Returns whether it was known. */
  detach(digest: Digest): Promise<boolean>
  /**
   * Manifests in `index.json`, with and without a reference, whose `subject` is `digest`: as the referrers API of a
   * registry describes them (distribution-spec 1.1, "Listing Referrers"), sorted by digest.
   */
  referrers(digest: Digest, artifactType?: string): Promise<Descriptor[]>
  /** The image a reference, or `name@digest`, means for a platform (default: Linux on this processor). */
  resolve(reference: string, platform?: string): Promise<ResolvedImage | undefined>
  /** All references with what they mean, sorted by reference. */
  list(): Promise<{ reference: string; descriptor: Descriptor }[]>
}

const REFERENCE_NAME = 'org.opencontainers.image.ref.name'

/** Opens the layout in `dir`, making an empty one where there is none. Throws `FAIRLEAD_OCI_LAYOUT`. */
export async function openLayout(dir: string): Promise<Layout> {
  const layout = new DirectoryLayout(dir)
  await layout.prepare()
  return layout
}

class DirectoryLayout implements Layout {
  readonly dir: string
  readonly #ingestDir: string
  readonly #index: IndexFile
  readonly #referrers = new Map<Digest, { subject: Digest; descriptor: Descriptor } | undefined>()

  constructor(dir: string) {
    this.dir = dir
    this.#ingestDir = join(dir, '.ingest')
    this.#index = new IndexFile(dir)
  }

  async prepare(): Promise<void> {
    await mkdir(join(this.dir, 'blobs', 'sha256'), { recursive: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOSPC') throw diskFull(this.dir, error)
      throw layoutInvalid(this.dir, `the directory cannot be made (${error.code})`, error)
    })
    await sweepIngest(this.#ingestDir)
    const marker = join(this.dir, 'oci-layout')
    const text = await readFile(marker, 'utf8').catch(() => undefined)
    if (text === undefined) await this.#replace(marker, '{"imageLayoutVersion":"1.0.0"}')
    else if (versionOf(text) !== '1.0.0') throw layoutInvalid(this.dir, 'its "oci-layout" file names no version 1.0.0')
    if (!(await isFile(join(this.dir, 'index.json')))) {
      await this.#index.change((manifests) => manifests)
    }
  }

  blobPath(digest: Digest): string {
    const { algorithm, hex } = splitDigest(digest)
    return join(this.dir, 'blobs', algorithm, hex)
  }

  hasBlob(digest: Digest): Promise<boolean> {
    return markUsed(this.blobPath(digest))
  }

  async readBlob(digest: Digest): Promise<Buffer> {
    const bytes = await readFile(this.blobPath(digest)).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'ENOENT' ? blobMissing(this.dir, digest, error) : error
    })
    const digester = createDigester(splitDigest(digest).algorithm)
    digester.update(bytes)
    const actual = digester.digest()
    if (actual !== digest) throw digestMismatch(digest, actual)
    return bytes
  }

  async writeBlob(content: Uint8Array | AsyncIterable<Uint8Array>, expected?: Digest): Promise<StoredBlob> {
    const known = expected ?? (content instanceof Uint8Array ? digestOf(content) : undefined)
    if (known && content instanceof Uint8Array && (await sizeOf(this.blobPath(known))) === content.byteLength) {
      if (await markUsed(this.blobPath(known))) return { digest: known, size: content.byteLength }
    }
    const stored = { digest: known ?? digestOf(''), size: 0 }
    await writeWhole(this.#ingestDir, async (file) => {
      const digester = createDigester(known ? splitDigest(known).algorithm : 'sha256')
      for await (const chunk of content instanceof Uint8Array ? [content] : content) {
        digester.update(chunk)
        stored.size += chunk.byteLength
        await writeFully(file, chunk)
      }
      stored.digest = digester.digest()
      if (expected && stored.digest !== expected) throw digestMismatch(expected, stored.digest)
      await mkdir(join(this.dir, 'blobs', splitDigest(stored.digest).algorithm), { recursive: true })
      return this.blobPath(stored.digest)
    })
    return stored
  }

  async writeJson(mediaType: string, value: unknown): Promise<Descriptor> {
    return { mediaType, ...(await this.writeBlob(Buffer.from(renderCanonicalJson(value)))) }
  }

  tag(reference: string, descriptor: Descriptor): Promise<void> {
    return this.tagAll([{ reference, descriptor }])
  }

  async tagAll(tags: readonly { reference: string; descriptor: Descriptor }[]): Promise<void> {
    const added = tags.map(({ reference, descriptor }) => named(descriptor, renderReference(parseReference(reference))))
    const names = new Set(added.map(nameOf))
    await this.#index.change((manifests) => [...manifests.filter((entry) => !names.has(nameOf(entry))), ...added])
  }

  async untag(reference: string): Promise<boolean> {
    const name = renderReference(parseReference(reference))
    let isKnown = false
    await this.#index.change((manifests) => {
      const kept = manifests.filter((entry) => nameOf(entry) !== name)
      isKnown = kept.length < manifests.length
      return isKnown ? kept : manifests
    })
    return isKnown
  }

  async attach(descriptor: Descriptor): Promise<void> {
    await this.#index.change((manifests) =>
      manifests.some((entry) => entry.digest === descriptor.digest && nameOf(entry) === undefined)
        ? manifests
        : [...manifests, descriptor],
    )
  }

  async detach(digest: Digest): Promise<boolean> {
    let isKnown = false
    await this.#index.change((manifests) => {
      const kept = manifests.filter((entry) => entry.digest !== digest || nameOf(entry) !== undefined)
      isKnown = kept.length < manifests.length
      return isKnown ? kept : manifests
    })
    return isKnown
  }

  async referrers(digest: Digest, artifactType?: string): Promise<Descriptor[]> {
    const found = new Map<Digest, Descriptor>()
    for (const entry of this.#index.read().manifests) {
      if (!this.#referrers.has(entry.digest)) this.#referrers.set(entry.digest, await this.#readReferrer(entry))
      const referrer = this.#referrers.get(entry.digest)
      if (referrer?.subject === digest) found.set(entry.digest, referrer.descriptor)
    }
    const all = [...found.values()].toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
    return artifactType === undefined ? all : all.filter((entry) => entry.artifactType === artifactType)
  }

  async #readReferrer(entry: Descriptor): Promise<{ subject: Digest; descriptor: Descriptor } | undefined> {
    if (!isManifestType(entry.mediaType) && !isIndexType(entry.mediaType)) return undefined
    const bytes = await readFile(this.blobPath(entry.digest)).catch(() => undefined)
    return bytes && referrerOf(entry.mediaType, entry.digest, bytes)
  }

  async resolve(reference: string, platform?: string): Promise<ResolvedImage | undefined> {
    const parsed = parseReference(reference)
    const index = this.#index.read()
    const found = parsed.digest
      ? index.manifests.find((entry) => entry.digest === parsed.digest)
      : index.manifests.find((entry) => nameOf(entry) === renderReference(parsed))
    const descriptor = found ?? (parsed.digest ? await this.#describe(parsed.digest) : undefined)
    if (!descriptor) return undefined
    return this.#choose(reference, descriptor, platform ? parsePlatform(platform) : hostPlatform())
  }

  async list(): Promise<{ reference: string; descriptor: Descriptor }[]> {
    const index = this.#index.read()
    const entries = index.manifests.map((descriptor) => ({ reference: nameOf(descriptor) ?? '', descriptor }))
    return entries.filter(({ reference }) => reference !== '').toSorted((a, b) => (a.reference < b.reference ? -1 : 1))
  }

  /** Follows indexes down to the manifest for `platform`; an image of one manifest is taken as it is. */
  async #choose(reference: string, start: Descriptor, platform: Platform): Promise<ResolvedImage> {
    let descriptor = start
    for (let depth = 0; isIndexType(descriptor.mediaType) && depth < 4; depth += 1) {
      const index = JSON.parse((await this.readBlob(descriptor.digest)).toString()) as ImageIndex
      const offered = index.manifests.filter((entry) => entry.platform)
      const match = offered.find((entry) => entry.platform && matchesPlatform(entry.platform, platform))
      const names = offered.map((entry) => (entry.platform ? renderPlatform(entry.platform) : ''))
      if (!match) throw platformMissing(reference, renderPlatform(platform), names)
      descriptor = match
    }
    const manifest = JSON.parse((await this.readBlob(descriptor.digest)).toString()) as ImageManifest
    const config = JSON.parse((await this.readBlob(manifest.config.digest)).toString()) as ImageConfig
    return { descriptor, manifest, config }
  }

  /** Describes a manifest blob that no entry of `index.json` points at, such as a child of an index. */
  async #describe(digest: Digest): Promise<Descriptor | undefined> {
    if (!(await this.hasBlob(digest))) return undefined
    const bytes = await this.readBlob(digest)
    const mediaType = mediaTypeOf(bytes)
    if (!mediaType || (!isManifestType(mediaType) && !isIndexType(mediaType))) return undefined
    return { mediaType, digest, size: bytes.byteLength }
  }

  async #replace(path: string, text: string): Promise<void> {
    await writeWhole(this.#ingestDir, async (file) => {
      await file.writeFile(text)
      return path
    })
  }
}

function named(descriptor: Descriptor, name: string): Descriptor {
  return { ...descriptor, annotations: { ...descriptor.annotations, [REFERENCE_NAME]: name } }
}

function nameOf(descriptor: Descriptor): string | undefined {
  return descriptor.annotations?.[REFERENCE_NAME]
}

function versionOf(text: string): unknown {
  return (parseJson(text) as { imageLayoutVersion?: unknown } | undefined)?.imageLayoutVersion
}

function mediaTypeOf(bytes: Buffer): string | undefined {
  const value = parseJson(bytes.toString()) as Partial<ImageManifest & ImageIndex> | undefined
  if (typeof value !== 'object' || value === null) return undefined
  if (value.mediaType) return value.mediaType
  return value.manifests ? mediaTypes.index : value.config && mediaTypes.manifest
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function writeFully(file: FileHandle, chunk: Uint8Array): Promise<void> {
  let written = 0
  while (written < chunk.byteLength) written += (await file.write(chunk, written)).bytesWritten
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size
}

/** The time of a blob says when somebody last relied on it. */
async function markUsed(path: string): Promise<boolean> {
  const now = new Date()
  try {
    await utimes(path, now, now)
    return true
  } catch (error) {
    // A store that may only be read is not swept either.
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? false : isFile(path)
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() === true
}
