import { fromInformer, keyOf, parseKey, renderTime, runController } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from '../context.ts'
import { isPodTerminal, podCondition } from '../pod-state.ts'
import { ignoreNotFound } from '../write.ts'

/** How long a pod may be told that it will be disrupted before that happens. */
const patienceMs = 2 * 60_000

/** Takes back from pods that they will be disrupted, when nobody has done so in time (KEP-3329). */
export function runStaleDisruption({ client, informers, clock, signal, onError }: ControllerContext): Promise<void> {
  const pods = client.resource('v1/Pod')
  return runController({
    name: 'stale-disruption',
    sources: [fromInformer(informers.pods, (pod) => (staleInMs(pod, 0) === undefined ? [] : [keyOf(pod)]))],
    async reconcile(key) {
      const { namespace, name } = parseKey(key)
      const pod = informers.pods.get(namespace, name)
      const leftMs = pod && staleInMs(pod, clock.now())
      if (leftMs === undefined) return undefined
      if (leftMs > 0) return { requeueAfterMs: leftMs }
      const condition = { type: 'DisruptionTarget', status: 'False', lastTransitionTime: renderTime(clock.now()) }
      // Conditions are merged one by one: the words of the old one are taken away in so many words.
      const conditions = [{ ...condition, reason: null, message: null }]
      const body = { metadata: { uid: pod?.metadata?.uid }, status: { conditions } }
      await ignoreNotFound(pods.patch(name, { type: 'strategic', body }, { namespace, subresource: 'status' }))
      return undefined
    },
    signal,
    onError,
    clock,
  })
}

/** How long it is until nobody disrupts the pod any more; undefined when nobody is to, or somebody has. */
export function staleInMs(pod: Pod, now: number): number | undefined {
  const condition = podCondition(pod, 'DisruptionTarget')
  // The agent of its node takes its own time.
  if (condition?.status !== 'True' || condition.reason === 'TerminationByKubelet') return undefined
  if (pod.metadata?.deletionTimestamp !== undefined || isPodTerminal(pod)) return undefined
  return Math.max(0, (Date.parse(condition.lastTransitionTime ?? '') || 0) + patienceMs - now)
}
