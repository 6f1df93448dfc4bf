import { registryAnswer, registryUnreachable } from '../errors.ts'
import { isDigest } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import type { Reference } from '../spec/reference.ts'
import {
  checkConfirmed,
  contentTypeOf,
  digestLike,
  manifestTypeOf,
  nextPage,
  parseJson,
  startOf,
  wrongDigest,
} from './answers.ts'
import { withoutQuery } from './client-http.ts'
import type { Connections, HttpAnswer } from './client-http.ts'
import { bodyOf, codeOf, RegistryExchange, scopeOf } from './exchange.ts'
import type { RegistryClientOptions, RegistryRequest } from './exchange.ts'

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
const MAX_TAGS_BYTES = 16 << 20
const MAX_TAG_PAGES = 10_000
const MIRROR_REST_MS = 60_000
const MANIFEST_TYPES = [mediaTypes.index, mediaTypes.manifest, mediaTypes.dockerIndex, mediaTypes.dockerManifest].join(
  ', ',
)

/** Makes a client; nothing is sent before it is asked something. */
export function createRegistryClient(options: RegistryClientOptions = {}): RegistryClient {
  return new HttpRegistryClient(options)
}

class HttpRegistryClient implements RegistryClient {
  readonly #options: RegistryClientOptions
  readonly #exchange: RegistryExchange
  /** Mirrors that could not be reached, and until when they are not asked again. */
  readonly #resting = new Map<string, number>()

  constructor(options: RegistryClientOptions) {
    this.#options = options
    this.#exchange = new RegistryExchange(options)
  }

  get counts(): Readonly<Connections['counts']> {
    return this.#exchange.counts
  }

  get retries(): number {
    return this.#exchange.retries
  }

  send(request: RegistryRequest): Promise<HttpAnswer> {
    return this.#exchange.send(request)
  }

  pause(attempt: number, signal?: AbortSignal): Promise<void> {
    return this.#exchange.pause(attempt, signal)
  }

  async isReachable(
    where: string | Reference,
    options: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    if (typeof where === 'string') return this.#exchange.answers(where, options)
    const places = this.#options.sources?.(where) ?? [where]
    const answers = await Promise.all(places.map(({ registry }) => this.#exchange.answers(registry, options)))
    return answers.includes(true)
  }

  async logIn(registry: string, signal?: AbortSignal): Promise<void> {
    const reference: Reference = { registry, repository: '' }
    const url = new URL(`${this.#exchange.origin(registry)}/v2/`)
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
    let path: URL | undefined = new URL(`${this.#exchange.origin(registry)}/v2/_catalog?n=1000`)
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
}

/** What mirrors said, below what the registry said. */
function withFailures(error: unknown, failures: readonly unknown[]): unknown {
  if (failures.length === 0 || !(error instanceof Error)) return error
  const [last] = failures.slice(-1)
  const said = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure))).join('; ')
  const cause = new AggregateError(failures, `The mirrors failed too: ${said}`, { cause: error.cause ?? last })
  return Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true })
}

function targetOf(reference: Reference): string {
  return reference.digest ?? reference.tag ?? 'latest'
}
