import { blobDamaged, registryAnswer } from '../errors.ts'
import type { Layout, ResolvedImage } from '../layout/layout.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor, ImageConfig, ImageManifest } from '../spec/image.ts'
import { compressionOf, isIndexType, isManifestType } from '../spec/media-types.ts'
import { hostPlatform, renderPlatform } from '../spec/platform.ts'
import { parseReference, renderReference } from '../spec/reference.ts'
import type { Reference } from '../spec/reference.ts'
import { createRegistryClient } from './client.ts'
import { codeOf } from './exchange.ts'
import type { RegistryClient } from './client.ts'
import { choosePlatform as chooseFrom, transferTree } from './copy-tree.ts'
import type { TransferCounts, TransferEvent, TreeSource, TreeTarget } from './copy-tree.ts'
import { referrersOf } from './referrers.ts'

/** What to pull and where to put it. */
export interface PullOptions {
  layout: Layout
  /** Default: Linux on the processor of this machine. */
  platform?: string | undefined
  /** Default: an anonymous client. */
  client?: RegistryClient | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((event: PullEvent) => void) | undefined
}

/** A blob that is now in the layout. */
export interface PullEvent {
  digest: Digest
  sizeBytes: number
  /** Whether it was there before. */
  isKnown: boolean
}

/** A pulled image. */
export interface PulledImage extends ResolvedImage {
  /** The reference with the digest the registry gave for it: what to write down to get the same again. */
  pinned: string
}

const MAX_CONFIG_BYTES = 8 << 20
const BLOBS_AT_ONCE = 3

/**
 * Pulls the image for one platform into the layout and tags it there by its reference. Every blob is checked against
 * its digest; blobs that are there are not fetched. Blobs come before the tag, so a pull that is broken off leaves no
 * image behind that is not whole.
 */
export async function pullImage(text: string, options: PullOptions): Promise<PulledImage> {
  const client = options.client ?? createRegistryClient()
  const reference = parseReference(text)
  const top = await client.manifest(reference, options.signal)
  const { descriptor, bytes } = await choosePlatform(client, reference, top, options)
  const manifest = parseManifest(text, descriptor, bytes)
  for (const layer of manifest.layers) {
    if (!compressionOf(layer.mediaType)) throw registryAnswer(text, `a layer is of type "${layer.mediaType}"`)
  }
  if (manifest.config.size > MAX_CONFIG_BYTES) throw registryAnswer(text, 'its configuration is too large')
  await pullBlobs(client, reference, [manifest.config, ...manifest.layers], options)
  await options.layout.writeBlob(bytes, descriptor.digest)
  await options.layout.tag(renderReference(reference), descriptor)
  const config = JSON.parse((await options.layout.readBlob(manifest.config.digest)).toString()) as ImageConfig
  const { registry, repository } = reference
  return {
    descriptor,
    manifest,
    config,
    pinned: renderReference({ registry, repository, digest: top.descriptor.digest }),
  }
}

/** What to pull as it is, with all its platforms. */
export interface PullTreeOptions {
  layout: Layout
  /** Default: an anonymous client. */
  client?: RegistryClient | undefined
  /** Of an index, only the image for this platform; default: all of it. */
  platform?: string | undefined
  /** Whether signatures, SBOMs and what else refers to the image come along; default false. */
  withReferrers?: boolean | undefined
  /** Blobs that are fetched at the same time; default 4. */
  parallel?: number | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((event: TransferEvent) => void) | undefined
}

/** What was pulled as it is. */
export interface PulledTree extends TransferCounts {
  /** What the reference means in the layout now: an image, an index or an artifact. */
  descriptor: Descriptor
  reference: string
  /** The reference with the digest the registry gave for it. */
  pinned: string
}

/**
 * Pulls what a reference means, an index with all its platforms or an artifact too, into the layout, and tags it there
 * by its reference. Like {@link pullImage}, it leaves nothing behind that is not whole.
 */
export async function pullTree(text: string, options: PullTreeOptions): Promise<PulledTree> {
  const { layout, client = createRegistryClient(), signal } = options
  const reference = parseReference(text)
  const top = await client.manifest(reference, signal)
  const root =
    options.platform && isIndexType(top.descriptor.mediaType)
      ? chooseFrom(renderReference(reference), top.bytes, options.platform)
      : top.descriptor
  const source = registrySource(client, reference, top)
  const known: TreeSource = {
    ...source,
    manifest: async (descriptor) =>
      (await layout.hasBlob(descriptor.digest)) ? layout.readBlob(descriptor.digest) : source.manifest(descriptor),
  }
  const counts = await transferTree(known, root, layoutTarget(client, layout, reference), {
    ...options,
    async finish(bytes) {
      await layout.writeBlob(bytes, root.digest)
      await layout.tag(renderReference(reference), root)
      return true
    },
  })
  const { registry, repository } = reference
  const pinned = renderReference({ registry, repository, digest: top.descriptor.digest })
  return { ...counts, descriptor: root, reference: renderReference(reference), pinned }
}

/** A repository as a source of trees; `top` is what was read of it already. */
export function registrySource(client: RegistryClient, reference: Reference, top: Fetched): TreeSource {
  const { registry, repository } = reference
  return {
    name: renderReference(reference),
    async manifest({ digest }) {
      if (digest === top.descriptor.digest) return top.bytes
      return (await client.manifest({ registry, repository, digest })).bytes
    },
    blob: (descriptor, offset, signal) => client.blob({ registry, repository }, descriptor, { offset, signal }),
    referrers: ({ digest }) => referrersOf(client, { registry, repository, digest }, undefined, undefined),
  }
}

function layoutTarget(client: RegistryClient, layout: Layout, reference: Reference): TreeTarget {
  return {
    // That a manifest is there does not tell that all of its blobs are.
    hasManifest: async () => false,
    async putBlob({ digest }, { open, onMoved, signal }) {
      if (await layout.hasBlob(digest)) return 'known'
      await fetchBlob(client, layout, { ...reference, digest }, signal, async function* () {
        for await (const chunk of open(0)) {
          onMoved(chunk.byteLength)
          yield chunk
        }
      })
      return 'done'
    },
    async putManifest({ digest }, bytes) {
      await layout.writeBlob(bytes, digest)
    },
    async putReferrer(_subject, descriptor, bytes) {
      await layout.writeBlob(bytes, descriptor.digest)
      await layout.attach(descriptor)
    },
  }
}

interface Fetched {
  descriptor: Descriptor
  bytes: Buffer
}

async function choosePlatform(
  client: RegistryClient,
  reference: Reference,
  top: Fetched,
  options: PullOptions,
): Promise<Fetched> {
  if (!isIndexType(top.descriptor.mediaType)) return top
  const platform = options.platform ?? renderPlatform(hostPlatform())
  const match = chooseFrom(renderReference(reference), top.bytes, platform)
  return client.manifest({ ...reference, digest: match.digest }, options.signal)
}

async function pullBlobs(
  client: RegistryClient,
  reference: Reference,
  descriptors: readonly Descriptor[],
  options: PullOptions,
): Promise<void> {
  const waiting = [...new Map(descriptors.map((descriptor) => [descriptor.digest, descriptor])).values()]
  const failed = new AbortController()
  const signal = options.signal ? AbortSignal.any([options.signal, failed.signal]) : failed.signal
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      await pullBlob(client, reference, next, { ...options, signal })
    }
  }
  const workers = Array.from({ length: BLOBS_AT_ONCE }, () =>
    work().catch((error: unknown) => {
      failed.abort(error)
      throw error
    }),
  )
  await Promise.allSettled(workers)
  await Promise.all(workers)
}

async function pullBlob(
  client: RegistryClient,
  reference: Reference,
  descriptor: Descriptor,
  { layout, signal, onProgress }: PullOptions,
): Promise<void> {
  const { digest, size: sizeBytes } = descriptor
  if (await layout.hasBlob(digest)) {
    onProgress?.({ digest, sizeBytes, isKnown: true })
    return
  }
  await fetchBlob(client, layout, { ...reference, digest }, signal, () =>
    client.blob(reference, descriptor, { signal }),
  )
  onProgress?.({ digest, sizeBytes, isKnown: false })
}

async function fetchBlob(
  client: RegistryClient,
  layout: Layout,
  blob: Reference & { digest: Digest },
  signal: AbortSignal | undefined,
  open: () => AsyncIterable<Uint8Array>,
): Promise<void> {
  await againWhenDamaged(client, blob, signal, () => layout.writeBlob(open(), blob.digest))
}

/** Moves a blob; one that came damaged is fetched again. */
export async function againWhenDamaged<T>(
  client: RegistryClient,
  { registry, repository, digest }: Reference & { digest: Digest },
  signal: AbortSignal | undefined,
  move: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await move()
    } catch (error) {
      signal?.throwIfAborted()
      if (codeOf(error) !== 'FAIRLEAD_OCI_DIGEST_MISMATCH') throw error
      if (attempt > client.retries) throw blobDamaged(renderReference({ registry, repository, digest }), error)
      await client.pause(attempt, signal)
    }
  }
}

function parseManifest(text: string, descriptor: Descriptor, bytes: Buffer): ImageManifest {
  const manifest = parseObject(text, bytes) as ImageManifest
  if (!isManifestType(descriptor.mediaType) || !manifest.config || !Array.isArray(manifest.layers)) {
    throw registryAnswer(text, `it is no image but "${descriptor.mediaType}"`)
  }
  return manifest
}

function parseObject(text: string, bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch (error) {
    throw registryAnswer(text, 'the manifest is no JSON', error)
  }
}
