import type { KubeObject } from '@fairlead/kube/types'
import type { Binding, Pod } from '@fairlead/kube/types/core-v1'

import { renderTime } from './metadata.ts'
import type { Registry } from './registry.ts'
import { knownResource } from './resource.ts'
import { badRequest, conflict } from './status.ts'

/** Puts a pod on a node, once: what the scheduler's decision becomes. */
export async function bindPod(
  registry: Registry,
  namespace: string,
  name: string,
  binding: KubeObject,
  isDryRun: boolean,
): Promise<void> {
  const pods = knownResource('', 'v1', 'pods')
  const { target } = binding as KubeObject & Binding
  const nodeName = target.name ?? ''
  if (nodeName === '') throw badRequest('target.name: Required value')
  await registry.update(pods, { namespace, name, part: 'binding', isDryRun }, (current) => {
    const pod = current as KubeObject & Pod
    const present = pod.spec?.nodeName ?? ''
    // The decision was made for one pod, not for whichever has its name by now.
    const { uid = pod.metadata.uid } = binding.metadata
    if (uid !== '' && uid !== pod.metadata.uid)
      throw conflict(
        pods.info,
        name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${pod.metadata.uid}`,
      )
    if (pod.metadata.deletionTimestamp !== undefined)
      throw conflict(pods.info, name, `pod ${name} is being deleted, cannot be assigned to a host`)
    if (present !== '') throw conflict(pods.info, name, `pod ${name} is already assigned to node "${present}"`)
    const condition = { type: 'PodScheduled', status: 'True', lastTransitionTime: renderTime(Date.now()) }
    const conditions = (pod.status?.conditions ?? []).filter((item) => item.type !== 'PodScheduled')
    // The place it was promised is now the one it has, or of no matter any more.
    const { nominatedNodeName: _, ...rest } = pod.status ?? {}
    const status = { ...rest, conditions: [...conditions, condition] }
    return { ...pod, spec: { ...pod.spec, nodeName }, status }
  })
}
