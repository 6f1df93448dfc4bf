import { setTimeout as sleep } from 'node:timers/promises'

import { registryAnswer, registryDenied, registryNotFound, registryRefused, registryUnreachable } from '../errors.ts'
import type { RegistryAct } from '../errors.ts'
import { renderReference } from '../spec/reference.ts'
import type { Reference } from '../spec/reference.ts'
import { errorOf, isOk, isPassing, nextUrl, waitAsAsked } from './answers.ts'
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

const MAX_REDIRECTS = 5
/** What registries that put large blobs together on other storage need for it. */
const SLOW_FACTOR = 10

/** Single requests to registries: addresses, authorisation, redirects, deadlines and repetition. */
export class RegistryExchange {
  readonly retries: number
  readonly #options: RegistryClientOptions
  readonly #timeoutMs: number
  readonly #connections: Connections = openConnections()
  readonly #authorizer: Authorizer

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

  /** Whether the registry answers at all, with or without asking for credentials. */
  async answers(
    registry: string,
    { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    try {
      const url = new URL(`${this.origin(registry)}/v2/`)
      const deadlines = { idleMs: timeoutMs, totalMs: timeoutMs }
      const answer = await this.#connections.send({ method: 'GET', url, headers: {}, ...deadlines, signal })
      await answer.discard()
      return answer.status === 401 || isOk(answer.status)
    } catch {
      signal?.throwIfAborted()
      return false
    }
  }

  /** One request; throws for answers that are neither 2xx nor accepted. */
  async send(request: RegistryRequest): Promise<HttpAnswer> {
    const { reference, act, signal, accept = [] } = request
    const url =
      request.path instanceof URL
        ? request.path
        : new URL(`${this.origin(reference.registry)}/v2/${reference.repository}/${request.path}`)
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

  /** Waits before repetition number `attempt` (from 1). */
  async pause(attempt: number, signal?: AbortSignal): Promise<void> {
    const delayMs = (this.#options.retryDelayMs ?? 500) * 2 ** (attempt - 1)
    // Spread, so that clients that failed together do not come back together.
    await sleep(delayMs * (0.75 + Math.random() / 2), undefined, { signal })
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
    const isHome = url.origin === this.origin(registry)
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

  /** Scheme, host and port of a registry. */
  origin(registry: string): string {
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

export function codeOf(error: unknown): string {
  return (error as { code?: string } | undefined)?.code ?? ''
}
