import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { parseCidr } from './cidr.ts'
import { runTool } from './command.ts'
import { restoreForwarding, turnForwardingOn } from './forwarding.ts'
import { macOf } from './lanes.ts'
import { bridgeName, gatewayOf, policyTableName, tableName } from './plan.ts'
import type { NetworkPlan } from './plan.ts'
import { renderBaseRules } from './rules.ts'

/** What {@link prepareHost} found. */
export interface PreparedHost {
  /** Why the machine did not take the guard; undefined when it did. */
  readonly guardFailure: string | undefined
}

/**
 * Creates the bridge, its routes, the base rules and the guard of lanes (commands of nft), or completes them. One process does all of it: to
 * start one holds up this process for milliseconds, at a time when the API is about to answer.
 */
export async function prepareHost(plan: NetworkPlan, guard: readonly string[]): Promise<PreparedHost> {
  const bridge = bridgeName(plan)
  const act = { act: 'prepare network', subject: bridge }
  const input = renderPreparation(renderBridge(plan, bridgeAddresses(bridge)), renderBaseRules(plan), guard)
  const { guardFailure, forwarding } = readPreparation(await runTool('sh', ['-s'], { ...act, input }))
  await Promise.all([
    turnForwardingOn(),
    // Pods route everything over the gateway, also to each other; a redirect would take them off that path.
    setSysctl(`net/ipv4/conf/${bridge}/send_redirects`, '0'),
    // Host ports on loopback lead to pods; the base rules keep pods from sending there.
    setSysctl(`net/ipv4/conf/${bridge}/route_localnet`, '1'),
    setSysctl(`net/ipv6/conf/${bridge}/disable_ipv6`, '1').catch(() => {}),
    openForwarding(bridge, forwarding),
  ])
  return { guardFailure }
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
  if (isDevice(bridge)) await runTool('ip', ['link', 'delete', bridge], act)
  await restoreForwarding()
}

/** Commands of `ip -batch` for a bridge that has `addresses`, or is not there. */
export function renderBridge(plan: NetworkPlan, addresses: readonly string[] | undefined): string[] {
  const bridge = bridgeName(plan)
  const gateway = gatewayOf(plan)
  const { bits } = parseCidr(plan.podCidr) ?? { bits: 20 }
  const first: string[] = []
  if (addresses === undefined) {
    // A fixed hardware address: a bridge otherwise takes that of its lowest port and pods lose it when ports go.
    first.push(`link add ${bridge} address ${macOf(gateway)} type bridge mcast_snooping 0`)
  } else if (!addresses.includes(gateway)) first.push(`address flush dev ${bridge}`)
  return [
    ...first,
    `address replace ${gateway}/${bits} dev ${bridge}`,
    `link set ${bridge} up`,
    // Service addresses exist in rules only, but without a route a connect fails before any rule sees it.
    `route replace ${plan.serviceCidr} dev ${bridge} src ${gateway}`,
  ]
}

/** Ends what the guard has to say. */
const guardMark = 'guard ended with'

/** The guard apart from the rest: kernels may lack its family of tables. Not every machine has iptables. */
function renderPreparation(bridge: readonly string[], rules: string, guard: readonly string[]): string {
  return [
    'set -e',
    "ip -batch - <<'END'",
    ...bridge,
    'END',
    "nft -f - <<'END'",
    `${rules}END`,
    'code=0',
    "nft -f - 2>&1 <<'END' || code=$?",
    ...guard,
    'END',
    `echo "${guardMark} $code"`,
    `${forwardingQuery.join(' ')} 2>/dev/null || true`,
    '',
  ].join('\n')
}

/** What the guard complained of, when it failed, and the rules of the chain FORWARD. */
export function readPreparation(output: string): { guardFailure: string | undefined; forwarding: string } {
  const [said = '', rest = ''] = output.split(`${guardMark} `, 2)
  const [code = '', ...forwarding] = rest.split('\n')
  const guardFailure = code === '0' ? undefined : `nft ended with exit code ${code}: ${said.trim().slice(0, 2000)}`
  return { guardFailure, forwarding: forwarding.join('\n') }
}

/** The bridge's addresses; undefined when there is no bridge. Asking for those of all devices takes long where there are many. */
function bridgeAddresses(bridge: string): string[] | undefined {
  if (!isDevice(bridge)) return undefined
  return networkInterfaces()[bridge]?.map(({ address }) => address) ?? []
}

function isDevice(name: string): boolean {
  return existsSync(`/sys/class/net/${name}`)
}

async function setSysctl(name: string, value: string): Promise<void> {
  const path = `/proc/sys/${name}`
  if ((await readFile(path, 'utf8')).trim() !== value) await writeFile(path, value)
}

const forwardingQuery = ['iptables', '-w', '2', '-S', 'FORWARD']

/** Container engines set the FORWARD policy of the shared iptables filter to drop; our traffic must be let through there. */
async function openForwarding(bridge: string, policy: string): Promise<void> {
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
