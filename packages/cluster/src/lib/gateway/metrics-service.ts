import type { KubeClient } from '@fairlead/kube'
import { publishService } from '../network/publish-service.ts'

const name = 'fairlead-gateway'
const annotations = { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '80', 'prometheus.io/path': '/metrics' }

/** Writes the Service by which a Prometheus of the cluster finds the gateway's metrics, until that succeeds or `signal` aborts. */
export async function publishMetrics(options: {
  readonly client: KubeClient
  readonly host: string
  readonly port: number
  readonly signal: AbortSignal
  readonly onError?: ((error: unknown) => void) | undefined
}): Promise<void> {
  const { port, ...others } = options
  const service = {
    metadata: { name, namespace: 'kube-system', labels: { 'app.kubernetes.io/name': name }, annotations },
    spec: { ports: [{ name: 'metrics', port: 80 }] },
  }
  await publishService({ ...others, service, ports: [{ name: 'metrics', port, protocol: 'TCP' }] })
}
