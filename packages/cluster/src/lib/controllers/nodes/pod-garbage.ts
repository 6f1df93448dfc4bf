import { isNotFound } from '@fairlead/kube'
import { fromInformer, renderTime, runController } from '@fairlead/kube/controller'
import type { Source } from '@fairlead/kube/controller'
import type { Node, Pod, PodCondition } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from '../context.ts'
import { isPodTerminal } from '../pod-state.ts'
import { ignoreNotFound } from '../write.ts'

/** How often the pods are gone through. */
const periodMs = 20_000
/** A node that is not there must stay away this long before its pods go: it may be registered anew. */
const quarantineMs = 40_000
/** So many ended pods are kept for those who want to look at them. */
const keptTerminated = 12_500

const everything = 'pods'

/** Deletes the pods nobody else does: of nodes that are gone, ended ones beyond a number, terminating ones without a node. */
export function runPodGarbageCollection(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const pods = client.resource('v1/Pod')
  const nodes = client.resource('v1/Node')
  const missingSince = new Map<string, number>()

  async function reconcile(): Promise<{ requeueAfterMs: number }> {
    const now = clock.now()
    const all = informers.pods.list()
    const known = informers.nodes.list()
    noteMissing(all, known, now)
    const gone = await findGone(now)
    const garbage = decideGarbage(all, known, { gone, keptTerminated })
    const outcomes = await Promise.allSettled(garbage.map(({ pod, condition }) => remove(pod, condition, now)))
    const failed = outcomes.find((outcome) => outcome.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    return { requeueAfterMs: periodMs }
  }

  function noteMissing(all: readonly Pod[], known: readonly Node[], now: number): void {
    const names = new Set(known.map(({ metadata }) => metadata?.name))
    const missing = new Set(
      all.map(({ spec }) => spec?.nodeName ?? '').filter((name) => name !== '' && !names.has(name)),
    )
    for (const name of missingSince.keys()) if (!missing.has(name)) missingSince.delete(name)
    for (const name of missing) if (!missingSince.has(name)) missingSince.set(name, now)
  }

  /** The cache may be behind: the server is asked before anything is deleted for good. */
  async function findGone(now: number): Promise<Set<string>> {
    const gone = new Set<string>()
    for (const [name, since] of missingSince) {
      if (since + quarantineMs <= now && !(await exists(name))) gone.add(name)
    }
    return gone
  }

  async function exists(name: string): Promise<boolean> {
    try {
      await nodes.get(name)
      return true
    } catch (error) {
      if (isNotFound(error)) return false
      throw error
    }
  }

  async function remove(pod: Pod, condition: PodCondition | undefined, now: number): Promise<void> {
    const { name = '', namespace, uid } = pod.metadata ?? {}
    if (!isPodTerminal(pod)) {
      const conditions = condition && [{ ...condition, lastTransitionTime: renderTime(now) }]
      const body = { metadata: { uid }, status: { phase: 'Failed', ...(conditions && { conditions }) } }
      await ignoreNotFound(pods.patch(name, { type: 'strategic', body }, { namespace, subresource: 'status' }))
    }
    await ignoreNotFound(pods.delete(name, { namespace, uid, gracePeriodSeconds: 0 }))
  }

  const once: Source = { start: async (add) => add(everything) }
  return runController({
    name: 'pod-garbage',
    sources: [fromInformer(informers.pods, () => []), fromInformer(informers.nodes, () => []), once],
    reconcile,
    concurrency: 1,
    signal,
    onError,
    clock,
  })
}

/** A pod to be deleted, and what is to be said of it first. */
interface Garbage {
  readonly pod: Pod
  readonly condition?: PodCondition | undefined
}

const nodeGone: PodCondition = {
  type: 'DisruptionTarget',
  status: 'True',
  reason: 'DeletionByPodGC',
  message: 'PodGC: node no longer exists',
}

/** The pods to be deleted; `gone` are names of nodes that will not come back. */
export function decideGarbage(
  pods: readonly Pod[],
  nodes: readonly Node[],
  options: { readonly gone: ReadonlySet<string>; readonly keptTerminated: number },
): Garbage[] {
  const byName = new Map(nodes.map((node) => [node.metadata?.name, node]))
  const terminated = pods.filter(isPodTerminal).toSorted(compareAge)
  const surplus = new Set(terminated.slice(0, Math.max(0, terminated.length - options.keptTerminated)))
  return pods.flatMap((pod): Garbage[] => {
    const nodeName = pod.spec?.nodeName ?? ''
    if (options.gone.has(nodeName)) return [{ pod, condition: nodeGone }]
    const isGoing = pod.metadata?.deletionTimestamp !== undefined
    const isStranded = isGoing && (nodeName === '' || isOutOfService(byName.get(nodeName)))
    return isStranded || surplus.has(pod) ? [{ pod }] : []
  })
}

/** Evicted pods first, then the oldest. */
function compareAge(a: Pod, b: Pod): number {
  const rank = ({ status }: Pod): number => (status?.phase === 'Failed' && status.reason === 'Evicted' ? 0 : 1)
  const [left, right] = [a.metadata, b.metadata]
  const age = Date.parse(left?.creationTimestamp ?? '') - Date.parse(right?.creationTimestamp ?? '')
  return rank(a) - rank(b) || age || (left?.name ?? '').localeCompare(right?.name ?? '')
}

/** Somebody has said that the node is off and will not answer for its pods. */
function isOutOfService(node: Node | undefined): boolean {
  const isReady = node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')
  return isReady !== true && node?.spec?.taints?.some(({ key }) => key === 'node.kubernetes.io/out-of-service') === true
}
