import { timingSafeEqual } from 'node:crypto'
import type { TLSSocket } from 'node:tls'

import { isTrusted } from './authorization.ts'
import type { Identity } from './exchange.ts'
import { badRequest, forbidden, unauthorized } from './status.ts'

const anonymous: Identity = { user: 'system:anonymous', groups: ['system:unauthenticated'] }

/** Finds out who sends a request: a bearer token, else a client certificate of our authority, else nobody. */
export class Authenticator {
  readonly #tokens: readonly { secret: Buffer; identity: Identity }[]
  readonly #certificates = new WeakMap<TLSSocket, Identity>()

  constructor(tokens: ReadonlyMap<string, Identity>) {
    this.#tokens = [...tokens].map(([token, identity]) => ({
      secret: Buffer.from(token),
      identity: authenticated(identity),
    }))
  }

  /** The identity behind a request; throws 401 for credentials that are wrong, `anonymous` when there are none. */
  authenticate(authorization: string | undefined, socket: TLSSocket | undefined): Identity {
    const token = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1]
    if (token !== undefined) return this.identify(token.trim()) ?? refuse()
    return (socket === undefined ? undefined : this.#ofCertificate(socket)) ?? anonymous
  }

  /** Whose token this is. Every known token is compared in full: the time taken tells its length at most. */
  identify(token: string): Identity | undefined {
    const given = Buffer.from(token)
    let found: Identity | undefined
    for (const { secret, identity } of this.#tokens) {
      if (given.length === secret.length && timingSafeEqual(given, secret)) found = identity
    }
    return found
  }

  #ofCertificate(socket: TLSSocket): Identity | undefined {
    if (!socket.authorized) return undefined
    let identity = this.#certificates.get(socket)
    if (identity === undefined) {
      const subject = socket.getPeerCertificate().subject as { CN?: string; O?: string | string[] } | undefined
      if (subject?.CN === undefined) return undefined
      const groups = subject.O === undefined ? [] : [subject.O].flat()
      identity = authenticated({ user: subject.CN, groups })
      this.#certificates.set(socket, identity)
    }
    return identity
  }
}

/** The identity a trusted client asks to act as by `Impersonate-*` headers; throws 403 for others who ask, 400 when the user is missing. */
export function impersonate(identity: Identity, headers: Readonly<Record<string, string | undefined>>): Identity {
  const user = headers['impersonate-user'] ?? ''
  if (user === '') {
    // Going on as oneself would be the very thing the client asked not to do.
    if (Object.keys(headers).some((name) => name.startsWith('impersonate-'))) throw badRequest(incomplete)
    return identity
  }
  if (!isTrusted(identity)) {
    const why = `User "${identity.user}" cannot impersonate resource "users" in API group "" at the cluster scope`
    throw forbidden(`users "${user}" is forbidden: ${why}`)
  }
  const groups = (headers['impersonate-group'] ?? '').split(',').map((group) => group.trim())
  return authenticated({ user, groups: groups.filter((group) => group !== '') })
}

const incomplete = 'impersonation headers are given without the user to impersonate, in Impersonate-User'

/** Everybody who is known belongs to one group more. */
export function authenticated(identity: Identity): Identity {
  const group = 'system:authenticated'
  return identity.groups.includes(group) ? identity : { ...identity, groups: [...identity.groups, group] }
}

function refuse(): never {
  throw unauthorized()
}
