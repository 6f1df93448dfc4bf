import type { ServerResponse } from 'node:http'

import { splitDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import { allow, end, refuseMethod } from './call.ts'
import type { Call, HandlerParts } from './call.ts'
import { parseRepository, parseRequestDigest, RegistryRefusal } from './protocol.ts'
import { parseChunkRange, rangeOf } from './uploads.ts'

/** Begins an upload, or has it done at once: a blob in one request, or one that is here already (distribution-spec, "Pushing blobs"). */
export async function startUpload(parts: HandlerParts, call: Call, repository: string): Promise<void> {
  if (call.method !== 'POST') return refuseMethod(call, 'POST')
  allow(parts, call, repository, 'push')
  const { url, request, response } = call
  const mounted = url.searchParams.get('mount')
  if (mounted !== null && (await mount(parts, call, repository, parseRequestDigest(mounted)))) return
  const wanted = url.searchParams.get('digest')
  const digest = wanted === null ? undefined : parseRequestDigest(wanted)
  const algorithm = url.searchParams.get('digest-algorithm') ?? (digest ? splitDigest(digest).algorithm : 'sha256')
  if (algorithm !== 'sha256' && algorithm !== 'sha512') {
    throw new RegistryRefusal(400, 'DIGEST_INVALID', 'the algorithm is neither sha256 nor sha512')
  }
  const id = await parts.uploads.start(repository, algorithm)
  if (!digest) return answerUpload(response, repository, id, 0)
  try {
    await parts.uploads.finish(repository, id, digest, request)
  } catch (error) {
    // Nobody was told of this upload, so nobody can go on with it.
    await parts.uploads.cancel(repository, id).catch(() => {})
    throw error
  }
  answerBlob(response, repository, digest)
}

/** Takes over a blob of another repository, or of any the client may pull from. Otherwise it uploads, as ever. */
async function mount(parts: HandlerParts, call: Call, repository: string, digest: Digest): Promise<boolean> {
  const { access, store } = parts
  const from = call.url.searchParams.get('from')
  const mayTake = (name: string): boolean => access.mayMount(call.principal, name) && store.hasBlob(name, digest)
  let isFound = from === null ? store.hasBlob(repository, digest) : mayTake(parseRepository(from))
  if (from === null && !isFound && store.blobSize(digest) !== undefined)
    isFound = (await store.repositories()).some(mayTake)
  if (!isFound || !(await store.linkBlob(repository, digest))) return false
  answerBlob(call.response, repository, digest)
  return true
}

/** Goes on with an upload, ends it, or tells how far it is. */
export async function serveUpload(parts: HandlerParts, call: Call, repository: string, id: string): Promise<void> {
  const { request, response, method, url } = call
  allow(parts, call, repository, 'push')
  const { uploads } = parts
  if (method === 'GET' || method === 'HEAD') {
    response.setHeader('range', rangeOf(uploads.offset(repository, id)))
    response.setHeader('location', locationOf(repository, id))
    response.setHeader('docker-upload-uuid', id)
    return end(response, 204)
  }
  if (method === 'DELETE') {
    await uploads.cancel(repository, id)
    return end(response, 204)
  }
  if (method !== 'PATCH' && method !== 'PUT') return refuseMethod(call, 'GET, PATCH, PUT, DELETE')
  const length = request.headers['content-length']
  const isEmpty = length === '0' || (length === undefined && request.headers['transfer-encoding'] === undefined)
  const range = isEmpty
    ? undefined
    : parseChunkRange(request.headers['content-range'], length === undefined ? undefined : Number(length))
  if (method === 'PATCH') {
    const size = await uploads.append(repository, id, request, range)
    return answerUpload(response, repository, id, size)
  }
  const digest = parseRequestDigest(url.searchParams.get('digest'))
  await uploads.finish(repository, id, digest, request, range)
  answerBlob(response, repository, digest)
}

function answerUpload(response: ServerResponse, repository: string, id: string, size: number): void {
  response.setHeader('location', locationOf(repository, id))
  response.setHeader('range', rangeOf(size))
  response.setHeader('docker-upload-uuid', id)
  end(response, 202)
}

function answerBlob(response: ServerResponse, repository: string, digest: Digest): void {
  response.setHeader('location', `/v2/${repository}/blobs/${digest}`)
  response.setHeader('docker-content-digest', digest)
  end(response, 201)
}

function locationOf(repository: string, id: string): string {
  return `/v2/${repository}/blobs/uploads/${id}`
}
