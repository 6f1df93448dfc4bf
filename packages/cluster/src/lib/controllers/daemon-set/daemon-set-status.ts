import type { DaemonSetStatus } from '@fairlead/kube/types/apps-v1'

import { isPodAvailable, isPodReady } from '../pod-state.ts'
import { omitZero } from '../write.ts'
import { isUpdated, judgeNode } from './daemon-pod.ts'
import { compareAge, podsByNode } from './decide-daemon-set.ts'
import type { DaemonView } from './decide-daemon-set.ts'

/** The status the pods give a set; of several pods on one node the oldest counts. */
export function describeDaemonSet(view: DaemonView, collisionCount: number): DaemonSetStatus {
  const { set, nodes, hash, now } = view
  const byNode = podsByNode(view)
  const judged = nodes.map((node) => ({
    shouldRun: judgeNode(set, node).shouldRun,
    pod: byNode.get(node.metadata?.name ?? '')?.toSorted(compareAge)[0],
  }))
  const wanted = judged.filter(({ shouldRun }) => shouldRun)
  const pods = wanted.flatMap(({ pod }) => pod ?? [])
  const available = pods.filter((pod) => isPodAvailable(pod, set.spec?.minReadySeconds ?? 0, now)).length
  return {
    currentNumberScheduled: pods.length,
    numberMisscheduled: judged.filter(({ shouldRun, pod }) => !shouldRun && pod !== undefined).length,
    desiredNumberScheduled: wanted.length,
    numberReady: pods.filter(isPodReady).length,
    observedGeneration: set.metadata?.generation,
    updatedNumberScheduled: omitZero(pods.filter((pod) => isUpdated(set, pod, hash)).length),
    numberAvailable: omitZero(available),
    numberUnavailable: omitZero(wanted.length - available),
    collisionCount: collisionCount === 0 ? set.status?.collisionCount : collisionCount,
    conditions: set.status?.conditions,
  }
}
