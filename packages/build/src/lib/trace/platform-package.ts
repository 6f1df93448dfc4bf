import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'

import { decompressGzip, readTar } from '@fairlead/oci/archive'

import { nativeUnusable } from '../errors.ts'
import { hashKey } from '../layers/cache.ts'
import type { BuildCache } from '../layers/cache.ts'
import { downloadPackage, viewDist } from '../npm-package.ts'
import type { NpmOptions } from '../npm-package.ts'
import type { Project } from '../source/project.ts'

/** What it takes to fetch a package that is not installed. */
export interface Fetching extends NpmOptions {
  cache: BuildCache
}

const MAX_FILE_BYTES = 512 << 20

/**
 * A folder with an optional package that the lock file has for another platform than this machine's: fetched once, checked
 * against the lock file's integrity, kept in the cache. `undefined` when it is installed, and when the lock file has no integrity
 * for it. Throws `FAIRLEAD_BUILD_NATIVE`.
 */
export async function installPlatformPackage(
  project: Project,
  path: string,
  fetching: Fetching,
): Promise<string | undefined> {
  const { version, integrity, name: alias } = project.lock.packages.get(path) ?? {}
  if (await stat(join(project.lock.root, path)).catch(() => undefined)) return undefined
  const name = alias ?? path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
  if (version === undefined || !integrity?.startsWith('sha512-')) return undefined
  const { cache, signal } = fetching
  const place = join(cache.dir, 'packages', hashKey(integrity))
  const isKnown = (): Promise<boolean> =>
    stat(place).then(
      () => true,
      () => false,
    )
  if (await isKnown()) return place
  const key = `package-${hashKey(integrity)}`
  await cache.exclusively(
    key,
    async () => {
      if (await isKnown()) return
      await cache.scratch(async (dir) => {
        const tarball = await download(`${name}@${version}`, { ...fetching, dir, name, integrity })
        await unpack(tarball, join(dir, 'content'))
        await mkdir(dirname(place), { recursive: true })
        await rename(join(dir, 'content'), place)
      })
    },
    signal,
  )
  return place
}

async function download(
  spec: string,
  options: Fetching & { dir: string; name: string; integrity: string },
): Promise<string> {
  const hint = 'Check that "npm ping" succeeds, or install it: npm install --os=linux --cpu=arm64 --libc=glibc'
  try {
    const dist = await viewDist(spec, options)
    if (!dist) throw nativeUnusable(options.name, `"${spec}" is not in the npm registry`, hint)
    const { path, integrity } = await downloadPackage(spec, dist, options)
    if (integrity === options.integrity) return path
    throw nativeUnusable(options.name, `its SHA-512 is ${integrity}, locked is ${options.integrity}`, hint)
  } catch (error) {
    const { code } = error as { code?: string }
    if (options.signal?.aborted || code === 'FAIRLEAD_BUILD_NATIVE' || code === 'FAIRLEAD_BUILD_DISK_FULL') throw error
    throw nativeUnusable(options.name, `npm could not deliver "${spec}"`, hint, error)
  }
}

/** Files of an npm tarball, without the folder all of them lie in. */
async function unpack(tarball: string, dir: string): Promise<void> {
  const tar = readTar(decompressGzip(createReadStream(tarball)), { maxMemberBytes: MAX_FILE_BYTES })
  for await (const member of tar) {
    const path = member.path.slice(member.path.indexOf('/') + 1)
    if (member.type !== 'file' || path === '') continue
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await pipeline(member.body, createWriteStream(join(dir, path), { mode: member.mode & 0o111 ? 0o755 : 0o644 }))
  }
}
