import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '@fairlead/kube/types/networking-v1'
import { parseCidr, renderCidr } from '../cidr.ts'
import { toProtocol } from '../protocol.ts'
import { shortHash } from '../short-hash.ts'
import type { PolicyDns, PolicyFacts, PolicyPod } from './facts.ts'
import { isAbout, isInBlock, isPeer, rulesOf, selects } from './meaning.ts'
import type { Direction, Rule } from './meaning.ts'
import type { Part, Parts } from './parts.ts'

/** Labels of the name server's pods on most clusters: policies select it by these. */
const dnsIdentity = { namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns', 'kubernetes.io/name': 'CoreDNS' } }
const dnsPorts = { udp: 'dns', tcp: 'dns-tcp' } as const

/**
 * The parts of the packet filter that enforce the policies (networking.k8s.io/v1 NetworkPolicy). Pure. A pod that no policy
 * selects for a direction is in none of the maps and may do anything there; one that is selected may do what at least
 * one of its policies allows. `bridge` is the device pods hang on.
 */
export function planPolicies(facts: PolicyFacts, bridge: string): Parts {
  const parts = new Map<string, Part>()
  for (const direction of ['ingress', 'egress'] as const) planDirection(direction, facts, parts)
  const isolated = ['ingress', 'egress'].flatMap((name) => parts.get(name)?.content ?? [])
  const addresses = new Set(isolated.map((element) => element.split(' ', 1)[0] ?? ''))
  // A pod is never kept from itself, also not on the way over its Service.
  const selves = [...addresses].toSorted().map((ip) => `${ip} . ${ip}`)
  parts.set('selves', { kind: 'set', declaration: '{ type ipv4_addr . ipv4_addr; }', content: selves })
  const passages = (facts.passages ?? []).map(({ ip, port }) => `${ip} . ${port}`).toSorted()
  parts.set('passages', {
    kind: 'set',
    declaration: '{ type ipv4_addr . inet_service; }',
    content: [...new Set(passages)],
  })
  for (const [name, part] of hooks(bridge)) parts.set(name, part)
  return parts
}

/**
 * Where packets meet the maps. Those the host itself sends pass no hook here: the node, with its probes, always reaches its
 * pods. After address translation (priority -100), so policies see pods and not Services.
 */
function hooks(bridge: string): [name: string, part: Part][] {
  const known = ['ct state established,related accept', 'ip saddr . ip daddr @selves accept']
  const out = [...known, `iifname ${bridge} ip saddr vmap @egress`]
  // Who asks there is asked for by the one that listens: it knows where it goes on.
  const inside = [...known, 'ip daddr . tcp dport @passages accept', `iifname ${bridge} ip saddr vmap @egress`]
  const hook = (name: string, priority: number): string => `{ type filter hook ${name} priority ${priority}; }`
  return [
    ['leaving', { kind: 'chain', declaration: hook('forward', 10), content: out }],
    ['to-node', { kind: 'chain', declaration: hook('input', 10), content: inside }],
    [
      'arriving',
      {
        kind: 'chain',
        declaration: hook('forward', 20),
        content: [...known, `oifname ${bridge} ip daddr vmap @ingress`],
      },
    ],
  ]
}

function planDirection(direction: Direction, facts: PolicyFacts, parts: Map<string, Part>): void {
  const chainsOf = new Map<string, string[]>()
  for (const policy of facts.policies.toSorted((a, b) => keyOf(a).localeCompare(keyOf(b)))) {
    if (!isAbout(policy, direction)) continue
    const pods = facts.pods.filter((pod) => selects(policy, pod))
    if (pods.length === 0) continue
    const chain = `${direction}-${shortHash(keyOf(policy))}`
    planPolicy(chain, direction, policy, pods, facts, parts)
    for (const { ip } of pods) chainsOf.set(ip, [...(chainsOf.get(ip) ?? []), chain])
  }
  const elements = [...chainsOf]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([ip, chains]) => {
      // Pods under the same policies share one chain.
      const union = `${direction}-of-${shortHash(chains.join(' '))}`
      parts.set(union, { kind: 'chain', content: [...chains.map((chain) => `jump ${chain}`), 'drop'] })
      return `${ip} : goto ${union}`
    })
  parts.set(direction, { kind: 'map', declaration: '{ type ipv4_addr : verdict; }', content: elements })
}

function planPolicy(
  chain: string,
  direction: Direction,
  policy: NetworkPolicy,
  pods: readonly PolicyPod[],
  facts: PolicyFacts,
  parts: Map<string, Part>,
): void {
  const namespace = policy.metadata?.namespace ?? ''
  const content = rulesOf(policy, direction).flatMap((rule, index) => {
    const name = `${chain}-${index}`
    const peers = planPeers(direction, rule, namespace, facts, parts)
    const ports = planPorts(name, rule, direction === 'ingress' ? pods : facts.pods, parts)
    const allowed = peers.flatMap((peer) => ports.map((port) => [peer, port, 'accept'].filter(Boolean).join(' ')))
    return direction === 'egress' && facts.dns !== undefined
      ? [...allowed, ...dnsRules(rule, namespace, facts, facts.dns)]
      : allowed
  })
  parts.set(chain, { kind: 'chain', content })
}

/** One match per way of being a peer; a single empty one stands for everybody. */
function planPeers(
  direction: Direction,
  { peers }: Rule,
  namespace: string,
  facts: PolicyFacts,
  parts: Map<string, Part>,
): string[] {
  if (peers.length === 0) return ['']
  const address = direction === 'ingress' ? 'ip saddr' : 'ip daddr'
  const blocks = peers.flatMap(({ ipBlock }) => (ipBlock === undefined ? [] : matchBlock(address, ipBlock)))
  const selecting = peers.filter(({ ipBlock }) => ipBlock === undefined)
  if (selecting.length === 0) return blocks
  // A set, so that pods come and go without rules being written anew; rules that mean the same peers share it.
  const isOwn = selecting.some(({ namespaceSelector }) => namespaceSelector === undefined)
  const name = `peers-${shortHash(JSON.stringify([isOwn ? namespace : '', selecting]))}`
  if (!parts.has(name)) {
    const pods = facts.pods.filter((pod) => selecting.some((peer) => isPeer(pod, peer, namespace, facts)))
    parts.set(name, { kind: 'set', declaration: '{ type ipv4_addr; }', content: addressesOf(pods) })
  }
  return [`${address} @${name}`, ...blocks]
}

function matchBlock(address: string, { cidr, except = [] }: NonNullable<NetworkPolicyPeer['ipBlock']>): string[] {
  const range = parseCidr(cidr)
  // Pods have no IPv6, so a block of it is nobody.
  if (range === undefined) return []
  const without = except.map((text) => parseCidr(text)).filter((found) => found !== undefined)
  const rest = without.map((found) => ` ${address} != ${renderCidr(found)}`)
  return [`${address} ${renderCidr(range)}${rest.join('')}`]
}

/** One match per protocol and one for named ports; a single empty one stands for all ports. `called`: whose names count. */
function planPorts(name: string, { ports }: Rule, called: readonly PolicyPod[], parts: Map<string, Part>): string[] {
  if (ports.length === 0) return ['']
  const matches: string[] = []
  for (const protocol of ['tcp', 'udp', 'sctp'] as const) {
    const own = ports.filter((port) => toProtocol(port.protocol) === protocol)
    const numbers = own.flatMap(({ port, endPort }) => (typeof port === 'number' ? [rangeOf(port, endPort)] : []))
    if (own.some(({ port }) => port === undefined)) matches.push(`meta l4proto ${protocol}`)
    else if (numbers.length > 0) matches.push(`meta l4proto ${protocol} th dport { ${merged(numbers).join(', ')} }`)
  }
  const named = ports.filter(({ port }) => typeof port === 'string')
  if (named.length === 0) return matches
  const elements = called.flatMap((pod) =>
    pod.ports
      .filter((port) => named.some((asked) => asked.port === port.name && toProtocol(asked.protocol) === port.protocol))
      .map(({ protocol, port }) => `${pod.ip} . ${protocol} . ${port}`),
  )
  const declaration = '{ type ipv4_addr . inet_proto . inet_service; }'
  parts.set(`${name}-ports`, { kind: 'set', declaration, content: [...new Set(elements)].toSorted() })
  return [...matches, `ip daddr . meta l4proto . th dport @${name}-ports`]
}

type Range = readonly [first: number, last: number]

function rangeOf(port: number, endPort = port): Range {
  return [port, endPort]
}

/** Ranges as text, those that touch joined: a set must not hold a port twice. */
function merged(ranges: readonly Range[]): string[] {
  const joined: [number, number][] = []
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const previous = joined.at(-1)
    if (previous !== undefined && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last)
    else joined.push([first, last])
  }
  return joined.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`))
}

/** The name server is reached on port 53 of a Service, but listens elsewhere: rules that allow port 53 of it mean that place. */
function dnsRules({ peers, ports }: Rule, namespace: string, facts: PolicyFacts, dns: PolicyDns): string[] {
  const isMeant =
    peers.length === 0 ||
    peers.some((peer) =>
      peer.ipBlock === undefined
        ? isPeer(dnsIdentity, peer, namespace, facts)
        : [dns.host, dns.address].some((address) => isInBlock(address, peer.ipBlock)),
    )
  if (!isMeant) return []
  return (['udp', 'tcp'] as const)
    .filter((protocol) => ports.length === 0 || ports.some((port) => coversDns(port, protocol)))
    .map((protocol) => `ip daddr ${dns.host} meta l4proto ${protocol} th dport ${dns.port} accept`)
}

function coversDns({ port, endPort, protocol }: NetworkPolicyPort, wanted: 'udp' | 'tcp'): boolean {
  if (toProtocol(protocol) !== wanted) return false
  if (typeof port === 'number') return port <= 53 && 53 <= (endPort ?? port)
  return port === undefined || port === dnsPorts[wanted]
}

function addressesOf(pods: readonly PolicyPod[]): string[] {
  return [...new Set(pods.map(({ ip }) => ip))].toSorted()
}

function keyOf({ metadata }: NetworkPolicy): string {
  return `${metadata?.namespace}/${metadata?.name}`
}
