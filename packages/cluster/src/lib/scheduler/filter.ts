import type { Node, Pod, Taint } from '@fairlead/kube/types/core-v1'

import { toleratesTaint } from '../tolerations.ts'
import { hasPodAffinity } from './affinity.ts'
import { matchesRequired } from '../node-selector.ts'
import { conflicts, hostPortsOf, parseAmounts, requestsOf, scoredRequestsOf } from './resources.ts'
import type { Amounts, HostPort } from './resources.ts'

/** A node and what the pods on it take. */
export interface NodeView {
  readonly node: Node
  readonly pods: readonly Pod[]
  /** Those of them that ask for the nearness or distance of others. */
  readonly relatedPods: readonly Pod[]
  readonly used: Amounts
  /** What the pods count for when nodes are compared. */
  readonly scored: { readonly cpu: number; readonly memory: number }
  readonly allocatable: Amounts
  readonly hostPorts: readonly HostPort[]
}

/** Adds up what is on a node; `pods` are those that have not ended. */
export function viewNode(node: Node, pods: readonly Pod[]): NodeView {
  const used = new Map<string, number>()
  const scored = { cpu: 0, memory: 0 }
  for (const requests of pods.map(requestsOf)) {
    for (const [name, amount] of requests) {
      used.set(name, (used.get(name) ?? 0) + amount)
    }
    const { cpu, memory } = scoredRequestsOf(requests)
    scored.cpu += cpu
    scored.memory += memory
  }
  const allocatable = parseAmounts(node.status?.allocatable ?? node.status?.capacity)
  return {
    node,
    pods,
    relatedPods: pods.filter(hasPodAffinity),
    used,
    scored,
    allocatable,
    hostPorts: pods.flatMap(hostPortsOf),
  }
}

/** Why a pod cannot be on a node, in Kubernetes' words; empty when it can. */
export function rejectionsOf(pod: Pod, view: NodeView): string[] {
  const { node } = view
  if (node.spec?.unschedulable === true && !tolerates(pod, unschedulableTaint)) {
    return ['node(s) were unschedulable']
  }
  if (!matchesRequired(pod, node)) {
    return ["node(s) didn't match Pod's node affinity/selector"]
  }
  const taint = findUntoleratedTaint(pod, node)
  if (taint !== undefined) {
    return [`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`]
  }
  if (hostPortsOf(pod).some((port) => view.hostPorts.some((taken) => conflicts(port, taken)))) {
    return ["node(s) didn't have free ports for the requested pod ports"]
  }
  return lackingResources(pod, view)
}

function findUntoleratedTaint(pod: Pod, node: Node): Taint | undefined {
  return [...(node.spec?.taints ?? []), ...notReadyTaints(node)].find(
    (one) => (one.effect === 'NoSchedule' || one.effect === 'NoExecute') && !tolerates(pod, one),
  )
}

export function hasUntoleratedTaint(pod: Pod, node: Node): boolean {
  return findUntoleratedTaint(pod, node) !== undefined
}

const unschedulableTaint: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }

/** What a cluster's node lifecycle controller would taint a node with that is not ready. */
function notReadyTaints({ status }: Node): Taint[] {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.status
  return ready === 'True' ? [] : [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }]
}

function tolerates({ spec }: Pod, taint: Taint): boolean {
  return (spec?.tolerations ?? []).some((toleration) => toleratesTaint(toleration, taint))
}

function lackingResources(pod: Pod, { pods, used, allocatable }: NodeView): string[] {
  const slots = allocatable.get('pods')
  const tooMany = slots !== undefined && (pods.length + 1) * 1000 > slots ? ['Too many pods'] : []
  const lacking = [...requestsOf(pod)]
    .filter(([name, amount]) => amount > 0 && amount > (allocatable.get(name) ?? 0) - (used.get(name) ?? 0))
    .map(([name]) => `Insufficient ${name}`)
  return [...tooMany, ...lacking]
}

/** The message of a pod no node takes, as Kubernetes words it: `0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable.` */
export function describeRejections(rejections: readonly (readonly string[])[]): string {
  if (rejections.length === 0) {
    return 'no nodes available to schedule pods'
  }
  const counts = new Map<string, number>()
  for (const reason of rejections.flat()) {
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
  }
  const reasons = [...counts].map(([reason, count]) => `${count} ${reason}`).toSorted((a, b) => (a < b ? -1 : 1))
  return `0/${rejections.length} nodes are available: ${reasons.join(', ')}.`
}
