import type { KindMap, KubeObject } from '../../types.ts'
import { findKind } from '../../types.ts'
import { discoverKind } from './discovery.ts'
import { createResourceClient } from './resource-client.ts'
import type { ResourceLocation } from './resource-client.ts'
import type { KubeResource, ResourceClient } from './resource.ts'
import { withRetries } from './retry.ts'
import { readJson, toKubeError } from './transport.ts'
import type { Transport, TransportRequest, TransportResponse } from './transport.ts'

/** A Kubernetes API, typed. Safe to share: it holds no state but what discovery found. */
export interface KubeClient {
  /** The namespace used where a call names none. */
  readonly namespace: string
  /** The verbs of a built-in kind, named `v1/Pod`, `apps/v1/Deployment`. */
  resource<K extends keyof KindMap>(kind: K): ResourceClient<KindMap[K]>
  /** The verbs of any kind; one that is not built in is looked up by discovery at its first call (FAIRLEAD_KUBE_KIND when absent). */
  object(apiVersion: string, kind: string): ResourceClient<KubeObject>
  /**
   * One raw request; any answer that is not 2xx (or 101) is thrown as KubeError. Repeated up to nine times while the server asks
   * for it (429 or 5xx with `Retry-After`), and when a connection breaks under a GET.
   */
  request(request: TransportRequest): Promise<TransportResponse>
  /** Closes idle connections. Not needed to let the process end. */
  close(): Promise<void>
}

export interface KubeClientOptions {
  readonly transport: Transport
  /** Default `default`. */
  readonly namespace?: string | undefined
}

/** Puts the typed client on a transport: HTTPS (see {@link connectKube}) or an API server in this process. */
export function createKubeClient({ transport, namespace = 'default' }: KubeClientOptions): KubeClient {
  const discovered = new Map<string, Promise<ResourceLocation>>()
  const request = (sent: TransportRequest): Promise<TransportResponse> =>
    withRetries(sent, () => sendOnce(transport, sent))
  // The body is part of the attempt: a connection that breaks while a list arrives is tried again.
  const requestJson = (sent: TransportRequest): Promise<unknown> =>
    withRetries(sent, async () => readJson((await sendOnce(transport, sent)).body))

  function locate(apiVersion: string, kind: string): ResourceLocation | Promise<ResourceLocation> {
    const builtIn = findKind(apiVersion, kind)
    if (builtIn !== undefined) {
      return builtIn
    }
    const key = `${apiVersion}/${kind}`
    let found = discovered.get(key)
    if (found === undefined) {
      found = discoverKind(request, apiVersion, kind)
      discovered.set(key, found)
      // A kind that is absent now may be installed later.
      found.catch(() => discovered.delete(key))
    }
    return found
  }

  function resourceClient<T extends KubeResource>(apiVersion: string, kind: string): ResourceClient<T> {
    return createResourceClient<T>({
      apiVersion,
      kind,
      namespace,
      request,
      requestJson,
      locate: () => locate(apiVersion, kind),
    })
  }

  return {
    namespace,
    resource: (key) => {
      const slash = key.lastIndexOf('/')
      return resourceClient(key.slice(0, slash), key.slice(slash + 1))
    },
    object: (apiVersion, kind) => resourceClient(apiVersion, kind),
    request,
    close: async () => transport.close?.(),
  }
}

async function sendOnce(transport: Transport, request: TransportRequest): Promise<TransportResponse> {
  const response = await transport.send(request)
  if (response.status === 101 || (response.status >= 200 && response.status < 300)) {
    return response
  }
  throw await toKubeError(request, response)
}
