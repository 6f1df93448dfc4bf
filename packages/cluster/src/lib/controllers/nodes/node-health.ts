import { renderTime } from '@fairlead/kube/controller'
import type { Lease } from '@fairlead/kube/types/coordination-v1'
import type { Node, NodeCondition, Taint } from '@fairlead/kube/types/core-v1'

/** The last sign of life of a node, and when it was seen: nodes' own clocks are not trusted. */
export interface LastSign {
  readonly heartbeat: string | undefined
  readonly renewal: string | undefined
  /** Milliseconds since 1970, by this clock. */
  readonly seenAt: number
}

/** How long a node may be silent, and one that has never told its state. */
const graceMs = 50_000
const startupGraceMs = 60_000

const watched = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure']

export function nodeCondition({ status }: Node, type: string): NodeCondition | undefined {
  return status?.conditions?.find((condition) => condition.type === type)
}

/** The last sign of life of a node; a new one when its heartbeat or its lease moved on. */
export function readSign(
  node: Node,
  lease: Lease | undefined,
  options: { readonly last: LastSign | undefined; readonly now: number },
): LastSign {
  const { last, now } = options
  const heartbeat = nodeCondition(node, 'Ready')?.lastHeartbeatTime
  const renewal = lease?.spec?.renewTime
  const createdAt = Date.parse(node.metadata?.creationTimestamp ?? '') || now
  const neverTold = nodeCondition(node, 'Ready') === undefined
  if (last === undefined) return { heartbeat, renewal, seenAt: neverTold && renewal === undefined ? createdAt : now }
  const isAlive = last.heartbeat !== heartbeat || (renewal !== undefined && last.renewal !== renewal)
  return isAlive ? { heartbeat, renewal, seenAt: now } : last
}

/** How long a node may go on being silent. */
export function silenceLeftMs(node: Node, { seenAt }: LastSign, now: number): number {
  return seenAt + (nodeCondition(node, 'Ready') === undefined ? startupGraceMs : graceMs) - now
}

/** What is to be said of a node nobody hears of; nothing when that has been said. */
export function renderUnknown(node: Node, now: number): NodeCondition[] {
  const lastTransitionTime = renderTime(now)
  return watched.flatMap((type) => {
    const known = nodeCondition(node, type)
    if (known === undefined) {
      const lastHeartbeatTime = node.metadata?.creationTimestamp
      const [reason, message] = ['NodeStatusNeverUpdated', 'Kubelet never posted node status.']
      return [{ type, status: 'Unknown', reason, message, lastHeartbeatTime, lastTransitionTime }]
    }
    if (known.status === 'Unknown') return []
    const [reason, message] = ['NodeStatusUnknown', 'Kubelet stopped posting node status.']
    return [{ ...known, status: 'Unknown', reason, message, lastTransitionTime }]
  })
}

const prefix = 'node.kubernetes.io/'
const notReadyKey = `${prefix}not-ready`
const unreachableKey = `${prefix}unreachable`
const unschedulableKey = `${prefix}unschedulable`

/** Condition, status, and the taint they mean. */
const conditionTaints: readonly (readonly [string, string, string])[] = [
  ['Ready', 'False', notReadyKey],
  ['Ready', 'Unknown', unreachableKey],
  ['MemoryPressure', 'True', `${prefix}memory-pressure`],
  ['DiskPressure', 'True', `${prefix}disk-pressure`],
  ['NetworkUnavailable', 'True', `${prefix}network-unavailable`],
  ['PIDPressure', 'True', `${prefix}pid-pressure`],
]

const ownedKeys: ReadonlySet<string> = new Set([unschedulableKey, ...conditionTaints.map(([, , key]) => key)])

/**
 * The taints of a node as its conditions want them, those of others untouched; undefined when they are so already.
 * `mayEvict` is false while no node at all is ready: then it is this side that cannot hear them.
 */
export function decideTaints(
  node: Node,
  options: { readonly mayEvict: boolean; readonly now: number },
): Taint[] | undefined {
  const current = node.spec?.taints ?? []
  const wanted = wantedTaints(node, options.mayEvict)
  const isSame = (a: Taint, b: Taint): boolean => a.key === b.key && a.effect === b.effect
  const kept = current.filter((taint) => !isOwned(taint) || wanted.some((one) => isSame(one, taint)))
  const added = wanted.filter((taint) => !current.some((one) => isSame(one, taint)))
  if (kept.length === current.length && added.length === 0) return undefined
  const timeAdded = renderTime(options.now)
  return [...kept, ...added.map((taint) => ({ ...taint, timeAdded }))]
}

function isOwned({ key, effect }: Taint): boolean {
  if (effect === 'NoExecute') return key === notReadyKey || key === unreachableKey
  return effect === 'NoSchedule' && ownedKeys.has(key)
}

function wantedTaints(node: Node, mayEvict: boolean): Taint[] {
  const taints: Taint[] = conditionTaints
    .filter(([type, status]) => nodeCondition(node, type)?.status === status)
    .map(([, , key]) => ({ key, effect: 'NoSchedule' }))
  if (node.spec?.unschedulable === true) taints.push({ key: unschedulableKey, effect: 'NoSchedule' })
  const key = { False: notReadyKey, Unknown: unreachableKey }[nodeCondition(node, 'Ready')?.status ?? '']
  return key === undefined || !mayEvict ? taints : [...taints, { key, effect: 'NoExecute' }]
}

/** Whether the nodes can be heard at all: one of those that count is ready. */
export function isAnyReady(nodes: readonly Node[]): boolean {
  return nodes
    .filter(({ metadata }) => metadata?.labels?.['node.kubernetes.io/exclude-disruption'] === undefined)
    .some((node) => nodeCondition(node, 'Ready')?.status === 'True')
}
