import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readFile, readdir, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { sweepIngest } from '../layout/whole-file.ts'
import { currentProcess } from '../layout/process-identity.ts'
import type { Layout, ResolvedImage } from '../layout/layout.ts'
import type { Digest } from '../spec/digest.ts'
import { splitDigest } from '../spec/digest.ts'
import type { Descriptor } from '../spec/image.ts'
import { unpackLayer } from './unpack.ts'

/**
 * Layers unpacked once and shared read-only by every container. A layer is a directory named by its diff id; a
 * chain (several layers merged into one tree) by its chain id (image-spec, config.md). Both are whole or absent.
 */
export interface LayerCache {
  readonly dir: string
  /** Directories to stack, lowest first, named relative to {@link LayerCache.dir}. */
  stack(image: ResolvedImage): Promise<readonly string[]>
  /** One directory with everything the image holds, absolute. */
  flatten(image: ResolvedImage): Promise<string>
  /** Removes what no image of `images` needs, nobody has asked for within `unusedMs` and no container of the kind stands on. */
  prune(
    images: readonly ResolvedImage[],
    unusedMs: number,
    isMounted?: (name: string) => boolean,
  ): Promise<readonly string[]>
}

/** Options of {@link openLayerCache}. */
export interface LayerCacheOptions {
  /** Own directory of the cache. */
  readonly dir: string
  /** Where layers come from. */
  readonly layout: Layout
  /** Take the write permission from files: for {@link cloneTree}. Default false. */
  readonly readOnlyFiles?: boolean | undefined
}

interface Layer {
  readonly descriptor: Descriptor
  readonly diffId: Digest
}

/** More lower directories than this do not fit into the options of one mount. */
const MAX_STACKED = 40

/** Opens the layer cache in `dir`, sweeping what killed processes left half-made. */
export async function openLayerCache(options: LayerCacheOptions): Promise<LayerCache> {
  const { dir, layout } = options
  const ingest = join(dir, '.ingest')
  await mkdir(ingest, { recursive: true })
  await sweepIngest(ingest)
  const making = new Map<string, Promise<Meta>>()

  /** Makes the entry `name` unless it is there; two callers share one making. */
  function ensure(name: string, fill: (dir: string) => Promise<Meta>): Promise<Meta> {
    const running = making.get(name)
    if (running) return running
    const made = make(name, fill).finally(() => making.delete(name))
    making.set(name, made)
    return made
  }

  async function make(name: string, fill: (dir: string) => Promise<Meta>): Promise<Meta> {
    const kept = await readMeta(join(dir, name))
    if (kept) {
      // The time of the last use, for prune.
      const now = new Date()
      await utimes(join(dir, name, 'meta.json'), now, now)
      return kept
    }
    const temporary = join(ingest, `${encodeURIComponent(currentProcess())}.${randomUUID()}`)
    try {
      await mkdir(join(temporary, 'fs'), { recursive: true, mode: 0o755 })
      const meta = await fill(join(temporary, 'fs'))
      await writeFile(join(temporary, 'meta.json'), JSON.stringify(meta))
      await rename(temporary, join(dir, name)).catch(async (error: NodeJS.ErrnoException) => {
        // Another process was first with the same content.
        if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
      })
      return meta
    } finally {
      await rm(temporary, { recursive: true, force: true })
    }
  }

  function ensureLayer({ descriptor, diffId }: Layer): Promise<Meta> {
    return ensure(nameOf(diffId), (target) =>
      unpackLayer(createReadStream(layout.blobPath(descriptor.digest)), descriptor.mediaType, target, {
        diffId,
        whiteouts: 'skip',
        readOnlyFiles: options.readOnlyFiles,
      }),
    )
  }

  async function ensureChain(layers: readonly Layer[]): Promise<string> {
    const name = `chain-${nameOf(chainIdOf(layers.map(({ diffId }) => diffId)))}`
    await ensure(name, async (target) => {
      for (const { descriptor, diffId } of layers) {
        await unpackLayer(createReadStream(layout.blobPath(descriptor.digest)), descriptor.mediaType, target, {
          diffId,
          readOnlyFiles: options.readOnlyFiles,
        })
      }
      return { hasWhiteouts: false }
    })
    return name
  }

  return {
    dir,
    async stack(image) {
      const layers = layersOf(image)
      if (layers.length > MAX_STACKED) return [join(await ensureChain(layers), 'fs')]
      const metas = await Promise.all(layers.map(ensureLayer))
      // Overlay whiteouts are device nodes and extended attributes, which this process cannot make: merge those layers.
      const merged = metas.findLastIndex(({ hasWhiteouts }) => hasWhiteouts) + 1
      const chain = merged > 0 ? [await ensureChain(layers.slice(0, merged))] : []
      const names = [...chain, ...layers.slice(merged).map(({ diffId }) => nameOf(diffId))]
      return [...new Set(names)].map((name) => join(name, 'fs'))
    },
    async flatten(image) {
      return join(dir, await ensureChain(layersOf(image)), 'fs')
    },
    async prune(images, unusedMs, isMounted = () => false) {
      const needed = new Set(images.flatMap((image) => neededBy(layersOf(image))))
      const removed: string[] = []
      for (const name of await readdir(dir)) {
        if (name === '.ingest' || needed.has(name) || making.has(name) || isMounted(name)) continue
        const age = Date.now() - (await timeOf(join(dir, name, 'meta.json')))
        if (age < unusedMs) continue
        // Out of sight first: a half-removed layer must never be found.
        const doomed = join(ingest, `${encodeURIComponent(currentProcess())}.${randomUUID()}`)
        await rename(join(dir, name), doomed)
        await rm(doomed, { recursive: true, force: true })
        removed.push(name)
      }
      return removed
    },
  }
}

/**
 * Opens each directory once, for all who ask for it: what one of them unpacks, the others have, and nobody removes what another is
 * about to use. The layout is that of who asks first.
 */
export function shareLayerCaches(open: typeof openLayerCache = openLayerCache): typeof openLayerCache {
  const opened = new Map<string, Promise<LayerCache>>()
  return (options) => {
    const key = `${options.readOnlyFiles ?? false} ${options.dir}`
    const cache = opened.get(key) ?? open(options)
    opened.set(key, cache)
    cache.catch(() => opened.delete(key))
    return cache
  }
}

interface Meta {
  readonly hasWhiteouts: boolean
}

async function readMeta(path: string): Promise<Meta | undefined> {
  const text = await readFile(join(path, 'meta.json'), 'utf8').catch(() => undefined)
  return text === undefined ? undefined : (JSON.parse(text) as Meta)
}

async function timeOf(path: string): Promise<number> {
  const { stat } = await import('node:fs/promises')
  return (await stat(path).catch(() => undefined))?.mtimeMs ?? 0
}

function layersOf({ manifest, config }: ResolvedImage): Layer[] {
  return config.rootfs.diff_ids.flatMap((diffId, at) => {
    const descriptor = manifest.layers[at]
    return descriptor ? [{ descriptor, diffId }] : []
  })
}

function neededBy(layers: readonly Layer[]): string[] {
  const diffIds = layers.map(({ diffId }) => diffId)
  const chains = diffIds.map((_, at) => `chain-${nameOf(chainIdOf(diffIds.slice(0, at + 1)))}`)
  return [...diffIds.map(nameOf), ...chains]
}

function nameOf(digest: Digest): string {
  const { algorithm, hex } = splitDigest(digest)
  return algorithm === 'sha256' ? hex : `${algorithm}-${hex}`
}

/** ChainID(L0|...|Ln) = Digest(ChainID(L0|...|Ln-1) + " " + DiffID(Ln)) (image-spec, config.md, "Layer ChainID"). */
export function chainIdOf(diffIds: readonly Digest[]): Digest {
  const [first, ...rest] = diffIds
  return rest.reduce<Digest>(
    (chain, diffId) => `sha256:${createHash('sha256').update(`${chain} ${diffId}`).digest('hex')}`,
    first ?? `sha256:${createHash('sha256').digest('hex')}`,
  )
}
