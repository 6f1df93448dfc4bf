import type { StatefulSetStatus } from '@fairlead/kube/types/apps-v1'

import { isPodAvailable, isPodReady } from '../pod-state.ts'
import { omitZero } from '../write.ts'
import { revisionOf } from './decide-stateful-set.ts'
import type { SetView } from './decide-stateful-set.ts'

/** The status the pods give a set. When every pod is of the new revision and ready, it becomes the current one. */
export function describeStatefulSet(view: SetView, collisionCount: number): StatefulSetStatus {
  const { set, pods, updateRevision, now } = view
  const minReadySeconds = set.spec?.minReadySeconds ?? 0
  const running = pods.filter((pod) => pod.status?.phase === 'Running' && isPodReady(pod))
  const living = pods.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
  const updated = living.filter((pod) => revisionOf(pod) === updateRevision).length
  const replicas = set.spec?.replicas ?? 1
  const isOver = updated === replicas && running.length === replicas && pods.length === replicas
  const isRolling = (set.spec?.updateStrategy?.type ?? 'RollingUpdate') === 'RollingUpdate'
  const currentRevision = isRolling && isOver ? updateRevision : view.currentRevision
  return {
    observedGeneration: set.metadata?.generation,
    replicas: pods.length,
    readyReplicas: omitZero(running.length),
    availableReplicas: running.filter((pod) => isPodAvailable(pod, minReadySeconds, now)).length,
    currentReplicas: omitZero(living.filter((pod) => revisionOf(pod) === currentRevision).length),
    updatedReplicas: omitZero(updated),
    currentRevision,
    updateRevision,
    collisionCount,
    conditions: set.status?.conditions,
  }
}
