import type { KubeObject } from '@fairlead/kube/types'
import type { Binding, Pod } from '@fairlead/kube/types/core-v1'
import type { PodDisruptionBudget } from '@fairlead/kube/types/policy-v1'

import type { Deletion } from './deletion.ts'
import { renderTime } from './metadata.ts'
import type { Registry } from './registry.ts'
import { attributesOf, knownResource, readObject } from './resource.ts'
import type { Resource } from './resource.ts'
import type { ResourceRoute } from './route.ts'
import { parseLabelSelector } from './label-selector.ts'
import { matches, renderLabelSelector } from './selectors.ts'
import { badRequest, conflict, tooManyRequests } from './status.ts'

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
    const status = { ...pod.status, conditions: [...conditions, condition] }
    return { ...pod, spec: { ...pod.spec, nodeName }, status }
  })
}

/** Deletes a pod if every disruption budget that covers it can bear the loss; counts it against them. */
export async function evictPod(
  registry: Registry,
  resource: Resource,
  route: ResourceRoute,
  deletion: Deletion,
): Promise<void> {
  const { namespace, name } = route
  const entry = registry.read(resource, namespace, name)
  const pod = readObject(resource, entry) as KubeObject & Pod
  const isOver = ['Succeeded', 'Failed', 'Pending'].includes(pod.status?.phase ?? '')
  if (!isOver && !deletion.isDryRun) await spendBudget(registry, namespace, name, attributesOf(resource, entry).labels)
  await registry.delete(resource, namespace, name, deletion)
}

async function spendBudget(
  registry: Registry,
  namespace: string,
  podName: string,
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  const budgets = knownResource('policy', 'v1', 'poddisruptionbudgets')
  for (const entry of registry.store.list(budgets.collection, { prefix: `${namespace}/` })) {
    const { metadata, spec } = readObject(budgets, entry) as KubeObject & PodDisruptionBudget
    if (spec?.selector === undefined || !matches(parseLabelSelector(renderLabelSelector(spec.selector)), labels))
      continue
    const options = { namespace, name: metadata.name ?? '', part: 'status', isDryRun: false } as const
    await registry.update(budgets, options, (current) => spend(current as KubeObject & PodDisruptionBudget, podName))
  }
}

function spend(budget: KubeObject & PodDisruptionBudget, podName: string): KubeObject {
  const allowed = budget.status?.disruptionsAllowed ?? 0
  if (allowed <= 0) {
    throw tooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 10)
  }
  const disruptedPods = { ...budget.status?.disruptedPods, [podName]: renderTime(Date.now()) }
  return { ...budget, status: { ...budget.status, disruptionsAllowed: allowed - 1, disruptedPods } }
}
