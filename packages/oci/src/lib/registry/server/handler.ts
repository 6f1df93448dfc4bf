import { createReadStream } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import { digestOf, createDigester, splitDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import type { Access, Principal, RegistryAction } from './access.ts'
import { tagImmutable } from './immutability.ts'
import type { IsImmutable } from './immutability.ts'
import { MAX_MANIFEST_BYTES } from './manifest.ts'
import { isTag, pageOf, parseManifestTarget, parseRepository, parseRequestDigest, RegistryRefusal } from './protocol.ts'
import { TagStands } from './tags.ts'
import type { RegistryStore, StoredManifest } from './store.ts'
import type { Grant } from './tokens.ts'
import { parseChunkRange, rangeOf } from './uploads.ts'
import type { Uploads } from './uploads.ts'
import type { PullThrough } from './upstream.ts'

/** A manifest that was pushed; everything it needs is stored. */
export interface PushEvent {
  repository: string
  digest: Digest
  mediaType: string
  size: number
  tags: readonly string[]
  /** The manifest this one refers to, as a signature does. */
  subject?: Digest | undefined
  /** Who pushed it; `undefined` for somebody who had not logged in. */
  user?: string | undefined
}

/** What the handler works with. */
export interface HandlerParts {
  store: RegistryStore
  uploads: Uploads
  access: Access
  isImmutable: IsImmutable
  pullThrough: PullThrough | undefined
  missingContent: 'reject' | 'accept'
  isAllowedHost: (host: string | undefined) => boolean
  onPushed: (event: PushEvent) => void
  onError: (error: unknown, request: { method: string; path: string }) => void
}

interface Call {
  request: IncomingMessage
  response: ServerResponse
  method: string
  url: URL
  principal: Principal
}

const MAX_PAGE = 1000
const MAX_REFERRERS_BYTES = 1 << 20
const MAX_TAGS_PER_PUT = 100
const MAX_TOKEN_BODY = 16_384

/** Makes the function that answers requests of distribution-spec 1.1; it never throws. */
export function createHandler(
  parts: HandlerParts,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const handler = new Handler(parts)
  return (request, response) => handler.handle(request, response)
}

class Handler {
  readonly #parts: HandlerParts

  constructor(parts: HandlerParts) {
    this.#parts = parts
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = request.method ?? 'GET'
    response.setHeader('docker-distribution-api-version', 'registry/2.0')
    response.setHeader('x-content-type-options', 'nosniff')
    try {
      this.#checkSender(request)
      const url = new URL(request.url ?? '/', 'http://registry')
      if (url.pathname === '/token' && this.#parts.access.hasTokens) return await this.#token(request, response, url)
      if (url.pathname !== '/v2' && !url.pathname.startsWith('/v2/'))
        throw new RegistryRefusal(404, 'UNSUPPORTED', 'there is nothing here: the registry is below /v2/')
      const principal = await this.#parts.access.authenticate(request)
      await this.#route({ request, response, method, url, principal })
    } catch (error) {
      this.#fail(error, request, response)
    }
  }

  /** A page in somebody's browser may not reach a registry of this machine, by its own name (rebinding) or by ours. */
  #checkSender({ headers }: IncomingMessage): void {
    if (!this.#parts.isAllowedHost(headers.host)) {
      throw new RegistryRefusal(421, 'DENIED', 'the registry is not known by the name in the Host header')
    }
    const { origin } = headers
    if (origin !== undefined && origin !== 'null' && hostOf(origin) === headers.host) return
    if (origin !== undefined) throw new RegistryRefusal(403, 'DENIED', 'requests of other web pages are not answered')
  }

  #fail(error: unknown, request: IncomingMessage, response: ServerResponse): void {
    if (response.headersSent || response.destroyed) {
      // The client sees a broken transfer, not a short one.
      response.destroy()
      if (!isGone(error)) this.#report(error, request)
      return
    }
    const refusal = error instanceof RegistryRefusal ? error : refusalOf(error)
    if (refusal.status >= 500 && !isGone(error)) this.#report(error, request)
    for (const [name, value] of Object.entries(refusal.headers)) response.setHeader(name, value)
    response.statusCode = refusal.status
    // What is still being sent is not waited for: the connection ends with the answer.
    if (!request.complete && Number(request.headers['content-length'] ?? 1) > 0)
      response.setHeader('connection', 'close')
    sendText(request, response, 'application/json', refusal.toBody())
  }

  #report(error: unknown, request: IncomingMessage): void {
    this.#parts.onError(error, { method: request.method ?? '', path: (request.url ?? '').split('?')[0] ?? '' })
  }

  async #route(call: Call): Promise<void> {
    const { method, url } = call
    const path = url.pathname.replace(/^\/v2\/?/, '')
    if (path === '') return this.#ping(call)
    if (path === '_catalog')
      return method === 'GET' || method === 'HEAD' ? this.#catalog(call) : refuseMethod(call, 'GET, HEAD')
    const match = /^(.+)\/(?:(tags)\/list|(manifests|blobs|referrers)\/([^/]+)|(blobs)\/uploads\/?([^/]*))$/.exec(path)
    if (!match) throw new RegistryRefusal(404, 'UNSUPPORTED', 'there is no such endpoint')
    const [, name = '', tags, kind, target = '', uploads, id = ''] = match
    const isUploads = uploads !== undefined || (kind === 'blobs' && target === 'uploads')
    const repository = parseRepository(isUploads ? name : name)
    if (tags) return this.#tags(call, repository)
    if (isUploads) return id === '' ? this.#startUpload(call, repository) : this.#upload(call, repository, id)
    if (kind === 'manifests') return this.#manifest(call, repository, decodePart(target))
    if (kind === 'blobs') return this.#blob(call, repository, decodePart(target))
    return this.#referrers(call, repository, decodePart(target))
  }

  #ping(call: Call): void {
    const { access } = this.#parts
    if (access.mustLogIn(call.principal)) throw access.refusal(call.request, call.principal, [])
    sendText(call.request, call.response, 'application/json', '{}\n')
  }

  async #token(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const { access } = this.#parts
    const isForm = request.method === 'POST'
    if (!isForm && request.method !== 'GET') return refuseMethod({ request, response }, 'GET, POST')
    const form = isForm ? new URLSearchParams((await readBody(request, MAX_TOKEN_BODY)).toString()) : url.searchParams
    if (isForm && form.get('grant_type') === 'password') {
      // The OAuth2 form of the token specification: the same check as for a header.
      const basic = Buffer.from(`${form.get('username') ?? ''}:${form.get('password') ?? ''}`).toString('base64')
      request.headers.authorization = `Basic ${basic}`
    } else if (isForm) {
      throw new RegistryRefusal(400, 'UNSUPPORTED', 'only the password grant is served')
    }
    const principal = await access.authenticate(request)
    const scopes = form
      .getAll('scope')
      .flatMap((scope) => scope.split(' '))
      .slice(0, 50)
    const { token, expiresInSeconds, issuedAt } = access.issue(principal, scopes)
    response.setHeader('cache-control', 'no-store')
    const answer = { token, access_token: token, expires_in: expiresInSeconds, issued_at: issuedAt }
    sendText(request, response, 'application/json', JSON.stringify(answer))
  }

  async #catalog(call: Call): Promise<void> {
    const { access, store } = this.#parts
    if (!access.mayList(call.principal)) {
      throw access.refusal(call.request, call.principal, [{ type: 'registry', name: 'catalog', actions: ['*'] }])
    }
    const all = await store.repositories()
    // A token for the catalog says nothing of repositories: its holder may know their names.
    const shown = call.principal.grants ? all : all.filter((name) => access.mayDo(call.principal, name, 'pull'))
    const { items, next } = pageOf(shown, call.url.searchParams, MAX_PAGE)
    linkToNext(call, next)
    sendText(call.request, call.response, 'application/json', JSON.stringify({ repositories: items }))
  }

  #tags(call: Call, repository: string): void {
    if (call.method !== 'GET' && call.method !== 'HEAD') return refuseMethod(call, 'GET, HEAD')
    this.#allow(call, repository, 'pull')
    if (!this.#parts.store.hasRepository(repository)) throw nameUnknown(repository)
    const { items, next } = pageOf(this.#parts.store.tags(repository), call.url.searchParams, MAX_PAGE)
    linkToNext(call, next)
    sendText(call.request, call.response, 'application/json', JSON.stringify({ name: repository, tags: items }))
  }

  // Manifests

  async #manifest(call: Call, repository: string, text: string): Promise<void> {
    if (call.method === 'GET' || call.method === 'HEAD') return this.#pullManifest(call, repository, text)
    if (call.method === 'PUT') return this.#putManifest(call, repository, text)
    if (call.method === 'DELETE') return this.#deleteManifest(call, repository, text)
    refuseMethod(call, 'GET, HEAD, PUT, DELETE')
  }

  async #pullManifest(call: Call, repository: string, text: string): Promise<void> {
    this.#allow(call, repository, 'pull')
    const { request, response } = call
    const target = parseManifestTarget(text)
    const { store } = this.#parts
    const manifest = await this.#findManifest(call, repository, target)
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

  async #findManifest(
    call: Call,
    repository: string,
    target: { tag: string } | { digest: Digest },
  ): Promise<StoredManifest | undefined> {
    const { store, pullThrough } = this.#parts
    if (!pullThrough?.isUpstream(repository)) return store.findManifest(repository, target)
    const found = await pullThrough.manifest(repository, target)
    if (found?.isStale)
      call.response.setHeader('warning', '299 - "the upstream registry cannot be asked: this tag may be old"')
    return found?.manifest
  }

  async #putManifest(call: Call, repository: string, text: string): Promise<void> {
    this.#allow(call, repository, 'push')
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
    const { store, isImmutable, missingContent } = this.#parts
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
    this.#parts.onPushed(subject ? { ...event, subject } : event)
  }

  async #deleteManifest(call: Call, repository: string, text: string): Promise<void> {
    this.#allow(call, repository, 'delete')
    const target = parseManifestTarget(text)
    const { store } = this.#parts
    const isKnown =
      'tag' in target
        ? await store.untag(repository, target.tag)
        : await store.deleteManifest(repository, target.digest)
    if (!isKnown) throw manifestUnknown(text)
    end(call.response, 202)
  }

  #referrers(call: Call, repository: string, text: string): void {
    if (call.method !== 'GET' && call.method !== 'HEAD') return refuseMethod(call, 'GET, HEAD')
    this.#allow(call, repository, 'pull')
    const { request, response, url } = call
    const digest = parseRequestDigest(text)
    const wanted = url.searchParams.get('artifactType')
    const all = this.#parts.store.referrers(repository, digest)
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

  // Blobs

  async #blob(call: Call, repository: string, text: string): Promise<void> {
    const { method } = call
    if (method === 'DELETE') return this.#deleteBlob(call, repository, text)
    if (method !== 'GET' && method !== 'HEAD') return refuseMethod(call, 'GET, HEAD, DELETE')
    this.#allow(call, repository, 'pull')
    const digest = parseRequestDigest(text)
    const { store, pullThrough } = this.#parts
    const isHere = store.hasBlob(repository, digest)
    if (!isHere && pullThrough?.isUpstream(repository)) return this.#passBlob(call, repository, digest, pullThrough)
    // The question of somebody who is about to push: the answer must still be true when the manifest comes.
    if (!isHere || (method === 'HEAD' && !store.relyOnBlob(digest))) throw blobUnknown(digest)
    await this.#sendBlob(call, digest, store.blobSize(digest) ?? 0)
  }

  async #sendBlob({ request, response }: Call, digest: Digest, size: number): Promise<void> {
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
    const file = createReadStream(this.#parts.store.layout.blobPath(digest), {
      start: first,
      end: last,
      highWaterMark: 1 << 18,
    })
    await pipeline(file, response)
  }

  async #passBlob(call: Call, repository: string, digest: Digest, pullThrough: PullThrough): Promise<void> {
    const { response, method } = call
    const found = await pullThrough.blob(repository, digest)
    if (!found) throw blobUnknown(digest)
    describeBlob(response, digest)
    response.setHeader('content-length', found.descriptor.size)
    if (method === 'HEAD') return void response.end()
    await pipeline(Readable.from(found.content, { objectMode: false }), response)
  }

  #deleteBlob(call: Call, repository: string, text: string): void {
    this.#allow(call, repository, 'delete')
    const digest = parseRequestDigest(text)
    const isGone = this.#parts.store.deleteBlob(repository, digest)
    if (isGone === undefined) throw new RegistryRefusal(405, 'DENIED', 'a manifest of the repository needs the blob')
    if (!isGone) throw blobUnknown(digest)
    end(call.response, 202)
  }

  // Uploads

  async #startUpload(call: Call, repository: string): Promise<void> {
    if (call.method !== 'POST') return refuseMethod(call, 'POST')
    this.#allow(call, repository, 'push')
    const { url, request, response } = call
    const mounted = url.searchParams.get('mount')
    if (mounted !== null && (await this.#mount(call, repository, parseRequestDigest(mounted)))) return
    const wanted = url.searchParams.get('digest')
    const digest = wanted === null ? undefined : parseRequestDigest(wanted)
    const algorithm = url.searchParams.get('digest-algorithm') ?? (digest ? splitDigest(digest).algorithm : 'sha256')
    if (algorithm !== 'sha256' && algorithm !== 'sha512') {
      throw new RegistryRefusal(400, 'DIGEST_INVALID', 'the algorithm is neither sha256 nor sha512')
    }
    const id = await this.#parts.uploads.start(repository, algorithm)
    if (!digest) return this.#answerUpload(response, repository, id, 0)
    try {
      await this.#parts.uploads.finish(repository, id, digest, request)
    } catch (error) {
      // Nobody was told of this upload, so nobody can go on with it.
      await this.#parts.uploads.cancel(repository, id).catch(() => {})
      throw error
    }
    answerBlob(response, repository, digest)
  }

  /** Takes over a blob of another repository, or of any the client may pull from. Otherwise it uploads, as ever. */
  async #mount(call: Call, repository: string, digest: Digest): Promise<boolean> {
    const { access, store } = this.#parts
    const from = call.url.searchParams.get('from')
    const mayTake = (name: string): boolean => access.mayMount(call.principal, name) && store.hasBlob(name, digest)
    let isFound = from === null ? store.hasBlob(repository, digest) : mayTake(parseRepository(from))
    if (from === null && !isFound && store.blobSize(digest) !== undefined)
      isFound = (await store.repositories()).some(mayTake)
    if (!isFound || !(await store.linkBlob(repository, digest))) return false
    answerBlob(call.response, repository, digest)
    return true
  }

  async #upload(call: Call, repository: string, id: string): Promise<void> {
    const { request, response, method, url } = call
    this.#allow(call, repository, 'push')
    const { uploads } = this.#parts
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
      return this.#answerUpload(response, repository, id, size)
    }
    const digest = parseRequestDigest(url.searchParams.get('digest'))
    await uploads.finish(repository, id, digest, request, range)
    answerBlob(response, repository, digest)
  }

  #answerUpload(response: ServerResponse, repository: string, id: string, size: number): void {
    response.setHeader('location', locationOf(repository, id))
    response.setHeader('range', rangeOf(size))
    response.setHeader('docker-upload-uuid', id)
    end(response, 202)
  }

  #allow({ principal, request }: Call, repository: string, action: RegistryAction): void {
    const { access, pullThrough } = this.#parts
    if (!access.mayDo(principal, repository, action)) {
      // Clients that push also ask what is there: they are told at once to get a token for both.
      const actions = action === 'push' ? ['pull', 'push'] : [action]
      throw access.refusal(request, principal, [{ type: 'repository', name: repository, actions } satisfies Grant])
    }
    if (action === 'push' && pullThrough?.isUpstream(repository)) {
      throw new RegistryRefusal(405, 'UNSUPPORTED', 'the repository is a cache of another registry: push there')
    }
  }
}

const IMMUTABLE = 'max-age=31536000, immutable'

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

async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const tooLarge = new RegistryRefusal(413, 'SIZE_INVALID', `at most ${maxBytes} bytes are accepted`)
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += (chunk as Buffer).byteLength
    if (size > maxBytes) throw tooLarge
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
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

function isNotModified({ headers, method }: IncomingMessage, digest: Digest): boolean {
  const given = headers['if-none-match']
  if (given === undefined || (method !== 'GET' && method !== 'HEAD')) return false
  return given.trim() === '*' || given.split(',').some((tag) => tag.trim().replace(/^W\//, '') === `"${digest}"`)
}

function describeBlob(response: ServerResponse, digest: Digest): void {
  response.setHeader('content-type', 'application/octet-stream')
  response.setHeader('docker-content-digest', digest)
  response.setHeader('etag', `"${digest}"`)
  response.setHeader('cache-control', IMMUTABLE)
}

function answerBlob(response: ServerResponse, repository: string, digest: Digest): void {
  response.setHeader('location', `/v2/${repository}/blobs/${digest}`)
  response.setHeader('docker-content-digest', digest)
  end(response, 201)
}

function locationOf(repository: string, id: string): string {
  return `/v2/${repository}/blobs/uploads/${id}`
}

/** RFC 8288: the same request, from the next item on. */
function linkToNext({ url, response }: Call, last: string | undefined): void {
  if (last === undefined) return
  const next = new URL(url)
  next.searchParams.set('last', last)
  response.setHeader('link', `<${next.pathname}${next.search}>; rel="next"`)
}

function end(response: ServerResponse, status: number): void {
  response.statusCode = status
  if (status !== 204 && status !== 304) response.setHeader('content-length', 0)
  response.end()
}

function sendText(request: IncomingMessage, response: ServerResponse, type: string, text: string): void {
  response.setHeader('content-type', type)
  response.setHeader('content-length', Buffer.byteLength(text))
  response.end(request.method === 'HEAD' ? undefined : text)
}

function refuseMethod({ response }: { request: IncomingMessage; response: ServerResponse }, allow: string): never {
  response.setHeader('allow', allow)
  throw new RegistryRefusal(405, 'UNSUPPORTED', 'the method is not one of this endpoint')
}

function decodePart(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function hostOf(origin: string): string | undefined {
  try {
    return new URL(origin).host
  } catch {
    return undefined
  }
}

/** The client went away in the middle: nobody's fault. */
function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  return ['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED', 'ABORT_ERR'].includes(code)
}

function refusalOf(error: unknown): RegistryRefusal {
  const isFull = (error as { code?: string }).code === 'FAIRLEAD_OCI_DISK_FULL'
  return isFull
    ? new RegistryRefusal(507, 'UNAVAILABLE', 'the disk of the registry is full', { cause: error })
    : new RegistryRefusal(500, 'UNKNOWN', 'the registry failed: see its log', { cause: error })
}

function nameUnknown(repository: string): RegistryRefusal {
  return new RegistryRefusal(404, 'NAME_UNKNOWN', 'the registry does not know the repository', {
    detail: { name: repository },
  })
}

function manifestUnknown(reference: string): RegistryRefusal {
  return new RegistryRefusal(404, 'MANIFEST_UNKNOWN', 'the repository does not have the manifest', {
    detail: { reference },
  })
}

function blobUnknown(digest: Digest): RegistryRefusal {
  return new RegistryRefusal(404, 'BLOB_UNKNOWN', 'the repository does not have the blob', { detail: { digest } })
}
