import type { KubeObject } from '@fairlead/kube/types'
import type { Pod } from '@fairlead/kube/types/core-v1'
import type { BoundObjectReference, TokenRequest } from '@fairlead/kube/types/authentication-v1'

import type { Store } from '../../../storage/store.ts'
import { renderTime } from '../../metadata.ts'
import { idOf, knownResource, readObject } from '../../resource.ts'
import type { Resource } from '../../resource.ts'
import { badRequest, invalid, notFound, StatusError } from '../../status.ts'
import type { FieldError } from '../../status.ts'
import { renderClaims } from './claims.ts'
import type { ObjectReference, PrivateClaims } from './claims.ts'
import type { SigningKey } from './signing-key.ts'

export interface TokenIssuerOptions {
  readonly store: Store
  readonly key: SigningKey
  readonly issuer: string
  /** Who the API server is to tokens; default for tokens that name nobody. */
  readonly audiences: readonly string[]
  /** Milliseconds since 1970. */
  readonly now: () => number
}

const minimumSeconds = 600
const maximumSeconds = 2 ** 32
const defaultSeconds = 3600
/** What the volumes of pods ask for. Programs that read such a token only once keep working for a year. */
const podVolumeSeconds = 3607
const extendedSeconds = 365 * 24 * 3600

const kind = { apiVersion: 'authentication.k8s.io/v1', group: 'authentication.k8s.io', kind: 'TokenRequest' }

/** Answers the `token` subresource of service accounts (TokenRequest). */
export class TokenIssuer {
  readonly #options: TokenIssuerOptions

  constructor(options: TokenIssuerOptions) {
    this.#options = options
  }

  /** The request with its answer in it; throws 400, 404, 409 and 422 as upstream does. */
  issue(namespace: string, name: string, request: KubeObject): KubeObject & { status: TokenRequest['status'] } {
    const accounts = knownResource('', 'v1', 'serviceaccounts')
    const account = this.#read(accounts, namespace, name)
    checkSubject(request, namespace, name, account)
    const { spec } = request as unknown as TokenRequest
    const { audiences: asked = [], expirationSeconds = defaultSeconds, boundObjectRef } = spec ?? {}
    const errors = checkSeconds(expirationSeconds)
    if (errors.length > 0) throw invalid({ ...accounts.info, ...kind }, '', errors)
    const audiences = asked.length === 0 ? this.#options.audiences : asked
    const bound = boundObjectRef === undefined ? {} : this.#bind(namespace, name, boundObjectRef)
    const now = this.#options.now()
    const isExtended = bound.pod !== undefined && expirationSeconds === podVolumeSeconds && this.#isOurs(audiences)
    const claims: PrivateClaims = {
      namespace,
      ...bound,
      serviceaccount: referenceTo(account),
      ...(isExtended ? { warnafter: Math.floor(now / 1000) + expirationSeconds } : {}),
    }
    const lifetimeSeconds = isExtended ? extendedSeconds : expirationSeconds
    const token = this.#options.key.sign(
      renderClaims(claims, { issuer: this.#options.issuer, audiences, lifetimeSeconds, now }),
    )
    return {
      apiVersion: kind.apiVersion,
      kind: kind.kind,
      metadata: { name, namespace, uid: account.metadata.uid ?? '', creationTimestamp: renderTime(now) },
      spec: { ...spec, audiences: [...audiences], expirationSeconds },
      status: { token, expirationTimestamp: renderTime(now + expirationSeconds * 1000) },
    }
  }

  #isOurs(audiences: readonly string[]): boolean {
    return audiences.every((audience) => this.#options.audiences.includes(audience))
  }

  #bind(namespace: string, account: string, reference: BoundObjectReference): Partial<PrivateClaims> {
    const { apiVersion = '', kind: boundKind = '', name = '' } = reference
    if (apiVersion === 'v1' && boundKind === 'Pod') {
      const pods = knownResource('', 'v1', 'pods')
      const pod = this.#read(pods, namespace, name) as KubeObject & Pod
      if (pod.spec?.serviceAccountName !== account) {
        const why = 'to pod running with different serviceaccount name.'
        throw badRequest(`cannot bind token for serviceaccount ${JSON.stringify(account)} ${why}`)
      }
      checkUid(pods, pod, reference)
      return { pod: referenceTo(pod), ...this.#nodeOf(pod.spec.nodeName ?? '') }
    }
    const [plural, claim] = boundKind === 'Node' ? (['nodes', 'node'] as const) : (['secrets', 'secret'] as const)
    if (apiVersion !== 'v1' || (boundKind !== 'Node' && boundKind !== 'Secret')) {
      throw badRequest(`cannot bind token to object of type ${renderKind(apiVersion, boundKind)}`)
    }
    const resource = knownResource('', 'v1', plural)
    const object = this.#read(resource, boundKind === 'Node' ? '' : namespace, name)
    checkUid(resource, object, reference)
    return { [claim]: referenceTo(object) }
  }

  #nodeOf(nodeName: string): Partial<PrivateClaims> {
    if (nodeName === '') return {}
    const nodes = knownResource('', 'v1', 'nodes')
    const entry = this.#options.store.get(nodes.collection, nodeName)
    return { node: entry === undefined ? { name: nodeName, uid: '' } : referenceTo(readObject(nodes, entry)) }
  }

  #read(resource: Resource, namespace: string, name: string): KubeObject {
    const entry = this.#options.store.get(resource.collection, idOf(namespace, name))
    if (entry === undefined) throw notFound(resource.info, name)
    return readObject(resource, entry)
  }
}

function checkSubject({ metadata }: KubeObject, namespace: string, name: string, account: KubeObject): void {
  const { info } = knownResource('', 'v1', 'serviceaccounts')
  const mismatch = (field: string, value: string): StatusError => {
    const message = `Invalid value: ${JSON.stringify(value)}: must match the service account ${field} if specified`
    return invalid({ ...info, ...kind }, name, [{ field: `metadata.${field}`, reason: 'FieldValueInvalid', message }])
  }
  if ((metadata.name ?? '') !== '' && metadata.name !== name) throw mismatch('name', metadata.name ?? '')
  if ((metadata.namespace ?? '') !== '' && metadata.namespace !== namespace) {
    throw mismatch('namespace', metadata.namespace ?? '')
  }
  const { uid = '' } = metadata
  if (uid === '' || uid === account.metadata.uid) return
  const why = `the UID in the token request (${uid}) does not match the UID of the service account (${account.metadata.uid})`
  throw conflictOf('TokenRequest.authentication.k8s.io', name, why)
}

function checkUid({ info }: Resource, object: KubeObject, { uid = '', name = '' }: BoundObjectReference): void {
  if (uid === '' || uid === object.metadata.uid) return
  const why = `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`
  throw conflictOf(info.kind, name, why)
}

function conflictOf(what: string, name: string, why: string): StatusError {
  return new StatusError(409, 'Conflict', `Operation cannot be fulfilled on ${what} "${name}": ${why}`, {
    details: { name, kind: what.split('.')[0] ?? what },
  })
}

function checkSeconds(seconds: number): FieldError[] {
  const complain = (why: string): FieldError[] => [
    { field: 'spec.expirationSeconds', reason: 'FieldValueInvalid', message: `Invalid value: ${seconds}: ${why}` },
  ]
  if (seconds < minimumSeconds) return complain('may not specify a duration less than 10 minutes')
  if (seconds > maximumSeconds) return complain('may not specify a duration larger than 2^32 seconds')
  return []
}

function referenceTo({ metadata }: KubeObject): ObjectReference {
  return { name: metadata.name ?? '', uid: metadata.uid ?? '' }
}

/** As Go prints a GroupVersionKind. */
function renderKind(apiVersion: string, kindName: string): string {
  const at = apiVersion.indexOf('/')
  const [group, version] = at < 0 ? ['', apiVersion] : [apiVersion.slice(0, at), apiVersion.slice(at + 1)]
  return `${group}/${version}, Kind=${kindName}`
}
