import { setTimeout as sleep } from 'node:timers/promises'
import { isAlreadyExists, isNotFound } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { serviceNameLabel } from './service-ports.ts'

/** A Service that this process itself serves. */
export interface PublishedService {
  readonly client: KubeClient
  readonly service: Service
  /** Where it is served now; its EndpointSlice has the name of the Service. */
  readonly host: string
  readonly ports: NonNullable<EndpointSlice['ports']>
  readonly signal: AbortSignal
  readonly onError?: ((error: unknown) => void) | undefined
}

/** Writes the objects by which clients find the Service, until that succeeds or `signal` aborts. One that is there already stays as it is. */
export async function publishService({
  client,
  service,
  host,
  ports,
  signal,
  onError,
}: PublishedService): Promise<void> {
  const { name = '', namespace, labels } = service.metadata ?? {}
  const endpoints = [{ addresses: [host], conditions: { ready: true, serving: true, terminating: false } }]
  const slice: EndpointSlice = {
    metadata: { name, namespace, labels: { ...labels, [serviceNameLabel]: name } },
    addressType: 'IPv4',
    endpoints,
    ports,
  }
  const slices = client.resource('discovery.k8s.io/v1/EndpointSlice')
  // The namespace is made by a controller that may still be starting.
  for (let delayMs = 100; !signal.aborted; delayMs = Math.min(delayMs * 2, 10_000)) {
    try {
      await createIfAbsent(client, service, signal)
      await slices.create(slice, { namespace, signal }).catch(async (error: unknown) => {
        ignoreExisting(error)
        await slices.patch(name, { type: 'merge', body: { endpoints, ports } }, { namespace, signal })
      })
      return
    } catch (error) {
      if (signal.aborted) return
      if (delayMs > 1_000) onError?.(error)
      await sleep(delayMs, undefined, { signal }).catch(() => {})
    }
  }
}

/** Asked for first: a create of one that is there is told of its own address that it is taken, not that the name is (as kube-apiserver). */
async function createIfAbsent(client: KubeClient, service: Service, signal: AbortSignal): Promise<void> {
  const services = client.resource('v1/Service')
  const { name = '', namespace } = service.metadata ?? {}
  try {
    await services.get(name, { namespace, signal })
  } catch (error) {
    if (!isNotFound(error)) throw error
    await services.create(service, { namespace, signal }).catch(ignoreExisting)
  }
}

function ignoreExisting(error: unknown): void {
  if (!isAlreadyExists(error)) throw error
}
