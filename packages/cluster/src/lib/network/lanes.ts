import { readdir } from 'node:fs/promises'
import { cidrContains, parseCidr, parseIpv4 } from './cidr.ts'
import { runTool } from './command.ts'
import { bridgeName, gatewayOf } from './plan.ts'
import type { NetworkPlan } from './plan.ts'

/** A pod's way onto the network: a namespace whose `eth0` is the far end of `veth`, a port of the bridge. */
export interface Lane {
  readonly ip: string
  readonly netns: string
  readonly veth: string
}

/** The lane of an address: names follow from it, so nothing but the address need be kept. */
export function laneAt(plan: NetworkPlan, ip: string): Lane | undefined {
  const range = parseCidr(plan.podCidr)
  if (range === undefined || !cidrContains(range, ip)) return undefined
  const offset = ((parseIpv4(ip) ?? 0) - range.base).toString(16).padStart(3, '0')
  return { ip, netns: `fl${plan.id}-${offset}`, veth: `fl${plan.id}v${offset}` }
}

/**
 * Creates the lanes in one round. A pod holds its address as /32 with the gateway as only neighbour: pod-to-pod packets
 * then always pass the host's connection tracking, so Service replies are translated back with or without br_netfilter.
 */
export async function createLanes(plan: NetworkPlan, lanes: readonly Lane[]): Promise<void> {
  const bridge = bridgeName(plan)
  const gateway = gatewayOf(plan)
  const host = lanes.flatMap(({ ip, netns, veth }) => [
    `netns add ${netns}`,
    // The hardware address follows from the address, so a neighbour entry of an earlier holder is never wrong.
    `link add ${veth} up master ${bridge} type veth peer name eth0 address ${macOf(ip)} netns ${netns}`,
    // Not isolated: where bridges pass packets by the rules for addresses (br_netfilter), calls of Services go from port to port.
    `link set ${veth} type bridge_slave hairpin on`,
  ])
  const pods = lanes.map(({ ip, netns }) =>
    [
      `nsenter --net=/run/netns/${netns} sh -ec '`,
      'ip -batch - <<END',
      'link set lo up',
      `address add ${ip}/32 dev eth0`,
      'link set eth0 up',
      `route add ${gateway} dev eth0 scope link`,
      `route add default via ${gateway}`,
      'END',
      // As container engines do: a user other than root may bind port 80 and ping in its own namespace.
      'echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start',
      'echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range',
      'test ! -e /proc/sys/net/ipv6/conf/eth0 || echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6',
      "'",
    ].join('\n'),
  )
  const script = ['set -e', 'ip -batch - <<END', ...host, 'END', ...pods].join('\n')
  await runTool('sh', ['-s'], { act: 'create namespaces on', subject: bridge, input: script })
}

/** Deletes the lanes in one round; what is already gone is no error. */
export async function removeLanes(plan: NetworkPlan, lanes: readonly Lane[]): Promise<void> {
  // One delete for all: the kernel waits a grace period per delete (30 ms), however many links it takes away.
  const group = 0x10_00_00_00 + Number.parseInt(plan.id, 16)
  const lines = [
    ...lanes.map(({ veth }) => `link set ${veth} group ${group}`),
    // The links before the namespaces: a process that lingers keeps its namespace alive, but off the network.
    `link delete group ${group}`,
    ...lanes.map(({ netns }) => `netns delete ${netns}`),
  ]
  const script = `ip -force -batch - 2>/dev/null <<END || true\n${lines.join('\n')}\nEND\n`
  await runTool('sh', ['-s'], { act: 'remove namespaces from', subject: bridgeName(plan), input: script })
}

/** Names of the namespaces that carry the cluster's id. */
export async function listLaneNames(plan: NetworkPlan): Promise<string[]> {
  const names = await readdir('/run/netns').catch(() => [])
  return names.filter((name) => name.startsWith(`fl${plan.id}-`))
}

/** The hardware address of whoever has a network address. */
export function macOf(ip: string): string {
  const bytes = ip.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))
  return ['0a', '58', ...bytes].join(':')
}
