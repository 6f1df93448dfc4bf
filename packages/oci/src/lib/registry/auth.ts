import { registryAnswer } from '../errors.ts'
import { parseChallenge } from './challenge.ts'
import type { Challenge } from './challenge.ts'
import { reasonOf } from './client-http.ts'
import type { HttpAnswer } from './client-http.ts'

/** What a registry knows somebody by: a name and a password, or one of the tokens instead of the password. */
export interface Credentials {
  username: string
  password: string
  /** A refresh token of the registry's token server (`identitytoken` of a docker config file). */
  identityToken?: string | undefined
  /** A token that is sent to the registry as it is (`registrytoken` of a docker config file). */
  registryToken?: string | undefined
}

/** What may be done in which repository, such as `repository:team/app:pull,push`. */
export type Scope = string

export interface AuthorizerOptions {
  credentials(registry: string, signal?: AbortSignal): Promise<Credentials | undefined>
  isPlainHttp(host: string): boolean
  /** Sends one request to a token server. */
  send(request: { method: string; url: URL; headers: Record<string, string>; body?: Buffer }): Promise<HttpAnswer>
  readonly now: () => number
}

interface Token {
  header: string
  expiresAt: number
}

/** What one request to a registry is authorised with. */
export interface Authorization {
  /** Of the header `authorization`. */
  header: string
  /** Whether it was there before this request, so that it may have expired. */
  isCached: boolean
}

const MAX_TOKEN_BYTES = 1 << 20
/** Of a token whose server does not tell (distribution token specification, "expires_in"). */
const DEFAULT_LIFETIME_S = 60

/**
 * Authorises requests (RFC 9110 section 11; distribution token specification). A registry is asked without credentials
 * until it asks for some; from then on they are sent with every request, and tokens are kept per set of scopes.
 */
export class Authorizer {
  readonly #options: AuthorizerOptions
  readonly #challenges = new Map<string, Challenge>()
  readonly #credentials = new Map<string, Promise<Credentials | undefined>>()
  readonly #tokens = new Map<string, Promise<Token | undefined>>()
  readonly #denials = new Map<string, string>()

  constructor(options: AuthorizerOptions) {
    this.#options = options
  }

  /** What to send with the first attempt of a request. */
  async authorize(
    registry: string,
    scopes: readonly Scope[],
    signal?: AbortSignal,
  ): Promise<Authorization | undefined> {
    const challenge = this.#challenges.get(registry)
    return challenge && this.#authorizationFor(registry, challenge, scopes, signal)
  }

  /**
   * What to send after a request was refused with 401, or, for some registries answer so when a token has expired,
   * with 400 or 403. Nothing when there is nothing better than what was sent.
   */
  async reauthorize(
    refused: { registry: string; scopes: readonly Scope[]; sent: Authorization | undefined; answer: HttpAnswer },
    signal?: AbortSignal,
  ): Promise<Authorization | undefined> {
    const { registry, scopes, sent, answer } = refused
    const asked = answer.status === 401 ? parseChallenge(answer.headers['www-authenticate'] ?? '') : undefined
    const challenge = asked ?? this.#challenges.get(registry)
    if (!challenge || (answer.status !== 401 && !sent?.isCached)) return undefined
    this.#challenges.set(registry, challenge)
    if (sent) {
      const key = keyOf(registry, scopes)
      if ((await this.#tokens.get(key))?.header === sent.header) this.#tokens.delete(key)
      this.#credentials.delete(registry)
    }
    const next = await this.#authorizationFor(registry, challenge, scopes, signal)
    return next && (next.header !== sent?.header || challenge.scheme === 'bearer') ? next : undefined
  }

  /** Why there is nothing to authorise requests with, for the person. */
  denialOf(registry: string): string | undefined {
    return this.#denials.get(registry)
  }

  async #authorizationFor(
    registry: string,
    challenge: Challenge,
    scopes: readonly Scope[],
    signal?: AbortSignal,
  ): Promise<Authorization | undefined> {
    const isKnown = this.#credentials.has(registry)
    const credentials = await this.#credentialsOf(registry, signal)
    if (credentials?.registryToken) return { header: `Bearer ${credentials.registryToken}`, isCached: false }
    if (challenge.scheme === 'basic') {
      if (!credentials) this.#denials.set(registry, 'there are no credentials for it')
      return credentials && { header: basicOf(credentials), isCached: isKnown }
    }
    const key = keyOf(registry, scopes)
    const current = this.#tokens.get(key)
    const kept = await current
    if (kept && kept.expiresAt > this.#options.now()) return { header: kept.header, isCached: true }
    // Several requests that need the same token wait for one.
    if (this.#tokens.get(key) === current || !this.#tokens.has(key)) {
      const fetching = this.#fetchToken(registry, challenge, scopes, credentials)
      this.#tokens.set(key, fetching)
      fetching.then(
        (token) => token ?? this.#tokens.delete(key),
        () => this.#tokens.delete(key),
      )
    }
    const token = await this.#tokens.get(key)
    return token && { header: token.header, isCached: false }
  }

  #credentialsOf(registry: string, signal?: AbortSignal): Promise<Credentials | undefined> {
    let found = this.#credentials.get(registry)
    if (!found) {
      found = this.#options.credentials(registry, signal)
      this.#credentials.set(registry, found)
      found.catch(() => this.#credentials.delete(registry))
    }
    return found
  }

  async #fetchToken(
    registry: string,
    challenge: Challenge,
    scopes: readonly Scope[],
    credentials: Credentials | undefined,
  ): Promise<Token | undefined> {
    const url = this.#realmOf(challenge)
    const wanted = scopesFor(challenge, scopes)
    let answer: HttpAnswer
    if (credentials?.identityToken) {
      answer = await this.#post(url, challenge, wanted, {
        grant_type: 'refresh_token',
        refresh_token: credentials.identityToken,
      })
    } else {
      answer = await this.#get(url, challenge, wanted, credentials)
      // A server that knows only OAuth2 (distribution, "oauth2 token authentication").
      if (credentials && (answer.status === 404 || answer.status === 405)) {
        await answer.discard()
        const { username, password } = credentials
        answer = await this.#post(url, challenge, wanted, { grant_type: 'password', username, password })
      }
    }
    if (answer.status !== 200) {
      this.#denials.set(registry, `the token server ${url.host} answered ${answer.status}`)
      await answer.discard()
      return undefined
    }
    return this.#readToken(url, await answer.bytes(MAX_TOKEN_BYTES))
  }

  #realmOf(challenge: Challenge): URL {
    const url = URL.canParse(challenge.realm) ? new URL(challenge.realm) : undefined
    if (!url || !/^https?:$/.test(url.protocol)) {
      throw registryAnswer(challenge.realm, 'it names no address of a token server')
    }
    // Credentials go to whoever the registry names, so at least not in the clear to another machine.
    if (url.protocol !== 'https:' && !this.#options.isPlainHttp(url.host)) {
      throw registryAnswer(url.href, 'it asks for a token from a server without TLS')
    }
    return url
  }

  #get(
    realm: URL,
    challenge: Challenge,
    scopes: readonly Scope[],
    credentials: Credentials | undefined,
  ): Promise<HttpAnswer> {
    const url = new URL(realm)
    if (challenge.service) url.searchParams.set('service', challenge.service)
    for (const scope of scopes) url.searchParams.append('scope', scope)
    if (credentials) url.searchParams.set('account', credentials.username)
    const headers: Record<string, string> = credentials ? { authorization: basicOf(credentials) } : {}
    return this.#options.send({ method: 'GET', url, headers })
  }

  #post(url: URL, challenge: Challenge, scopes: readonly Scope[], grant: Record<string, string>): Promise<HttpAnswer> {
    const form = new URLSearchParams({ ...grant, client_id: 'fairlead', scope: scopes.join(' ') })
    if (challenge.service) form.set('service', challenge.service)
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    return this.#options.send({ method: 'POST', url, headers, body: Buffer.from(form.toString()) })
  }

  #readToken(url: URL, bytes: Buffer): Token {
    let answer: { token?: unknown; access_token?: unknown; expires_in?: unknown } | null
    try {
      answer = JSON.parse(bytes.toString())
    } catch (error) {
      throw registryAnswer(url.origin, `its token is no JSON (${reasonOf(error)})`)
    }
    const token = answer?.token ?? answer?.access_token
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
      throw registryAnswer(url.origin, 'its answer has no token')
    }
    const lifetimeS = Number(answer?.expires_in) || DEFAULT_LIFETIME_S
    // A tenth early: it has to be valid still when the registry reads it.
    return { header: `Bearer ${token}`, expiresAt: this.#options.now() + lifetimeS * 900 }
  }
}

/** What we need, and what the registry names beyond it. */
function scopesFor(challenge: Challenge, scopes: readonly Scope[]): readonly Scope[] {
  const named = (challenge.scope ?? '').split(' ').filter((scope) => scope !== '')
  if (scopes.length === 0) return named
  const subjects = new Set(scopes.map(subjectOf))
  return [...scopes, ...named.filter((scope) => !subjects.has(subjectOf(scope)))]
}

/** `repository:team/app` of `repository:team/app:pull`. */
function subjectOf(scope: Scope): string {
  return scope.slice(0, scope.lastIndexOf(':'))
}

function keyOf(registry: string, scopes: readonly Scope[]): string {
  return [registry, ...scopes].join(' ')
}

function basicOf({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}
