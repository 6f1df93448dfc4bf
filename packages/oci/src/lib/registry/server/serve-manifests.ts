import type { IncomingMessage } from 'node:http'

import { createDigester, digestOf, splitDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import { allow, end, IMMUTABLE, isNotModified, linkToNext, MAX_PAGE, readBody, refuseMethod, sendText } from './call.ts'
import type { Call, HandlerParts } from './call.ts'
import { tagImmutable } from './immutability.ts'
import { MAX_MANIFEST_BYTES } from './manifest.ts'
import { isTag, pageOf, parseManifestTarget, parseRequestDigest, RegistryRefusal } from './protocol.ts'
import type { StoredManifest } from './store.ts'
import { TagStands } from './tags.ts'

const MAX_REFERRERS_BYTES = 1 << 20
const MAX_TAGS_PER_PUT = 100

/** Manifests and tags (distribution-spec, "Pulling manifests", "Pushing Manifests", "Deleting manifests"). */
export async function serveManifest(parts: HandlerParts, call: Call, repository: string, text: string): Promise<void> {
  if (call.method === 'GET' || call.method === 'HEAD') return pullManifest(parts, call, repository, text)
  if (call.method === 'PUT') return putManifest(parts, call, repository, text)
  if (call.method === 'DELETE') return deleteManifest(parts, call, repository, text)
  refuseMethod(call, 'GET, HEAD, PUT, DELETE')
}

async function pullManifest(parts: HandlerParts, call: Call, repository: string, text: string): Promise<void> {
  allow(parts, call, repository, 'pull')
  const { request, response } = call
  const target = parseManifestTarget(text)
  const { store } = parts
  const manifest = await findManifest(parts, call, repository, target)
  const bytes = manifest && store.manifestBytes(manifest.digest)
  if (!manifest || !bytes) throw manifestUnknown(text)
  response.setHeader('content-type', manifest.mediaType)
  response.setHeader('docker-content-digest', manifest.digest)
  response.setHeader('etag', `"${manifest.digest}"`)
  response.setHeader('cache-control', 'digest' in target ? IMMUTABLE : 'no-cache')
  if (request.method === 'GET') store.links.markPulled(repository, manifest.digest, Date.now())
  if (isNotModified(request, manifest.digest)) return end(response, 304)
  response.setHeader('content-length', bytes.byteLength)
  response.end(request.method === 'HEAD' ? undefined : bytes)
}

async function findManifest(
  parts: HandlerParts,
  call: Call,
  repository: string,
  target: { tag: string } | { digest: Digest },
): Promise<StoredManifest | undefined> {
  const { store, pullThrough } = parts
  if (!pullThrough?.isUpstream(repository)) return store.findManifest(repository, target)
  const found = await pullThrough.manifest(repository, target)
  if (found?.isStale)
    call.response.setHeader('warning', '299 - "the upstream registry cannot be asked: this tag may be old"')
  return found?.manifest
}

async function putManifest(parts: HandlerParts, call: Call, repository: string, text: string): Promise<void> {
  allow(parts, call, repository, 'push')
  const { request, response, principal } = call
  const target = parseManifestTarget(text)
  const tags = tagsOf(call, target)
  const bytes = await readBody(request, MAX_MANIFEST_BYTES)
  const mediaType = contentTypeOf(request)
  const digest = 'digest' in target ? digestWith(target.digest, bytes) : digestOf(bytes)
  if ('digest' in target && digest !== target.digest) {
    throw new RegistryRefusal(400, 'DIGEST_INVALID', 'the manifest has another digest', {
      detail: { digest: target.digest, actual: digest },
    })
  }
  const { store, isImmutable, missingContent } = parts
  const isStanding = (tag: string): boolean => isImmutable(repository, tag)
  const { subject } = await store
    .putManifest(repository, { mediaType, bytes, digest, tags, missingContent, isImmutable: isStanding })
    .catch((error: unknown) => {
      throw error instanceof TagStands ? tagImmutable(repository, error.tag) : error
    })
  response.setHeader('location', `/v2/${repository}/manifests/${digest}`)
  response.setHeader('docker-content-digest', digest)
  if (subject) response.setHeader('oci-subject', subject)
  if ('digest' in target && tags.length > 0) response.setHeader('oci-tag', tags.join(', '))
  end(response, 201)
  const event = { repository, digest, mediaType, size: bytes.byteLength, tags, user: principal.name }
  parts.onPushed(subject ? { ...event, subject } : event)
}

async function deleteManifest(parts: HandlerParts, call: Call, repository: string, text: string): Promise<void> {
  allow(parts, call, repository, 'delete')
  const target = parseManifestTarget(text)
  const { store } = parts
  const isKnown =
    'tag' in target ? await store.untag(repository, target.tag) : await store.deleteManifest(repository, target.digest)
  if (!isKnown) throw manifestUnknown(text)
  end(call.response, 202)
}

/** What refers to a manifest (distribution-spec, "Listing Referrers"). */
export function serveReferrers(parts: HandlerParts, call: Call, repository: string, text: string): void {
  if (call.method !== 'GET' && call.method !== 'HEAD') return refuseMethod(call, 'GET, HEAD')
  allow(parts, call, repository, 'pull')
  const { request, response, url } = call
  const digest = parseRequestDigest(text)
  const wanted = url.searchParams.get('artifactType')
  const all = parts.store.referrers(repository, digest)
  const filtered = wanted === null ? all : all.filter(({ artifactType }) => artifactType === wanted)
  if (wanted !== null) response.setHeader('oci-filters-applied', 'artifactType')
  const byDigest = new Map<string, (typeof all)[number]>(filtered.map((entry) => [entry.digest, entry]))
  const { items } = pageOf([...byDigest.keys()], url.searchParams, MAX_PAGE)
  const shown: object[] = []
  let bytes = 0
  for (const item of items) {
    const entry = byDigest.get(item)
    const length = JSON.stringify(entry).length
    if (!entry || (shown.length > 0 && bytes + length > MAX_REFERRERS_BYTES)) break
    shown.push(entry)
    bytes += length
  }
  const last = items[shown.length - 1]
  if (last !== undefined && last !== filtered.at(-1)?.digest) linkToNext(call, last)
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: shown }
  sendText(request, response, mediaTypes.index, JSON.stringify(index))
}

function tagsOf({ url }: Call, target: { tag: string } | { digest: Digest }): string[] {
  if ('tag' in target) return [target.tag]
  const tags = [...new Set(url.searchParams.getAll('tag'))]
  if (tags.length > MAX_TAGS_PER_PUT)
    throw new RegistryRefusal(414, 'MANIFEST_INVALID', `at most ${MAX_TAGS_PER_PUT} tags at once`)
  const bad = tags.find((tag) => !isTag(tag))
  if (bad !== undefined) throw new RegistryRefusal(400, 'MANIFEST_INVALID', 'one of the tags is not valid')
  return tags
}

function contentTypeOf({ headers }: IncomingMessage): string {
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase()
  if (type) return type
  throw new RegistryRefusal(400, 'MANIFEST_INVALID', 'a manifest is sent with its media type as Content-Type')
}

function digestWith(expected: Digest, bytes: Buffer): Digest {
  const digester = createDigester(splitDigest(expected).algorithm)
  digester.update(bytes)
  return digester.digest()
}

function manifestUnknown(reference: string): RegistryRefusal {
  return new RegistryRefusal(404, 'MANIFEST_UNKNOWN', 'the repository does not have the manifest', {
    detail: { reference },
  })
}
