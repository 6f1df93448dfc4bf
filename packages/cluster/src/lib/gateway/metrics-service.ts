import { setTimeout as sleep } from 'node:timers/promises'
import { isAlreadyExists } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { serviceNameLabel } from '../network/service-ports.ts'

const namespace = 'kube-system'
const name = 'fairlead-gateway'
const portName = 'metrics'

/** Writes the Service by which a Prometheus of the cluster finds the gateway's metrics, until that succeeds or `signal` aborts. */
export async function publishMetrics(options: {
  readonly client: KubeClient
  readonly host: string
  readonly port: number
  readonly signal: AbortSignal
  readonly onError?: ((error: unknown) => void) | undefined
}): Promise<void> {
  const { client, host, port, signal } = options
  const labels = { 'app.kubernetes.io/name': name }
  const annotations = { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '80', 'prometheus.io/path': '/metrics' }
  const service = {
    metadata: { name, namespace, labels, annotations },
    spec: { ports: [{ name: portName, port: 80 }] },
  }
  const places = {
    endpoints: [{ addresses: [host], conditions: { ready: true } }],
    ports: [{ name: portName, port, protocol: 'TCP' }],
  }
  const slice = { metadata: { name, namespace, labels: { [serviceNameLabel]: name } }, addressType: 'IPv4', ...places }
  // The namespace is made by a controller that may still be starting.
  for (let delayMs = 100; !signal.aborted; delayMs = Math.min(delayMs * 2, 10_000)) {
    try {
      await client.resource('v1/Service').create(service, { namespace, signal }).catch(ignoreExisting)
      const slices = client.resource('discovery.k8s.io/v1/EndpointSlice')
      await slices.create(slice, { namespace, signal }).catch(async (error: unknown) => {
        ignoreExisting(error)
        await slices.patch(name, { type: 'merge', body: places }, { namespace, signal })
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
