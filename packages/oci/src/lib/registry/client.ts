import { setTimeout as sleep } from 'node:timers/promises'

import { registryAnswer, registryDenied, registryNotFound, registryUnreachable } from '../errors.ts'
import { digestOf, createDigester, parseDigest, splitDigest } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { renderReference } from '../spec/reference.ts'
import type { Reference } from '../spec/reference.ts'
import { parseChallenge } from './challenge.ts'
import type { Challenge } from './challenge.ts'

/** A name and a password or token for one registry. */
export interface Credentials {
  username: string
  password: string
}

/** How to talk to registries. */
export interface RegistryClientOptions {
  /** Credentials for a registry host; default: none, so pulls are anonymous. */
  credentials?: ((registry: string) => Credentials | undefined) | undefined
  /** Whether a registry host is spoken to without TLS; default: only hosts that are this machine itself. */
  isPlainHttp?: ((registry: string) => boolean) | undefined
  /** How long to wait for an answer, and for more of a body; default 30 s. */
  timeoutMs?: number | undefined
  /** How often a request that failed for a passing reason is made again; default 3. */
  retries?: number | undefined
  /** Wait before the first repetition, doubled each time; default 500 ms. `Retry-After` counts when it is longer. */
  retryDelayMs?: number | undefined
}

/** Reads from registries (distribution-spec 1.1). Tokens are kept for as long as the client is. */
export interface RegistryClient {
  /** Whether the registry answers at all within `timeoutMs`, with or without asking for credentials. */
  isReachable(registry: string, options: { timeoutMs: number; signal?: AbortSignal | undefined }): Promise<boolean>
  /** The manifest or index a reference means, checked against its digest where it has one. */
  manifest(reference: Reference, signal?: AbortSignal): Promise<{ descriptor: Descriptor; bytes: Buffer }>
  /** The content of a blob as it arrives; the caller checks the digest. Longer content than described is cut off. */
  blob(reference: Reference, descriptor: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array>
  readonly retries: number
  /** Waits before repetition number `attempt` (from 1). */
  pause(attempt: number, signal?: AbortSignal): Promise<void>
}

const MAX_MANIFEST_BYTES = 4 << 20
const MAX_TOKEN_BYTES = 1 << 20
const MAX_RETRY_AFTER_MS = 60_000
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
  readonly #authorizations = new Map<string, string>()

  constructor(options: RegistryClientOptions) {
    this.#options = options
    this.#timeoutMs = options.timeoutMs ?? 30_000
    this.retries = options.retries ?? 3
  }

  async isReachable(
    registry: string,
    options: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    const deadline = new Deadline(options.timeoutMs, options.signal)
    try {
      const response = await fetch(`${this.#origin(registry)}/v2/`, { signal: deadline.signal })
      await response.body?.cancel()
      return response.status === 401 || response.ok
    } catch {
      options.signal?.throwIfAborted()
      return false
    } finally {
      deadline.stop()
    }
  }

  async manifest(reference: Reference, signal?: AbortSignal): Promise<{ descriptor: Descriptor; bytes: Buffer }> {
    const target = reference.digest ?? reference.tag ?? 'latest'
    const { response, deadline } = await this.#get(reference, `manifests/${target}`, MANIFEST_TYPES, signal)
    const bytes = await readBounded(response, deadline, MAX_MANIFEST_BYTES)
    const digest = manifestDigest(bytes, reference.digest)
    if (reference.digest && digest !== reference.digest) {
      throw registryAnswer(response.url, `the manifest has digest "${digest}", expected "${reference.digest}"`)
    }
    const mediaType = response.headers.get('content-type')?.split(';')[0]?.trim() ?? mediaTypes.manifest
    return { descriptor: { mediaType, digest, size: bytes.byteLength }, bytes }
  }

  async *blob(reference: Reference, descriptor: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const { response, deadline } = await this.#get(reference, `blobs/${descriptor.digest}`, '*/*', signal)
    let received = 0
    for await (const chunk of chunksOf(response, deadline)) {
      received += chunk.byteLength
      if (received > descriptor.size)
        throw registryAnswer(response.url, `the blob is larger than ${descriptor.size} bytes`)
      yield chunk
    }
    if (received < descriptor.size) {
      throw registryUnreachable(response.url, `the connection ended after ${received} of ${descriptor.size} bytes`)
    }
  }

  async pause(attempt: number, signal?: AbortSignal): Promise<void> {
    await sleep((this.#options.retryDelayMs ?? 500) * 2 ** (attempt - 1), undefined, { signal })
  }

  async #get(reference: Reference, path: string, accept: string, signal?: AbortSignal): Promise<Answer> {
    const url = `${this.#origin(reference.registry)}/v2/${reference.repository}/${path}`
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.#send(reference, url, accept, signal).catch((error: unknown) => {
        signal?.throwIfAborted()
        if (attempt > this.retries) throw registryUnreachable(url, reasonOf(error), error)
        return undefined
      })
      const status = answer?.response.status ?? 0
      if (answer && status === 200) return answer
      await answer?.response.body?.cancel()
      answer?.deadline.stop()
      if (status === 404) throw registryNotFound(renderReference(reference))
      if (status === 401 || status === 403) {
        throw registryDenied(renderReference(reference), `the registry answered ${status}`)
      }
      if (status !== 0 && status !== 429 && status < 500) throw registryAnswer(url, `status ${status}`)
      if (attempt > this.retries) throw registryUnreachable(url, `it answered with status ${status}`)
      await this.pause(attempt, signal)
      if (answer) await waitAsAsked(answer.response, signal)
    }
  }

  /** One request, and a second one with credentials when the first is answered by a challenge. */
  async #send(reference: Reference, url: string, accept: string, signal?: AbortSignal): Promise<Answer> {
    const scope = `${reference.registry}/${reference.repository}`
    const first = await this.#fetch(url, { accept, ...this.#headers(scope) }, signal)
    if (first.response.status !== 401) return first
    const challenge = parseChallenge(first.response.headers.get('www-authenticate') ?? '')
    const authorization = challenge && (await this.#authorize(reference, challenge, signal))
    if (!authorization || authorization === this.#authorizations.get(scope)) return first
    await first.response.body?.cancel()
    first.deadline.stop()
    this.#authorizations.set(scope, authorization)
    return this.#fetch(url, { accept, ...this.#headers(scope) }, signal)
  }

  #headers(scope: string): Record<string, string> {
    const authorization = this.#authorizations.get(scope)
    return authorization ? { authorization } : {}
  }

  async #authorize(reference: Reference, challenge: Challenge, signal?: AbortSignal): Promise<string | undefined> {
    const credentials = this.#options.credentials?.(reference.registry)
    const basic =
      credentials && `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`
    if (challenge.scheme === 'basic') return basic
    const url = new URL(challenge.realm)
    // Credentials go to whoever the registry names, so at least not in the clear to another machine.
    if (url.protocol !== 'https:' && !this.#isPlainHttp(url.host)) {
      throw registryAnswer(url.href, 'it asks for a token from a server without TLS')
    }
    if (challenge.service) url.searchParams.set('service', challenge.service)
    url.searchParams.set('scope', challenge.scope ?? `repository:${reference.repository}:pull`)
    const { response, deadline } = await this.#fetch(url.href, basic ? { authorization: basic } : {}, signal)
    const text = (await readBounded(response, deadline, MAX_TOKEN_BYTES)).toString()
    if (!response.ok) return undefined
    const answer = parseJson(text) as { token?: unknown; access_token?: unknown } | undefined
    const token = answer?.token ?? answer?.access_token
    return typeof token === 'string' ? `Bearer ${token}` : undefined
  }

  async #fetch(url: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Answer> {
    const deadline = new Deadline(this.#timeoutMs, signal)
    try {
      // fetch drops the authorization header when a redirect leads to another host.
      const response = await fetch(url, { headers, signal: deadline.signal })
      deadline.renew()
      return { response, deadline }
    } catch (error) {
      deadline.stop()
      throw error
    }
  }

  #origin(registry: string): string {
    const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry
    return `${this.#isPlainHttp(registry) ? 'http' : 'https'}://${host}`
  }

  #isPlainHttp(registry: string): boolean {
    if (this.#options.isPlainHttp) return this.#options.isPlainHttp(registry)
    return /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(registry)
  }
}

interface Answer {
  response: Response
  deadline: Deadline
}

/** Aborts when nothing has happened for a while. */
class Deadline {
  readonly signal: AbortSignal
  readonly #controller = new AbortController()
  readonly #timeoutMs: number
  #timer: NodeJS.Timeout | undefined

  constructor(timeoutMs: number, signal: AbortSignal | undefined) {
    this.#timeoutMs = timeoutMs
    this.signal = signal ? AbortSignal.any([signal, this.#controller.signal]) : this.#controller.signal
    this.renew()
  }

  renew(): void {
    clearTimeout(this.#timer)
    const error = new DOMException(`nothing came for ${this.#timeoutMs} ms`, 'TimeoutError')
    this.#timer = setTimeout(() => this.#controller.abort(error), this.#timeoutMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}

async function* chunksOf(response: Response, deadline: Deadline): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response.body ?? []) {
      deadline.renew()
      yield chunk
    }
  } catch (error) {
    throw registryUnreachable(response.url, reasonOf(error), error)
  } finally {
    deadline.stop()
  }
}

async function readBounded(response: Response, deadline: Deadline, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let sizeBytes = 0
  for await (const chunk of chunksOf(response, deadline)) {
    sizeBytes += chunk.byteLength
    if (sizeBytes > maxBytes) throw registryAnswer(response.url, `the answer is larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function manifestDigest(bytes: Buffer, expected: Digest | undefined): Digest {
  if (!expected) return digestOf(bytes)
  const digester = createDigester(splitDigest(parseDigest(expected)).algorithm)
  digester.update(bytes)
  return digester.digest()
}

async function waitAsAsked(response: Response, signal?: AbortSignal): Promise<void> {
  const seconds = Number(response.headers.get('retry-after') ?? 0)
  if (seconds > 0) await sleep(Math.min(seconds * 1000, MAX_RETRY_AFTER_MS), undefined, { signal })
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(cause instanceof Error)) return String(cause)
  return (cause as NodeJS.ErrnoException).code ?? cause.message
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
