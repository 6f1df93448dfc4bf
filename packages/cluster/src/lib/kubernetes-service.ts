import { setTimeout as sleep } from 'node:timers/promises'
import { isAlreadyExists, isNotFound } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { Endpoints, Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { publishServiceCidr } from './service-cidr.ts'

/** Where programs in pods reach the API server. */
export interface ApiEndpoint {
  /** The address of the Service: the first of the range, as on every cluster. */
  readonly clusterIP: string
  /** Where the API server listens for it. */
  readonly host: string
  readonly port: number
}

export interface KubernetesServiceOptions extends ApiEndpoint {
  readonly client: KubeClient
  /** Range that addresses of Services come from. */
  readonly serviceCidr: string
  readonly signal: AbortSignal
  /** How often the objects are looked at again. Default 10,000, as kube-apiserver does it. */
  readonly everyMs?: number | undefined
  readonly onError?: ((error: unknown) => void) | undefined
}

const namespace = 'default'
const name = 'kubernetes'

/**
 * Keeps the Service `kubernetes` and its endpoints as they have to be, whatever becomes of the objects, until `signal` aborts
 * (kube-apiserver's kubernetesservice controller).
 */
export async function keepKubernetesService(options: KubernetesServiceOptions): Promise<void> {
  const { signal, everyMs = 10_000, onError } = options
  while (!signal.aborted) {
    try {
      await publish(options)
    } catch (error) {
      if (!signal.aborted) onError?.(error)
    }
    await sleep(everyMs, undefined, { signal, ref: false }).catch(() => {})
  }
}

async function publish({ client, signal, serviceCidr, ...endpoint }: KubernetesServiceOptions): Promise<void> {
  await publishServiceCidr(client, serviceCidr, signal)
  const at = { namespace, signal }
  const services = client.resource('v1/Service')
  const found = await orNothing(services.get(name, at))
  // An address never changes: another range of the cluster means another Service.
  if (found !== undefined && found.spec?.clusterIP !== endpoint.clusterIP) await services.delete(name, at)
  if (found?.spec?.clusterIP !== endpoint.clusterIP) {
    await services.create(renderService(endpoint), at).catch(ignoreExisting)
  } else if (found.spec.ports?.[0]?.targetPort !== endpoint.port) {
    await services.patch(name, { type: 'merge', body: { spec: { ports: renderPorts(endpoint) } } }, at)
  }

  const slices = client.resource('discovery.k8s.io/v1/EndpointSlice')
  const slice = renderSlice(endpoint)
  const known = await orNothing(slices.get(name, at))
  if (known === undefined) await slices.create(slice, at).catch(ignoreExisting)
  else if (
    placeOf(known.endpoints?.[0]?.addresses[0], known.ports?.[0]?.port) !== placeOf(endpoint.host, endpoint.port)
  ) {
    await slices.patch(name, { type: 'merge', body: { endpoints: slice.endpoints, ports: slice.ports } }, at)
  }

  const all = client.resource('v1/Endpoints')
  const endpoints = renderEndpoints(endpoint)
  const subset = (await orNothing(all.get(name, at)))?.subsets?.[0]
  if (subset === undefined) {
    await all.create(endpoints, at).catch(ignoreExisting)
  } else if (placeOf(subset.addresses?.[0]?.ip, subset.ports?.[0]?.port) !== placeOf(endpoint.host, endpoint.port)) {
    await all.patch(name, { type: 'merge', body: { subsets: endpoints.subsets } }, at)
  }
}

function placeOf(host: string | undefined, port: number | undefined): string {
  return `${host}:${port}`
}

function renderService(endpoint: ApiEndpoint): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels: { component: 'apiserver', provider: 'kubernetes' } },
    spec: { clusterIP: endpoint.clusterIP, ports: renderPorts(endpoint), sessionAffinity: 'None', type: 'ClusterIP' },
  }
}

function renderPorts({ port }: ApiEndpoint): { name: string; port: number; protocol: string; targetPort: number }[] {
  return [{ name: 'https', port: 443, protocol: 'TCP', targetPort: port }]
}

function renderSlice({ host, port }: ApiEndpoint): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [host], conditions: { ready: true } }],
    ports: [{ name: 'https', port, protocol: 'TCP' }],
  }
}

function renderEndpoints({ host, port }: ApiEndpoint): Endpoints {
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    // The slice above is not a copy of this one: nobody has to mirror it.
    metadata: { name, namespace, labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } },
    subsets: [{ addresses: [{ ip: host }], ports: [{ name: 'https', port, protocol: 'TCP' }] }],
  }
}

function ignoreExisting(error: unknown): void {
  if (!isAlreadyExists(error)) throw error
}

async function orNothing<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}
