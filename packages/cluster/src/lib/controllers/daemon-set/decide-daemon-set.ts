import type { DaemonSet } from '@fairlead/kube/types/apps-v1'
import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { isPodAvailable, isPodReady } from '../pod-state.ts'
import { resolveShare } from '../share.ts'
import { isUpdated, judgeNode, nodeNameOf } from './daemon-pod.ts'

/** What a DaemonSet looks like. */
export interface DaemonView {
  readonly set: DaemonSet
  readonly nodes: readonly Node[]
  /** The set's pods. */
  readonly pods: readonly Pod[]
  /** Of the present template. */
  readonly hash: string
  readonly now: number
}

/** Pods to make, by the names of their nodes, and pods to delete. */
export interface DaemonPlan {
  readonly create: readonly string[]
  readonly remove: readonly Removal[]
}

export interface Removal {
  readonly pod: Pod
  readonly nodeName: string
  readonly why: 'failed' | 'ended' | 'surplus' | 'outdated'
}

/** One pod on every node that should have one, and none elsewhere; pods that ended are replaced. */
export function decidePlacement(view: DaemonView): DaemonPlan {
  const { set, nodes } = view
  const byNode = podsByNode(view)
  const create: string[] = []
  const remove: Removal[] = []
  for (const node of nodes) {
    const nodeName = node.metadata?.name ?? ''
    const pods = byNode.get(nodeName)
    const { shouldRun, mayStay } = judgeNode(set, node)
    if (shouldRun && pods === undefined) create.push(nodeName)
    if (pods !== undefined) remove.push(...(mayStay ? decideNode(view, nodeName, pods) : removeAll(nodeName, pods)))
  }
  const known = new Set(nodes.map(({ metadata }) => metadata?.name ?? ''))
  for (const [nodeName, pods] of byNode) {
    // Those on a node that is gone are the pod garbage collector's.
    if (!known.has(nodeName))
      remove.push(
        ...removeAll(
          nodeName,
          pods.filter(({ spec }) => !spec?.nodeName),
        ),
      )
  }
  return { create, remove }
}

function removeAll(nodeName: string, pods: readonly Pod[]): Removal[] {
  return pods.filter(isStaying).map((pod) => ({ pod, nodeName, why: 'surplus' }))
}

function decideNode(view: DaemonView, nodeName: string, all: readonly Pod[]): Removal[] {
  const staying = all.filter(isStaying)
  const ended = staying.flatMap((pod): Removal[] => {
    if (pod.status?.phase === 'Failed') return [{ pod, nodeName, why: 'failed' }]
    return pod.status?.phase === 'Succeeded' ? [{ pod, nodeName, why: 'ended' }] : []
  })
  const running = staying.filter((pod) => !ended.some((one) => one.pod === pod)).toSorted(compareAge)
  const surplus = surgeOf(view) > 0 ? surplusWithSurge(view, running) : running.slice(1)
  return [...ended, ...surplus.map((pod): Removal => ({ pod, nodeName, why: 'surplus' }))]
}

/** While a node is surged, one old and one new pod are right, until the new one can take over. */
function surplusWithSurge({ set, hash, now }: DaemonView, running: readonly Pod[]): Pod[] {
  const fresh = running.filter((pod) => isUpdated(set, pod, hash))
  const old = running.filter((pod) => !isUpdated(set, pod, hash))
  const surplus = [...fresh.slice(1), ...old.slice(1)]
  const [newPod, oldPod] = [fresh[0], old[0]]
  if (newPod === undefined || oldPod === undefined) return surplus
  const isReplaced = !isPodReady(oldPod) || isPodAvailable(newPod, set.spec?.minReadySeconds ?? 0, now)
  return isReplaced ? [...surplus, oldPod] : surplus
}

/** Replaces pods of earlier templates as far as `maxUnavailable` or `maxSurge` allow. Those that are away already go first. */
export function decideUpdate(view: DaemonView): DaemonPlan {
  if ((view.set.spec?.updateStrategy?.type ?? 'RollingUpdate') !== 'RollingUpdate') return { create: [], remove: [] }
  return surgeOf(view) > 0 ? decideSurge(view) : decideReplacement(view)
}

function decideReplacement(view: DaemonView): DaemonPlan {
  const maxUnavailable = unavailableOf(view)
  const sick: Removal[] = []
  const healthy: Removal[] = []
  let unavailable = 0
  for (const [nodeName, pods] of podsByNode(view)) {
    const found = findPair(view, pods)
    const { newPod, oldPod } = found ?? {}
    if (found === undefined || (newPod === undefined) === (oldPod === undefined)) unavailable += 1
    else if (newPod !== undefined) unavailable += isAvailable(view, newPod) ? 0 : 1
    else if (oldPod !== undefined) {
      const removal: Removal = { pod: oldPod, nodeName, why: 'outdated' }
      if (isAvailable(view, oldPod)) healthy.push(removal)
      else {
        sick.push(removal)
        unavailable += 1
      }
    }
  }
  return { create: [], remove: [...sick, ...healthy.slice(0, Math.max(0, maxUnavailable - unavailable))] }
}

function decideSurge(view: DaemonView): DaemonPlan {
  const remove: Removal[] = []
  const replaceable: string[] = []
  const candidates: string[] = []
  let surged = 0
  for (const [nodeName, pods] of podsByNode(view)) {
    const found = findPair(view, pods)
    if (found === undefined) surged += 1
    else if (found.oldPod !== undefined && found.newPod === undefined) {
      if (pods.every(isStaying)) (isAvailable(view, found.oldPod) ? candidates : replaceable).push(nodeName)
    } else if (found.oldPod !== undefined && found.newPod !== undefined) {
      if (isAvailable(view, found.newPod)) remove.push({ pod: found.oldPod, nodeName, why: 'outdated' })
      else surged += 1
    }
  }
  return { create: [...replaceable, ...candidates.slice(0, Math.max(0, surgeOf(view) - surged))], remove }
}

interface Pair {
  readonly newPod: Pod | undefined
  readonly oldPod: Pod | undefined
}

/** Undefined when there are more of either than one: what is too many goes first. */
function findPair({ set, hash }: DaemonView, pods: readonly Pod[]): Pair | undefined {
  const staying = pods.filter(isStaying)
  const fresh = staying.filter((pod) => isUpdated(set, pod, hash))
  const old = staying.filter((pod) => !isUpdated(set, pod, hash))
  return fresh.length > 1 || old.length > 1 ? undefined : { newPod: fresh[0], oldPod: old[0] }
}

function desiredCount({ set, nodes }: DaemonView): number {
  return nodes.filter((node) => judgeNode(set, node).shouldRun).length
}

function surgeOf(view: DaemonView): number {
  return resolveShare(view.set.spec?.updateStrategy?.rollingUpdate?.maxSurge ?? 0, desiredCount(view), 'up')
}

function unavailableOf(view: DaemonView): number {
  const { maxUnavailable = 1 } = view.set.spec?.updateStrategy?.rollingUpdate ?? {}
  // Without a surge none at all would mean no update at all.
  return Math.max(1, resolveShare(maxUnavailable, desiredCount(view), 'up'))
}

function isAvailable({ set, now }: DaemonView, pod: Pod): boolean {
  return isPodAvailable(pod, set.spec?.minReadySeconds ?? 0, now)
}

function isStaying({ metadata }: Pod): boolean {
  return metadata?.deletionTimestamp === undefined
}

/** By node, in the order of the names of nodes. Pods that have ended and are being deleted are gone already. */
export function podsByNode({ pods }: DaemonView): ReadonlyMap<string, readonly Pod[]> {
  const byNode = new Map<string, Pod[]>()
  for (const pod of pods) {
    const isOver = ['Failed', 'Succeeded'].includes(pod.status?.phase ?? '') && !isStaying(pod)
    const nodeName = nodeNameOf(pod)
    if (nodeName === undefined || isOver) continue
    const known = byNode.get(nodeName)
    if (known === undefined) byNode.set(nodeName, [pod])
    else known.push(pod)
  }
  return new Map([...byNode].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** Those on their node first, then the oldest. */
export function compareAge(a: Pod, b: Pod): number {
  const waiting = (pod: Pod): number => ((pod.spec?.nodeName ?? '') === '' ? 1 : 0)
  const [timeA = '', timeB = ''] = [a.metadata?.creationTimestamp, b.metadata?.creationTimestamp]
  const byTime = timeA.localeCompare(timeB)
  return waiting(a) - waiting(b) || byTime || (a.metadata?.name ?? '').localeCompare(b.metadata?.name ?? '')
}
