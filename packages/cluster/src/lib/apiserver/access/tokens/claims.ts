import { randomUUID } from 'node:crypto'

/** An object a token names; the token dies with it. */
export interface ObjectReference {
  readonly name: string
  readonly uid: string
}

/** What a service account token says beyond the registered claims (`kubernetes.io`). */
export interface PrivateClaims {
  readonly namespace: string
  readonly serviceaccount: ObjectReference
  readonly pod?: ObjectReference | undefined
  readonly secret?: ObjectReference | undefined
  readonly node?: ObjectReference | undefined
  /** Seconds since 1970 from when on using the token is worth a warning. */
  readonly warnafter?: number | undefined
}

/** The claims of a bound token. Times are seconds since 1970. */
export interface TokenClaims {
  readonly iss: string
  readonly sub: string
  readonly aud: readonly string[]
  readonly exp: number
  readonly iat: number
  readonly nbf: number
  readonly jti: string
  readonly 'kubernetes.io': PrivateClaims
}

export interface TokenOptions {
  readonly issuer: string
  readonly audiences: readonly string[]
  readonly lifetimeSeconds: number
  /** Milliseconds since 1970. */
  readonly now: number
}

export function renderClaims(bound: PrivateClaims, options: TokenOptions): TokenClaims {
  const { issuer, audiences, lifetimeSeconds } = options
  const now = Math.floor(options.now / 1000)
  return {
    aud: audiences,
    exp: now + lifetimeSeconds,
    iat: now,
    iss: issuer,
    jti: randomUUID(),
    'kubernetes.io': bound,
    nbf: now,
    sub: `system:serviceaccount:${bound.namespace}:${bound.serviceaccount.name}`,
  }
}

/** The claims of a bound token; undefined when something has not the shape they have. */
export function parseClaims(claims: Record<string, unknown>): TokenClaims | undefined {
  const { aud, exp, iat, nbf, iss, sub } = claims
  const bound = claims['kubernetes.io'] as PrivateClaims | undefined
  const audiences = typeof aud === 'string' ? [aud] : aud
  const hasTimes = [exp, iat, nbf].every((time) => typeof time === 'number')
  if (!hasTimes || typeof iss !== 'string' || typeof sub !== 'string' || !Array.isArray(audiences)) return undefined
  if (typeof bound?.namespace !== 'string' || typeof bound.serviceaccount?.name !== 'string') return undefined
  return { ...(claims as unknown as TokenClaims), aud: audiences as string[] }
}

/** Claims of the tokens that lie in secrets and never expire. */
export interface LegacyClaims {
  readonly namespace: string
  readonly secretName: string
  readonly accountName: string
  readonly accountUid: string
}

export const legacyIssuer = 'kubernetes/serviceaccount'

export function renderLegacyClaims({ namespace, secretName, accountName, accountUid }: LegacyClaims): object {
  return {
    iss: legacyIssuer,
    'kubernetes.io/serviceaccount/namespace': namespace,
    'kubernetes.io/serviceaccount/secret.name': secretName,
    'kubernetes.io/serviceaccount/service-account.name': accountName,
    'kubernetes.io/serviceaccount/service-account.uid': accountUid,
    sub: `system:serviceaccount:${namespace}:${accountName}`,
  }
}

export function parseLegacyClaims(claims: Record<string, unknown>): LegacyClaims {
  const read = (name: string): string => {
    const value = claims[`kubernetes.io/serviceaccount/${name}`]
    return typeof value === 'string' ? value : ''
  }
  return {
    namespace: read('namespace'),
    secretName: read('secret.name'),
    accountName: read('service-account.name'),
    accountUid: read('service-account.uid'),
  }
}
