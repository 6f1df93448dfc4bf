import { blobMissing, digestMismatch } from '../errors.ts'
import { createReadStream } from 'node:fs'
import type { Layout } from '../layout/layout.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor } from '../spec/image.ts'
import { isIndexType } from '../spec/media-types.ts'
import { parseReference, renderReference } from '../spec/reference.ts'
import type { Reference } from '../spec/reference.ts'
import { createRegistryClient } from './client.ts'
import { codeOf } from './exchange.ts'
import type { RegistryClient } from './client.ts'
import { choosePlatform, partsOf, transferTree } from './copy-tree.ts'
import type { TransferCounts, TransferEvent, TreeSource, TreeTarget } from './copy-tree.ts'
import { pushBlob } from './push-blob.ts'
import type { PushBlobOptions } from './push-blob.ts'
import { fileReferrer } from './referrers.ts'

/** What to push and how. */
export interface PushOptions extends Omit<PushBlobOptions, 'mountFrom'> {
  layout: Layout
  /** Default: an anonymous client. */
  client?: RegistryClient | undefined
  /** Of an index, only the image for this platform; default: all of it. */
  platform?: string | undefined
  /** Whether signatures, SBOMs and what else refers to the image come along; default false. */
  withReferrers?: boolean | undefined
  /** Repositories of the same registry that may have some of the blobs; others that the layout names are found. */
  mountFrom?: readonly string[] | undefined
  /** Blobs that are sent at the same time; default 4. */
  parallel?: number | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((event: TransferEvent) => void) | undefined
}

/** A pushed image. */
export interface PushedImage extends TransferCounts {
  /** What the target means now, in the words of the registry. */
  descriptor: Descriptor
  reference: string
  /** The reference with the digest. */
  pinned: string
  /** Requests that were made for it. */
  requests: number
}

const READ_BYTES = 256 << 10
/** How many images of the layout are looked at for repositories that may have the same blobs. */
const MAX_RELATED = 64

/**
 * Pushes what `reference` means in the layout, an image, an index with all its platforms, or an artifact, to
 * `target`. Only blobs are sent that the registry does not have. The tag comes last: a push that is broken off leaves
 * nothing under it, and one that is made again goes on with what is missing. Throws `FAIRLEAD_OCI_REGISTRY_*`.
 */
export async function pushImage(reference: string, target: string, options: PushOptions): Promise<PushedImage> {
  const { layout, client = createRegistryClient(), signal } = options
  const to = parseReference(target)
  const before = client.counts.requests
  const root = await findRoot(layout, reference, options.platform)
  const source = layoutSource(layout, reference)
  const mountFrom = await relatedRepositories(layout, to, options.mountFrom ?? [])
  const sink = registryTarget(client, to, { ...options, mountFrom: (digest) => mountFrom(digest) })
  const counts = await pushTree(client, source, root, to, sink, options)
  signal?.throwIfAborted()
  return { ...counts, ...pushedAs(to, root), requests: client.counts.requests - before }
}

/** Moves a tree to a registry and names it there. Nothing is written when the name means it already. */
export async function pushTree(
  client: RegistryClient,
  source: TreeSource,
  root: Descriptor,
  to: Reference,
  target: TreeTarget,
  options: Pick<PushOptions, 'parallel' | 'withReferrers' | 'signal' | 'onProgress'>,
): Promise<TransferCounts> {
  const name = { ...to, ...(to.tag || to.digest ? {} : { tag: 'latest' }) }
  return transferTree(source, root, target, {
    ...options,
    async finish(bytes, signal) {
      if (name.digest && name.digest !== root.digest) throw digestMismatch(name.digest, root.digest)
      // A tag that cannot be changed can be pushed again as long as it is the same.
      if (name.tag && (await meansAlready(client, name, root.digest, signal))) return false
      await client.putManifest({ ...name, digest: root.digest }, { mediaType: root.mediaType, bytes }, { signal })
      return true
    },
  })
}

/** A repository as a place for trees. */
export function registryTarget(
  client: RegistryClient,
  to: Reference,
  options: Omit<PushBlobOptions, 'mountFrom'> & { mountFrom(digest: Digest): readonly string[] },
): TreeTarget {
  const at = (digest: Digest): Reference & { digest: Digest } => ({
    registry: to.registry,
    repository: to.repository,
    digest,
  })
  return {
    hasManifest: (descriptor, signal) => hasManifest(client, at(descriptor.digest), signal),
    putBlob: (descriptor, transfer) =>
      pushBlob(client, to, descriptor, transfer, { ...options, mountFrom: options.mountFrom(descriptor.digest) }),
    async putManifest({ digest, mediaType }, bytes, signal) {
      await client.putManifest(at(digest), { mediaType, bytes }, { signal })
    },
    async putReferrer(subject, { digest, mediaType }, bytes, signal) {
      const stored = await client.putManifest(at(digest), { mediaType, bytes }, { signal })
      if (!stored.hasSubject) await fileReferrer(client, at(subject.digest), { mediaType, digest, bytes }, signal)
    },
  }
}

export function pushedAs(to: Reference, root: Descriptor): Pick<PushedImage, 'descriptor' | 'reference' | 'pinned'> {
  const { registry, repository } = to
  const { mediaType, digest, size } = root
  return {
    descriptor: { mediaType, digest, size },
    reference: renderReference(to),
    pinned: renderReference({ registry, repository, digest }),
  }
}

async function hasManifest(client: RegistryClient, reference: Reference, signal: AbortSignal): Promise<boolean> {
  const scopes = [`repository:${reference.repository}:pull,push`]
  const path = `manifests/${reference.digest}`
  const headers = { accept: '*/*' }
  const answer = await client.send({
    reference,
    act: 'push',
    method: 'HEAD',
    path,
    headers,
    scopes,
    accept: [404],
    signal,
  })
  await answer.discard()
  return answer.status !== 404
}

async function meansAlready(
  client: RegistryClient,
  { registry, repository, tag }: Reference,
  digest: Digest,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    return (await client.resolve({ registry, repository, tag }, signal)).digest === digest
  } catch (error) {
    signal.throwIfAborted()
    if (codeOf(error) === 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND') return false
    throw error
  }
}

async function findRoot(layout: Layout, text: string, platform: string | undefined): Promise<Descriptor> {
  const name = renderReference(parseReference(text))
  const { digest } = parseReference(text)
  const named = (await layout.list()).find((entry) =>
    digest ? entry.descriptor.digest === digest : entry.reference === name,
  )
  const root = named?.descriptor ?? (digest && (await layout.resolve(text))?.descriptor)
  if (!root) throw blobMissing(layout.dir, name)
  if (!platform || !isIndexType(root.mediaType)) return root
  return choosePlatform(name, await layout.readBlob(root.digest), platform)
}

/** A layout as a source of trees. */
function layoutSource(layout: Layout, name: string): TreeSource {
  return {
    name,
    manifest: ({ digest }) => layout.readBlob(digest),
    blob: ({ digest }, offset) =>
      createReadStream(layout.blobPath(digest), { start: offset, highWaterMark: READ_BYTES }),
    referrers: ({ digest }) => layout.referrers(digest),
  }
}

/**
 * Which repositories of a registry may have a blob: those the caller names, and those that images in the layout with
 * that blob are named after, for they were pulled from there or pushed to it.
 */
async function relatedRepositories(
  layout: Layout,
  to: Reference,
  named: readonly string[],
): Promise<(digest: Digest) => readonly string[]> {
  const related = new Map<Digest, string[]>()
  const entries = (await layout.list()).map(({ reference, descriptor }) => ({
    ...parseReference(reference),
    descriptor,
  }))
  const others = entries.filter(({ registry, repository }) => registry === to.registry && repository !== to.repository)
  for (const { repository, descriptor } of others.slice(-MAX_RELATED)) {
    const bytes = await layout.readBlob(descriptor.digest).catch(() => undefined)
    if (!bytes || isIndexType(descriptor.mediaType)) continue
    for (const { digest } of partsOf(repository, descriptor, bytes).blobs) {
      related.set(digest, [...(related.get(digest) ?? []), repository])
    }
  }
  return (digest) => [...named, ...(related.get(digest) ?? [])]
}
