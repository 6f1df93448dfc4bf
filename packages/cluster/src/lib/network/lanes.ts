import { access, readFile, readdir, writeFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { cidrContains, parseCidr, parseIpv4 } from './cidr.ts'
import { runTool } from './command.ts'
import { restoreForwarding, turnForwardingOn } from './forwarding.ts'
import { bridgeName, gatewayOf, policyTableName, tableName } from './plan.ts'
import type { NetworkPlan } from './plan.ts'
import { renderBaseRules } from './rules.ts'

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

/** Creates the bridge, its routes and the base rules, or completes them. */
export async function prepareHost(plan: NetworkPlan): Promise<void> {
  const bridge = bridgeName(plan)
  const gateway = gatewayOf(plan)
  const { bits } = parseCidr(plan.podCidr) ?? { bits: 20 }
  const act = { act: 'prepare network', subject: bridge }
  const addresses = await bridgeAddresses(bridge)
  const lines: string[] = []
  if (addresses === undefined) {
    // A fixed hardware address: a bridge otherwise takes that of its lowest port and pods lose it when ports go.
    lines.push(`link add ${bridge} address ${macOf(gateway)} type bridge mcast_snooping 0`)
  } else if (!addresses.includes(gateway)) lines.push(`address flush dev ${bridge}`)
  lines.push(
    `address replace ${gateway}/${bits} dev ${bridge}`,
    `link set ${bridge} up`,
    // Service addresses exist in rules only, but without a route a connect fails before any rule sees it.
    `route replace ${plan.serviceCidr} dev ${bridge} src ${gateway}`,
  )
  await runTool('ip', ['-batch', '-'], { ...act, input: `${lines.join('\n')}\n` })
  await Promise.all([
    turnForwardingOn(),
    // Pods route everything over the gateway, also to each other; a redirect would take them off that path.
    setSysctl(`net/ipv4/conf/${bridge}/send_redirects`, '0'),
    // Host ports on loopback lead to pods; the base rules keep pods from sending there.
    setSysctl(`net/ipv4/conf/${bridge}/route_localnet`, '1'),
    setSysctl(`net/ipv6/conf/${bridge}/disable_ipv6`, '1').catch(() => {}),
    runTool('nft', ['-f', '-'], { ...act, input: renderBaseRules(plan) }),
    openForwarding(bridge),
  ])
}

/** Takes away the bridge and the rules. */
export async function removeHost(plan: NetworkPlan): Promise<void> {
  const bridge = bridgeName(plan)
  const act = { act: 'remove network', subject: bridge }
  await closeForwarding(bridge)
  // Adding first makes both commands succeed whether or not the thing is there.
  await runTool('nft', ['-f', '-'], {
    ...act,
    input: [`ip ${tableName(plan)}`, `ip ${policyTableName(plan)}`]
      .map((name) => `add table ${name}\ndelete table ${name}\n`)
      .join(''),
  })
  // Of its own: kernels may lack this family of tables.
  const guard = `bridge ${tableName(plan)}`
  await runTool('nft', ['-f', '-'], { ...act, input: `add table ${guard}\ndelete table ${guard}\n` }).catch(() => '')
  if ((await bridgeAddresses(bridge)) !== undefined) await runTool('ip', ['link', 'delete', bridge], act)
  await restoreForwarding()
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

/** The bridge's addresses; undefined when there is no bridge. */
async function bridgeAddresses(bridge: string): Promise<string[] | undefined> {
  const addresses = networkInterfaces()[bridge]?.map(({ address }) => address)
  if (addresses !== undefined) return addresses
  return access(`/sys/class/net/${bridge}`).then(
    () => [],
    () => undefined,
  )
}

/** The hardware address of whoever has a network address. */
export function macOf(ip: string): string {
  const bytes = ip.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))
  return ['0a', '58', ...bytes].join(':')
}

async function setSysctl(name: string, value: string): Promise<void> {
  const path = `/proc/sys/${name}`
  if ((await readFile(path, 'utf8')).trim() !== value) await writeFile(path, value)
}

/** Container engines set the FORWARD policy of the shared iptables filter to drop; our traffic must be let through there. */
async function openForwarding(bridge: string): Promise<void> {
  const policy = await iptables('-S', 'FORWARD').catch(() => '')
  if (!policy.includes('-P FORWARD DROP')) return
  for (const side of ['-i', '-o']) {
    if (policy.includes(`-A FORWARD ${side} ${bridge} -j ACCEPT`)) continue
    await iptables('-I', 'FORWARD', side, bridge, '-j', 'ACCEPT')
  }
}

async function closeForwarding(bridge: string): Promise<void> {
  const policy = await iptables('-S', 'FORWARD').catch(() => '')
  for (const side of ['-i', '-o']) {
    if (policy.includes(`-A FORWARD ${side} ${bridge} -j ACCEPT`))
      await iptables('-D', 'FORWARD', side, bridge, '-j', 'ACCEPT')
  }
}

function iptables(...args: string[]): Promise<string> {
  return runTool('iptables', ['-w', '2', ...args], { act: 'change packet filter for', subject: args.join(' ') })
}
