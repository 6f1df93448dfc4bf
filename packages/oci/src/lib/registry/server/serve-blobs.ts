import { createReadStream } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import type { Digest } from '../../spec/digest.ts'
import { allow, end, IMMUTABLE, isNotModified, refuseMethod } from './call.ts'
import type { Call, HandlerParts } from './call.ts'
import { parseRequestDigest, RegistryRefusal } from './protocol.ts'
import type { PullThrough } from './upstream.ts'

/** Content by its digest (distribution-spec, "Pulling blobs", "Deleting Blobs"). */
export async function serveBlob(parts: HandlerParts, call: Call, repository: string, text: string): Promise<void> {
  const { method } = call
  if (method === 'DELETE') return deleteBlob(parts, call, repository, text)
  if (method !== 'GET' && method !== 'HEAD') return refuseMethod(call, 'GET, HEAD, DELETE')
  allow(parts, call, repository, 'pull')
  const digest = parseRequestDigest(text)
  const { store, pullThrough } = parts
  const isHere = store.hasBlob(repository, digest)
  if (!isHere && pullThrough?.isUpstream(repository)) return passBlob(parts, call, repository, digest, pullThrough)
  // The question of somebody who is about to push: the answer must still be true when the manifest comes.
  if (!isHere || (method === 'HEAD' && !store.relyOnBlob(digest))) throw blobUnknown(digest)
  await sendBlob(parts, call, digest, store.blobSize(digest) ?? 0)
}

async function sendBlob(parts: HandlerParts, { request, response }: Call, digest: Digest, size: number): Promise<void> {
  describeBlob(response, digest)
  response.setHeader('accept-ranges', 'bytes')
  if (isNotModified(request, digest)) return end(response, 304)
  const range = parseByteRange(request, digest, size)
  if (range === 'unsatisfiable') {
    throw new RegistryRefusal(416, 'SIZE_INVALID', 'the range is outside of the blob', {
      headers: { 'content-range': `bytes */${size}` },
    })
  }
  if (range) {
    response.statusCode = 206
    response.setHeader('content-range', `bytes ${range.first}-${range.last}/${size}`)
  }
  const { first, last } = range ?? { first: 0, last: size - 1 }
  response.setHeader('content-length', last - first + 1)
  if (request.method === 'HEAD' || size === 0) return void response.end()
  const file = createReadStream(parts.store.layout.blobPath(digest), {
    start: first,
    end: last,
    highWaterMark: 1 << 18,
  })
  await pipeline(file, response)
}

async function passBlob(
  parts: HandlerParts,
  call: Call,
  repository: string,
  digest: Digest,
  pullThrough: PullThrough,
): Promise<void> {
  const { response, method } = call
  const found = await pullThrough.blob(repository, digest)
  if (!found) throw blobUnknown(digest)
  describeBlob(response, digest)
  response.setHeader('content-length', found.descriptor.size)
  if (method === 'HEAD') return void response.end()
  await pipeline(Readable.from(found.content, { objectMode: false }), response)
}

function deleteBlob(parts: HandlerParts, call: Call, repository: string, text: string): void {
  allow(parts, call, repository, 'delete')
  const digest = parseRequestDigest(text)
  const isGone = parts.store.deleteBlob(repository, digest)
  if (isGone === undefined) throw new RegistryRefusal(405, 'DENIED', 'a manifest of the repository needs the blob')
  if (!isGone) throw blobUnknown(digest)
  end(call.response, 202)
}

/** RFC 9110 section 14: one range of bytes; several, or other units, are answered with everything, a senseless one with 416. */
function parseByteRange(
  { headers, method }: IncomingMessage,
  digest: Digest,
  size: number,
): { first: number; last: number } | 'unsatisfiable' | undefined {
  const { range, 'if-range': ifRange } = headers
  if (range === undefined || method !== 'GET') return undefined
  if (ifRange !== undefined && ifRange !== `"${digest}"`) return undefined
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(range.trim())
  const [, from = '', to = ''] = match ?? []
  if (!match || (from === '' && to === '')) return undefined
  const first = from === '' ? Math.max(size - Number(to), 0) : Number(from)
  const last = from === '' || to === '' ? size - 1 : Math.min(Number(to), size - 1)
  return first >= size || last < first ? 'unsatisfiable' : { first, last }
}

function describeBlob(response: ServerResponse, digest: Digest): void {
  response.setHeader('content-type', 'application/octet-stream')
  response.setHeader('docker-content-digest', digest)
  response.setHeader('etag', `"${digest}"`)
  response.setHeader('cache-control', IMMUTABLE)
}

function blobUnknown(digest: Digest): RegistryRefusal {
  return new RegistryRefusal(404, 'BLOB_UNKNOWN', 'the repository does not have the blob', { detail: { digest } })
}
