import { setTimeout as sleep } from 'node:timers/promises'
import { isAlreadyExists } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { serviceNameLabel } from './service-ports.ts'

const namespace = 'kube-system'
const name = 'kube-dns'
const labels = { 'k8s-app': 'kube-dns', 'kubernetes.io/cluster-service': 'true', 'kubernetes.io/name': 'CoreDNS' }

/** Writes the objects by which clients know the cluster's name server, until that succeeds or `signal` aborts. */
export async function publishDns(options: {
  readonly client: KubeClient
  readonly address: string
  readonly dns: { readonly host: string; readonly port: number }
  readonly signal: AbortSignal
  readonly onError?: ((error: unknown) => void) | undefined
}): Promise<void> {
  const { client, signal } = options
  const service = renderService(options.address)
  const slice = renderSlice(options.dns)
  // The namespace is made by a controller that may still be starting.
  for (let delayMs = 100; !signal.aborted; delayMs = Math.min(delayMs * 2, 10_000)) {
    try {
      await client.resource('v1/Service').create(service, { namespace, signal }).catch(ignoreExisting)
      const slices = client.resource('discovery.k8s.io/v1/EndpointSlice')
      const { endpoints, ports } = slice
      await slices.create(slice, { namespace, signal }).catch(async (error: unknown) => {
        ignoreExisting(error)
        await slices.patch(name, { type: 'merge', body: { endpoints, ports } }, { namespace, signal })
      })
      return
    } catch (error) {
      if (signal.aborted) return
      if (delayMs > 1_000) options.onError?.(error)
      await sleep(delayMs, undefined, { signal }).catch(() => {})
    }
  }
}

function ignoreExisting(error: unknown): void {
  if (!isAlreadyExists(error)) throw error
}

function renderService(address: string): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels },
    spec: {
      clusterIP: address,
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
        { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
      ],
    },
  }
}

function renderSlice({ host, port }: { host: string; port: number }): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace, labels: { ...labels, [serviceNameLabel]: name } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [host], conditions: { ready: true, serving: true, terminating: false } }],
    ports: [
      { name: 'dns', port, protocol: 'UDP' },
      { name: 'dns-tcp', port, protocol: 'TCP' },
    ],
  }
}
