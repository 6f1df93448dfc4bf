import { runTool } from './command.ts'
import { addressAt, cidrSize, parseCidr, parseIpv4 } from './cidr.ts'
import { laneAt, macOf } from './lanes.ts'
import type { Lane } from './lanes.ts'
import { bridgeName, gatewayOf, tableName } from './plan.ts'
import type { NetworkPlan } from './plan.ts'

/**
 * Keeps pods from speaking for others: frames from a lane must carry the hardware and network address of its pod, in IP and in ARP, and be
 * of no other protocol. Pods with `NET_RAW` could otherwise send as another pod, past policies and into its connections, or have what is
 * meant for it sent to them. Ahead of the bridge's own look at a frame (priority -300), which learns addresses by it.
 */
export interface LaneGuard {
  /** Lets these lanes speak; to be called before they are used. */
  admit(lanes: readonly Lane[]): Promise<void>
}

/** Which lane has which addresses is fixed, so the filter is told of so many at once: that takes 1.5 ms more, and of all of them 100. */
const blockSize = 64

/** Commands that make the guard, without any lane; safe to load again. */
function renderGuard(plan: NetworkPlan): string[] {
  const table = `bridge ${tableName(plan)}`
  return [
    `add table ${table}`,
    `add set ${table} lanes { type ifname . ether_addr . ipv4_addr; }`,
    `add chain ${table} guard { type filter hook prerouting priority -300; }`,
    `add chain ${table} lane`,
    `flush chain ${table} guard`,
    `flush chain ${table} lane`,
    `add rule ${table} guard iifname "${bridgeName(plan)}v*" jump lane`,
    // Pods reach each other by way of the host, where the rules are: there is nothing they could tell each other directly.
    `add rule ${table} lane ether type ip ether daddr != ${macOf(gatewayOf(plan))} drop`,
    `add rule ${table} lane ether type ip iifname . ether saddr . ip saddr @lanes return`,
    // What is asked and answered by ARP is inside the frame once more.
    `add rule ${table} lane ether type arp iifname . ether saddr . arp saddr ip @lanes iifname . arp saddr ether . arp saddr ip @lanes return`,
    `add rule ${table} lane drop`,
  ]
}

/** Commands that let all lanes of a block speak. */
function renderBlock(plan: NetworkPlan, block: number): string[] {
  const range = parseCidr(plan.podCidr)
  if (range === undefined) return []
  const offsets = Array.from({ length: blockSize }, (_, index) => block * blockSize + index)
  const elements = offsets
    .filter((offset) => offset < cidrSize(range))
    .map((offset) => laneAt(plan, addressAt(range, offset)))
    .filter((lane) => lane !== undefined)
    .map(({ veth, ip }) => `"${veth}" . ${macOf(ip)} . ${ip}`)
  return [`add element bridge ${tableName(plan)} lanes { ${elements.join(', ')} }`]
}

/** The guard, for the lanes that are there already. Nothing is guarded before its `commands` have been run. */
export function createLaneGuard(
  plan: NetworkPlan,
  existing: readonly Lane[],
): LaneGuard & { readonly commands: readonly string[] } {
  // The first in any case: it is needed next, and costs no other run of the tool.
  const admitted = new Set([0, ...existing.map(({ ip }) => blockOf(plan, ip))])
  return {
    commands: [...renderGuard(plan), ...[...admitted].flatMap((block) => renderBlock(plan, block))],
    async admit(lanes) {
      const blocks = new Set(lanes.map(({ ip }) => blockOf(plan, ip)).filter((block) => !admitted.has(block)))
      if (blocks.size === 0) return
      await load(
        plan,
        [...blocks].flatMap((block) => renderBlock(plan, block)),
      )
      for (const block of blocks) admitted.add(block)
    },
  }
}

function blockOf({ podCidr }: NetworkPlan, ip: string): number {
  return Math.floor(((parseIpv4(ip) ?? 0) - (parseCidr(podCidr)?.base ?? 0)) / blockSize)
}

async function load(plan: NetworkPlan, commands: readonly string[]): Promise<void> {
  await runTool('nft', ['-f', '-'], {
    act: 'guard pods of',
    subject: bridgeName(plan),
    input: `${commands.join('\n')}\n`,
  })
}
