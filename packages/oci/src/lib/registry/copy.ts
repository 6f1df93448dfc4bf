import { digestMismatch } from '../errors.ts'
import { createDigester, splitDigest } from '../spec/digest.ts'
import { isIndexType } from '../spec/media-types.ts'
import { parseReference, renderReference } from '../spec/reference.ts'
import type { Reference } from '../spec/reference.ts'
import { createRegistryClient } from './client.ts'
import type { RegistryClient } from './client.ts'
import { choosePlatform } from './copy-tree.ts'
import type { TransferEvent, TreeSource, TreeTarget } from './copy-tree.ts'
import { againWhenDamaged, registrySource } from './pull.ts'
import { pushTree, pushedAs, registryTarget } from './push.ts'
import type { PushedImage } from './push.ts'

/** How to copy. */
export interface CopyOptions {
  /** Default: an anonymous client. */
  client?: RegistryClient | undefined
  /** The client for the target; default: the same. */
  targetClient?: RegistryClient | undefined
  /** Of an index, only the image for this platform; default: all of it. */
  platform?: string | undefined
  /** Whether signatures, SBOMs and what else refers to the image come along; default false. */
  withReferrers?: boolean | undefined
  /** Blobs that are copied at the same time; default 4. */
  parallel?: number | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((event: TransferEvent) => void) | undefined
}

/** A copied image. */
export type CopiedImage = PushedImage

/**
 * Copies an image, an index with all its platforms, or an artifact from one registry to another, or within one, where
 * blobs are mounted and not moved. Nothing is written to the disk; the target checks every blob against its
 * digest. The tag comes last. Throws `FAIRLEAD_OCI_REGISTRY_*`.
 */
export async function copyImage(from: string, to: string, options: CopyOptions = {}): Promise<CopiedImage> {
  const { client = createRegistryClient(), signal } = options
  const targetClient = options.targetClient ?? client
  const before = client.counts.requests + (targetClient === client ? 0 : targetClient.counts.requests)
  const source = parseReference(from)
  const target = parseReference(to)
  const top = await client.manifest(source, signal)
  const root =
    options.platform && isIndexType(top.descriptor.mediaType)
      ? choosePlatform(renderReference(source), top.bytes, options.platform)
      : top.descriptor
  const isNear = source.registry === target.registry
  const sink = registryTarget(targetClient, target, { mountFrom: () => (isNear ? [source.repository] : []) })
  const tree = registrySource(client, source, top)
  const counts = await pushTree(
    targetClient,
    checkedSource(tree),
    root,
    target,
    againFrom(client, source, sink),
    options,
  )
  const after = client.counts.requests + (targetClient === client ? 0 : targetClient.counts.requests)
  return { ...counts, ...pushedAs(target, root), requests: after - before }
}

/** Content is held against its digest on the way, so that a source that lies is told from a target that refuses. */
function checkedSource(source: TreeSource): TreeSource {
  return {
    ...source,
    async *blob(descriptor, offset, signal) {
      const { algorithm } = splitDigest(descriptor.digest)
      // What is taken up in the middle is checked by the target alone.
      const digester = offset === 0 ? createDigester(algorithm) : undefined
      let last: Uint8Array | undefined
      for await (const chunk of source.blob(descriptor, offset, signal)) {
        if (last) yield last
        digester?.update(chunk)
        last = chunk
      }
      const actual = digester?.digest() ?? descriptor.digest
      if (actual !== descriptor.digest) throw digestMismatch(descriptor.digest, actual)
      if (last) yield last
    },
  }
}

function againFrom(client: RegistryClient, source: Reference, sink: TreeTarget): TreeTarget {
  return {
    ...sink,
    putBlob: (descriptor, transfer) =>
      againWhenDamaged(client, { ...source, digest: descriptor.digest }, transfer.signal, () =>
        sink.putBlob(descriptor, transfer),
      ),
  }
}
