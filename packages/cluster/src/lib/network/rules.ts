import { overlaps, parseCidr, renderCidr } from './cidr.ts'
import type { Cidr } from './cidr.ts'
import { bridgeName, gatewayOf, tableName } from './plan.ts'
import type { NetworkPlan } from './plan.ts'
import type { Backend, ServedPort } from './service-ports.ts'
import { shortHash } from './short-hash.ts'

/**
 * The rules every cluster has, Services apart: translation of Service addresses from host and pods, masquerading, and
 * the filter. Safe to load again over a table in use: maps keep their elements.
 */
export function renderBaseRules(plan: NetworkPlan): string {
  const table = `ip ${tableName(plan)}`
  const bridge = bridgeName(plan)
  const target = 'ip daddr . meta l4proto . th dport'
  const toService = `${target} vmap @services`
  // What was asked to be reached from outside, too.
  const toExternal = [`${target} vmap @external`, 'fib daddr type local meta l4proto . th dport vmap @everywhere']
  return `add table ${table}
add map ${table} services { type ipv4_addr . inet_proto . inet_service : verdict; }
add map ${table} external { type ipv4_addr . inet_proto . inet_service : verdict; }
add map ${table} everywhere { type inet_proto . inet_service : verdict; }
add set ${table} hairpin { type ipv4_addr . ipv4_addr; }
add set ${table} ${leaseSet} { type inet_proto; flags timeout; }
add set ${table} ${ownPortsSet} { type inet_proto . inet_service; }
add chain ${table} guard { type filter hook prerouting priority -300; }
add chain ${table} from-pods { type nat hook prerouting priority -100; }
add chain ${table} from-host { type nat hook output priority -100; }
add chain ${table} sources { type nat hook postrouting priority 100; }
add chain ${table} forwarded { type filter hook forward priority 0; }
add chain ${table} outgoing { type filter hook output priority 0; }
add chain ${table} unserved
flush chain ${table} guard
flush chain ${table} from-pods
flush chain ${table} from-host
flush chain ${table} sources
flush chain ${table} forwarded
flush chain ${table} outgoing
flush chain ${table} unserved
add rule ${table} guard iifname ${bridge} ip daddr 127.0.0.0/8 drop
add rule ${table} from-pods iifname ${bridge} ${toService}
add rule ${table} from-host ${toService}
${toExternal.flatMap((rule) => ['from-pods', 'from-host'].map((chain) => `add rule ${table} ${chain} ${rule}`)).join('\n')}
add rule ${table} sources ct status dnat ip saddr . ip daddr @hairpin masquerade
add rule ${table} sources oifname ${bridge} ip saddr 127.0.0.0/8 masquerade
add rule ${table} sources ip saddr ${plan.podCidr} oifname != ${bridge} ip daddr != { ${plan.podCidr}, ${plan.serviceCidr} } masquerade
add rule ${table} forwarded ip daddr ${plan.serviceCidr} jump unserved
add rule ${table} forwarded ct state established,related accept
add rule ${table} forwarded iifname != ${bridge} oifname ${bridge} ct status dnat accept
add rule ${table} forwarded iifname != ${bridge} oifname ${bridge} drop
add rule ${table} outgoing ip daddr ${plan.serviceCidr} jump unserved
add rule ${table} unserved meta l4proto tcp reject with tcp reset
add rule ${table} unserved reject
`
}

/** Has a member, `tcp`, while connections are redirected (lease.ts). */
export const leaseSet = 'lease'
/** Ports of this process that pods are led to. */
export const ownPortsSet = 'own-ports'

/** The packet filter's view of one Service port. */
export interface PortRules {
  /** Elements of maps, map first, such as `services 10.80.0.1 . tcp . 80`. */
  readonly keys: readonly string[]
  /** The chain those keys lead to. */
  readonly chain: string
  /** Chains for pods of single nodes. */
  readonly chains: readonly string[]
  /** Chains and sets of single endpoints, for sticky Services. */
  readonly parts: readonly string[]
  /** Endpoint addresses: each may reach itself through the Service. */
  readonly addresses: readonly string[]
  /** Endpoints as `address:port`. */
  readonly ends: readonly string[]
  readonly redirect: Backend | undefined
  /** Ports of this process that it leads to, such as `tcp . 4000`. */
  readonly ownPorts: readonly string[]
  /** Commands that create or refill chain and parts; they need nothing to exist but the base table. */
  readonly commands: readonly string[]
}

/** Rules for a port by their names; none when nobody serves it: a connection is then refused by the `unserved` chain. */
export function renderPort(plan: NetworkPlan, port: ServedPort): [name: string, rules: PortRules][] {
  const { externalBackends, backends, sourceRanges, backendsOfNodes } = port
  const open = { ...port, sourceRanges: undefined }
  // Load balancers that look at their clients have rules of their own.
  const limited = sourceRanges === undefined ? [] : balancerKeys(port)
  const outer = outsideKeys(plan, port).filter((key) => !limited.includes(key))
  const outside = {
    ...open,
    backends: externalBackends ?? backends,
    backendsOfNodes: undefined,
    dropsUnserved: externalBackends === undefined ? port.dropsUnserved : port.dropsUnservedOutside,
  }
  const balanced = renderKeys(plan, { ...outside, sourceRanges, key: `${port.key}/balanced` }, limited)
  if (externalBackends === undefined && backendsOfNodes === undefined)
    return [...renderKeys(plan, open, [...insideKeys(port), ...outer]), ...balanced]
  const external = renderKeys(plan, { ...outside, key: `${port.key}/external` }, outer)
  return [...renderKeys(plan, open, insideKeys(port)), ...external, ...balanced]
}

function insideKeys({ addresses, protocol, port }: ServedPort): string[] {
  return addresses.map((address) => `services ${address} . ${protocol} . ${port}`)
}

function outsideKeys(plan: NetworkPlan, { externalAddresses = [], protocol, port, ...served }: ServedPort): string[] {
  const { nodePort, balancedAddress, isEverywhere = false } = served
  // The address of the node, for pods and the host. On loopback TCP has listeners of its own, which a reader of open ports sees.
  const nodeAddresses = protocol === 'tcp' ? [gatewayOf(plan)] : [gatewayOf(plan), '127.0.0.1']
  return [
    ...externalAddresses.map((address) => `external ${address} . ${protocol} . ${port}`),
    ...balancerKeys({ balancedAddress, isEverywhere, protocol, port }),
    ...(nodePort === undefined
      ? []
      : nodeAddresses.map((address) => `services ${address} . ${protocol} . ${nodePort}`)),
  ]
}

function balancerKeys({
  balancedAddress,
  isEverywhere = false,
  protocol,
  port,
}: Pick<ServedPort, 'balancedAddress' | 'isEverywhere' | 'protocol' | 'port'>): string[] {
  // Loopback is in the map that packets from outside never meet.
  const map = balancedAddress?.startsWith('127.') === true ? 'services' : 'external'
  return [
    ...(balancedAddress === undefined ? [] : [`${map} ${balancedAddress} . ${protocol} . ${port}`]),
    ...(isEverywhere ? [`everywhere ${protocol} . ${port}`] : []),
  ]
}

function renderKeys(plan: NetworkPlan, port: ServedPort, keys: readonly string[]): [string, PortRules][] {
  const ofNodes = [...(port.backendsOfNodes ?? [])]
  const hasNone = port.backends.length === 0 && ofNodes.length === 0
  if (keys.length === 0 || (hasNone && port.dropsUnserved !== true && port.redirect === undefined)) return []
  const chain = `service-${shortHash(port.key)}`
  const nodes = ofNodes.map(([node, own]) => ({
    set: homesOf(node),
    port: { ...port, backends: own, dropsUnserved: true },
  }))
  const chains = nodes.map(({ set }) => `${chain}-${set}`)
  const { redirect } = port
  // The protocol is told twice: that of the set says whether, the other is what a port may be told for.
  const away = redirect === undefined ? [] : [`meta l4proto tcp meta l4proto @${leaseSet} ${dnat(redirect)}`]
  const first = [
    ...firstOf(port),
    ...away,
    ...nodes.map(({ set }, index) => `ip saddr @${set} goto ${chains[index] ?? ''}`),
  ]
  const rules = [
    ...nodes.map(({ port: own }, index) => lead(plan, chains[index] ?? '', own, [])),
    lead(plan, chain, ofNodes.length === 0 ? port : { ...port, dropsUnserved: true }, first),
  ]
  const parts = rules.flatMap((one) => one.parts)
  const commands = [
    ...nodes.map(({ set }) => `add set ip ${tableName(plan)} ${set} { type ipv4_addr; }`),
    ...rules.flatMap((one) => one.commands),
  ]
  const backends = [...port.backends, ...ofNodes.flatMap(([, own]) => own)]
  const ends = [...new Set(backends.map((backend) => `${backend.ip}:${backend.port}`))]
  // The node needs no other address to reach itself, and would be taken for someone else by it.
  const addresses = backends.map(({ ip }) => ip).filter((ip) => ip !== gatewayOf(plan))
  return [[port.key, { keys, chain, chains, parts, addresses, ends, redirect, ownPorts: ownPortsOf(port), commands }]]
}

/** The set of addresses of a node's pods. */
export function homesOf(node: string): string {
  return `node-${shortHash(node)}`
}

function firstOf({ sourceRanges }: ServedPort): string[] {
  if (sourceRanges === undefined) return []
  const ranges = sourceRanges.map((text) => parseCidr(text.trim())).filter((range) => range !== undefined)
  const isOpen = ranges.some(({ bits }) => bits === 0)
  return isOpen ? [] : ranges.length === 0 ? ['drop'] : [`ip saddr != { ${disjoint(ranges).join(', ')} } drop`]
}

/** A set must not hold an address twice. */
function disjoint(ranges: readonly Cidr[]): string[] {
  const wider = (one: Cidr, other: Cidr): boolean => other.bits < one.bits && overlaps(one, other)
  return [...new Set(ranges.filter((one) => !ranges.some((other) => wider(one, other))).map((one) => renderCidr(one)))]
}

/** A chain that leads to backends, after other rules. */
function lead(plan: NetworkPlan, chain: string, port: ServedPort, first: readonly string[]): Rules {
  if (port.backends.length === 0) return fill(plan, chain, [...first, ...(port.dropsUnserved === true ? ['drop'] : [])])
  return port.affinitySeconds === undefined ? spread(plan, chain, port, first) : stick(plan, chain, port, first)
}

function fill(plan: NetworkPlan, chain: string, rules: readonly string[]): Rules {
  const table = `ip ${tableName(plan)}`
  return {
    parts: [],
    commands: [
      `add chain ${table} ${chain}`,
      `flush chain ${table} ${chain}`,
      ...rules.map((rule) => `add rule ${table} ${chain} ${rule}`),
    ],
  }
}

interface Rules {
  parts: string[]
  commands: string[]
}

function spread(plan: NetworkPlan, chain: string, { backends, protocol }: ServedPort, first: readonly string[]): Rules {
  const [only] = backends
  const target =
    backends.length === 1 && only !== undefined
      ? dnat(only)
      : `dnat ip to numgen random mod ${backends.length} map { ${backends.map(({ ip, port }, i) => `${i} : ${ip} . ${port}`).join(', ')} }`
  return fill(plan, chain, [...first, `meta l4proto ${protocol} ${target}`])
}

/** As kube-proxy does: per endpoint a set of the clients that chose it, consulted before the choice. */
function stick(
  plan: NetworkPlan,
  chain: string,
  { backends, protocol, affinitySeconds }: ServedPort,
  first: readonly string[],
): Rules {
  const table = `ip ${tableName(plan)}`
  // The timeout is part of the name: a set's own cannot be changed while it is in use.
  const ends = backends.map(({ ip, port }) => ({
    ip,
    port,
    part: `${chain}-${shortHash(`${ip}:${port}`)}-${affinitySeconds}`,
  }))
  const choice = ends.map(({ part }, i) => `${i} : goto ${part}`).join(', ')
  return {
    parts: ends.map(({ part }) => part),
    commands: [
      ...ends.flatMap(({ ip, port, part }) => [
        `add set ${table} ${part} { type ipv4_addr; flags dynamic, timeout; timeout ${affinitySeconds}s; }`,
        `add chain ${table} ${part}`,
        `flush chain ${table} ${part}`,
        `add rule ${table} ${part} update @${part} { ip saddr }`,
        `add rule ${table} ${part} meta l4proto ${protocol} ${dnat({ ip, port })}`,
      ]),
      `add chain ${table} ${chain}`,
      `flush chain ${table} ${chain}`,
      ...first.map((rule) => `add rule ${table} ${chain} ${rule}`),
      ...ends.map(({ part }) => `add rule ${table} ${chain} ip saddr @${part} goto ${part}`),
      `add rule ${table} ${chain} numgen random mod ${ends.length} vmap { ${choice} }`,
    ],
  }
}

function ownPortsOf({ protocol, redirect, backends, isOwn }: ServedPort): string[] {
  const own = [...(redirect === undefined ? [] : [redirect]), ...(isOwn === true ? backends : [])]
  return own.map(({ port }) => `${protocol} . ${port}`)
}

function dnat({ ip, port }: Backend): string {
  return `dnat ip to ${ip}:${port}`
}
