import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { matchesRequired } from '../node-selector.ts'
import { conflicts, hostPortsOf, parseAmounts, requestsOf } from '../scheduler/resources.ts'
import type { Amounts } from '../scheduler/resources.ts'
import { toleratesTaint } from '../tolerations.ts'
import type { Pressure } from './eviction/pressure.ts'
import { isCritical } from './eviction/rank.ts'
import { qosClassOf } from './pod.ts'

/** Why a pod may not run on this node: as reason and message of its status. */
export interface PodRejection {
  readonly reason: string
  readonly message: string
}

/**
 * Whether a pod that was given to a node has room there beside `others`. The scheduler has seen to that; who names a
 * node in the pod itself has not (Kubernetes' predicateAdmitHandler). Undefined when it may run.
 */
export function rejectPod(pod: Pod, others: readonly Pod[], node: Node): PodRejection | undefined {
  const running = others.filter(({ status }) => status?.phase !== 'Succeeded' && status?.phase !== 'Failed')
  return lackOf(pod, running, node) ?? mismatch(pod, running, node)
}

/**
 * Why a node that is short of something takes no more pods: none but critical ones, and short of memory alone those that
 * asked for some (kubelet, eviction manager, `Admit`).
 */
export function rejectUnderPressure(pod: Pod, { memory, disk }: Pressure): PodRejection | undefined {
  if ((!memory && !disk) || isCritical(pod)) return undefined
  if (!disk && (qosClassOf(pod) !== 'BestEffort' || toleratesMemoryPressure(pod))) return undefined
  const conditions = [...(memory ? ['MemoryPressure'] : []), ...(disk ? ['DiskPressure'] : [])]
  return { reason: 'Evicted', message: `The node had condition: [${conditions.join(' ')}]. ` }
}

function toleratesMemoryPressure({ spec }: Pod): boolean {
  const taint = { key: 'node.kubernetes.io/memory-pressure', effect: 'NoSchedule' }
  return spec?.tolerations?.some((toleration) => toleratesTaint(toleration, taint)) ?? false
}

function mismatch(pod: Pod, others: readonly Pod[], node: Node): PodRejection | undefined {
  if (!matchesRequired(pod, node)) return predicate('NodeAffinity', "node(s) didn't match Pod's node affinity/selector")
  const wanted = hostPortsOf(pod)
  const taken = wanted.length === 0 ? [] : others.flatMap(hostPortsOf)
  if (!wanted.some((port) => taken.some((other) => conflicts(port, other)))) return undefined
  return predicate('NodePorts', "node(s) didn't have free ports for the requested pod ports")
}

function predicate(name: string, why: string): PodRejection {
  return { reason: name, message: `Predicate ${name} failed: ${why}` }
}

/** What the node has too little of: pods first, then what the pod asks for. Resources that the node does not know are not its own. */
function lackOf(pod: Pod, others: readonly Pod[], node: Node): PodRejection | undefined {
  const capacity = parseAmounts(node.status?.allocatable ?? node.status?.capacity)
  const asked: Amounts = new Map([['pods', 1000], ...requestsOf(pod)])
  for (const [name, requested] of asked) {
    const most = capacity.get(name)
    if (most === undefined || requested === 0) continue
    const used = name === 'pods' ? others.length * 1000 : sum(others.map((one) => requestsOf(one).get(name) ?? 0))
    if (requested > most - used) return insufficient(name, { requested, used, most })
  }
  return undefined
}

function insufficient(name: string, amounts: { requested: number; used: number; most: number }): PodRejection {
  // CPUs are told in thousandths, all else in whole units.
  const unit = name === 'cpu' ? 1 : 1000
  const { requested, used, most } = amounts
  const figures = `requested: ${requested / unit}, used: ${used / unit}, capacity: ${most / unit}`
  return { reason: `OutOf${name}`, message: `Node didn't have enough resource: ${name}, ${figures}` }
}

function sum(amounts: readonly number[]): number {
  return amounts.reduce((total, amount) => total + amount, 0)
}
