import { constants, createReadStream } from 'node:fs'
import { copyFile, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { randomUUID } from 'node:crypto'

import { createTar, sortEntries } from '../archive/tar-writer.ts'
import type { TarEntry } from '../archive/entry.ts'
import { blobMissing, diskFull, layoutInvalid } from '../errors.ts'
import { renderCanonicalJson } from '../spec/canonical.ts'
import { splitDigest } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor, ImageIndex, ImageManifest } from '../spec/image.ts'
import { isIndexType, isManifestType, mediaTypes } from '../spec/media-types.ts'
import type { Layout } from './layout.ts'

/** Where images go: a folder that becomes an OCI image layout, or a tar archive of one (image-spec, image-layout.md). */
export type ExportTarget = { dir: string } | { archive: string }

/** How to export. */
export interface ExportOptions {
  signal?: AbortSignal | undefined
}

/** What was written. */
export interface ExportedImages {
  /** The folder or file. */
  path: string
  /** Of the blobs, in bytes. */
  sizeBytes: number
  blobs: number
}

/**
 * Writes the images that `references` mean, with all their platforms, to a layout of their own: what skopeo calls `oci:` and
 * `oci-archive:`. It is there whole or not at all; a layout or file that was there before is replaced. Each image keeps its
 * reference as `org.opencontainers.image.ref.name`. Signatures and bills of materials are not taken along: readers that
 * are given no name take a layout with several entries for one of several images. The same images give the same archive.
 * Throws `FAIRLEAD_OCI_LAYOUT` where a folder is that is no layout, `FAIRLEAD_OCI_BLOB_MISSING` and `FAIRLEAD_OCI_DISK_FULL`.
 */
export async function exportImages(
  layout: Layout,
  references: readonly string[],
  target: ExportTarget,
  options: ExportOptions = {},
): Promise<ExportedImages> {
  const manifests = await describe(layout, references)
  const digests = new Map<Digest, number>()
  for (const descriptor of manifests) await collect(layout, descriptor, digests)
  const index = renderCanonicalJson({ schemaVersion: 2, mediaType: mediaTypes.index, manifests })
  const parts: Parts = { layout, digests: [...digests.keys()].toSorted(), index, signal: options.signal }
  const path = resolve('dir' in target ? target.dir : target.archive)
  await ('dir' in target ? writeLayout(path, parts) : writeArchive(path, parts)).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException
    throw code === 'ENOSPC' || code === 'EDQUOT' ? diskFull(path, error) : error
  })
  return { path, blobs: digests.size, sizeBytes: [...digests.values()].reduce((sum, size) => sum + size, 0) }
}

interface Parts {
  layout: Layout
  digests: readonly Digest[]
  index: string
  signal: AbortSignal | undefined
}

const MARKER = '{"imageLayoutVersion":"1.0.0"}'

async function describe(layout: Layout, references: readonly string[]): Promise<Descriptor[]> {
  const known = new Map((await layout.list()).map((entry) => [entry.reference, entry.descriptor]))
  return references.map((reference) => {
    const found = known.get(reference)
    if (!found) throw layoutInvalid(layout.dir, `it has no image "${reference}"`)
    const annotations = { ...found.annotations, 'org.opencontainers.image.ref.name': reference }
    return { ...found, annotations }
  })
}

/** The blob and all it refers to. */
async function collect(layout: Layout, descriptor: Descriptor, found: Map<Digest, number>): Promise<void> {
  if (found.has(descriptor.digest)) return
  found.set(descriptor.digest, descriptor.size)
  if (!isManifestType(descriptor.mediaType) && !isIndexType(descriptor.mediaType)) return
  const value = JSON.parse((await layout.readBlob(descriptor.digest)).toString()) as Partial<ImageManifest & ImageIndex>
  const parts = [...(value.manifests ?? []), ...(value.config ? [value.config] : []), ...(value.layers ?? [])]
  for (const part of parts) await collect(layout, part, found)
}

async function writeLayout(path: string, { layout, digests, index, signal }: Parts): Promise<void> {
  await checkReplaceable(path)
  const temporary = `${path}.${randomUUID()}.part`
  try {
    await mkdir(temporary, { recursive: true })
    for (const digest of digests) {
      signal?.throwIfAborted()
      const { algorithm, hex } = splitDigest(digest)
      await mkdir(join(temporary, 'blobs', algorithm), { recursive: true })
      await copyBlob(layout, digest, join(temporary, 'blobs', algorithm, hex))
    }
    await writeSynced(join(temporary, 'index.json'), [Buffer.from(index)])
    await writeSynced(join(temporary, 'oci-layout'), [Buffer.from(MARKER)])
    await replaceFolder(temporary, path)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

/** Nothing is replaced but a layout or an empty folder. */
async function checkReplaceable(path: string): Promise<void> {
  const names = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw layoutInvalid(path, `it is no folder that can be read (${error.code})`, error)
  })
  if (names === undefined || names.length === 0 || names.includes('oci-layout')) return
  throw layoutInvalid(path, 'the folder holds other files')
}

async function replaceFolder(from: string, to: string): Promise<void> {
  const old = `${to}.${randomUUID()}.old`
  const wasThere = await rename(to, old).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false
      throw error
    },
  )
  try {
    await rename(from, to)
  } catch (error) {
    if (wasThere) await rename(old, to)
    throw error
  }
  await rm(old, { recursive: true, force: true })
}

/** A copy and no link: whoever gets the folder may write to it. */
async function copyBlob(layout: Layout, digest: Digest, to: string): Promise<void> {
  await copyFile(layout.blobPath(digest), to, constants.COPYFILE_FICLONE).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' ? blobMissing(layout.dir, digest, error) : error
  })
}

async function writeArchive(path: string, { layout, digests, index, signal }: Parts): Promise<void> {
  const entries: TarEntry[] = [
    { path: 'index.json', type: 'file', content: Buffer.from(index) },
    { path: 'oci-layout', type: 'file', content: Buffer.from(MARKER) },
  ]
  for (const digest of digests) {
    const { algorithm, hex } = splitDigest(digest)
    const from = layout.blobPath(digest)
    const { size } = await stat(from).catch((error: unknown) => {
      throw blobMissing(layout.dir, digest, error)
    })
    const content = { sizeBytes: size, open: () => createReadStream(from, { highWaterMark: 1 << 20 }) }
    entries.push({ path: `blobs/${algorithm}/${hex}`, type: 'file', content })
  }
  const temporary = `${path}.${randomUUID()}.part`
  try {
    await mkdir(dirname(path), { recursive: true })
    await writeSynced(temporary, createTar(sortEntries(entries)), signal)
    await rename(temporary, path)
  } finally {
    await rm(temporary, { force: true })
  }
}

async function writeSynced(
  path: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<void> {
  const file = await open(path, 'wx')
  try {
    for await (const chunk of chunks) {
      signal?.throwIfAborted()
      await file.write(chunk)
    }
    await file.datasync()
  } finally {
    await file.close()
  }
}
