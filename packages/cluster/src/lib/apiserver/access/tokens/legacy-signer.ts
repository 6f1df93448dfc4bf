import { renderLegacyClaims } from './claims.ts'
import type { LegacyClaims } from './claims.ts'
import { createSigningKey } from './signing-key.ts'

/** Signs tokens that lie in secrets and never expire; `pem` is the key of {@link createSigningKey}. */
export function createLegacySigner(pem: string): (claims: LegacyClaims) => string {
  const key = createSigningKey(pem)
  return (claims) => key.sign(renderLegacyClaims(claims))
}
