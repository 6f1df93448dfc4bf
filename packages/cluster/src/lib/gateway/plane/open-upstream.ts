import type { TrafficPolicy, UpstreamProtocol } from '../model.ts'
import { openH1Upstream } from './upstream-h1.ts'
import { openH2Upstream } from './upstream-h2.ts'
import type { Upstream } from './upstream.ts'

export function openUpstream(ip: string, port: number, protocol: UpstreamProtocol, policy: TrafficPolicy): Upstream {
  return protocol === 'h2c' ? openH2Upstream(ip, port, policy) : openH1Upstream(ip, port, policy)
}

/** What makes pools differ: two clusters with the same share one. */
export function upstreamKey(address: string, protocol: UpstreamProtocol, policy: TrafficPolicy): string {
  const { connectTimeoutMs, maxConnections, maxRequestsPerConnection, idleTimeoutMs } = policy
  return `${protocol} ${address} ${connectTimeoutMs} ${maxConnections} ${maxRequestsPerConnection} ${idleTimeoutMs}`
}
