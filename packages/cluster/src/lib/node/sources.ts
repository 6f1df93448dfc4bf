import { isNotFound, KubeError, readJson } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { Clock } from '@fairlead/kube/controller'
import type { TokenRequest } from '@fairlead/kube/types/authentication-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'
import type { RuntimeClass } from '@fairlead/kube/types/node-v1'

import type { PullSecretSources } from './pull-secrets.ts'
import { TokenCache } from './token-cache.ts'
import type { IssuedToken } from './token-cache.ts'
import type { VolumeSources } from './volumes.ts'

/** Where the agent finds what pods refer to. */
export interface NodeSources extends VolumeSources, PullSecretSources {
  runtimeClass(name: string): Promise<RuntimeClass | undefined>
}

/** What pods refer to, read from the API at the moment it is needed. */
export function createSources(client: KubeClient, tokens: TokenCache): NodeSources {
  return {
    configMap: (namespace, name) => orNothing(client.resource('v1/ConfigMap').get(name, { namespace })),
    secret: (namespace, name) => orNothing(client.resource('v1/Secret').get(name, { namespace })),
    claim: (namespace, name) => orNothing(client.resource('v1/PersistentVolumeClaim').get(name, { namespace })),
    persistentVolume: (name) => orNothing(client.resource('v1/PersistentVolume').get(name)),
    runtimeClass: (name) => orNothing(client.resource('node.k8s.io/v1/RuntimeClass').get(name)),
    serviceAccount: (namespace, name) =>
      orNothing(client.resource('v1/ServiceAccount').get(name, { namespace }), isForbidden),
    token: (pod, audience = '', seconds) => tokens.get(pod, audience, seconds),
  }
}

/** Tokens bound to their pods, and renewed in time. */
export function createTokenCache(client: KubeClient, clock: Pick<Clock, 'now'>): TokenCache {
  return new TokenCache((pod, audience, seconds) => requestToken(client, pod, audience, seconds), clock)
}

async function requestToken(
  client: KubeClient,
  pod: Pod,
  audience: string,
  expirationSeconds: number,
): Promise<IssuedToken> {
  const { name = '', namespace = 'default', uid = '' } = pod.metadata ?? {}
  const account = pod.spec?.serviceAccountName ?? 'default'
  const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name, uid }
  const spec = { audiences: audience === '' ? [] : [audience], expirationSeconds, boundObjectRef }
  const response = await client.request({
    method: 'POST',
    path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(account)}/token`,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec }),
  })
  const { status } = (await readJson(response.body)) as TokenRequest
  return { token: status?.token ?? '', expiresAt: Date.parse(status?.expirationTimestamp ?? '') }
}

/** `isToo` tells what else means that there is nothing for this node. */
async function orNothing<T>(
  found: Promise<T>,
  isToo: (error: unknown) => boolean = () => false,
): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    if (isNotFound(error) || isToo(error)) return undefined
    throw error
  }
}

/** A node is not let in everywhere: then what was written into the pod is all there is. */
function isForbidden(error: unknown): boolean {
  return error instanceof KubeError && error.httpStatus === 403
}
