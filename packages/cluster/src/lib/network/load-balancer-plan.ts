import type { Service, ServiceStatus } from '@fairlead/kube/types/core-v1'
import type { Condition } from '@fairlead/kube/types/meta-v1'
import { parseCidr, cidrContains } from './cidr.ts'
import type { ServiceEntry } from './service-table.ts'

/** An address of the host that shall lead to a Service port. */
export interface WantedListener {
  readonly kind: 'LoadBalancer' | 'NodePort'
  readonly host: string
  readonly port: number
  /** `namespace/name`. */
  readonly service: string
  /** Key of the served port. */
  readonly key: string
  /** Clients that are let in (`spec.loadBalancerSourceRanges`). Default: all. */
  readonly sourceRanges?: readonly string[] | undefined
}

/** The machine that load balancers are part of. */
export interface BalancerHost {
  /** Where LoadBalancer Services listen that ask for no address. */
  readonly listenAddress: string
  /** The host's addresses: Services may ask for one by `spec.loadBalancerIP`, or for all by `0.0.0.0`. */
  readonly addresses: readonly string[]
}

/** How a port of a LoadBalancer Service fares. */
export interface PortOutcome {
  readonly port: number
  readonly protocol: string
  readonly problem?: string | undefined
}

/** Kubernetes' own condition for a load balancer that cannot serve the ports it was asked for. */
const problemCondition = 'LoadBalancerPortsError'

const loopback = parseCidr('127.0.0.0/8') ?? { base: 0, bits: 32 }

/** The listeners these Services ask for, by `host:port`. Where two ask for one, the older Service has it. */
export function wantedListeners(
  entries: ReadonlyMap<string, ServiceEntry>,
  host: BalancerHost,
): Map<string, WantedListener> {
  const wanted = new Map<string, WantedListener>()
  const byAge = [...entries].toSorted(([a, x], [b, y]) => ageOf(x).localeCompare(ageOf(y)) || a.localeCompare(b))
  for (const [service, entry] of byAge) {
    for (const listener of listenersOf(service, entry, host)) {
      const address = `${listener.host}:${listener.port}`
      if (!wanted.has(address)) wanted.set(address, listener)
    }
  }
  return wanted
}

function listenersOf(service: string, entry: ServiceEntry, on: BalancerHost): WantedListener[] {
  const tcp = entry.ports.filter(({ protocol }) => protocol === 'tcp')
  const nodePorts = tcp.flatMap(({ key, nodePort }) =>
    nodePort === undefined ? [] : [{ kind: 'NodePort' as const, host: '127.0.0.1', port: nodePort, service, key }],
  )
  if (!isLoadBalancer(entry.service)) return nodePorts
  const host = balancerAddress(entry.service, on)
  const sourceRanges = entry.service.spec?.loadBalancerSourceRanges
  const balanced = tcp.map(({ key, port }) => ({
    kind: 'LoadBalancer' as const,
    host,
    port,
    service,
    key,
    sourceRanges,
  }))
  return [...balanced, ...nodePorts]
}

/** Where a LoadBalancer Service listens: on loopback unless it asks for an address that this machine has. */
export function balancerAddress({ spec }: Service, on: BalancerHost): string {
  const own = spec?.loadBalancerIP ?? ''
  if (own === '') return on.listenAddress
  const isOurs = own === '0.0.0.0' || cidrContains(loopback, own) || on.addresses.includes(own)
  return isOurs ? own : on.listenAddress
}

/** The address to show for one that is listened on: for all of them, the first that others can reach. */
export function shownAddress(host: string, on: BalancerHost): string {
  if (host !== '0.0.0.0') return host
  return on.addresses.find((address) => !cidrContains(loopback, address)) ?? '127.0.0.1'
}

/** Whether a client may use a Service. */
export function isAllowedClient(ranges: readonly string[] | undefined, client: string): boolean {
  if (ranges === undefined || ranges.length === 0) return true
  const address = client.replace(/^::ffff:/, '')
  return ranges.some((text) => cidrContains(parseCidr(text.trim()) ?? { base: 0, bits: 32 }, address))
}

/** A LoadBalancer Service that no other implementation is asked to serve. */
function isLoadBalancer({ spec }: Service): boolean {
  return spec?.type === 'LoadBalancer' && spec.loadBalancerClass === undefined
}

/**
 * The status of a Service whose ports fared so: its address when all of them work, else the reasons. Undefined outcomes
 * mean that a port is still being opened: the status stays. Undefined result: leave the status alone.
 */
export function decideStatus(
  service: Service,
  outcomes: readonly PortOutcome[] | undefined,
  address: string,
): ServiceStatus | undefined {
  const others = (service.status?.conditions ?? []).filter(({ type }) => type !== problemCondition)
  if (!isLoadBalancer(service)) {
    const hasAddress = (service.status?.loadBalancer?.ingress ?? []).length > 0
    const isOurs = hasAddress && service.spec?.loadBalancerClass === undefined
    return isOurs ? { loadBalancer: { ingress: [] }, conditions: others } : undefined
  }
  if (outcomes === undefined) return undefined
  const problems = outcomes.map(({ problem }) => problem).filter((problem) => problem !== undefined)
  if (problems.length > 0) {
    return { loadBalancer: { ingress: [] }, conditions: [...others, problemOf(service, problems.join('; '))] }
  }
  const ports = outcomes.map(({ port, protocol }) => ({ port, protocol }))
  return { loadBalancer: { ingress: [{ ip: address, ipMode: 'Proxy', ports }] }, conditions: others }
}

/** True when writing `next` over `current` would change nothing that matters. */
export function isSameStatus(current: ServiceStatus | undefined, next: ServiceStatus): boolean {
  return renderComparable(current) === renderComparable(next)
}

function renderComparable(status: ServiceStatus | undefined): string {
  const ingress = (status?.loadBalancer?.ingress ?? []).map(({ ip, ports = [] }) => [ip, ports.map(({ port }) => port)])
  const conditions = (status?.conditions ?? []).map(({ type, message }) => [type, message])
  return JSON.stringify([ingress, conditions])
}

function problemOf(service: Service, message: string): Condition {
  const known = service.status?.conditions?.find(({ type }) => type === problemCondition)
  return {
    type: problemCondition,
    status: 'True',
    reason: 'ListenFailed',
    message,
    lastTransitionTime: known?.lastTransitionTime ?? new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
  }
}

function ageOf({ service }: ServiceEntry): string {
  return service.metadata?.creationTimestamp ?? ''
}
