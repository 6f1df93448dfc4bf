import type { KubeObject } from '@fairlead/kube/types'
import type { Scale } from '@fairlead/kube/types/autoscaling-v1'

import { renderLabelSelector } from './selectors.ts'

interface Scalable {
  spec?: { replicas?: number; selector?: Parameters<typeof renderLabelSelector>[0] | Record<string, string> }
  status?: { replicas?: number }
}

/** The `autoscaling/v1` Scale of a workload. */
export function toScale(object: KubeObject): KubeObject & Scale {
  const { spec, status } = object as Scalable
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata
  const selector = spec?.selector ?? {}
  // A ReplicationController selects by plain labels.
  const isPlain = object.kind === 'ReplicationController'
  const labels = isPlain
    ? { matchLabels: selector as Record<string, string> }
    : (selector as Parameters<typeof renderLabelSelector>[0])
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: spec?.replicas ?? 0 },
    status: { replicas: status?.replicas ?? 0, selector: renderLabelSelector(labels) },
  }
}

/** The workload with the number of replicas its Scale asks for. */
export function applyScale(object: KubeObject, scale: KubeObject & Scale): KubeObject {
  const spec = { ...(object as Scalable).spec, replicas: scale.spec?.replicas ?? 0 }
  // The versions a Scale names are those of the workload: they stay conditions of the write.
  const { resourceVersion, uid } = scale.metadata
  return { ...object, spec, metadata: { ...object.metadata, resourceVersion, uid } }
}
