import { createHash } from 'node:crypto'
import { mkdir, readFile, realpath, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { addressAt, parseCidr, overlaps, renderCidr } from './cidr.ts'
import type { Cidr } from './cidr.ts'
import { networkRange } from '../errors.ts'

/** How pods are connected: real network namespaces (root on Linux), or plain processes on loopback addresses. */
export type NetworkMode = 'namespaces' | 'processes'

/** The names and address ranges of one cluster on this machine. */
export interface NetworkPlan {
  readonly mode: NetworkMode
  /** Six hex digits that stand for the cluster directory in every device, namespace and table name. */
  readonly id: string
  readonly podCidr: string
  readonly serviceCidr: string
}

/** The bridge all pods of the cluster hang on. */
export function bridgeName(plan: NetworkPlan): string {
  return `fl${plan.id}`
}

/** The nftables table that holds every rule of the cluster. */
export function tableName(plan: NetworkPlan): string {
  return `fairlead-${plan.id}`
}

/** The table that enforces NetworkPolicies: of its own, so that neither is ever rewritten because of the other. */
export function policyTableName(plan: NetworkPlan): string {
  return `${tableName(plan)}-policy`
}

/** The host as pods see it: the first address of the pod range, or loopback in process mode. */
export function gatewayOf(plan: NetworkPlan): string {
  return plan.mode === 'namespaces' ? addressAt(planCidr(plan.podCidr), 1) : '127.0.0.1'
}

/** The address of the DNS Service, `.10` of the service range as on most clusters. */
export function dnsAddressOf(plan: NetworkPlan): string {
  return addressAt(planCidr(plan.serviceCidr), 10)
}

/** The address of the API server's Service: the first of the service range, as on every cluster. */
export function apiAddressOf(plan: NetworkPlan): string {
  return addressAt(planCidr(plan.serviceCidr), 1)
}

/** Six hex digits from the real path of `dir`: the same directory is the same cluster under any spelling. */
async function clusterId(dir: string): Promise<string> {
  return createHash('sha256')
    .update(await realpath(dir))
    .digest('hex')
    .slice(0, 6)
}

/**
 * Loads the plan kept in `dir`, or chooses ranges and keeps them. A kept range that meanwhile overlaps a foreign route
 * (a VPN came up, another cluster took it) is chosen anew: our own bridge must then be gone.
 */
export async function openPlan(dir: string, mode: NetworkMode): Promise<NetworkPlan> {
  await mkdir(dir, { recursive: true })
  const id = await clusterId(dir)
  const file = join(dir, `network-${mode}.json`)
  const taken = mode === 'namespaces' ? await takenRanges(`fl${id}`) : []
  const kept = await readPlan(file)
  if (kept !== undefined && kept.id === id && isFree(kept.podCidr, taken) && isFree(kept.serviceCidr, taken))
    return kept
  const plan = choosePlan(id, mode, taken)
  await writeFile(`${file}.tmp`, JSON.stringify(plan))
  await rename(`${file}.tmp`, file)
  return plan
}

/** Picks a pod and a service range free of `taken`, starting from a place given by the id so that clusters spread. */
export function choosePlan(id: string, mode: NetworkMode, taken: readonly Cidr[]): NetworkPlan {
  const seed = Number.parseInt(id, 16)
  if (mode === 'processes') {
    // All of 127/8 is bindable without privileges on Linux; the upper half keeps away from what people use by hand.
    const pods = { base: ((127 << 24) >>> 0) + (64 << 16) + (seed % 3072) * 4096, bits: 20 }
    return { mode, id, podCidr: renderCidr(pods), serviceCidr: '10.96.0.0/16' }
  }
  // 10.64-10.79 for pods, 10.80-10.95 for services: ranges that cloud networks (10.0, 10.128-10.255, 172.16-31),
  // kubeadm (10.96, 10.244) and k3s (10.42) leave alone.
  const podCidr = firstFree('pod', (10 << 24) + (64 << 16), seed, taken)
  const serviceCidr = firstFree('service', (10 << 24) + (80 << 16), seed, taken)
  return { mode, id, podCidr: renderCidr(podCidr), serviceCidr: renderCidr(serviceCidr) }
}

const candidateCount = 256

function firstFree(kind: string, base: number, seed: number, taken: readonly Cidr[]): Cidr {
  for (let step = 0; step < candidateCount; step++) {
    const candidate = { base: base + ((seed + step) % candidateCount) * 4096, bits: 20 }
    if (!taken.some((range) => overlaps(range, candidate))) return candidate
  }
  throw networkRange(kind, candidateCount)
}

function isFree(text: string, taken: readonly Cidr[]): boolean {
  const range = parseCidr(text)
  return range !== undefined && !taken.some((other) => overlaps(other, range))
}

/** Ranges routed by this machine, except the default route and those of our own bridge (proc_net_route, hex, host order). */
async function takenRanges(bridge: string): Promise<Cidr[]> {
  const [, ...lines] = (await readFile('/proc/net/route', 'utf8')).trim().split('\n')
  return lines
    .map((line) => line.split('\t'))
    .filter(([device, destination]) => device !== bridge && destination !== '00000000')
    .map(([, destination = '', , , , , , mask = '']) => ({
      base: littleEndian(destination),
      bits: littleEndian(mask).toString(2).replaceAll('0', '').length,
    }))
}

function littleEndian(hex: string): number {
  return Buffer.from(hex, 'hex').readUInt32LE()
}

async function readPlan(file: string): Promise<NetworkPlan | undefined> {
  try {
    const kept: Partial<NetworkPlan> = JSON.parse(await readFile(file, 'utf8'))
    const { mode, id, podCidr, serviceCidr } = kept
    if ((mode !== 'namespaces' && mode !== 'processes') || typeof id !== 'string') return undefined
    if (typeof podCidr !== 'string' || typeof serviceCidr !== 'string') return undefined
    return { mode, id, podCidr, serviceCidr }
  } catch {
    // Absent or damaged: chosen anew, nothing else depends on the old one.
    return undefined
  }
}

function planCidr(text: string): Cidr {
  const range = parseCidr(text)
  if (range === undefined) throw new TypeError(`Cannot use address range "${text}": not an IPv4 CIDR`)
  return range
}
