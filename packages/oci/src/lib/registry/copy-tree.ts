import { platformMissing, registryAnswer } from '../errors.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor, ImageIndex, ImageManifest } from '../spec/image.ts'
import { isIndexType, isManifestType, mediaTypes } from '../spec/media-types.ts'
import { matchesPlatform, parsePlatform, renderPlatform } from '../spec/platform.ts'
import { parseJson } from './answers.ts'
import { MAX_MANIFEST_BYTES } from './client.ts'

/** Where a tree of manifests and blobs is read from. */
export interface TreeSource {
  /** What errors name. */
  readonly name: string
  manifest(descriptor: Descriptor): Promise<Uint8Array>
  blob(descriptor: Descriptor, offset: number, signal: AbortSignal): AsyncIterable<Uint8Array>
  referrers(subject: Descriptor): Promise<readonly Descriptor[]>
}

/** Where it goes to. */
export interface TreeTarget {
  /** Whether a manifest is there, and with it all that it points at. */
  hasManifest(descriptor: Descriptor, signal: AbortSignal): Promise<boolean>
  putBlob(descriptor: Descriptor, transfer: BlobTransfer): Promise<'known' | 'mounted' | 'done'>
  putManifest(descriptor: Descriptor, bytes: Uint8Array, signal: AbortSignal): Promise<void>
  /** Files a manifest that is there under its subject. */
  putReferrer(subject: Descriptor, referrer: Descriptor, bytes: Uint8Array, signal: AbortSignal): Promise<void>
}

/** The content of a blob and who hears of its bytes. */
export interface BlobTransfer {
  readonly open: (offset: number) => AsyncIterable<Uint8Array>
  readonly onMoved: (bytes: number) => void
  readonly signal: AbortSignal
}

/** What became of one blob. `moved` comes often while its bytes move. */
export interface TransferEvent {
  digest: Digest
  mediaType: string
  sizeBytes: number
  /** `known`: it was there; `mounted`: the registry took it from another repository; `done`: it was moved. */
  state: 'started' | 'moved' | 'known' | 'mounted' | 'done'
  /** Bytes of this blob that have moved so far. */
  movedBytes: number
}

/** What a transfer did. */
export interface TransferCounts {
  /** Blobs that were moved, that another repository gave, and that were there. */
  blobs: { moved: number; mounted: number; known: number }
  /** Manifests and indexes that were written. */
  manifests: number
  /** Bytes of the blobs that were moved. */
  movedBytes: number
  /** Manifests that refer to others: signatures, SBOMs and the like. */
  referrers: number
}

export interface TreeOptions {
  /** Blobs that move at the same time; default 4. */
  parallel?: number | undefined
  withReferrers?: boolean | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((event: TransferEvent) => void) | undefined
}

interface Node {
  descriptor: Descriptor
  bytes: Uint8Array
  children: readonly Descriptor[]
  blobs: readonly Descriptor[]
}

const MAX_MANIFESTS = 2_000
const MAX_DEPTH = 8
const BLOBS_AT_ONCE = 4

/**
 * Moves what `root` points at: blobs, then manifests from the leaves up, so that whatever is named is whole. The root
 * itself is left to `finish`, which gives it its name when all else, referrers included, is there, and tells whether it
 * had to.
 */
export async function transferTree(
  source: TreeSource,
  root: Descriptor,
  target: TreeTarget,
  options: TreeOptions & { finish(bytes: Uint8Array, signal: AbortSignal): Promise<boolean> },
): Promise<TransferCounts> {
  const counts: TransferCounts = {
    blobs: { moved: 0, mounted: 0, known: 0 },
    manifests: 0,
    movedBytes: 0,
    referrers: 0,
  }
  const failed = new AbortController()
  const signal = options.signal ? AbortSignal.any([options.signal, failed.signal]) : failed.signal
  const walk = new Map<Digest, Node>()
  const rootNode = await read(source, root)

  await move(rootNode, 0)
  if (options.withReferrers) {
    // The root may not be named yet, but has to be there to be referred to.
    if (await hasReferrers()) await put(rootNode)
    // Those that are found on the way are followed there.
    const nodes = Array.from(walk.values())
    for (const node of nodes) await moveReferrers(node.descriptor, 0)
  }
  if (await options.finish(rootNode.bytes, signal)) counts.manifests += 1
  return counts

  /** The blobs below a manifest and the manifests below it; not the manifest. */
  async function move(node: Node, depth: number): Promise<void> {
    const order: Node[] = []
    await collect(node, depth, order)
    const blobs = new Map(order.flatMap((each) => each.blobs.map((blob) => [blob.digest, blob] as const)))
    await moveBlobs([...blobs.values()])
    for (const each of order) if (each !== node) await put(each)
  }

  /** Manifests below `node` that are not at the target, leaves first. */
  async function collect(node: Node, depth: number, order: Node[]): Promise<void> {
    if (walk.has(node.descriptor.digest)) return
    if (depth > MAX_DEPTH || walk.size >= MAX_MANIFESTS) {
      throw registryAnswer(source.name, `its indexes are deeper than ${MAX_DEPTH} or name more than ${MAX_MANIFESTS}`)
    }
    walk.set(node.descriptor.digest, node)
    if (await target.hasManifest(node.descriptor, signal)) {
      await collectKnown(node)
      return
    }
    for (const child of node.children) await collect(await read(source, child), depth + 1, order)
    order.push(node)
  }

  /** What is there already still has referrers that may not be. */
  async function collectKnown(node: Node): Promise<void> {
    if (options.withReferrers) for (const child of node.children) walk.set(child.digest, await read(source, child))
  }

  async function moveBlobs(waiting: Descriptor[]): Promise<void> {
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await moveBlob(next)
    }
    const workers = Array.from({ length: options.parallel ?? BLOBS_AT_ONCE }, () =>
      work().catch((error: unknown) => {
        failed.abort(error)
        throw error
      }),
    )
    await Promise.allSettled(workers)
    if (failed.signal.aborted) throw options.signal?.aborted ? options.signal.reason : failed.signal.reason
  }

  async function moveBlob(descriptor: Descriptor): Promise<void> {
    signal.throwIfAborted()
    const { digest, mediaType, size: sizeBytes } = descriptor
    let movedBytes = 0
    const tell = (state: TransferEvent['state']): void =>
      options.onProgress?.({ digest, mediaType, sizeBytes, state, movedBytes })
    tell('started')
    const state = await target.putBlob(descriptor, {
      open: (offset) => {
        movedBytes = offset
        return source.blob(descriptor, offset, signal)
      },
      onMoved(bytes) {
        movedBytes += bytes
        counts.movedBytes += bytes
        tell('moved')
      },
      signal,
    })
    counts.blobs[state === 'done' ? 'moved' : state] += 1
    tell(state)
  }

  async function put({ descriptor, bytes }: Node): Promise<void> {
    await target.putManifest(descriptor, bytes, signal)
    counts.manifests += 1
  }

  async function hasReferrers(): Promise<boolean> {
    return (await source.referrers(rootNode.descriptor)).length > 0
  }

  /** Signatures may be signed and SBOMs too, so what refers to a referrer comes along. */
  async function moveReferrers(subject: Descriptor, depth: number): Promise<void> {
    for (const referrer of await source.referrers(subject)) {
      if (walk.has(referrer.digest)) continue
      const node = await read(source, referrer)
      await move(node, depth + 1)
      await target.putReferrer(subject, node.descriptor, node.bytes, signal)
      counts.referrers += 1
      await moveReferrers(node.descriptor, depth + 1)
    }
  }
}

async function read(source: TreeSource, descriptor: Descriptor): Promise<Node> {
  if (descriptor.size > MAX_MANIFEST_BYTES) {
    throw registryAnswer(source.name, `the manifest "${descriptor.digest}" is larger than ${MAX_MANIFEST_BYTES} bytes`)
  }
  const bytes = await source.manifest(descriptor)
  return { descriptor, bytes, ...partsOf(source.name, descriptor, bytes) }
}

/** What a manifest points at. Layers that may not be distributed stay where they are. */
export function partsOf(
  name: string,
  { mediaType, digest }: Descriptor,
  bytes: Uint8Array,
): { children: readonly Descriptor[]; blobs: readonly Descriptor[] } {
  const value = parseJson(bytes) as Partial<ImageIndex & ImageManifest> | null | undefined
  if (isIndexType(mediaType) && Array.isArray(value?.manifests)) {
    const isChild = ({ mediaType: type }: Descriptor): boolean => isManifestType(type) || isIndexType(type)
    return {
      children: value.manifests.filter(isChild),
      blobs: value.manifests.filter((child) => !isChild(child)),
    }
  }
  if (!isManifestType(mediaType) || !value?.config || !Array.isArray(value.layers)) {
    throw registryAnswer(name, `"${digest}" is no image and no index but "${mediaType}"`)
  }
  const layers = value.layers.filter(({ mediaType: type }) => !/\.(foreign|nondistributable)\./.test(type))
  return { children: [], blobs: [value.config, ...layers] }
}

/** The descriptor in an index for a platform. Throws `FAIRLEAD_OCI_PLATFORM_MISSING`. */
export function choosePlatform(name: string, bytes: Uint8Array, platform: string): Descriptor {
  const wanted = parsePlatform(platform)
  const index = parseJson(bytes) as ImageIndex | null | undefined
  if (!Array.isArray(index?.manifests)) throw registryAnswer(name, 'the manifest is no JSON, or no index')
  const offered = index.manifests.filter((entry) => entry.platform && isManifestType(entry.mediaType))
  const match = offered.find((entry) => entry.platform && matchesPlatform(entry.platform, wanted))
  const names = offered.map((entry) => (entry.platform ? renderPlatform(entry.platform) : ''))
  if (!match) throw platformMissing(name, renderPlatform(wanted), names)
  return match
}

/** How a descriptor of a manifest is listed among referrers (distribution-spec, "Listing Referrers"). */
export function describeReferrer(descriptor: Descriptor, bytes: Uint8Array): Descriptor {
  const manifest = parseJson(bytes) as Partial<ImageManifest> | null | undefined
  const artifactType =
    manifest?.artifactType ?? (descriptor.mediaType === mediaTypes.index ? undefined : manifest?.config?.mediaType)
  const { mediaType, digest, size } = descriptor
  return {
    mediaType,
    digest,
    size,
    ...(artifactType ? { artifactType } : {}),
    ...(manifest?.annotations ? { annotations: manifest.annotations } : {}),
  }
}
