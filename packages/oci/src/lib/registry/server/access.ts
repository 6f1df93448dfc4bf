import type { IncomingMessage } from 'node:http'

import { registrySetting } from '../../errors.ts'
import { globOf } from './glob.ts'
import { openHtpasswd, ownPassword } from './passwords.ts'
import type { PasswordCheck } from './passwords.ts'
import { createPeerUid } from './peer.ts'
import type { PeerUid } from './peer.ts'
import { RegistryRefusal } from './protocol.ts'
import { createTokenIssuer, createTokenReader, parseScope } from './tokens.ts'
import type { ExternalTokens, Grant, TokenClaims, TokenIssuer } from './tokens.ts'

/** What can be done with a repository. */
export type RegistryAction = 'pull' | 'push' | 'delete'

/** Lets users do something with repositories; what no rule allows is refused. */
export interface AccessRule {
  /** Glob of repository names: `*` within one part, `**` over parts. */
  repositories: string
  /** Names, `*` for everybody who has logged in, `anonymous` for those who have not. */
  users: readonly string[]
  actions: readonly RegistryAction[]
}

/** Whose registry it is. */
export interface RegistryOwner {
  /** What rules, logs and log-ins call the owner. */
  name: string
  /**
   * User of this machine. Who connects by loopback as this user or as root has logged in as the owner. Known on Linux
   * only; elsewhere there is the password.
   */
  uid?: number | undefined
  /** Lets the owner log in from anywhere; at least 128 random bits, because guesses are not slowed down. */
  password?: string | undefined
}

/** Who may do what. */
export interface AccessOptions {
  /** Who is known without an entry in `htpasswd`. */
  owner?: RegistryOwner | undefined
  /** File of names and bcrypt hashes, as `htpasswd -B` writes it. */
  htpasswd?: string | undefined
  /**
   * What those may do who have not logged in. Default: everything where nobody is known, nothing otherwise.
   * Not looked at when there are `rules`.
   */
  anonymous?: 'none' | 'pull' | 'all' | undefined
  /** Default: who has logged in may do everything. */
  rules?: readonly AccessRule[] | undefined
  /**
   * How clients log in: `basic` sends the password with each request, `token` once in five minutes for a signed token of scopes.
   * Default: `token` when some things are open to all (clients then log in only where they have to), else `basic`.
   */
  login?: 'basic' | 'token' | undefined
  /** Accept the tokens of another token service instead of making any. */
  tokens?: ExternalTokens | undefined
}

/** Who sent a request. */
export interface Principal {
  /** `undefined` for somebody who has not logged in. */
  name: string | undefined
  /** Only these, where the request came with a token. */
  grants?: readonly Grant[] | undefined
}

/** Decides about requests. */
export interface Access {
  /** Whether somebody can be asked to log in at all. */
  readonly hasLogin: boolean
  readonly hasTokens: boolean
  authenticate(request: IncomingMessage): Promise<Principal>
  mayDo(principal: Principal, repository: string, action: RegistryAction): boolean
  /** Whether blobs of the repository may be mounted elsewhere: a token need not name it where everybody may pull. */
  mayMount(principal: Principal, from: string): boolean
  mayList(principal: Principal): boolean
  /** What to answer somebody who may not: 401 with the way to log in, or 403. */
  refusal(request: IncomingMessage, principal: Principal, scopes: readonly Grant[]): RegistryRefusal
  /** Whether `/v2/` asks for a login. Clients find out there how to, so it must when some things need it. */
  mustLogIn(principal: Principal): boolean
  /** A token for as much of what is asked for as the user may do. */
  issue(principal: Principal, scopes: readonly string[]): { token: string; expiresInSeconds: number; issuedAt: string }
}

const ACTIONS: readonly RegistryAction[] = ['pull', 'push', 'delete']

/** Checks the options; throws FAIRLEAD_OCI_REGISTRY_SETTING. `service` names this registry in tokens. */
export function createAccess(options: AccessOptions, service: string, isTls: boolean): Access {
  return new RegistryAccess(options, service, isTls)
}

class RegistryAccess implements Access {
  readonly hasLogin: boolean
  readonly hasTokens: boolean
  readonly #passwords: readonly PasswordCheck[]
  readonly #owner: RegistryOwner | undefined
  readonly #peerUid: PeerUid = createPeerUid()
  readonly #issuer: TokenIssuer | undefined
  readonly #readToken: ((token: string) => TokenClaims | undefined) | undefined
  readonly #external: ExternalTokens | undefined
  readonly #service: string
  readonly #isTls: boolean
  readonly #anonymous: 'none' | 'pull' | 'all'
  readonly #rules: readonly (AccessRule & { matches: (name: string) => boolean })[] | undefined

  constructor(options: AccessOptions, service: string, isTls: boolean) {
    const { owner } = options
    this.#owner = owner
    this.#passwords = [
      ...(owner?.password === undefined ? [] : [ownPassword(owner.name, owner.password)]),
      ...(options.htpasswd === undefined ? [] : [openHtpasswd(options.htpasswd)]),
    ]
    const hasPasswords = this.#passwords.length > 0
    this.#external = options.tokens
    this.hasLogin = hasPasswords || options.tokens !== undefined
    this.#anonymous = options.anonymous ?? (this.hasLogin || owner ? 'none' : 'all')
    this.#rules = options.rules?.map((rule) => checkedRule(rule))
    const isOpenInPart = this.#rules
      ? this.#rules.some(({ users }) => users.includes('anonymous'))
      : this.#anonymous === 'pull'
    const login = options.login ?? (isOpenInPart ? 'token' : 'basic')
    if (login === 'token' && hasPasswords && !options.tokens) this.#issuer = createTokenIssuer(service)
    const issuer = this.#issuer
    this.#readToken = options.tokens ? createTokenReader(options.tokens) : issuer && ((token) => issuer.read(token))
    this.hasTokens = this.#issuer !== undefined
    this.#service = options.tokens?.service ?? service
    this.#isTls = isTls
    if (!this.hasLogin && owner?.uid === undefined && this.#anonymous === 'none') {
      throw registrySetting('anonymous "none"', 'nobody could log in', 'Name a password file (htpasswd)')
    }
  }

  async authenticate(request: IncomingMessage): Promise<Principal> {
    const { authorization } = request.headers
    if (authorization === undefined || !this.hasLogin) return { name: await this.#ownerAt(request.socket) }
    const [scheme = '', value = ''] = authorization.split(' ', 2)
    if (scheme.toLowerCase() === 'bearer') {
      const claims = this.#readToken?.(value)
      if (claims) return { name: claims.subject === '' ? undefined : claims.subject, grants: claims.access }
    } else if (scheme.toLowerCase() === 'basic') {
      const name = await this.#logIn(value, request.socket.remoteAddress ?? '')
      if (name !== undefined) return { name }
    }
    throw this.#challenge(
      request,
      [],
      'the credentials are not valid',
      scheme.toLowerCase() === 'bearer' ? 'invalid_token' : undefined,
    )
  }

  async #logIn(value: string, address: string): Promise<string | undefined> {
    const text = Buffer.from(value, 'base64').toString()
    const colon = text.indexOf(':')
    if (colon < 1) return undefined
    const name = text.slice(0, colon)
    for (const passwords of this.#passwords) {
      if (await passwords.verify(name, text.slice(colon + 1), address)) return name
    }
    return undefined
  }

  /** The owner, where a program of the owner or of root is at the other end of a connection on this machine. */
  async #ownerAt(socket: IncomingMessage['socket']): Promise<string | undefined> {
    if (this.#owner?.uid === undefined) return undefined
    const uid = await this.#peerUid(socket)
    return uid === 0 || uid === this.#owner.uid ? this.#owner.name : undefined
  }

  mayDo(principal: Principal, repository: string, action: RegistryAction): boolean {
    if (principal.grants) {
      return principal.grants.some(
        ({ type, name, actions }) =>
          type === 'repository' && name === repository && (actions.includes(action) || actions.includes('*')),
      )
    }
    return this.#isAllowed(principal.name, repository, action)
  }

  mayMount(principal: Principal, from: string): boolean {
    return this.mayDo(principal, from, 'pull') || this.#isAllowed(undefined, from, 'pull')
  }

  #isAllowed(name: string | undefined, repository: string, action: RegistryAction): boolean {
    if (this.#rules) {
      return this.#rules.some(
        (rule) =>
          rule.actions.includes(action) &&
          rule.users.some((user) =>
            name === undefined ? user === 'anonymous' : user === name || user === '*' || user === 'anonymous',
          ) &&
          rule.matches(repository),
      )
    }
    return name !== undefined || this.#anonymous === 'all' || (this.#anonymous === 'pull' && action === 'pull')
  }

  mayList(principal: Principal): boolean {
    if (principal.grants) return principal.grants.some(({ type, name }) => type === 'registry' && name === 'catalog')
    return (
      principal.name !== undefined ||
      (!this.hasLogin && !this.#owner) ||
      (this.#rules !== undefined ? this.#isOpenToAll() : this.#anonymous !== 'none')
    )
  }

  #isOpenToAll(): boolean {
    return this.#rules?.some(({ users }) => users.includes('anonymous')) ?? false
  }

  mustLogIn(principal: Principal): boolean {
    return this.hasLogin && principal.name === undefined && principal.grants === undefined && this.#anonymous !== 'all'
  }

  refusal(request: IncomingMessage, principal: Principal, scopes: readonly Grant[]): RegistryRefusal {
    const isKnown = principal.name !== undefined
    if (!this.hasLogin || (isKnown && !principal.grants)) {
      return new RegistryRefusal(403, 'DENIED', 'this user may not do that with this repository')
    }
    // A token is for what it was made for: the client gets another one, and is refused there if it may not have it.
    const error = principal.grants ? 'insufficient_scope' : undefined
    return this.#challenge(request, scopes, isKnown ? 'the token is not for this' : 'a login is needed for this', error)
  }

  #challenge(request: IncomingMessage, scopes: readonly Grant[], message: string, error?: string): RegistryRefusal {
    return new RegistryRefusal(401, 'UNAUTHORIZED', message, {
      headers: { 'www-authenticate': this.#renderChallenge(request, scopes, error) },
    })
  }

  #renderChallenge(request: IncomingMessage, scopes: readonly Grant[], error: string | undefined): string {
    if (!this.#readToken) return 'Basic realm="fairlead", charset="UTF-8"'
    const realm =
      this.#external?.realm ?? `${this.#isTls ? 'https' : 'http'}://${request.headers.host ?? 'localhost'}/token`
    const scope = scopes.map(({ type, name, actions }) => `${type}:${name}:${actions.join(',')}`).join(' ')
    return [
      `Bearer realm="${realm}"`,
      `service="${this.#service}"`,
      ...(scope === '' ? [] : [`scope="${scope}"`]),
      ...(error === undefined ? [] : [`error="${error}"`]),
    ].join(',')
  }

  issue(principal: Principal, scopes: readonly string[]): ReturnType<TokenIssuer['issue']> {
    if (!this.#issuer) throw new RegistryRefusal(404, 'UNSUPPORTED', 'this registry makes no tokens')
    const access = scopes.flatMap((text) => {
      const asked = parseScope(text)
      if (!asked) return []
      if (asked.type === 'registry') return this.mayList(principal) ? [asked] : []
      const wanted = asked.actions.includes('*') ? ACTIONS : asked.actions
      const actions = ACTIONS.filter(
        (action) => wanted.includes(action) && this.#isAllowed(principal.name, asked.name, action),
      )
      return actions.length > 0 ? [{ ...asked, actions }] : []
    })
    return this.#issuer.issue({ subject: principal.name ?? '', access })
  }
}

function checkedRule(rule: AccessRule): AccessRule & { matches: (name: string) => boolean } {
  const bad = rule.actions.find((action) => !ACTIONS.includes(action))
  if (bad !== undefined) throw registrySetting(`access rule for "${rule.repositories}"`, `"${bad}" is no action`)
  return { ...rule, matches: globOf(rule.repositories) }
}
