import type { ContainerPort, Pod } from '@fairlead/kube/types/core-v1'
import { cidrContains, parseCidr, parseIpv4 } from './cidr.ts'
import { gatewayOf } from './plan.ts'
import type { NetworkPlan } from './plan.ts'
import type { ServedPort } from './service-ports.ts'
import type { Protocol } from './protocol.ts'

/** A port of the host that leads to a port of a pod. */
export interface HostPort {
  /** The address it is asked at; empty for the host's own ones inside the machine, `0.0.0.0` for every one it has. */
  readonly hostIp: string
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol: Protocol
}

const loopback = parseCidr('127.0.0.0/8') ?? { base: 0, bits: 32 }

/** The host ports a pod asks for; none in the host's network, where its programs listen themselves. */
export function hostPortsOf({ spec }: Pod): HostPort[] {
  if (spec?.hostNetwork === true) return []
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])]
  return containers.flatMap(({ ports = [] }) => ports.flatMap((port) => toHostPort(port)))
}

function toHostPort({ hostIP = '', hostPort = 0, containerPort, protocol }: ContainerPort): HostPort[] {
  // Pods have no IPv6, so neither have ports that lead to them.
  if (hostPort === 0 || (hostIP !== '' && parseIpv4(hostIP) === undefined)) return []
  const spelled = protocol === 'UDP' ? 'udp' : protocol === 'SCTP' ? 'sctp' : 'tcp'
  return [{ hostIp: hostIP, hostPort, containerPort, protocol: spelled }]
}

/**
 * The host ports of the pod at `ip` as ports that the packet filter serves. Without an address they are reached at 127.0.0.1
 * and at the node's address, so from this machine and its pods only: nothing listens beyond loopback unless asked.
 */
export function servedHostPorts(plan: NetworkPlan, uid: string, ip: string, ports: readonly HostPort[]): ServedPort[] {
  const inside = ['127.0.0.1', gatewayOf(plan)]
  return ports.map(({ hostIp, hostPort, containerPort, protocol }) => {
    const isInside = inside.includes(hostIp) || cidrContains(loopback, hostIp)
    const isEverywhere = hostIp === '0.0.0.0'
    return {
      key: `${hostPortsKey(uid)}/${hostIp}:${hostPort}/${protocol}`,
      addresses: hostIp === '' || isEverywhere ? inside : isInside ? [hostIp] : [],
      externalAddresses: hostIp === '' || isEverywhere || isInside ? [] : [hostIp],
      isEverywhere,
      protocol,
      port: hostPort,
      backends: [{ ip, port: containerPort }],
    }
  })
}

/** What stands where ports of Services have `namespace/name`: no namespace has a colon. */
export function hostPortsKey(uid: string): string {
  return `pod:${encodeURIComponent(uid)}/-`
}
