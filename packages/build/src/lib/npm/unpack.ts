import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { readTar } from '@fairlead/oci/archive'
import type { TarMember } from '@fairlead/oci/archive'

import { LeftToNpm } from './left-to-npm.ts'
import { folded } from './plan.ts'

/** Far above what npm packages have, and what a bomb would pass. */
const LIMITS = { maxMembers: 200_000, maxTotalBytes: 2 ** 31 }
/** Members larger than this are written in pieces. */
const WHOLE_BYTES = 1 << 20

/**
 * Writes the files of an npm tarball into `dir`, which must be new, with names and modes as npm gives them, and answers their
 * paths. Links are passed over. Throws {@link LeftToNpm} for what lies outside the package's folder, or twice at one place.
 */
export async function unpackTarball(tar: AsyncIterable<Uint8Array>, dir: string): Promise<Set<string>> {
  mkdirSync(dir, { recursive: true })
  const package_ = new PackageFolder(dir)
  for await (const member of readTar(tar, LIMITS)) await package_.take(member)
  return package_.end()
}

class PackageFolder {
  readonly #dir: string
  readonly #paths = new Set<string>()
  readonly #places = new Set<string>()
  readonly #folders = new Set<string>(['.'])
  #top: string | undefined

  constructor(dir: string) {
    this.#dir = dir
  }

  async take(member: TarMember): Promise<void> {
    const slash = member.path.indexOf('/')
    const top = slash === -1 ? member.path : member.path.slice(0, slash)
    if ((this.#top ??= top) !== top) throw new LeftToNpm('a tarball has more than one folder')
    const path = slash === -1 ? '' : member.path.slice(slash + 1)
    if (member.type === 'symlink' || member.type === 'hardlink' || path === '') return
    if (member.type === 'directory') this.#makeFolder(path)
    else if (member.type === 'file') await this.#write(path, member)
    else throw new LeftToNpm(`a tarball has a ${member.type}`)
  }

  end(): Set<string> {
    if (!this.#paths.has('package.json')) throw new LeftToNpm('a tarball has no package.json')
    return this.#paths
  }

  async #write(given: string, member: TarMember): Promise<void> {
    // npm gives it the other name, unless a file of that name came before.
    const path = given.replace(/(^|\/)\.gitignore$/, '$1.npmignore')
    if (path !== given && this.#paths.has(path)) return
    this.#claim(path)
    this.#paths.add(path)
    this.#makeFolder(dirname(path))
    const mode = modeOf(member.mode)
    const target = join(this.#dir, path)
    if (member.sizeBytes <= WHOLE_BYTES) return writeFileSync(target, await member.bytes(), { mode, flag: 'wx' })
    const file = openSync(target, 'wx', mode)
    try {
      for await (const chunk of member.body) writeAll(file, chunk)
    } finally {
      closeSync(file)
    }
  }

  #makeFolder(path: string): void {
    if (this.#folders.has(path)) return
    this.#makeFolder(dirname(path))
    this.#claim(path)
    this.#folders.add(path)
    mkdirSync(join(this.#dir, path), { mode: 0o755 })
  }

  #claim(path: string): void {
    const place = folded(path)
    if (this.#places.has(place)) throw new LeftToNpm(`a tarball has "${path}" twice`)
    this.#places.add(place)
  }
}

/** Everybody may read, those may execute that the tarball says (pacote); nothing runs as its owner. */
function modeOf(mode: number): number {
  if (mode & 0o7000) throw new LeftToNpm('a tarball has a file that changes who runs it')
  return ((mode | 0o666) & ~0o022) | 0o600
}

function writeAll(file: number, chunk: Uint8Array): void {
  for (let at = 0; at < chunk.byteLength;) at += writeSync(file, chunk, at)
}
