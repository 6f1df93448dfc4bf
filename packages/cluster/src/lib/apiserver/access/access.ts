import type { Store } from '../../storage/store.ts'
import type { Identity } from '../exchange.ts'
import { Authenticator } from './authenticator.ts'
import { Authorizer } from './authorizer.ts'
import { Impersonation } from './impersonation.ts'
import { createSigningKey } from './tokens/signing-key.ts'
import type { SigningKey } from './tokens/signing-key.ts'
import { TokenAuthenticator } from './tokens/token-authenticator.ts'
import { TokenIssuer } from './tokens/token-issuer.ts'

export interface AccessOptions {
  readonly store: Store
  /** Bearer tokens that are believed, and who holds them. */
  readonly tokens: ReadonlyMap<string, Identity>
  /** Who signs the tokens of service accounts, as tokens say it. */
  readonly issuer: string
  /** PEM of the key that signs them. Default: one that lives as long as this object. */
  readonly signingKey?: string | undefined
  /** PEM of the public keys of those that signed before. Default none. */
  readonly earlierKeys?: readonly string[] | undefined
  /** Whether requests without credentials are anybody's. Default true. */
  readonly anonymous?: boolean | undefined
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** Who somebody is, what they may do, and the tokens that say so. */
export class Access {
  readonly issuer: string
  readonly authenticator: Authenticator
  readonly authorizer: Authorizer
  readonly impersonation: Impersonation
  readonly tokens: TokenIssuer
  readonly key: SigningKey

  constructor({ store, tokens, issuer, signingKey, earlierKeys, anonymous, now }: AccessOptions) {
    const audiences = [issuer]
    this.issuer = issuer
    this.key = createSigningKey(signingKey, earlierKeys)
    this.authorizer = new Authorizer(store)
    this.impersonation = new Impersonation(this.authorizer)
    this.tokens = new TokenIssuer({ store, key: this.key, issuer, audiences, now })
    const serviceAccounts = new TokenAuthenticator({ store, key: this.key, issuer, now })
    this.authenticator = new Authenticator({ tokens, serviceAccounts, audiences, anonymous })
  }

  close(): void {
    this.authorizer.close()
  }
}
