import { createHash, timingSafeEqual } from 'node:crypto'
import type { TLSSocket } from 'node:tls'

import type { Identity } from '../exchange.ts'
import { unauthorized } from '../status.ts'
import type { TokenAuthenticator, TokenVerdict } from './tokens/token-authenticator.ts'

export interface AuthenticatorOptions {
  /** Bearer tokens that are believed, and who holds them. */
  readonly tokens: ReadonlyMap<string, Identity>
  readonly serviceAccounts: TokenAuthenticator
  /** Who the API server is to tokens. */
  readonly audiences: readonly string[]
  /** Whether requests without credentials are anybody's. Default true; false: they are refused. */
  readonly anonymous?: boolean | undefined
}

const anonymous: Identity = { user: 'system:anonymous', groups: ['system:unauthenticated'] }

type Headers = Readonly<Record<string, string | undefined>>

/**
 * Finds out who sends a request, in upstream's order: a client certificate of our authority, else a bearer token, else
 * nobody. A token beside a good certificate is not looked at; without one, a token that is wrong is an error.
 */
export class Authenticator {
  readonly audiences: readonly string[]
  readonly #tokens: readonly { digest: Buffer; identity: Identity }[]
  readonly #serviceAccounts: TokenAuthenticator
  readonly #allowsAnonymous: boolean
  readonly #certificates = new WeakMap<TLSSocket, Identity | 'unknown' | 'none'>()
  /** What a connection last proved itself with by a static token, which stays good. */
  readonly #proven = new WeakMap<TLSSocket, { readonly authorization: string; readonly identity: Identity }>()

  constructor(options: AuthenticatorOptions) {
    this.audiences = options.audiences
    this.#serviceAccounts = options.serviceAccounts
    this.#allowsAnonymous = options.anonymous ?? true
    this.#tokens = [...options.tokens].map(([token, identity]) => ({
      digest: digestOf(token),
      identity: authenticated(identity),
    }))
  }

  /** The identity behind a request; throws 401 for credentials that are wrong, anonymous when there are none. */
  authenticate(headers: Headers, socket: TLSSocket | undefined): Identity {
    const certified = socket === undefined ? undefined : this.#ofCertificate(socket)
    if (certified !== undefined && certified !== 'unknown') return certified
    const { authorization } = headers
    const proven = socket === undefined ? undefined : this.#proven.get(socket)
    // How long this takes tells the text only to the connection that has sent it before.
    if (proven !== undefined && proven.authorization === authorization) return proven.identity
    const token = bearerToken(headers)
    if (token !== undefined) {
      const known = this.#ofStaticToken(token)
      if (known !== undefined) {
        if (socket !== undefined && authorization !== undefined)
          this.#proven.set(socket, { authorization, identity: known })
        return known
      }
      const verdict = this.#serviceAccounts.authenticate(token, this.audiences)
      if (verdict !== undefined && 'identity' in verdict) return verdict.identity
      throw unauthorized()
    }
    if (certified === 'unknown' || !this.#allowsAnonymous) throw unauthorized()
    return anonymous
  }

  /** Whose token this is, and for which of `audiences`; or what is wrong with it. */
  verify(token: string, audiences: readonly string[]): TokenVerdict {
    const identity = this.#ofStaticToken(token)
    if (identity !== undefined) return { identity, audiences }
    const verdict = this.#serviceAccounts.authenticate(token, audiences)
    return verdict ?? { error: 'invalid bearer token' }
  }

  /** Every known token is compared in full, by its hash: the time taken tells nothing of it. */
  #ofStaticToken(token: string): Identity | undefined {
    if (this.#tokens.length === 0) return undefined
    const given = digestOf(token)
    let found: Identity | undefined
    for (const { digest, identity } of this.#tokens) if (timingSafeEqual(given, digest)) found = identity
    return found
  }

  /** `unknown` for a certificate that another authority has signed, or that is over. */
  #ofCertificate(socket: TLSSocket): Identity | 'unknown' | undefined {
    let identity = this.#certificates.get(socket)
    if (identity !== undefined) return identity === 'none' ? undefined : identity
    const { subject, fingerprint256 } = socket.getPeerCertificate() as PeerCertificate
    if (subject === undefined) {
      this.#certificates.set(socket, 'none')
      return undefined
    }
    const certified = socket.authorized ? identityOf(subject, fingerprint256 ?? '') : undefined
    identity = certified === undefined ? 'unknown' : authenticated(certified)
    this.#certificates.set(socket, identity)
    return identity
  }
}

interface PeerCertificate {
  readonly subject?: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly fingerprint256?: string
}

/** The part of a subject that holds the uid of a user, under the number that Kubernetes has for it. */
const uidOid = '1.3.6.1.4.1.57683.2'

/** The user a certificate names: undefined without one name, or with a uid that is empty or given twice. */
function identityOf(subject: NonNullable<PeerCertificate['subject']>, fingerprint: string): Identity | undefined {
  const { CN: user, O: organizations = [], [uidOid]: uid } = subject
  if (typeof user !== 'string' || user === '' || (uid !== undefined && (typeof uid !== 'string' || uid === ''))) {
    return undefined
  }
  const groups = [organizations].flat()
  const credential = `X509SHA256=${fingerprint.replaceAll(':', '').toLowerCase()}`
  const extra = { 'authentication.kubernetes.io/credential-id': [credential] }
  return { user, groups, extra, ...(uid === undefined ? {} : { uid }) }
}

/** Everybody who is known belongs to one group more. */
export function authenticated(identity: Identity): Identity {
  const group = 'system:authenticated'
  return identity.groups.includes(group) ? identity : { ...identity, groups: [...identity.groups, group] }
}

const protocolPrefix = 'base64url.bearer.authorization.k8s.io.'

/** Of the Authorization header, or of a WebSocket of a browser, which cannot send one. */
function bearerToken(headers: Headers): string | undefined {
  const { authorization } = headers
  if (authorization !== undefined) {
    const [scheme = '', token = ''] = authorization.trim().split(' ')
    if (scheme.toLowerCase() === 'bearer' && token !== '') return token
  }
  const protocols = headers['sec-websocket-protocol']?.split(',').map((protocol) => protocol.trim()) ?? []
  const encoded = protocols.find((protocol) => protocol.startsWith(protocolPrefix))
  // Only beside another protocol: the answer must never repeat the token.
  if (encoded === undefined || protocols.length < 2) return undefined
  return Buffer.from(encoded.slice(protocolPrefix.length), 'base64url').toString('utf8')
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
