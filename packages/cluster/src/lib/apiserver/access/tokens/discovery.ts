import type { ApiResponse } from '../../exchange.ts'
import type { SigningKey } from './signing-key.ts'

/** What others need to verify this cluster's tokens: OpenID Connect Discovery 1.0, and the keys (RFC 7517). */
export function serveIssuer(path: string, issuer: string, key: SigningKey): ApiResponse | undefined {
  if (path === '/openid/v1/jwks') return json({ keys: key.jwks }, 'application/jwk-set+json')
  if (path !== '/.well-known/openid-configuration') return undefined
  return json(
    {
      issuer,
      jwks_uri: `${issuer}/openid/v1/jwks`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
    },
    'application/json',
  )
}

function json(value: object, contentType: string): ApiResponse {
  return {
    status: 200,
    headers: { 'content-type': contentType, 'cache-control': 'public, max-age=3600' },
    body: { pieces: [Buffer.from(JSON.stringify(value))] },
  }
}
