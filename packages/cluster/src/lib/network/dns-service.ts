import type { KubeClient } from '@fairlead/kube'
import type { Service } from '@fairlead/kube/types/core-v1'
import { publishService } from './publish-service.ts'

const labels = { 'k8s-app': 'kube-dns', 'kubernetes.io/cluster-service': 'true', 'kubernetes.io/name': 'CoreDNS' }

/** Writes the objects by which clients know the cluster's name server, until that succeeds or `signal` aborts. */
export async function publishDns(options: {
  readonly client: KubeClient
  readonly address: string
  readonly dns: { readonly host: string; readonly port: number }
  readonly signal: AbortSignal
  readonly onError?: ((error: unknown) => void) | undefined
}): Promise<void> {
  const { client, address, dns, signal, onError } = options
  const ports = [
    { name: 'dns', port: dns.port, protocol: 'UDP' },
    { name: 'dns-tcp', port: dns.port, protocol: 'TCP' },
  ]
  await publishService({ client, service: renderService(address), host: dns.host, ports, signal, onError })
}

function renderService(address: string): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kube-dns', namespace: 'kube-system', labels },
    spec: {
      clusterIP: address,
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
        { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
      ],
    },
  }
}
