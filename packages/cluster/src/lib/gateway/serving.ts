import type { KubeClient } from '@fairlead/kube'
import { openMetricsEndpoint } from './metrics-endpoint.ts'
import { publishMetrics } from './metrics-service.ts'
import { openObservers } from './observers.ts'
import type { ObserversOptions } from './observers.ts'
import type { Access } from './plane/access.ts'
import { openDataPlane } from './plane/plane.ts'
import type { DataPlane } from './plane/plane.ts'

/** What a gateway needs from its first route on. Loaded then: a cluster without routes starts without it. */
export interface Serving {
  readonly plane: DataPlane
  close(options?: { readonly graceMs?: number | undefined }): Promise<void>
}

/** Opens the data plane, and publishes its metrics. */
export async function openServing(options: {
  readonly client: KubeClient
  /** Where metrics are served: the host as pods see it. */
  readonly host: string
  readonly signal: AbortSignal
  readonly access?: Access | undefined
  readonly observers?: ObserversOptions | undefined
  readonly onError?: ((error: unknown) => void) | undefined
}): Promise<Serving> {
  const { host } = options
  const observers = await openObservers({ ...options.observers, onError: options.onError })
  const plane = openDataPlane({ access: options.access, observers, onError: options.onError })
  const endpoint = await openMetricsEndpoint({ host, render: () => plane.metrics.render() })
  // Pods reach the host at this address unless they are processes of it, which are told no addresses of loopback.
  if (!host.startsWith('127.')) void publishMetrics({ ...options, port: endpoint.port })
  return {
    plane,
    async close(closing) {
      await endpoint.close()
      await plane.close(closing)
      await observers.close()
    },
  }
}
