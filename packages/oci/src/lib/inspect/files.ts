import { createReadStream } from 'node:fs'
import { posix } from 'node:path'

import { decompressGzip, decompressZstd } from '../archive/gzip.ts'
import { readTar } from '../archive/tar-reader.ts'
import type { TarMember } from '../archive/entry.ts'
import { layerUnsupported } from '../errors.ts'
import type { Layout, ResolvedImage } from '../layout/layout.ts'
import { createDigester } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor } from '../spec/image.ts'
import { compressionOf } from '../spec/media-types.ts'

/** A file as a container of the image sees it. */
export interface ImageFile {
  /** Below the root, without a slash in front. */
  readonly path: string
  readonly type: TarMember['type']
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly sizeBytes: number
  readonly linkPath: string
  /** Of the content, for files, where it was asked for. */
  readonly digest: Digest | undefined
  /** Number of the layer it comes from, 0 for the lowest. */
  readonly layer: number
  /** Layers below that had something at this path, which is hidden now. */
  readonly hidden: readonly number[]
}

export interface ListFilesOptions {
  /** Reads every file to compute its digest. Default false. */
  readonly digests?: boolean | undefined
  /** Only what this layer holds, deletions included as `.wh.` files. Default: all layers put together. */
  readonly layer?: number | undefined
  readonly signal?: AbortSignal | undefined
}

const whiteoutPrefix = '.wh.'
const opaqueMark = '.wh..wh..opq'

/** The files of an image, sorted by path. Whiteouts are applied as a runtime does (image-spec, layer.md). */
export async function listFiles(
  layout: Layout,
  { manifest }: ResolvedImage,
  options: ListFilesOptions = {},
): Promise<ImageFile[]> {
  const tree = new Map<string, ImageFile>()
  for (const [layer, descriptor] of manifest.layers.entries()) {
    if (options.layer !== undefined && options.layer !== layer) continue
    for await (const member of openLayer(layout, descriptor)) {
      options.signal?.throwIfAborted()
      const name = posix.basename(member.path)
      const isWhiteout = options.layer === undefined && name.startsWith(whiteoutPrefix)
      if (isWhiteout) hide(tree, posix.dirname(member.path), name, layer)
      else if (member.path !== '') await place(tree, member, layer, options.digests ?? false)
    }
  }
  return [...tree.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1))
}

/** The content of a file of the image; undefined when it has none at this path. Links are followed, up to 16. */
export async function readFileOf(layout: Layout, image: ResolvedImage, path: string): Promise<Buffer | undefined> {
  let wanted = normalize(path)
  for (let hops = 0; hops < 16; hops += 1) {
    const files = await listFiles(layout, image)
    const file = files.find((candidate) => candidate.path === wanted)
    if (file === undefined) return undefined
    if (file.type !== 'symlink' && file.type !== 'hardlink') return await contentOf(layout, image, file)
    const base = file.type === 'hardlink' || file.linkPath.startsWith('/') ? '/' : posix.dirname(`/${wanted}`)
    wanted = normalize(posix.join(base, file.linkPath))
  }
  return undefined
}

async function contentOf(layout: Layout, image: ResolvedImage, file: ImageFile): Promise<Buffer | undefined> {
  const descriptor = image.manifest.layers[file.layer]
  if (descriptor === undefined || file.type !== 'file') return undefined
  let content: Buffer | undefined
  // The last of several with one name counts.
  for await (const member of openLayer(layout, descriptor))
    if (member.path === file.path) content = await member.bytes()
  return content
}

/** The members of a stored layer. */
export function openLayer(layout: Layout, descriptor: Descriptor): AsyncGenerator<TarMember> {
  const stored = createReadStream(layout.blobPath(descriptor.digest), { highWaterMark: 1 << 18 })
  const compression = compressionOf(descriptor.mediaType)
  if (compression === 'gzip') return readTar(decompressGzip(stored))
  if (compression === 'zstd') return readTar(decompressZstd(stored))
  if (compression === 'none') return readTar(stored)
  stored.destroy()
  throw layerUnsupported(descriptor.mediaType)
}

async function place(
  tree: Map<string, ImageFile>,
  member: TarMember,
  layer: number,
  withDigest: boolean,
): Promise<void> {
  const { path, type, mode, uid, gid, linkPath } = member
  const below = tree.get(path)
  // What was a folder and is a file now has taken everything below it along.
  if (below?.type === 'directory' && type !== 'directory') removeBelow(tree, path, layer)
  const digest = withDigest && type === 'file' ? await digestBody(member) : undefined
  tree.set(path, {
    path,
    type,
    mode,
    uid,
    gid,
    sizeBytes: type === 'file' ? member.sizeBytes : 0,
    linkPath,
    digest,
    layer,
    hidden: below === undefined || below.layer === layer ? (below?.hidden ?? []) : [...below.hidden, below.layer],
  })
}

async function digestBody(member: TarMember): Promise<Digest> {
  const digester = createDigester()
  for await (const chunk of member.body) digester.update(chunk)
  return digester.digest()
}

function hide(tree: Map<string, ImageFile>, dir: string, name: string, layer: number): void {
  const folder = dir === '.' ? '' : dir
  if (name === opaqueMark) {
    removeBelow(tree, folder, layer)
    return
  }
  const path = posix.join(folder, name.slice(whiteoutPrefix.length))
  const hidden = tree.get(path)
  // A whiteout takes what is below, never what its own layer has brought.
  if (hidden !== undefined && hidden.layer < layer) tree.delete(path)
  removeBelow(tree, path, layer)
}

function removeBelow(tree: Map<string, ImageFile>, folder: string, layer: number): void {
  const prefix = folder === '' ? '' : `${folder}/`
  for (const [path, file] of tree) if (path.startsWith(prefix) && file.layer < layer) tree.delete(path)
}

function normalize(path: string): string {
  return posix.normalize(`/${path}`).slice(1).replace(/\/$/, '')
}
