import { platformMissing, registryAnswer } from '../errors.ts'
import type { Layout, ResolvedImage } from '../layout/layout.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor, ImageConfig, ImageIndex, ImageManifest } from '../spec/image.ts'
import { compressionOf, isIndexType, isManifestType } from '../spec/media-types.ts'
import { hostPlatform, matchesPlatform, parsePlatform, renderPlatform } from '../spec/platform.ts'
import { parseReference, renderReference } from '../spec/reference.ts'
import type { Reference } from '../spec/reference.ts'
import { createRegistryClient } from './client.ts'
import type { RegistryClient } from './client.ts'

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
  const platform = options.platform ? parsePlatform(options.platform) : hostPlatform()
  const text = renderReference(reference)
  const index = parseObject(text, top.bytes) as ImageIndex
  const offered = (index.manifests ?? []).filter((entry) => entry.platform && isManifestType(entry.mediaType))
  const match = offered.find((entry) => entry.platform && matchesPlatform(entry.platform, platform))
  const names = offered.map((entry) => (entry.platform ? renderPlatform(entry.platform) : ''))
  if (!match) throw platformMissing(text, renderPlatform(platform), names)
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
  for (let attempt = 1; ; attempt += 1) {
    try {
      await layout.writeBlob(client.blob(reference, descriptor, signal), digest)
      break
    } catch (error) {
      signal?.throwIfAborted()
      const isPassing = ['FAIRLEAD_OCI_REGISTRY_UNREACHABLE', 'FAIRLEAD_OCI_DIGEST_MISMATCH'].includes(codeOf(error))
      if (!isPassing || attempt > client.retries) throw error
      await client.pause(attempt, signal)
    }
  }
  onProgress?.({ digest, sizeBytes, isKnown: false })
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

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? ''
}
