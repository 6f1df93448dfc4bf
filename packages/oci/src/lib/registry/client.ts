import { setTimeout as sleep } from 'node:timers/promises'

import { registryAnswer, registryDenied, registryNotFound, registryRefused, registryUnreachable } from '../errors.ts'
import type { RegistryAct } from '../errors.ts'
import { createDigester, digestOf, isDigest, parseDigest, splitDigest } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { renderReference } from '../spec/reference.ts'
import type { Reference } from '../spec/reference.ts'
import { Authorizer } from './auth.ts'
import type { Credentials, Scope } from './auth.ts'
import { openConnections, unreachable, withoutQuery } from './client-http.ts'
import type { Connections, HttpAnswer, HttpBody } from './client-http.ts'

/** How to talk to registries. */
export interface RegistryClientOptions {
  /** Credentials for a registry host, asked for when the registry wants some; default: none. See `createKeychain`. */
  credentials?:
    | ((registry: string, signal?: AbortSignal) => Credentials | undefined | Promise<Credentials | undefined>)
    | undefined
  /** Whether a registry host is spoken to without TLS; default: only hosts that are this machine itself. */
  isPlainHttp?: ((registry: string) => boolean) | undefined
  /**
   * Where something is read from, in the order the places are asked; default: where the reference says. Writes, tags
   * and referrers always go there.
   */
  sources?: ((reference: Reference) => readonly Reference[]) | undefined
  /** How long to wait for an answer, and for more of a body; default 30 s. */
  timeoutMs?: number | undefined
  /** The slowest transfer that is waited for; default 2,048 bytes a second, after ten times `timeoutMs`. */
  minBytesPerSecond?: number | undefined
  /** How often a request that failed for a passing reason is made again; default 3. */
  retries?: number | undefined
  /** Wait before the first repetition, doubled each time; default 500 ms. `Retry-After` counts when it is longer. */
  retryDelayMs?: number | undefined
}

/** One request to a registry, for what {@link RegistryClient} has no method for. */
export interface RegistryRequest {
  /** Who is asked, and what errors name. */
  reference: Reference
  /** What the request is for. */
  act: RegistryAct
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Below `/v2/<repository>/`, or a whole address that the registry gave. */
  path: string | URL
  headers?: Readonly<Record<string, string>> | undefined
  body?: HttpBody | undefined
  /** Default: `pull` for reads, `pull,push` for writes and `delete` for deletions, in the repository. */
  scopes?: readonly Scope[] | undefined
  /** Answers that are returned and not thrown; 2xx are anyway. */
  accept?: readonly number[] | undefined
  /** Default: as the client was told. */
  retries?: number | undefined
  /** Bytes that the answer may have, for the deadline; default: few. */
  expectedBytes?: number | undefined
  /** Whether the registry may think for longer than usual, as when it puts a large blob together. */
  isSlow?: boolean | undefined
  onSent?: ((bytes: number) => void) | undefined
  signal?: AbortSignal | undefined
}

/** Talks to registries (distribution-spec 1.1). Tokens and connections are kept for as long as the client is. */
export interface RegistryClient {
  /**
   * Whether the registry, or for an image one of its sources, answers at all within `timeoutMs`, with or without asking
   * for credentials.
   */
  isReachable(
    where: string | Reference,
    options: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<boolean>
  /** Checks that the registry takes the credentials; `FAIRLEAD_OCI_REGISTRY_DENIED`. */
  logIn(registry: string, signal?: AbortSignal): Promise<void>
  /** What a reference means now, without its content; `FAIRLEAD_OCI_REGISTRY_NOT_FOUND`. */
  resolve(reference: Reference, signal?: AbortSignal): Promise<Descriptor>
  /** The manifest or index a reference means, checked against its digest where it has one. */
  manifest(reference: Reference, signal?: AbortSignal): Promise<{ descriptor: Descriptor; bytes: Buffer }>
  /**
   * Stores a manifest or index under the tag or the digest of the reference; what it points at must be there. Tells
   * whether the registry files it under its `subject` by itself (distribution-spec, "Pushing Manifests with Subject").
   */
  putManifest(
    reference: Reference,
    manifest: { mediaType: string; bytes: Uint8Array },
    options?: { ifMatch?: string | undefined; signal?: AbortSignal | undefined },
  ): Promise<{ digest: Digest; hasSubject: boolean }>
  /**
   * The content of a blob as it arrives, from byte `offset` on; the caller checks the digest. A transfer that breaks
   * off is taken up where it ended. Longer content than described is cut off.
   */
  blob(
    reference: Reference,
    descriptor: Descriptor,
    options?: { offset?: number | undefined; signal?: AbortSignal | undefined } | AbortSignal,
  ): AsyncGenerator<Uint8Array>
  /** Whether the repository has the blob. */
  hasBlob(reference: Reference, digest: Digest, signal?: AbortSignal): Promise<boolean>
  /** All tags of a repository, as the registry orders them. */
  listTags(reference: Reference, signal?: AbortSignal): Promise<string[]>
  /** All repositories that the registry shows; many show none, and refuse. */
  listRepositories(registry: string, signal?: AbortSignal): Promise<string[]>
  /** Deletes the manifest of a digest with its tags, or, without a digest, the tag. */
  delete(reference: Reference, signal?: AbortSignal): Promise<void>
  /** One request with authorisation, redirects and repetition; throws for answers not in `accept`. */
  send(request: RegistryRequest): Promise<HttpAnswer>
  /** Waits before repetition number `attempt` (from 1). */
  pause(attempt: number, signal?: AbortSignal): Promise<void>
  readonly retries: number
  /** What went over the network so far; bytes are those of bodies. */
  readonly counts: Readonly<Connections['counts']>
}

export const MAX_MANIFEST_BYTES: number = 4 << 20
const MAX_ERROR_BYTES = 64 << 10
const MAX_TAGS_BYTES = 16 << 20
const MAX_TAG_PAGES = 10_000
const MAX_RETRY_AFTER_MS = 60_000
const MAX_REDIRECTS = 5
const MIRROR_REST_MS = 60_000
/** What registries that put large blobs together on other storage need for it. */
const SLOW_FACTOR = 10
const MANIFEST_TYPES = [mediaTypes.index, mediaTypes.manifest, mediaTypes.dockerIndex, mediaTypes.dockerManifest].join(
  ', ',
)

/** Makes a client; nothing is sent before it is asked something. */
export function createRegistryClient(options: RegistryClientOptions = {}): RegistryClient {
  return new HttpRegistryClient(options)
}

class HttpRegistryClient implements RegistryClient {
  readonly retries: number
  readonly #options: RegistryClientOptions
  readonly #timeoutMs: number
  readonly #connections: Connections = openConnections()
  readonly #authorizer: Authorizer
  /** Mirrors that could not be reached, and until when they are not asked again. */
  readonly #resting = new Map<string, number>()

  constructor(options: RegistryClientOptions) {
    this.#options = options
    this.#timeoutMs = options.timeoutMs ?? 30_000
    this.retries = options.retries ?? 3
    this.#authorizer = new Authorizer({
      credentials: async (registry, signal) => options.credentials?.(registry, signal),
      isPlainHttp: (host) => this.#isPlainHttp(host),
      now: Date.now,
      send: ({ body, ...request }) =>
        this.#repeat(request.url, {}, () =>
          this.#connections.send({
            ...request,
            ...(body ? { body: bodyOf(body) } : {}),
            ...this.#deadlines({}),
          }),
        ),
    })
  }

  get counts(): Readonly<Connections['counts']> {
    return this.#connections.counts
  }

  async isReachable(
    where: string | Reference,
    options: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    if (typeof where === 'string') return this.#answers(where, options)
    const places = this.#options.sources?.(where) ?? [where]
    const answers = await Promise.all(places.map(({ registry }) => this.#answers(registry, options)))
    return answers.includes(true)
  }

  async #answers(
    registry: string,
    { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    try {
      const url = new URL(`${this.#origin(registry)}/v2/`)
      const deadlines = { idleMs: timeoutMs, totalMs: timeoutMs }
      const answer = await this.#connections.send({ method: 'GET', url, headers: {}, ...deadlines, signal })
      await answer.discard()
      return answer.status === 401 || isOk(answer.status)
    } catch {
      signal?.throwIfAborted()
      return false
    }
  }

  async logIn(registry: string, signal?: AbortSignal): Promise<void> {
    const reference: Reference = { registry, repository: '' }
    const url = new URL(`${this.#origin(registry)}/v2/`)
    const answer = await this.send({ reference, act: 'log in to', method: 'GET', path: url, scopes: [], signal })
    await answer.discard()
  }

  async resolve(reference: Reference, signal?: AbortSignal): Promise<Descriptor> {
    const answer = await this.#read(reference, {
      method: 'HEAD',
      path: `manifests/${targetOf(reference)}`,
      headers: { accept: MANIFEST_TYPES },
      signal,
    })
    await answer.discard()
    const digest = answer.headers['docker-content-digest'] ?? reference.digest
    const size = Number(answer.headers['content-length'])
    // The digest is not required of registries; then the content tells.
    if (typeof digest !== 'string' || !isDigest(digest) || !Number.isSafeInteger(size)) {
      return (await this.manifest(reference, signal)).descriptor
    }
    if (reference.digest && digest !== reference.digest) throw wrongDigest(answer.url, digest, reference.digest)
    return { mediaType: contentTypeOf(answer) ?? mediaTypes.manifest, digest, size }
  }

  async manifest(reference: Reference, signal?: AbortSignal): Promise<{ descriptor: Descriptor; bytes: Buffer }> {
    const answer = await this.#read(reference, {
      path: `manifests/${targetOf(reference)}`,
      headers: { accept: MANIFEST_TYPES },
      signal,
    })
    const bytes = await answer.bytes(MAX_MANIFEST_BYTES)
    const digest = digestLike(bytes, reference.digest)
    if (reference.digest && digest !== reference.digest) throw wrongDigest(answer.url, digest, reference.digest)
    const mediaType = manifestTypeOf(answer, bytes)
    return { descriptor: { mediaType, digest, size: bytes.byteLength }, bytes }
  }

  async putManifest(
    reference: Reference,
    { mediaType, bytes }: { mediaType: string; bytes: Uint8Array },
    options: { ifMatch?: string | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<{ digest: Digest; hasSubject: boolean }> {
    const digest = digestLike(bytes, reference.digest)
    const target = reference.tag ?? digest
    const answer = await this.send({
      reference,
      act: 'push',
      method: 'PUT',
      path: `manifests/${target}`,
      headers: { 'content-type': mediaType, ...(options.ifMatch ? { 'if-match': options.ifMatch } : {}) },
      body: bodyOf(bytes),
      signal: options.signal,
    })
    await answer.discard()
    checkConfirmed(answer, digest)
    return { digest, hasSubject: answer.headers['oci-subject'] !== undefined }
  }

  async *blob(
    reference: Reference,
    descriptor: Descriptor,
    options: { offset?: number | undefined; signal?: AbortSignal | undefined } | AbortSignal = {},
  ): AsyncGenerator<Uint8Array> {
    const { signal, offset = 0 } = options instanceof AbortSignal ? { signal: options } : options
    let received = offset
    for (let attempt = 1; ; attempt += 1) {
      const before = received
      try {
        for await (const chunk of this.#blobFrom(reference, descriptor, received, signal)) {
          received += chunk.byteLength
          yield chunk
        }
        return
      } catch (error) {
        signal?.throwIfAborted()
        // A transfer that moves on may break off as often as it likes.
        if (received > before) attempt = 1
        if (codeOf(error) !== 'FAIRLEAD_OCI_REGISTRY_UNREACHABLE' || attempt > this.retries) throw error
        await this.pause(attempt, signal)
      }
    }
  }

  async hasBlob(reference: Reference, digest: Digest, signal?: AbortSignal): Promise<boolean> {
    const answer = await this.send({
      reference,
      act: 'push',
      method: 'HEAD',
      path: `blobs/${digest}`,
      scopes: [scopeOf(reference, 'pull,push')],
      accept: [404],
      signal,
    })
    await answer.discard()
    return answer.status !== 404
  }

  async listTags(reference: Reference, signal?: AbortSignal): Promise<string[]> {
    const tags: string[] = []
    let path: string | URL | undefined = 'tags/list'
    for (let page = 0; path !== undefined && page < MAX_TAG_PAGES; page += 1) {
      const answer: HttpAnswer = await this.send({ reference, act: 'list tags of', method: 'GET', path, signal })
      const list = parseJson(await answer.bytes(MAX_TAGS_BYTES)) as { tags?: unknown } | undefined
      // An empty repository is `null` to some.
      const found: unknown = list?.tags ?? []
      if (!list || !Array.isArray(found)) throw registryAnswer(withoutQuery(answer.url), 'it is no list of tags')
      tags.push(...found.filter((tag) => typeof tag === 'string'))
      path = nextPage(answer)
    }
    return tags
  }

  async listRepositories(registry: string, signal?: AbortSignal): Promise<string[]> {
    const names: string[] = []
    const reference: Reference = { registry, repository: '' }
    const scopes = ['registry:catalog:*']
    let path: URL | undefined = new URL(`${this.#origin(registry)}/v2/_catalog?n=1000`)
    for (let page = 0; path !== undefined && page < MAX_TAG_PAGES; page += 1) {
      const act = 'list repositories of'
      const answer: HttpAnswer = await this.send({ reference, act, method: 'GET', path, scopes, signal })
      const list = parseJson(await answer.bytes(MAX_TAGS_BYTES)) as { repositories?: unknown } | undefined
      const found: unknown = list?.repositories ?? []
      if (!list || !Array.isArray(found))
        throw registryAnswer(withoutQuery(answer.url), 'it is no list of repositories')
      names.push(...found.filter((name) => typeof name === 'string'))
      path = nextPage(answer)
    }
    return names
  }

  async delete(reference: Reference, signal?: AbortSignal): Promise<void> {
    const path = `manifests/${targetOf(reference)}`
    const answer = await this.send({ reference, act: 'delete', method: 'DELETE', path, signal })
    await answer.discard()
  }

  async send(request: RegistryRequest): Promise<HttpAnswer> {
    const { reference, act, signal, accept = [] } = request
    const url =
      request.path instanceof URL
        ? request.path
        : new URL(`${this.#origin(reference.registry)}/v2/${reference.repository}/${request.path}`)
    const answer = await this.#repeat(url, request, () => this.#authorized(url, request))
    if (isOk(answer.status) || accept.includes(answer.status)) return answer
    const says = await errorOf(answer)
    signal?.throwIfAborted()
    const name = reference.repository === '' ? reference.registry : renderReference(reference)
    if (answer.status === 404) throw registryNotFound(name, act)
    if (answer.status === 401 || answer.status === 403) {
      const denial = this.#authorizer.denialOf(reference.registry)
      const state = [`the registry answered ${answer.status}`, says, answer.status === 401 && denial].filter(Boolean)
      throw registryDenied(name, state.join(', '), act)
    }
    if (answer.status >= 300 && answer.status < 400) {
      throw registryAnswer(withoutQuery(url), `it leads on more than ${MAX_REDIRECTS} times, or nowhere`)
    }
    throw registryRefused(name, act, answer.status, says)
  }

  async pause(attempt: number, signal?: AbortSignal): Promise<void> {
    const delayMs = (this.#options.retryDelayMs ?? 500) * 2 ** (attempt - 1)
    // Spread, so that clients that failed together do not come back together.
    await sleep(delayMs * (0.75 + Math.random() / 2), undefined, { signal })
  }

  /** Reads from the mirrors of a registry and then from the registry itself. */
  async #read(
    reference: Reference,
    request: Omit<RegistryRequest, 'reference' | 'act' | 'method'> & { method?: 'GET' | 'HEAD' },
  ): Promise<HttpAnswer> {
    const places = this.#options.sources?.(reference) ?? []
    const failures: unknown[] = []
    for (const place of places.slice(0, -1)) {
      if ((this.#resting.get(place.registry) ?? 0) > Date.now()) continue
      try {
        return await this.send({ method: 'GET', retries: 0, ...request, reference: place, act: 'pull' })
      } catch (error) {
        // Whatever a mirror lacks, the registry has; a wrong content is told by its digest.
        request.signal?.throwIfAborted()
        if (codeOf(error) === 'FAIRLEAD_OCI_REGISTRY_UNREACHABLE') {
          this.#resting.set(place.registry, Date.now() + MIRROR_REST_MS)
        }
        failures.push(error)
      }
    }
    try {
      return await this.send({ method: 'GET', ...request, reference: places.at(-1) ?? reference, act: 'pull' })
    } catch (error) {
      throw withFailures(error, failures)
    }
  }

  /** One attempt at a blob, from byte `offset` on. */
  async *#blobFrom(
    reference: Reference,
    descriptor: Descriptor,
    offset: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array> {
    const { digest, size } = descriptor
    if (offset === size && size > 0) return
    const answer = await this.#read(reference, {
      path: `blobs/${digest}`,
      headers: { accept: '*/*', ...(offset > 0 ? { range: `bytes=${offset}-` } : {}) },
      expectedBytes: size - offset,
      signal,
    })
    const start = startOf(answer)
    if (!(start <= offset))
      throw registryAnswer(withoutQuery(answer.url), `it starts at byte ${start}, expected ${offset}`)
    let position = start
    for await (const chunk of answer.chunks()) {
      const fresh = position + chunk.byteLength <= offset ? undefined : chunk.subarray(Math.max(0, offset - position))
      position += chunk.byteLength
      if (position > size) throw registryAnswer(withoutQuery(answer.url), `the blob is larger than ${size} bytes`)
      if (fresh) yield fresh
    }
    if (position < size) {
      const state = `the connection ended after ${position} of ${size} bytes`
      throw registryUnreachable(withoutQuery(answer.url), state)
    }
  }

  /** Makes a request again that failed for a passing reason. */
  async #repeat(
    url: URL,
    request: { retries?: number | undefined; signal?: AbortSignal | undefined },
    attemptIt: () => Promise<HttpAnswer>,
  ): Promise<HttpAnswer> {
    const { retries = this.retries, signal } = request
    for (let attempt = 1; ; attempt += 1) {
      let answer: HttpAnswer | undefined
      try {
        answer = await attemptIt()
        if (!isPassing(answer.status)) return answer
      } catch (error) {
        signal?.throwIfAborted()
        const failure = unreachable(url, error)
        if (attempt > retries || codeOf(failure) !== 'FAIRLEAD_OCI_REGISTRY_UNREACHABLE') throw failure
      }
      if (answer && attempt > retries) {
        const says = await errorOf(answer)
        const state = `it answered with status ${answer.status}${says === '' ? '' : `, ${says}`}`
        throw registryUnreachable(withoutQuery(url), state)
      }
      await answer?.discard()
      await this.pause(attempt, signal)
      if (answer) await waitAsAsked(answer, signal)
    }
  }

  /** One request, and a second one when the first is refused for want of authorisation. */
  async #authorized(url: URL, request: RegistryRequest): Promise<HttpAnswer> {
    const { reference, signal } = request
    const { registry } = reference
    const scopes = request.scopes ?? [scopeOf(reference, ACTIONS[request.method])]
    const isHome = url.origin === this.#origin(registry)
    // An address on another host is one the registry gave, and authorised by what is in it.
    const sent = isHome ? await this.#authorizer.authorize(registry, scopes, signal) : undefined
    const answer = await this.#followed(url, request, sent?.header)
    if (!isHome || ![400, 401, 403].includes(answer.status) || answer.url.origin !== url.origin) return answer
    const next = await this.#authorizer.reauthorize({ registry, scopes, sent, answer }, signal)
    if (!next) return answer
    await answer.discard()
    return this.#followed(url, request, next.header)
  }

  /** One request with its redirects; authorisation stays with the host it is for. */
  async #followed(start: URL, request: RegistryRequest, authorization: string | undefined): Promise<HttpAnswer> {
    let url = start
    for (let redirects = 0; ; redirects += 1) {
      const mayKnow = authorization !== undefined && url.origin === start.origin
      const answer = await this.#connections.send({
        method: request.method,
        url,
        headers: { ...request.headers, ...(mayKnow ? { authorization } : {}) },
        body: request.body,
        onSent: request.onSent,
        signal: request.signal,
        ...this.#deadlines(request),
      })
      const next = [301, 302, 303, 307, 308].includes(answer.status) && redirects < MAX_REDIRECTS && nextUrl(answer)
      if (!next) return answer
      if (next.protocol !== 'https:' && next.origin !== start.origin && !this.#isPlainHttp(next.host)) {
        await answer.discard()
        throw registryAnswer(withoutQuery(next), 'the registry leads on to it, and it has no TLS')
      }
      await answer.discard()
      url = next
    }
  }

  #deadlines(request: Partial<RegistryRequest>): { idleMs: number; totalMs: number } {
    const bytes = (request.body?.size ?? 0) + (request.expectedBytes ?? 0)
    const transferMs = (bytes / (this.#options.minBytesPerSecond ?? 2048)) * 1000
    const idleMs = this.#timeoutMs * (request.isSlow ? SLOW_FACTOR : 1)
    // A timer has 31 bits.
    return { idleMs, totalMs: Math.min(this.#timeoutMs * 10 + transferMs, 2 ** 31 - 1) }
  }

  #origin(registry: string): string {
    const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry
    return new URL(`${this.#isPlainHttp(registry) ? 'http' : 'https'}://${host}`).origin
  }

  #isPlainHttp(registry: string): boolean {
    return (this.#options.isPlainHttp ?? isThisMachine)(registry)
  }
}

/** Whether a registry host is this machine, where TLS protects from nobody. */
export function isThisMachine(registry: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(registry)
}

/** What mirrors said, below what the registry said. */
function withFailures(error: unknown, failures: readonly unknown[]): unknown {
  if (failures.length === 0 || !(error instanceof Error)) return error
  const [last] = failures.slice(-1)
  const said = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure))).join('; ')
  const cause = new AggregateError(failures, `The mirrors failed too: ${said}`, { cause: error.cause ?? last })
  return Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true })
}

const ACTIONS = {
  GET: 'pull',
  HEAD: 'pull',
  POST: 'pull,push',
  PUT: 'pull,push',
  PATCH: 'pull,push',
  DELETE: 'delete',
} as const

/** The scope of a repository (distribution token specification, "Resource Scope"). */
export function scopeOf({ repository }: Reference, actions: string): Scope {
  return `repository:${repository}:${actions}`
}

/** A body of bytes that are there. */
export function bodyOf(bytes: Uint8Array): HttpBody {
  return { size: bytes.byteLength, open: () => [bytes] }
}

/** Holds what the registry says it stored against what was sent; not all say it. */
export function checkConfirmed(answer: HttpAnswer, digest: Digest): void {
  const confirmed = answer.headers['docker-content-digest']
  if (typeof confirmed === 'string' && confirmed !== digest) throw wrongDigest(answer.url, confirmed, digest)
}

/** The address that an answer names in `Location`. */
export function nextUrl(answer: HttpAnswer): URL | undefined {
  const { location } = answer.headers
  if (location === undefined || !URL.canParse(location, answer.url.href)) return undefined
  const next = new URL(location, answer.url)
  if (!/^https?:$/.test(next.protocol)) return undefined
  // A registry behind a proxy that ends TLS often does not know about it.
  if (answer.url.protocol === 'https:' && next.protocol === 'http:' && next.hostname === answer.url.hostname) {
    if (next.port === '' || next.port === answer.url.port)
      return new URL(next.href.replace(/^http:\/\/[^/?#]*/, answer.url.origin))
  }
  return next
}

/** The page after this one (RFC 8288); only on the same host, for the request is authorised. */
export function nextPage(answer: HttpAnswer): URL | undefined {
  const { link } = answer.headers
  const target = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(Array.isArray(link) ? link.join(', ') : (link ?? ''))?.[1]
  if (target === undefined || !URL.canParse(target, answer.url.href)) return undefined
  const next = new URL(target, answer.url)
  return next.host === answer.url.host ? new URL(`${answer.url.origin}${next.pathname}${next.search}`) : undefined
}

export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString())
  } catch {
    return undefined
  }
}

export function codeOf(error: unknown): string {
  return (error as { code?: string } | undefined)?.code ?? ''
}

function isOk(status: number): boolean {
  return status >= 200 && status < 300
}

function isPassing(status: number): boolean {
  return status === 429 || status === 408 || (status >= 500 && status !== 501)
}

function targetOf(reference: Reference): string {
  return reference.digest ?? reference.tag ?? 'latest'
}

function contentTypeOf(answer: HttpAnswer): string | undefined {
  return answer.headers['content-type']?.split(';')[0]?.trim()
}

/** What the answer says, unless it says nothing a manifest can be; then what is in it. */
function manifestTypeOf(answer: HttpAnswer, bytes: Buffer): string {
  const said = contentTypeOf(answer)
  if (said && said !== 'application/json' && said !== 'text/plain' && said !== 'application/octet-stream') return said
  const own = parseJson(bytes) as { mediaType?: unknown; manifests?: unknown } | null | undefined
  if (typeof own?.mediaType === 'string') return own.mediaType
  return own?.manifests ? mediaTypes.index : mediaTypes.manifest
}

function startOf(answer: HttpAnswer): number {
  if (answer.status !== 206) return 0
  return Number(/^bytes (\d+)-/.exec(answer.headers['content-range'] ?? '')?.[1] ?? Number.NaN)
}

function wrongDigest(url: URL, actual: string, expected: Digest): Error {
  return registryAnswer(withoutQuery(url), `the manifest has digest "${actual}", expected "${expected}"`)
}

function digestLike(bytes: Uint8Array, expected: Digest | undefined): Digest {
  if (!expected) return digestOf(bytes)
  const digester = createDigester(splitDigest(parseDigest(expected)).algorithm)
  digester.update(bytes)
  return digester.digest()
}

/** The first error in the body (distribution-spec, "Error Codes"), cut and without control characters. */
async function errorOf(answer: HttpAnswer): Promise<string> {
  const bytes = await answer.bytes(MAX_ERROR_BYTES).catch(() => Buffer.alloc(0))
  const body = parseJson(bytes) as { errors?: { code?: unknown; message?: unknown }[] } | null | undefined
  const first = Array.isArray(body?.errors) ? body.errors[0] : undefined
  return [first?.code, first?.message]
    .filter((part) => typeof part === 'string')
    .join(': ')
    .replaceAll(/\p{Cc}+/gu, ' ')
    .slice(0, 300)
}

async function waitAsAsked(answer: HttpAnswer, signal?: AbortSignal): Promise<void> {
  const text = answer.headers['retry-after']
  if (text === undefined) return
  const waitMs = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  if (waitMs > 0) await sleep(Math.min(waitMs, MAX_RETRY_AFTER_MS), undefined, { signal })
}
