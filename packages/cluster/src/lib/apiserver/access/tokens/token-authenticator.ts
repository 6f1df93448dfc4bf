import type { KubeObject } from '@fairlead/kube/types'

import type { Entry } from '../../../storage/collection.ts'
import type { Store } from '../../../storage/store.ts'
import type { Identity } from '../../exchange.ts'
import { legacyIssuer, parseClaims, parseLegacyClaims } from './claims.ts'
import type { ObjectReference, TokenClaims } from './claims.ts'
import type { SigningKey } from './signing-key.ts'

/** A token that is good, or what is wrong with it. */
export type TokenVerdict =
  | { readonly identity: Identity; readonly audiences: readonly string[] }
  | { readonly error: string }

export interface TokenAuthenticatorOptions {
  readonly store: Store
  readonly key: SigningKey
  readonly issuer: string
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** One token whose signature is good; what else it takes is looked at with every use. */
interface Verified {
  readonly claims: TokenClaims | undefined
  readonly legacy: ReturnType<typeof parseLegacyClaims> | undefined
  readonly identity: Identity
}

/** What Kubernetes allows clocks to differ (seconds). */
const leewaySeconds = 60
const rememberedTokens = 2048

/**
 * Service account tokens: signed by this cluster, in time, and of an account (and pod, secret or node) that is still
 * the same object. Signatures are verified once per token; the objects are looked up in the store each time, so that a
 * token ends with its pod and not some seconds later.
 */
export class TokenAuthenticator {
  readonly #options: TokenAuthenticatorOptions
  readonly #verified = new Map<string, Verified>()
  readonly #seen = new WeakMap<Entry, { uid: string; deletedAt: number | undefined }>()

  constructor(options: TokenAuthenticatorOptions) {
    this.#options = options
  }

  /** Undefined for what is no token of ours. */
  authenticate(token: string, audiences: readonly string[]): TokenVerdict | undefined {
    const verified = this.#verified.get(token) ?? this.#verify(token)
    if (verified === undefined) return undefined
    const { claims, legacy, identity } = verified
    if (legacy !== undefined) {
      const error = this.#legacyError(legacy, token)
      return error === undefined ? { identity, audiences } : { error }
    }
    if (claims === undefined) return undefined
    const shared = audiences.filter((audience) => claims.aud.includes(audience))
    if (shared.length === 0) {
      return { error: `token audiences ${quote(claims.aud)} is invalid for the target audiences ${quote(audiences)}` }
    }
    const error = timeError(claims, this.#options.now()) ?? this.#boundError(claims)
    return error === undefined ? { identity, audiences: shared } : { error }
  }

  #verify(token: string): Verified | undefined {
    const { key, issuer } = this.#options
    const found = key.verify(token)
    if (found === undefined) return undefined
    const verified = found['iss'] === legacyIssuer ? ofLegacy(found) : ofBound(found, issuer)
    if (verified === undefined) return undefined
    if (this.#verified.size >= rememberedTokens) this.#forgetOldest()
    this.#verified.set(token, verified)
    return verified
  }

  #forgetOldest(): void {
    for (const token of this.#verified.keys()) return void this.#verified.delete(token)
  }

  #boundError({ 'kubernetes.io': bound }: TokenClaims): string | undefined {
    const { namespace, serviceaccount, pod, secret, node } = bound
    const account = this.#find('serviceaccounts', namespace, serviceaccount.name)
    if (account === undefined) return `serviceaccounts "${serviceaccount.name}" not found`
    if (account.uid !== serviceaccount.uid) {
      return `service account UID (${account.uid}) does not match claim (${serviceaccount.uid})`
    }
    if (this.#isOver(account)) return `service account ${namespace}/${serviceaccount.name} has been deleted`
    return (
      this.#referenceError('secrets', namespace, secret, 'secret UID', 'service account secret') ??
      this.#referenceError('pods', namespace, pod, 'pod UID', 'service account pod') ??
      // A pod's token tells its node; it does not depend on it.
      (pod === undefined ? this.#referenceError('nodes', '', node, 'node UID', 'service account node') : undefined)
    )
  }

  #referenceError(
    collection: string,
    namespace: string,
    reference: ObjectReference | undefined,
    what: string,
    claim: string,
  ): string | undefined {
    if (reference === undefined) return undefined
    const found = this.#find(collection, namespace, reference.name)
    if (found === undefined || this.#isOver(found)) return 'service account token has been invalidated'
    if (found.uid === reference.uid) return undefined
    return `${what} (${found.uid}) does not match ${claim} ref claim (${reference.uid})`
  }

  #legacyError(legacy: ReturnType<typeof parseLegacyClaims>, token: string): string | undefined {
    const { namespace, secretName, accountName, accountUid } = legacy
    const secret = this.#options.store.get('secrets', `${namespace}/${secretName}`)
    const data = secret === undefined ? undefined : (parse(secret)['data'] as Record<string, string> | undefined)
    if (data?.['token'] === undefined) return 'service account token has been invalidated'
    if (Buffer.from(data['token'], 'base64').toString() !== token) return 'service account token does not match server'
    const account = this.#find('serviceaccounts', namespace, accountName)
    if (account === undefined) return `serviceaccounts "${accountName}" not found`
    if (account.uid !== accountUid) return `service account UID (${account.uid}) does not match claim (${accountUid})`
    return this.#isOver(account) ? `service account ${namespace}/${accountName} has been deleted` : undefined
  }

  #find(
    collection: string,
    namespace: string,
    name: string,
  ): { uid: string; deletedAt: number | undefined } | undefined {
    const entry = this.#options.store.get(collection, namespace === '' ? name : `${namespace}/${name}`)
    if (entry === undefined) return undefined
    let seen = this.#seen.get(entry)
    if (seen === undefined) {
      const { uid = '', deletionTimestamp } = parse(entry).metadata
      seen = { uid, deletedAt: deletionTimestamp === undefined ? undefined : Date.parse(deletionTimestamp) }
      this.#seen.set(entry, seen)
    }
    return seen
  }

  #isOver({ deletedAt }: { deletedAt: number | undefined }): boolean {
    return deletedAt !== undefined && deletedAt < this.#options.now() - leewaySeconds * 1000
  }
}

function ofBound(found: Record<string, unknown>, issuer: string): Verified | undefined {
  const claims = parseClaims(found)
  if (claims === undefined || claims.iss !== issuer) return undefined
  const { namespace, serviceaccount, pod, node } = claims['kubernetes.io']
  const extra: Record<string, string[]> = { 'authentication.kubernetes.io/credential-id': [`JTI=${claims.jti}`] }
  for (const [kind, reference] of [['node', node] as const, ['pod', pod] as const]) {
    if (reference === undefined) continue
    extra[`authentication.kubernetes.io/${kind}-name`] = [reference.name]
    if (reference.uid !== '') extra[`authentication.kubernetes.io/${kind}-uid`] = [reference.uid]
  }
  return { claims, legacy: undefined, identity: accountIdentity(namespace, serviceaccount, extra) }
}

function ofLegacy(found: Record<string, unknown>): Verified {
  const legacy = parseLegacyClaims(found)
  const account = { name: legacy.accountName, uid: legacy.accountUid }
  return { claims: undefined, legacy, identity: accountIdentity(legacy.namespace, account, undefined) }
}

/** Who a service account is to others. */
function accountIdentity(namespace: string, account: ObjectReference, extra: Identity['extra'] | undefined): Identity {
  return {
    user: `system:serviceaccount:${namespace}:${account.name}`,
    uid: account.uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    ...(extra === undefined ? {} : { extra }),
  }
}

function timeError({ exp, nbf, iat }: TokenClaims, nowMs: number): string | undefined {
  const now = nowMs / 1000
  if (now - leewaySeconds > exp) return 'service account token has expired'
  if (now + leewaySeconds < nbf) return 'service account token is not valid yet'
  return now + leewaySeconds < iat ? 'service account token is issued in the future' : undefined
}

function quote(values: readonly string[]): string {
  return `[${values.map((value) => JSON.stringify(value)).join(' ')}]`
}

function parse(entry: Entry): KubeObject {
  return JSON.parse(entry.bytes.toString('utf8')) as KubeObject
}
