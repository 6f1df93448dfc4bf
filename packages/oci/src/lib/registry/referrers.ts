import { setTimeout as sleep } from 'node:timers/promises'

import { registryAnswer, registryRefused } from '../errors.ts'
import { renderCanonicalJson } from '../spec/canonical.ts'
import { digestOf, splitDigest } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor, ImageIndex, ImageManifest } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { parseReference, renderReference } from '../spec/reference.ts'
import type { Reference } from '../spec/reference.ts'
import { nextPage, parseJson } from './answers.ts'
import { MAX_MANIFEST_BYTES, createRegistryClient } from './client.ts'
import { codeOf } from './exchange.ts'
import type { RegistryClient } from './client.ts'
import { withoutQuery } from './client-http.ts'
import { describeReferrer } from './copy-tree.ts'
import { pushBlob } from './push-blob.ts'

/** How to work with what refers to an image. */
export interface ReferrerOptions {
  /** Default: an anonymous client. */
  client?: RegistryClient | undefined
  /** Only referrers of this type; default: all. */
  artifactType?: string | undefined
  signal?: AbortSignal | undefined
}

/** A manifest that is to refer to an image, with its blobs. */
export interface NewReferrer {
  /** Without `subject`, which is filled in, or with the one of the image. */
  manifest: Omit<ImageManifest, 'subject'> & { subject?: Descriptor | undefined }
  /** Content of the config and the layers; the empty config `{}` needs none. */
  blobs: readonly Uint8Array[]
}

const MAX_PAGES = 1_000
const MAX_INDEX_ATTEMPTS = 8
const EMPTY_JSON = Buffer.from('{}')

/**
 * Lists the manifests that refer to an image: signatures, SBOMs, provenance and the like (distribution-spec, "Listing
 * Referrers"). Registries without that interface are asked for the tag `<algorithm>-<hex>` instead, where clients keep
 * the list. Empty when there are none, or no such image.
 */
export async function listReferrers(text: string, options: ReferrerOptions = {}): Promise<Descriptor[]> {
  const { client = createRegistryClient(), artifactType, signal } = options
  const reference = parseReference(text)
  const digest = reference.digest ?? (await client.resolve(reference, signal)).digest
  const { registry, repository } = reference
  const all = await referrersOf(client, { registry, repository, digest }, artifactType, signal)
  return artifactType ? all.filter((referrer) => referrer.artifactType === artifactType) : all
}

/**
 * Stores a manifest that refers to an image, and makes it findable: by the registry, or in the list that clients keep
 * where the registry has no referrers interface. The same manifest twice is one. Returns how it is listed.
 */
export async function putReferrer(
  text: string,
  referrer: NewReferrer,
  options: Omit<ReferrerOptions, 'artifactType'> = {},
): Promise<Descriptor> {
  const { client = createRegistryClient() } = options
  const signal = options.signal ?? new AbortController().signal
  const reference = parseReference(text)
  const { mediaType, digest, size } = await client.resolve(reference, signal)
  const { registry, repository } = reference
  const manifest = { mediaType: mediaTypes.manifest, ...referrer.manifest, subject: { mediaType, digest, size } }
  for (const bytes of blobsOf(manifest, referrer.blobs)) {
    const blob = { mediaType: 'application/octet-stream', digest: digestOf(bytes), size: bytes.byteLength }
    const transfer = {
      open: async function* (offset: number) {
        yield bytes.subarray(offset)
      },
      onMoved() {},
      signal,
    }
    await pushBlob(client, { registry, repository }, blob, transfer)
  }
  const bytes = Buffer.from(renderCanonicalJson(manifest))
  const own = { mediaType: mediaTypes.manifest, digest: digestOf(bytes), size: bytes.byteLength }
  const stored = await client.putManifest({ registry, repository, digest: own.digest }, { ...own, bytes }, { signal })
  if (!stored.hasSubject) await fileReferrer(client, { registry, repository, digest }, { ...own, bytes }, signal)
  return describeReferrer(own, bytes)
}

/** All referrers of the digest of a reference. */
export async function referrersOf(
  client: RegistryClient,
  reference: Reference & { digest: Digest },
  artifactType: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Descriptor[]> {
  const query = artifactType ? `?artifactType=${encodeURIComponent(artifactType)}` : ''
  const found: Descriptor[] = []
  let path: string | URL | undefined = `referrers/${reference.digest}${query}`
  for (let page = 0; path !== undefined && page < MAX_PAGES; page += 1) {
    const answer = await client.send({
      reference,
      act: 'list referrers of',
      method: 'GET',
      path,
      headers: { accept: mediaTypes.index },
      accept: page === 0 ? [400, 404, 405, 406, 501] : [],
      signal,
    })
    const bytes = await answer.bytes(MAX_MANIFEST_BYTES)
    const index = answer.status === 200 ? (parseJson(bytes) as Partial<ImageIndex> | undefined) : undefined
    // What is no index is no answer of this interface, but of something that answers everything.
    if (!Array.isArray(index?.manifests)) {
      if (page === 0) return (await readList(client, reference, signal)).manifests
      throw registryAnswer(withoutQuery(answer.url), 'it is no index of referrers')
    }
    found.push(...index.manifests)
    path = nextPage(answer)
  }
  return found
}

/**
 * Adds a manifest to the list under the tag of its subject (distribution-spec, "Referrers Tag Schema"). Others may do
 * the same at once: registries that know `If-Match` refuse the later one, and with the others the list is read again.
 */
export async function fileReferrer(
  client: RegistryClient,
  subject: Reference & { digest: Digest },
  referrer: { mediaType: string; digest: Digest; bytes: Uint8Array },
  signal: AbortSignal,
): Promise<void> {
  const { mediaType, digest, bytes } = referrer
  const entry = describeReferrer({ mediaType, digest, size: bytes.byteLength }, bytes)
  for (let attempt = 1; attempt <= MAX_INDEX_ATTEMPTS; attempt += 1) {
    const startedAt = performance.now()
    const { manifests, etag } = await readList(client, subject, signal)
    if (manifests.some((known) => known.digest === digest)) {
      // Written by us a moment ago, and there still after others may have written too.
      return
    }
    const added = [...manifests, entry].toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
    await writeList(client, subject, added, etag, signal)
    // Who read before we wrote has written in about the time we took; only then is our entry known to have stayed.
    const tookMs = performance.now() - startedAt
    await sleep(tookMs * (2 + Math.random()) + Math.random() * 20 * attempt, undefined, { signal })
  }
  const { manifests } = await readList(client, subject, signal)
  if (manifests.some((known) => known.digest === digest)) return
  throw registryRefused(renderReference(subject), 'push', 409, 'others keep changing its list of referrers')
}

async function writeList(
  client: RegistryClient,
  subject: Reference & { digest: Digest },
  manifests: readonly Descriptor[],
  ifMatch: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests }
  const bytes = Buffer.from(renderCanonicalJson(index))
  try {
    await client.putManifest(tagOf(subject), { mediaType: mediaTypes.index, bytes }, { ifMatch, signal })
  } catch (error) {
    signal.throwIfAborted()
    // 412: somebody was faster.
    if (codeOf(error) !== 'FAIRLEAD_OCI_REGISTRY_REFUSED' || !/ 412\b/.test((error as Error).message)) throw error
  }
}

async function readList(
  client: RegistryClient,
  subject: Reference & { digest: Digest },
  signal: AbortSignal | undefined,
): Promise<{ manifests: Descriptor[]; etag: string | undefined }> {
  const reference = tagOf(subject)
  const answer = await client.send({
    reference,
    act: 'list referrers of',
    method: 'GET',
    path: `manifests/${reference.tag}`,
    headers: { accept: mediaTypes.index },
    accept: [404],
    signal,
  })
  const bytes = await answer.bytes(MAX_MANIFEST_BYTES)
  if (answer.status === 404) return { manifests: [], etag: undefined }
  const index = parseJson(bytes) as Partial<ImageIndex> | undefined
  if (!Array.isArray(index?.manifests)) {
    throw registryAnswer(withoutQuery(answer.url), 'the tag for referrers is no index of them')
  }
  return { manifests: [...index.manifests], etag: answer.headers.etag }
}

function tagOf({ registry, repository, digest }: Reference & { digest: Digest }): Reference & { tag: string } {
  const { algorithm, hex } = splitDigest(digest)
  return { registry, repository, tag: `${algorithm}-${hex}`.slice(0, 128) }
}

/** The blobs that were given, and the empty one where the manifest needs it and it was not. */
function blobsOf(manifest: Pick<ImageManifest, 'config' | 'layers'>, given: readonly Uint8Array[]): Uint8Array[] {
  const isEmpty = [manifest.config, ...manifest.layers].some(({ digest }) => digest === digestOf(EMPTY_JSON))
  return isEmpty ? [...given, EMPTY_JSON] : [...given]
}
