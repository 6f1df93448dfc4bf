import { createHash } from 'node:crypto'
import { chmod, lchown, link, lstat, mkdir, open, readdir, readlink, rm, symlink } from 'node:fs/promises'
import { dirname, join, posix } from 'node:path'

import { decompressGzip, decompressZstd } from '../archive/gzip.ts'
import type { TarMember } from '../archive/entry.ts'
import { readTar } from '../archive/tar-reader.ts'
import { digestMismatch, layerUnsupported } from '../errors.ts'
import type { Digest } from '../spec/digest.ts'
import { compressionOf } from '../spec/media-types.ts'

/** How {@link unpackLayer} treats what it finds. */
export interface UnpackOptions {
  /** The digest of the uncompressed layer; other content is `FAIRLEAD_OCI_DIGEST_MISMATCH`. */
  readonly diffId?: Digest | undefined
  /** Give files the owners the layer names. Default: when this process is root. */
  readonly keepOwners?: boolean | undefined
  /** Take the write permission from files, for trees whose files are shared by hard links. Default false. */
  readonly readOnlyFiles?: boolean | undefined
  /** `apply`: delete what a whiteout names (the tree holds the layers below); `skip`: only report. Default `apply`. */
  readonly whiteouts?: 'apply' | 'skip' | undefined
}

/** What {@link unpackLayer} saw. */
export interface UnpackedLayer {
  /** The layer deletes files of the layers below it. */
  readonly hasWhiteouts: boolean
}

const WHITEOUT = '.wh.'
const OPAQUE = '.wh..wh..opq'

/**
 * Writes a layer (image-spec, layer.md) below `dir`. Nothing is ever written outside of `dir`: symbolic links on the way
 * are followed as a container would, with `dir` as the root. Device nodes, FIFOs and extended attributes are left out.
 */
export async function unpackLayer(
  blob: AsyncIterable<Uint8Array>,
  mediaType: string,
  dir: string,
  options: UnpackOptions = {},
): Promise<UnpackedLayer> {
  const tree = new Tree(dir, {
    keepOwners: options.keepOwners ?? process.getuid?.() === 0,
    readOnlyFiles: options.readOnlyFiles ?? false,
  })
  const hash = createHash(options.diffId?.startsWith('sha512:') ? 'sha512' : 'sha256')
  let hasWhiteouts = false
  for await (const member of readTar(hashed(decompressed(blob, mediaType), hash))) {
    const name = posix.basename(member.path)
    if (!name.startsWith(WHITEOUT)) await tree.write(member)
    else {
      hasWhiteouts = true
      if (options.whiteouts !== 'skip') await tree.whiteOut(posix.dirname(member.path), name)
    }
  }
  await tree.finish()
  const actual = hash.digest('hex')
  if (options.diffId !== undefined && options.diffId.split(':')[1] !== actual) {
    throw digestMismatch(options.diffId, `${options.diffId.split(':')[0]}:${actual}`)
  }
  return { hasWhiteouts }
}

function decompressed(blob: AsyncIterable<Uint8Array>, mediaType: string): AsyncIterable<Uint8Array> {
  const compression = compressionOf(mediaType)
  if (compression === 'gzip') return decompressGzip(blob)
  if (compression === 'zstd') return decompressZstd(blob)
  if (compression === 'none') return blob
  throw layerUnsupported(mediaType)
}

async function* hashed(
  stream: AsyncIterable<Uint8Array>,
  hash: { update(chunk: Uint8Array): unknown },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) {
    hash.update(chunk)
    yield chunk
  }
}

/** The directory being written: knows which of its directories are real, so that most members need no look-up. */
class Tree {
  readonly #root: string
  readonly #options: { keepOwners: boolean; readOnlyFiles: boolean }
  readonly #known = new Set<string>([''])
  /** Paths this layer has written: an opaque whiteout hides only what was there before. */
  readonly #written = new Set<string>()
  readonly #directoryModes = new Map<string, number>()

  constructor(root: string, options: { keepOwners: boolean; readOnlyFiles: boolean }) {
    this.#root = root
    this.#options = options
  }

  async write(member: TarMember): Promise<void> {
    const path = await this.#place(member.path)
    this.#noteWritten(path)
    const target = join(this.#root, path)
    if (member.type === 'directory') return this.#directory(path, member)
    await this.#clear(path)
    if (member.type === 'symlink') await symlink(member.linkPath, target)
    else if (member.type === 'hardlink') return this.#hardLink(member.linkPath, target)
    else if (member.type === 'file') await this.#file(target, member)
    else return
    if (this.#options.keepOwners) await lchown(target, member.uid, member.gid)
    // After the owner: changing that drops the set-id bits.
    if (member.type === 'file') await chmod(target, this.#fileMode(member.mode))
  }

  async whiteOut(parent: string, name: string): Promise<void> {
    const folder = await this.#place(parent === '.' ? '' : parent)
    if (name !== OPAQUE) {
      const path = posix.join(folder, name.slice(WHITEOUT.length))
      if (path !== folder && posix.dirname(path) === (folder === '' ? '.' : folder)) await this.#clear(path)
      return
    }
    for (const child of await readdir(join(this.#root, folder)).catch(() => [])) {
      const path = posix.join(folder, child)
      if (!this.#written.has(path)) await this.#clear(path)
    }
  }

  /** Directory permissions come last: a directory may forbid writing into itself. */
  async finish(): Promise<void> {
    for (const [path, mode] of [...this.#directoryModes].toReversed()) await chmod(join(this.#root, path), mode)
  }

  /** Where a member goes: its parent resolved inside the root and made where it is missing, its own name kept. */
  async #place(path: string): Promise<string> {
    if (path === '') return ''
    const parent = await this.#resolve(posix.dirname(path) === '.' ? '' : posix.dirname(path), 0)
    return posix.join(parent, posix.basename(path))
  }

  async #resolve(path: string, depth: number): Promise<string> {
    if (this.#known.has(path)) return path
    const parent = await this.#resolve(posix.dirname(path) === '.' ? '' : posix.dirname(path), depth)
    const here = posix.join(parent, posix.basename(path))
    if (this.#known.has(here)) return here
    const found = await lstat(join(this.#root, here)).catch(() => undefined)
    if (found?.isSymbolicLink() && depth < 40) {
      const link = await readlink(join(this.#root, here))
      // Joined to "/" first, so that ".." ends at the root as it does for a process inside it.
      return this.#resolve(posix.join('/', link.startsWith('/') ? '' : parent, link).slice(1), depth + 1)
    }
    if (!found?.isDirectory()) {
      if (found) await rm(join(this.#root, here), { force: true })
      await mkdir(join(this.#root, here), { mode: 0o755 })
    }
    this.#known.add(here)
    return here
  }

  async #directory(path: string, member: TarMember): Promise<void> {
    const target = join(this.#root, path)
    const found = path === '' ? undefined : await lstat(target).catch(() => undefined)
    if (found && !found.isDirectory()) await this.#clear(path)
    if (path !== '' && !found?.isDirectory()) await mkdir(target)
    this.#known.add(path)
    if (this.#options.keepOwners) await lchown(target, member.uid, member.gid)
    // Without root a directory we cannot enter could not be filled, read or removed again.
    this.#directoryModes.set(path, this.#options.keepOwners ? member.mode : member.mode | 0o700)
  }

  async #file(target: string, member: TarMember): Promise<void> {
    const file = await open(target, 'wx', 0o600)
    try {
      for await (const chunk of member.body) await file.writeFile(chunk)
      await file.utimes(member.mtimeSeconds, member.mtimeSeconds)
    } finally {
      await file.close()
    }
  }

  async #hardLink(linkPath: string, target: string): Promise<void> {
    const source = join(this.#root, await this.#place(linkPath))
    const found = await lstat(source).catch(() => undefined)
    // A link to a file of a layer below cannot be made in a tree that holds one layer: such a layer is unusual, not unsafe.
    if (found === undefined) throw layerUnsupported(`hard link to "${linkPath}", which is not in the layer`)
    await link(source, target)
  }

  async #clear(path: string): Promise<void> {
    if (path === '') return
    await rm(join(this.#root, path), { recursive: true, force: true })
    for (const known of this.#known) if (known === path || known.startsWith(`${path}/`)) this.#known.delete(known)
    for (const known of this.#directoryModes.keys()) {
      if (known === path || known.startsWith(`${path}/`)) this.#directoryModes.delete(known)
    }
  }

  #noteWritten(path: string): void {
    for (let at = path; at !== '' && at !== '.' && !this.#written.has(at); at = posix.dirname(at)) this.#written.add(at)
  }

  #fileMode(mode: number): number {
    return this.#options.readOnlyFiles ? (mode | 0o400) & ~0o7222 : mode
  }
}

/**
 * Copies a tree by hard links: the folders are new, the files are shared. Falls back to copying where links are not
 * possible. Meant for trees unpacked with `readOnlyFiles`.
 */
export async function cloneTree(source: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true })
  const { copyFile } = await import('node:fs/promises')
  const copy = async (from: string, to: string): Promise<void> => {
    const entries = await readdir(from, { withFileTypes: true })
    await Promise.all(
      entries.map(async (entry) => {
        const [a, b] = [join(from, entry.name), join(to, entry.name)]
        if (entry.isDirectory()) {
          await mkdir(b, { mode: 0o755 })
          await copy(a, b)
        } else if (entry.isSymbolicLink()) await symlink(await readlink(a), b)
        else if (entry.isFile()) await link(a, b).catch(() => copyFile(a, b))
      }),
    )
  }
  await copy(source, target)
}

/** The path a process would reach whose root directory is `root`; what does not exist is taken as written. */
export async function resolveInRoot(root: string, path: string): Promise<string> {
  let resolved = ''
  let waiting = path.split('/')
  for (let hops = 0; waiting.length > 0;) {
    const [name = '', ...rest] = waiting
    waiting = rest
    if (name === '' || name === '.') continue
    if (name === '..') {
      resolved = dirname(resolved) === '.' ? '' : dirname(resolved)
      continue
    }
    const here = posix.join(resolved, name)
    const found = await lstat(join(root, here)).catch(() => undefined)
    if (!found?.isSymbolicLink() || (hops += 1) > 40) {
      resolved = here
      continue
    }
    const link = await readlink(join(root, here))
    if (link.startsWith('/')) resolved = ''
    waiting = [...link.split('/'), ...waiting]
  }
  return join(root, resolved)
}
