import type { Cluster, Endpoint } from '../model.ts'
import { openH1Upstream } from './upstream-h1.ts'
import { openH2Upstream } from './upstream-h2.ts'
import type { Upstream } from './upstream.ts'

export function openUpstream({ ip, port }: Endpoint, { protocol, policy, tls }: Cluster): Upstream {
  return protocol === 'h2c' ? openH2Upstream(ip, port, { policy, tls }) : openH1Upstream(ip, port, { policy, tls })
}

/** What makes pools differ: two clusters with the same share one. */
export function upstreamKey(address: string, { protocol, policy, tls }: Cluster): string {
  const { connectTimeoutMs, maxConnections, maxRequestsPerConnection, idleTimeoutMs } = policy
  return `${protocol} ${address} ${connectTimeoutMs} ${maxConnections} ${maxRequestsPerConnection} ${idleTimeoutMs} ${tls?.key}`
}
