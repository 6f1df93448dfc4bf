import { isDeepStrictEqual } from 'node:util'

import { fromInformer, keyOf, parseKey, renderTime, runController } from '@fairlead/kube/controller'
import type { Node, Pod, Taint } from '@fairlead/kube/types/core-v1'

import { toleratesTaint } from '../../tolerations.ts'
import { byNode } from '../context.ts'
import type { ControllerContext } from '../context.ts'
import { ignoreNotFound } from '../write.ts'

/** Deletes pods from nodes with taints of the effect `NoExecute` that they do not tolerate, or no longer. */
export function runTaintEviction(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const pods = client.resource('v1/Pod')
  const recorder = context.recorder('taint-eviction-controller')
  /** When pods that tolerate their node's taints for a time are to go. */
  const evictions = new Map<string, number>()

  async function reconcile(key: string): Promise<{ requeueAfterMs: number } | undefined> {
    const { namespace, name } = parseKey(key)
    const pod = informers.pods.get(namespace, name)
    if (pod === undefined || pod.metadata?.deletionTimestamp !== undefined) {
      evictions.delete(key)
      return undefined
    }
    const node = informers.nodes.get(undefined, pod.spec?.nodeName ?? '')
    const now = clock.now()
    const patienceMs = decidePatience(pod, noExecuteTaints(node))
    if (patienceMs === Infinity) {
      if (evictions.delete(key)) tell(pod, `Cancelling deletion of Pod ${key}`)
      return undefined
    }
    // The time runs from when the first taint was seen; a second one does not begin it anew.
    const evictAt = patienceMs === 0 ? now : (evictions.get(key) ?? now + patienceMs)
    if (evictAt > now) {
      evictions.set(key, evictAt)
      return { requeueAfterMs: evictAt - now }
    }
    tell(pod, `Marking for deletion Pod ${key}`)
    await evict(pod, now)
    evictions.delete(key)
    return undefined
  }

  function tell(pod: Pod, message: string): void {
    recorder.record(pod, { type: 'Normal', reason: 'TaintManagerEviction', message })
  }

  async function evict({ metadata }: Pod, now: number): Promise<void> {
    const { name = '', namespace, uid } = metadata ?? {}
    const condition = {
      type: 'DisruptionTarget',
      status: 'True',
      reason: 'DeletionByTaintManager',
      message: 'Taint manager: deleting due to NoExecute taint',
      lastTransitionTime: renderTime(now),
    }
    const body = { metadata: { uid }, status: { conditions: [condition] } }
    await ignoreNotFound(pods.patch(name, { type: 'strategic', body }, { namespace, subresource: 'status' }))
    await ignoreNotFound(pods.delete(name, { namespace, uid }))
  }

  return runController({
    name: 'taint-eviction',
    sources: [
      fromInformer(informers.nodes, (node, _event, old) =>
        isDeepStrictEqual(noExecuteTaints(node), noExecuteTaints(old))
          ? []
          : informers.pods.byIndex(byNode, node.metadata?.name ?? '').map(keyOf),
      ),
      fromInformer(informers.pods, (pod, event, old) =>
        event !== 'update' || pod.metadata?.deletionTimestamp !== undefined || isMoved(pod, old) ? [keyOf(pod)] : [],
      ),
    ],
    reconcile,
    concurrency: 8,
    signal,
    onError,
    clock,
  })
}

function isMoved({ spec }: Pod, old: Pod | undefined): boolean {
  return spec?.nodeName !== old?.spec?.nodeName || !isDeepStrictEqual(spec?.tolerations, old?.spec?.tolerations)
}

function noExecuteTaints(node: Node | undefined): Taint[] {
  return (node?.spec?.taints ?? []).filter(({ effect }) => effect === 'NoExecute')
}

/** How long a pod may stay on a node with these taints, milliseconds: the shortest of what it grants each. */
export function decidePatience({ spec }: Pod, taints: readonly Taint[]): number {
  const { tolerations = [] } = spec ?? {}
  const used = taints.map((taint) => tolerations.filter((toleration) => toleratesTaint(toleration, taint)))
  if (used.some((matching) => matching.length === 0)) return 0
  const seconds = used.flat().map(({ tolerationSeconds = Infinity }) => Math.max(0, tolerationSeconds))
  return Math.min(Infinity, ...seconds) * 1000
}
