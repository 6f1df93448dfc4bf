import { setTimeout as sleep } from 'node:timers/promises'
import { renderArrivals } from './arrivals.ts'
import { flushFlows, staleFlows } from './flows.ts'
import { hostPortsKey } from './host-ports.ts'
import { openLease } from './lease.ts'
import { tableName } from './plan.ts'
import type { NetworkPlan } from './plan.ts'
import { openRuleWriter } from './rule-writer.ts'
import { homesOf, ownPortsSet, renderBaseRules, renderPort } from './rules.ts'
import type { PortRules } from './rules.ts'
import type { ServedPort } from './service-ports.ts'
import type { ServiceTable } from './service-table.ts'

/** Keeps the packet filter in step with the Services. */
export interface ServiceProxy {
  /** Resolves when every change seen so far is in force. */
  settled(): Promise<void>
  /** Serves these ports for a pod from now on, and no others; resolves when that is in force. */
  setHostPorts(uid: string, ports: readonly ServedPort[]): Promise<void>
  /** Tells which node the pod at an address is of; resolves when that is in force. Undefined: of none any more. */
  setHome(ip: string, node: string | undefined): Promise<void>
  /** Stops updating; the rules stay in force for the pods. */
  close(): Promise<void>
}

/** Options of {@link openServiceProxy}. */
export interface ServiceProxyOptions {
  readonly plan: NetworkPlan
  readonly table: ServiceTable
  /** Ports served besides those of Service objects. */
  readonly fixed?: readonly ServedPort[] | undefined
  /** Host ports of pods that are there already, by uid. */
  readonly hostPorts?: ReadonlyMap<string, readonly ServedPort[]> | undefined
  /** Nodes of pods that are there already, by address. */
  readonly homes?: ReadonlyMap<string, string> | undefined
  /** Told when a transaction was refused; the whole table is then loaded anew until it is accepted. */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** Loads all Services in one transaction, replacing what an earlier run left, and follows their changes from then on. */
export async function openServiceProxy(options: ServiceProxyOptions): Promise<ServiceProxy> {
  const { plan, table, fixed = [] } = options
  const writer = openRuleWriter(tableName(plan))
  const lease = openLease(plan, writer, options)
  const closing = new AbortController()
  let loaded = new Map<string, PortRules>()
  let loadedHomes: ReadonlyMap<string, string> = new Map()
  const homes = new Map(options.homes)
  let isHomeStale = false
  let pending = new Set<string>()
  let working: Promise<void> | undefined
  const hostPorts = new Map([...(options.hostPorts ?? [])].map(([uid, ports]) => [hostPortsKey(uid), ports]))

  table.onChange((keys) => {
    for (const key of keys) pending.add(key)
    start()
  })
  loaded = rulesOf(plan, allPorts())
  loadedHomes = new Map(homes)
  await writer.apply([...renderReload(plan, loaded), ...renderHomes(plan, new Map(), loadedHomes)])
  await guardArrivals()

  function allPorts(): ServedPort[] {
    return portsOf([...table.entries.keys(), ...hostPorts.keys()], table, fixed, hostPorts)
  }

  function start(): void {
    if (closing.signal.aborted) return
    working ??= work().finally(() => {
      working = undefined
      if (pending.size > 0 || isHomeStale) start()
    })
  }

  async function work(): Promise<void> {
    while ((pending.size > 0 || isHomeStale) && !closing.signal.aborted) {
      const keys = pending
      pending = new Set()
      const next = changed(keys)
      const nextHomes = new Map(homes)
      isHomeStale = false
      try {
        await writer.apply([...renderHomes(plan, loadedHomes, nextHomes), ...renderChange(plan, loaded, next)])
        loadedHomes = nextHomes
        const [before, unused] = [loaded, without(partsOf(loaded), partsOf(next))]
        loaded = next
        if (isRedirected(before) !== isRedirected(next)) await renewLease()
        await Promise.all([removeParts(unused), flushFlows(staleFlows(before, next))])
      } catch (error) {
        options.onError?.(error)
        await reload()
      }
    }
  }

  function changed(keys: ReadonlySet<string>): Map<string, PortRules> {
    const next = new Map(loaded)
    for (const key of next.keys()) if (keys.has(serviceKeyOf(key))) next.delete(key)
    for (const [key, rules] of rulesOf(plan, portsOf(keys, table, fixed, hostPorts))) next.set(key, rules)
    return next
  }

  /** Loads everything anew until the kernel takes it: the state of the table is unknown after a refusal. */
  async function reload(): Promise<void> {
    for (let delayMs = 10; !closing.signal.aborted; delayMs = Math.min(delayMs * 2, 5_000)) {
      await sleep(delayMs, undefined, { signal: closing.signal }).catch(() => {})
      pending.clear()
      const next = rulesOf(plan, allPorts())
      const nextHomes = new Map(homes)
      try {
        await writer.apply([...renderReload(plan, next), ...renderHomes(plan, new Map(), nextHomes)])
        loaded = next
        loadedHomes = nextHomes
        await guardArrivals()
        await renewLease()
        return
      } catch (error) {
        options.onError?.(error)
      }
    }
  }

  /** Apart from the rest: kernels may be without the look at sockets. Pods are then refused in the moment in which this process is gone. */
  async function guardArrivals(): Promise<void> {
    await writer.apply(renderArrivals(plan)).catch((error: unknown) => options.onError?.(error))
  }

  async function renewLease(): Promise<void> {
    if (isRedirected(loaded)) await lease.hold()
    else await lease.release()
  }

  /** Its own transaction: kernels refuse to delete a chain together with the last map element that led to it. */
  async function removeParts(names: ReadonlySet<string>): Promise<void> {
    if (names.size === 0) return
    const where = `ip ${tableName(plan)}`
    await writer.apply([...names].map((name) => `delete ${name.replace(' ', ` ${where} `)}`))
  }

  return {
    async settled() {
      await table.settled()
      await working
    },
    async setHostPorts(uid, ports) {
      const key = hostPortsKey(uid)
      if (ports.length === 0 && !hostPorts.has(key)) return
      if (ports.length === 0) hostPorts.delete(key)
      else hostPorts.set(key, ports)
      pending.add(key)
      start()
      await working
    },
    async setHome(ip, node) {
      if (homes.get(ip) === node) return
      if (node === undefined) homes.delete(ip)
      else homes.set(ip, node)
      isHomeStale = true
      start()
      await working
    },
    async close() {
      closing.abort()
      await working
      await lease.release().catch(() => {})
      writer.close()
    },
  }
}

/** `namespace/name` of what a port belongs to. */
function serviceKeyOf(portKey: string): string {
  const [namespace, name] = portKey.split('/')
  return `${namespace}/${name}`
}

/** The ports of the named Services; a fixed port stands for the Service of its name. */
function portsOf(
  keys: Iterable<string>,
  table: ServiceTable,
  fixed: readonly ServedPort[],
  hostPorts: ReadonlyMap<string, readonly ServedPort[]>,
): ServedPort[] {
  const reserved = new Set(fixed.map(({ key }) => key))
  const ports = [...keys].flatMap((key) => table.entries.get(key)?.ports ?? hostPorts.get(key) ?? [])
  return [...fixed, ...ports.filter(({ key }) => !reserved.has(key))]
}

function rulesOf(plan: NetworkPlan, ports: readonly ServedPort[]): Map<string, PortRules> {
  const rules = new Map<string, PortRules>()
  for (const port of ports) for (const [name, rendered] of renderPort(plan, port)) rules.set(name, rendered)
  return rules
}

/** Commands that lead from one state of the sets of nodes to another; sets of nodes that are gone stay, empty. */
function renderHomes(
  plan: NetworkPlan,
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): string[] {
  const table = `ip ${tableName(plan)}`
  const gone = [...before].filter(([ip, node]) => after.get(ip) !== node)
  const come = [...after].filter(([ip, node]) => before.get(ip) !== node)
  const sets = new Set(come.map(([, node]) => homesOf(node)))
  return [
    ...gone.map(([ip, node]) => `delete element ${table} ${homesOf(node)} { ${ip} }`),
    ...[...sets].map((set) => `add set ${table} ${set} { type ipv4_addr; }`),
    ...come.map(([ip, node]) => `add element ${table} ${homesOf(node)} { ${ip} }`),
  ]
}

/** Commands that replace the whole table by one with these ports. */
function renderReload(plan: NetworkPlan, rules: ReadonlyMap<string, PortRules>): string[] {
  const table = `ip ${tableName(plan)}`
  return [
    `add table ${table}`,
    `delete table ${table}`,
    ...renderBaseRules(plan).trim().split('\n'),
    ...renderChange(plan, new Map(), rules),
  ]
}

/** Commands that lead from one set of ports to another, deletions of map elements first: an address may change hands. */
export function renderChange(
  plan: NetworkPlan,
  before: ReadonlyMap<string, PortRules>,
  after: ReadonlyMap<string, PortRules>,
): string[] {
  const table = `ip ${tableName(plan)}`
  const [oldKeys, newKeys] = [elementsOf(before), elementsOf(after)]
  const [oldMembers, newMembers] = [membersOf(before), membersOf(after)]
  const commands: string[] = []
  for (const [key, chain] of oldKeys) {
    if (newKeys.get(key) !== chain) commands.push(`delete element ${table} ${elementOf(key)} }`)
  }
  for (const member of without(oldMembers, newMembers)) commands.push(`delete element ${table} ${member}`)
  for (const [key, rules] of after) {
    if (!isSame(before.get(key), rules)) commands.push(...rules.commands)
  }
  for (const member of without(newMembers, oldMembers)) commands.push(`add element ${table} ${member}`)
  for (const [key, chain] of newKeys) {
    if (oldKeys.get(key) !== chain) commands.push(`add element ${table} ${elementOf(key)} : goto ${chain} }`)
  }
  return commands
}

/** `services 10.80.0.1 . tcp . 80` as the beginning of a command's end: `services { 10.80.0.1 . tcp . 80`. */
function elementOf(key: string): string {
  return key.replace(' ', ' { ')
}

function isSame(a: PortRules | undefined, b: PortRules): boolean {
  return a === b || a?.commands.join('\n') === b.commands.join('\n')
}

function elementsOf(rules: ReadonlyMap<string, PortRules>): Map<string, string> {
  return new Map([...rules.values()].flatMap(({ keys, chain }) => keys.map((key) => [key, chain] as const)))
}

/** Members of sets, such as `hairpin { 10.64.0.2 . 10.64.0.2 }`. */
function membersOf(rules: ReadonlyMap<string, PortRules>): Set<string> {
  const all = [...rules.values()]
  return new Set([
    ...all.flatMap(({ addresses }) => addresses.map((ip) => `hairpin { ${ip} . ${ip} }`)),
    ...all.flatMap(({ ownPorts }) => ownPorts.map((port) => `${ownPortsSet} { ${port} }`)),
  ])
}

function isRedirected(rules: ReadonlyMap<string, PortRules>): boolean {
  return rules.values().some(({ redirect }) => redirect !== undefined)
}

/** Everything with a name of its own, in the order in which it can be deleted. */
function partsOf(rules: ReadonlyMap<string, PortRules>): Set<string> {
  const all = [...rules.values()]
  return new Set([
    ...all.map(({ chain }) => `chain ${chain}`),
    ...all.flatMap(({ chains }) => chains.map((chain) => `chain ${chain}`)),
    ...all.flatMap(({ parts }) => parts.map((part) => `chain ${part}`)),
    ...all.flatMap(({ parts }) => parts.map((part) => `set ${part}`)),
  ])
}

function without(names: ReadonlySet<string>, others: ReadonlySet<string>): Set<string> {
  return new Set([...names].filter((name) => !others.has(name)))
}
