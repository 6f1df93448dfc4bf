import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import type { JsonWebKey, KeyObject } from 'node:crypto'

/** Signs JSON Web Tokens with one ECDSA key (ES256, RFC 7518 section 3.4), and verifies those of it and of earlier ones. */
export interface SigningKey {
  /** The public parts as they are published for others to verify with (RFC 7517), of the key that signs first. */
  readonly jwks: readonly JsonWebKey[]
  /** A JWS in compact form over `claims`. */
  sign(claims: object): string
  /** The claims of a token one of these keys has signed; undefined for every other text. */
  verify(token: string): Record<string, unknown> | undefined
}

/** The key in `pem` (PKCS #8, curve P-256); without one, a key of this process only. `earlier` are public keys (PEM). */
export function createSigningKey(pem?: string, earlier: readonly string[] = []): SigningKey {
  const privateKey =
    pem === undefined ? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey : createPrivateKey(pem)
  const publicKey = createPublicKey(privateKey)
  const header = headerOf(publicKey)
  const all = [publicKey, ...earlier.map((each) => createPublicKey(each))]
  const byHeader = new Map(all.map((key) => [headerOf(key), key]))
  return {
    jwks: [...byHeader.values()].map((key) => ({
      use: 'sig',
      kid: keyIdOf(key),
      alg: 'ES256',
      ...key.export({ format: 'jwk' }),
    })),
    sign(claims) {
      const text = `${header}.${encode(claims)}`
      const signature = sign('sha256', Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' })
      return `${text}.${signature.toString('base64url')}`
    },
    verify(token) {
      const [head = '', body, signature, ...rest] = token.split('.')
      // Only these very headers: the algorithm is never taken from whoever made the token.
      const key = byHeader.get(head)
      if (key === undefined || body === undefined || signature === undefined || rest.length > 0) return undefined
      const bytes = Buffer.from(signature, 'base64url')
      const text = Buffer.from(`${head}.${body}`)
      const isSigned = verify('sha256', text, { key, dsaEncoding: 'ieee-p1363' }, bytes)
      return isSigned ? decode(body) : undefined
    },
  }
}

function headerOf(publicKey: KeyObject): string {
  return encode({ alg: 'ES256', kid: keyIdOf(publicKey) })
}

/** As kube-apiserver names keys: the hash of their public part. */
function keyIdOf(publicKey: KeyObject): string {
  return createHash('sha256')
    .update(publicKey.export({ format: 'der', type: 'spki' }))
    .digest('base64url')
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function decode(part: string): Record<string, unknown> | undefined {
  const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
}
