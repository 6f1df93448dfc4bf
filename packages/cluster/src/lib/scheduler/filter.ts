import type { Pod, Taint } from '@fairlead/kube/types/core-v1'

import { matchesRequired } from '../node-selector.ts'
import { toleratesTaint } from '../tolerations.ts'
import type { NodeView } from './node-view.ts'
import { defineRejection, noRejections } from './rejection.ts'
import type { Rejection } from './rejection.ts'
import { conflicts, hostPortsOf, requestsOf } from './resources.ts'
import type { Amounts } from './resources.ts'

const unschedulable = [defineRejection('NodeUnschedulable', 'node(s) were unschedulable', { isFinal: true })]
const mismatched = [
  defineRejection('NodeAffinity', "node(s) didn't match Pod's node affinity/selector", { isFinal: true }),
]
const tainted = [defineRejection('TaintToleration', 'node(s) had untolerated taint(s)', { isFinal: true })]
const occupied = [
  defineRejection('NodePorts', "node(s) didn't have free ports for the requested pod ports", { isFinal: false }),
]
const tooManyPods = defineRejection('NodeResourcesFit', 'Too many pods', { isFinal: false })

const unschedulableTaint: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }

/** Why a pod cannot be on a node by itself; empty when it can. Read the pod once, then ask for each node. */
export function createFilter(pod: Pod): (view: NodeView) => readonly Rejection[] {
  const ports = hostPortsOf(pod)
  const requests = requestsOf(pod)
  const isUnschedulableTolerated = tolerates(pod, unschedulableTaint)
  return (view) => {
    if (view.node.spec?.unschedulable === true && !isUnschedulableTolerated) return unschedulable
    if (!matchesRequired(pod, view.node)) return mismatched
    if (hasUntoleratedTaint(pod, view)) return tainted
    if (ports.some((port) => view.hostPorts.some((taken) => conflicts(port, taken)))) return occupied
    return lackingResources(requests, view)
  }
}

/** {@link createFilter} for one node. */
export function rejectionsOf(pod: Pod, view: NodeView): readonly Rejection[] {
  return createFilter(pod)(view)
}

export function hasUntoleratedTaint(pod: Pod, { taints }: Pick<NodeView, 'taints'>): boolean {
  return taints.some(
    (taint) => (taint.effect === 'NoSchedule' || taint.effect === 'NoExecute') && !tolerates(pod, taint),
  )
}

function tolerates({ spec }: Pod, taint: Taint): boolean {
  return (spec?.tolerations ?? []).some((toleration) => toleratesTaint(toleration, taint))
}

function lackingResources(requests: Amounts, { pods, used, allocatable }: NodeView): readonly Rejection[] {
  const slots = allocatable.get('pods')
  const isCrowded = slots !== undefined && (pods.size + 1) * 1000 > slots
  let lacking: Rejection[] | undefined = isCrowded ? [tooManyPods] : undefined
  for (const [name, amount] of requests) {
    const most = allocatable.get(name) ?? 0
    if (amount === 0 || amount <= most - (used.get(name) ?? 0)) continue
    lacking ??= []
    // What is more than the whole node is not to be had by taking others away.
    lacking.push(insufficient(name, amount > most))
  }
  return lacking ?? noRejections
}

function insufficient(name: string, isFinal: boolean): Rejection {
  return defineRejection('NodeResourcesFit', `Insufficient ${name}`, { isFinal })
}
