import type { Service, ServiceSpec } from '@fairlead/kube/types/core-v1'
import type { Endpoint, EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { parseIpv4 } from './cidr.ts'
import { toProtocol } from './protocol.ts'
import type { Protocol } from './protocol.ts'

/** Where a connection to a Service port may go. */
export interface Backend {
  readonly ip: string
  readonly port: number
}

/** One port of one Service with the endpoints that serve it now. */
export interface ServedPort {
  /** `namespace/service/port name or number/protocol`, unique in the cluster. */
  readonly key: string
  /** Virtual addresses; none for a headless Service. Reached from pods and the host only. */
  readonly addresses: readonly string[]
  readonly protocol: Protocol
  readonly port: number
  readonly nodePort?: number | undefined
  /** Addresses that packets from outside this machine may ask for, too. */
  readonly externalAddresses?: readonly string[] | undefined
  /** Where a load balancer is to listen for it: only for what rules pass on themselves, which is UDP. */
  readonly balancedAddress?: string | undefined
  /** Whether every address of the host leads to it, from wherever. */
  readonly isEverywhere?: boolean | undefined
  /** Sorted by address, without repetition. */
  readonly backends: readonly Backend[]
  /** The backends for node ports, load balancers and external addresses, where the traffic policies differ. */
  readonly externalBackends?: readonly Backend[] | undefined
  /** The backends for pods of these nodes, where they differ from those for everybody else; none: what they send is dropped. */
  readonly backendsOfNodes?: ReadonlyMap<string, readonly Backend[]> | undefined
  /** Whether connections are dropped, not refused, while there are no backends: there are endpoints, which a policy keeps from here. */
  readonly dropsUnserved?: boolean | undefined
  readonly dropsUnservedOutside?: boolean | undefined
  /** Clients that a load balancer passes on; default: all. */
  readonly sourceRanges?: readonly string[] | undefined
  /** Whether its backend is this process. */
  readonly isOwn?: boolean | undefined
  /** Where connections go instead of to the backends, as long as this process lives: one that passes them on by itself. */
  readonly redirect?: Backend | undefined
  /** Seconds a client sticks to its endpoint (`sessionAffinity: ClientIP`). */
  readonly affinitySeconds?: number | undefined
}

/** The label by which an EndpointSlice names its Service. */
export const serviceNameLabel = 'kubernetes.io/service-name'

const defaultAffinitySeconds = 10_800

/** The ports of `service`, resolved against its slices. Pure; IPv4 only. */
export function servedPorts(
  service: Service,
  slices: readonly EndpointSlice[],
  nodes: readonly NodePlace[] = [],
): ServedPort[] {
  const { spec, metadata } = service
  if (spec === undefined || spec.type === 'ExternalName') return []
  const addresses = [...new Set([...(spec.clusterIPs ?? []), spec.clusterIP ?? ''])].filter(
    (address) => parseIpv4(address) !== undefined,
  )
  const affinitySeconds =
    spec.sessionAffinity === 'ClientIP'
      ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? defaultAffinitySeconds)
      : undefined
  const externalAddresses = (spec.externalIPs ?? []).filter((address) => parseIpv4(address) !== undefined)
  const isLocal = spec.internalTrafficPolicy === 'Local'
  const isLocalOutside = spec.externalTrafficPolicy === 'Local'
  return (spec.ports ?? []).map((port) => {
    const protocol = toProtocol(port.protocol)
    const places = placesOf(slices, port.name ?? '', protocol)
    const [inside, outside] = [isLocal, isLocalOutside].map((local) => backendsAt(places, local))
    const backendsOfNodes = differingNodes(nodes, places, inside?.backends ?? [], isLocal)
    return {
      key: `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}/${port.name ?? port.port}/${protocol}`,
      addresses,
      protocol,
      port: port.port,
      nodePort: port.nodePort === 0 ? undefined : port.nodePort,
      backends: inside?.backends ?? [],
      affinitySeconds,
      ...(inside?.dropsUnserved === true ? { dropsUnserved: true } : {}),
      ...(outside?.dropsUnserved === true ? { dropsUnservedOutside: true } : {}),
      ...(backendsOfNodes.size === 0 ? {} : { backendsOfNodes }),
      ...(externalAddresses.length === 0 ? {} : { externalAddresses }),
      ...(protocol === 'udp' ? balancedBy(spec) : {}),
      ...(isLocal === isLocalOutside ? {} : { externalBackends: outside?.backends ?? [] }),
    }
  })
}

function balancedBy(spec: ServiceSpec): Pick<ServedPort, 'balancedAddress' | 'isEverywhere' | 'sourceRanges'> {
  if (spec.type !== 'LoadBalancer' || spec.loadBalancerClass !== undefined) return {}
  const asked = spec.loadBalancerIP ?? ''
  const ranges = spec.loadBalancerSourceRanges ?? []
  const sourceRanges = ranges.length === 0 ? {} : { sourceRanges: ranges }
  if (asked === '0.0.0.0') return { balancedAddress: '127.0.0.1', isEverywhere: true, ...sourceRanges }
  return { balancedAddress: parseIpv4(asked) === undefined ? '127.0.0.1' : asked, ...sourceRanges }
}

/**
 * The endpoints that take new connections: the ready ones, or, when there is none, those that terminate but still serve
 * (KEP-1669), so that the last replica of a rolling update answers until its successor is ready.
 */
export function usableEndpoints(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  // An absent condition means ready (discovery/v1 EndpointConditions). Where unready addresses are published, all are.
  const ready = endpoints.filter(({ conditions }) => conditions?.ready !== false)
  if (ready.length > 0) return ready
  return endpoints.filter(({ conditions }) => conditions?.terminating === true && conditions.serving !== false)
}

/** A node as topology sees it. */
export interface NodePlace {
  readonly name: string
  readonly zone?: string | undefined
}

/** An endpoint and the port it serves at. */
interface Place {
  readonly endpoint: Endpoint
  readonly port: number
}

function placesOf(slices: readonly EndpointSlice[], portName: string, protocol: Protocol): Place[] {
  return slices.flatMap((slice) => {
    const port = slice.ports?.find(
      (candidate) => (candidate.name ?? '') === portName && toProtocol(candidate.protocol) === protocol,
    )?.port
    if (port === undefined || slice.addressType !== 'IPv4') return []
    return (slice.endpoints ?? []).map((endpoint) => ({ endpoint, port }))
  })
}

/** `isLocal`: only endpoints of the cluster's nodes, which all are this machine. */
function backendsAt(places: readonly Place[], isLocal: boolean): { backends: Backend[]; dropsUnserved: boolean } {
  if (!isLocal) return { backends: toBackends(places), dropsUnserved: false }
  const backends = toBackends(places.filter(({ endpoint }) => endpoint.nodeName !== undefined))
  return { backends, dropsUnserved: backends.length === 0 && toBackends(places).length > 0 }
}

/** The nodes whose pods are served otherwise than everybody else: by the policy `Local`, or by the hints of endpoints. */
function differingNodes(
  nodes: readonly NodePlace[],
  places: readonly Place[],
  everywhere: readonly Backend[],
  isLocal: boolean,
): Map<string, readonly Backend[]> {
  const found = new Map<string, readonly Backend[]>()
  if (nodes.length < 2) return found
  for (const node of nodes) {
    const own = isLocal
      ? toBackends(places.filter(({ endpoint }) => endpoint.nodeName === node.name))
      : toBackends(hintedPlaces(places, node))
    if (renderBackends(own) !== renderBackends(everywhere)) found.set(node.name, own)
  }
  return found
}

/**
 * The endpoints that hints leave to a node, as kube-proxy reads them (`pkg/proxy/topology.go`): those for the node, else those for its zone;
 * all of them where a ready one has no hints or none is for here.
 */
function hintedPlaces(places: readonly Place[], { name, zone }: NodePlace): readonly Place[] {
  const ready = places.filter(({ endpoint }) => endpoint.conditions?.ready !== false)
  for (const isHinted of [
    ({ hints }: Endpoint, asked?: string) =>
      (hints?.forNodes ?? []).some((one) => asked === undefined || one.name === name),
    ({ hints }: Endpoint, asked?: string) =>
      (hints?.forZones ?? []).some((one) => asked === undefined || one.name === zone),
  ]) {
    if (!ready.every(({ endpoint }) => isHinted(endpoint))) continue
    const own = ready.filter(({ endpoint }) => isHinted(endpoint, 'here'))
    if (own.length > 0) return own
  }
  return places
}

function renderBackends(backends: readonly Backend[]): string {
  return backends.map(({ ip, port }) => `${ip}:${port}`).join(' ')
}

/** Sorted, without repetition. */
function toBackends(places: readonly Place[]): Backend[] {
  const usable = new Set(usableEndpoints(places.map(({ endpoint }) => endpoint)))
  const backends = new Map<string, Backend>()
  for (const { endpoint, port } of places) {
    // Addresses of one endpoint are interchangeable: clients use the first (discovery/v1 Endpoint).
    const ip = endpoint.addresses[0]
    if (ip !== undefined && parseIpv4(ip) !== undefined && usable.has(endpoint))
      backends.set(`${ip}:${port}`, { ip, port })
  }
  return [...backends.values()].toSorted((a, b) => (parseIpv4(a.ip) ?? 0) - (parseIpv4(b.ip) ?? 0) || a.port - b.port)
}
