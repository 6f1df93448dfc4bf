import { createPublicKey, generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

import { registrySetting } from '../../errors.ts'

/** What may be done with one repository, or with the catalog. */
export interface Grant {
  type: 'repository' | 'registry'
  name: string
  actions: readonly string[]
}

/** Who holds a token, and what for. */
export interface TokenClaims {
  subject: string
  access: readonly Grant[]
}

/** Makes and reads tokens of our own. */
export interface TokenIssuer {
  issue(claims: TokenClaims): { token: string; expiresInSeconds: number; issuedAt: string }
  read(token: string): TokenClaims | undefined
}

/** Tokens of somebody else's token service (distribution project, "Token Authentication Specification"). */
export interface ExternalTokens {
  /** URL clients get their tokens from. */
  realm: string
  /** Must be the audience of tokens; clients are told to ask for it. */
  service: string
  /** Must be the issuer of tokens. */
  issuer: string
  /** Public keys or certificates in PEM: RSA for RS256, P-256 for ES256. */
  keys: readonly string[]
}

const LIFETIME_SECONDS = 300
const CLOCK_SKEW_SECONDS = 60
const MAX_TOKEN = 16_384

/** Makes tokens with a key of its own that lives as long as the process: after a restart clients get new ones. */
export function createTokenIssuer(service: string, clock: () => number = Date.now): TokenIssuer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const issuer = 'fairlead'
  const read = createReader({ issuer, service, keys: [publicKey] }, clock)
  return {
    issue({ subject, access }) {
      const now = Math.floor(clock() / 1000)
      const claims = {
        iss: issuer,
        sub: subject,
        aud: service,
        iat: now,
        nbf: now,
        exp: now + LIFETIME_SECONDS,
        jti: randomUUID(),
        access,
      }
      const text = `${encode({ alg: 'ES256', typ: 'JWT' })}.${encode(claims)}`
      const signature = sign('sha256', Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' })
      return {
        token: `${text}.${signature.toString('base64url')}`,
        expiresInSeconds: LIFETIME_SECONDS,
        issuedAt: new Date(now * 1000).toISOString(),
      }
    },
    read,
  }
}

/** Reads tokens of another service; throws FAIRLEAD_OCI_REGISTRY_SETTING for keys that are none. */
export function createTokenReader(
  external: ExternalTokens,
  clock: () => number = Date.now,
): (token: string) => TokenClaims | undefined {
  const keys = external.keys.map((pem) => {
    try {
      return createPublicKey(pem)
    } catch {
      throw registrySetting('a token service', 'one of its keys is no public key in PEM')
    }
  })
  return createReader({ issuer: external.issuer, service: external.service, keys }, clock)
}

/** The key decides which algorithm is accepted, never the token: "none" and HMAC with a public key get nowhere. */
function createReader(
  trust: { issuer: string; service: string; keys: readonly KeyObject[] },
  clock: () => number,
): (token: string) => TokenClaims | undefined {
  return (token) => {
    const [header = '', body = '', signature = '', ...rest] = token.length > MAX_TOKEN ? [] : token.split('.')
    if (rest.length > 0 || signature === '') return undefined
    const algorithm = decode(header)?.['alg']
    const text = Buffer.from(`${header}.${body}`)
    const isSigned = trust.keys.some((key) => isSignedBy(key, algorithm, text, Buffer.from(signature, 'base64url')))
    const claims = isSigned ? decode(body) : undefined
    return claims && isCurrent(claims, trust, clock() / 1000) ? claimsOf(claims) : undefined
  }
}

function isSignedBy(key: KeyObject, algorithm: unknown, text: Buffer, signature: Buffer): boolean {
  if (key.asymmetricKeyType === 'rsa') return algorithm === 'RS256' && verify('sha256', text, key, signature)
  const isP256 = key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
  return isP256 && algorithm === 'ES256' && verify('sha256', text, { key, dsaEncoding: 'ieee-p1363' }, signature)
}

function isCurrent(
  claims: Record<string, unknown>,
  { issuer, service }: { issuer: string; service: string },
  now: number,
): boolean {
  const { iss, aud, exp, nbf } = claims
  const isForUs = Array.isArray(aud) ? aud.includes(service) : aud === service
  const isNotYet = typeof nbf === 'number' && nbf > now + CLOCK_SKEW_SECONDS
  return iss === issuer && isForUs && typeof exp === 'number' && exp > now - CLOCK_SKEW_SECONDS && !isNotYet
}

function claimsOf({ sub, access }: Record<string, unknown>): TokenClaims {
  const grants = Array.isArray(access) ? (access as Partial<Grant>[]) : []
  return {
    subject: typeof sub === 'string' ? sub : '',
    access: grants.flatMap(({ type, name, actions }) =>
      (type === 'repository' || type === 'registry') && typeof name === 'string' && Array.isArray(actions)
        ? [{ type, name, actions }]
        : [],
    ),
  }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function decode(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Reads `repository:<name>:<actions>` of the token specification; a name may hold colons, as a host with a port does. */
export function parseScope(text: string): Grant | undefined {
  const match = /^(repository|registry)(?:\([a-z0-9]+\))?:(.+):([a-z*,]+)$/.exec(text.slice(0, 1024))
  const [, type, name, actions] = match ?? []
  if (!type || !name || !actions) return undefined
  return { type: type === 'registry' ? 'registry' : 'repository', name, actions: [...new Set(actions.split(','))] }
}
