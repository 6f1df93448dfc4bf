import { digestMismatch, blobMissing, registryAnswer } from '../errors.ts'
import type { Layout } from '../layout/layout.ts'
import { createRegistryClient } from '../registry/client.ts'
import { codeOf } from '../registry/exchange.ts'
import type { RegistryClient } from '../registry/client.ts'
import { pushBlob } from '../registry/push-blob.ts'
import { listReferrers, putReferrer } from '../registry/referrers.ts'
import { renderCanonicalJson } from '../spec/canonical.ts'
import { createDigester, digestOf, splitDigest } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor, ImageIndex, ImageManifest } from '../spec/image.ts'
import { isIndexType, isManifestType, mediaTypes } from '../spec/media-types.ts'
import { parseReference, renderReference } from '../spec/reference.ts'
import type { Reference } from '../spec/reference.ts'

/** Where an image lies together with its signatures and attestations: a layout or a registry. */
export interface ImageHome {
  /** The reference as it was given, in full. */
  readonly reference: string
  /** Registry and repository. */
  readonly repository: string
  /** What the reference means: a manifest or an index. */
  readonly image: Descriptor
  /** Of an index the images in it; of an image nothing. */
  children(): Promise<readonly Descriptor[]>
  /** A manifest of this repository. */
  manifest(digest: Digest): Promise<Buffer>
  /** A small blob of this repository, whole and checked. */
  blob(descriptor: Descriptor): Promise<Buffer>
  referrers(digest: Digest): Promise<readonly Descriptor[]>
  /** Stores a manifest that refers to `subject`, with its blobs. */
  attach(subject: Descriptor, manifest: NewManifest, blobs: readonly Uint8Array[]): Promise<Digest>
  /** The manifest under a tag of this repository; `undefined` when there is no such tag. */
  tagged(tag: string): Promise<ImageManifest | undefined>
  /** Stores a manifest under a tag of this repository, in place of what was there. */
  putTagged(tag: string, manifest: NewManifest, blobs: readonly Uint8Array[]): Promise<Digest>
}

/** A manifest about to be stored. */
export type NewManifest = Omit<ImageManifest, 'subject'>

/** A signature or an attestation is small; an SBOM of a very large image has a few ten megabytes. */
const MAX_BLOB_BYTES = 64 << 20
const EMPTY = Buffer.from('{}')

/** An image in a layout. Throws `FAIRLEAD_OCI_BLOB_MISSING` when it is not there. */
export async function openLayoutHome(layout: Layout, text: string): Promise<ImageHome> {
  const reference = parseReference(text)
  const image = await findInLayout(layout, reference)
  if (!image) throw blobMissing(layout.dir, renderReference(reference))
  const repository = nameOf(reference)
  const store = async (manifest: object, blobs: readonly Uint8Array[]): Promise<Descriptor> => {
    for (const bytes of [EMPTY, ...blobs]) await layout.writeBlob(bytes)
    return layout.writeJson(mediaTypes.manifest, manifest)
  }
  return {
    reference: renderReference(reference),
    repository,
    image,
    children: async () => (isIndexType(image.mediaType) ? childrenOf(await layout.readBlob(image.digest)) : []),
    manifest: (digest) => layout.readBlob(digest),
    blob: async (descriptor) => layout.readBlob(checkSize(repository, descriptor).digest),
    referrers: (digest) => layout.referrers(digest),
    async attach(subject, manifest, blobs) {
      const descriptor = await store({ ...manifest, subject: plain(subject) }, blobs)
      await layout.attach({ ...descriptor, artifactType: manifest.artifactType })
      return descriptor.digest
    },
    async tagged(tag) {
      const name = `${repository}:${tag}`
      const found = (await layout.list()).find((entry) => entry.reference === name)
      return found && parseManifest(await layout.readBlob(found.descriptor.digest))
    },
    async putTagged(tag, manifest, blobs) {
      const descriptor = await store(manifest, blobs)
      await layout.tag(`${repository}:${tag}`, descriptor)
      return descriptor.digest
    },
  }
}

/** An image in a registry. Throws `FAIRLEAD_OCI_REGISTRY_*`. */
export async function openRegistryHome(
  text: string,
  options: { client?: RegistryClient | undefined; signal?: AbortSignal | undefined } = {},
): Promise<ImageHome> {
  const { client = createRegistryClient(), signal } = options
  const reference = parseReference(text)
  const image = plain(await client.resolve(reference, signal))
  const { registry, repository } = reference
  const at = (digest: Digest): Reference & { digest: Digest } => ({ registry, repository, digest })
  const manifest = async (digest: Digest): Promise<Buffer> => (await client.manifest(at(digest), signal)).bytes
  return {
    reference: renderReference(reference),
    repository: nameOf(reference),
    image,
    children: async () => (isIndexType(image.mediaType) ? childrenOf(await manifest(image.digest)) : []),
    manifest,
    blob: (descriptor) => readBlob(client, reference, checkSize(nameOf(reference), descriptor), signal),
    referrers: (digest) => listReferrers(renderReference(at(digest)), { client, signal }),
    async attach(subject, added, blobs) {
      const stored = await putReferrer(
        renderReference(at(subject.digest)),
        { manifest: added, blobs },
        { client, signal },
      )
      return stored.digest
    },
    async tagged(tag) {
      try {
        return parseManifest((await client.manifest({ registry, repository, tag }, signal)).bytes)
      } catch (error) {
        if (codeOf(error) === 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND') return undefined
        throw error
      }
    },
    async putTagged(tag, added, blobs) {
      for (const bytes of [EMPTY, ...blobs]) await sendBlob(client, { registry, repository }, bytes, signal)
      const bytes = Buffer.from(renderCanonicalJson(added))
      const target = { registry, repository, tag }
      await client.putManifest(target, { mediaType: mediaTypes.manifest, bytes }, { signal })
      return digestOf(bytes)
    },
  }
}

async function findInLayout(layout: Layout, reference: Reference): Promise<Descriptor | undefined> {
  const name = renderReference(reference)
  const named = (await layout.list()).find(({ reference: known, descriptor }) =>
    reference.digest ? descriptor.digest === reference.digest : known === name,
  )
  if (named) return { ...plain(named.descriptor), platform: named.descriptor.platform }
  if (!reference.digest || !(await layout.hasBlob(reference.digest))) return undefined
  const bytes = await layout.readBlob(reference.digest)
  const value = JSON.parse(bytes.toString()) as Partial<ImageManifest & ImageIndex>
  const mediaType = value.mediaType ?? (value.manifests ? mediaTypes.index : mediaTypes.manifest)
  return { mediaType, digest: reference.digest, size: bytes.byteLength }
}

function nameOf({ registry, repository }: Reference): string {
  return `${registry}/${repository}`
}

/** What a `subject` holds: neither the name nor the platform is part of it. */
function plain({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size }
}

function childrenOf(bytes: Buffer): Descriptor[] {
  const { manifests } = JSON.parse(bytes.toString()) as ImageIndex
  return manifests.filter(({ mediaType }) => isManifestType(mediaType))
}

/** `undefined` for what is no manifest of an image. */
function parseManifest(bytes: Buffer): ImageManifest | undefined {
  const value = JSON.parse(bytes.toString()) as Partial<ImageManifest> | null
  return Array.isArray(value?.layers) ? (value as ImageManifest) : undefined
}

function checkSize(name: string, descriptor: Descriptor): Descriptor {
  if (descriptor.size <= MAX_BLOB_BYTES) return descriptor
  throw registryAnswer(name, `"${descriptor.digest}" is larger than ${MAX_BLOB_BYTES} bytes`)
}

async function readBlob(
  client: RegistryClient,
  reference: Reference,
  descriptor: Descriptor,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  const digester = createDigester(splitDigest(descriptor.digest).algorithm)
  for await (const chunk of client.blob(reference, descriptor, { signal })) {
    digester.update(chunk)
    chunks.push(chunk)
  }
  const actual = digester.digest()
  if (actual !== descriptor.digest) throw digestMismatch(descriptor.digest, actual)
  return Buffer.concat(chunks)
}

async function sendBlob(
  client: RegistryClient,
  to: Reference,
  bytes: Uint8Array,
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const blob = { mediaType: 'application/octet-stream', digest: digestOf(bytes), size: bytes.byteLength }
  await pushBlob(client, to, blob, {
    async *open(offset) {
      yield bytes.subarray(offset)
    },
    onMoved() {},
    signal,
  })
}
