import { setCondition } from '@fairlead/kube/controller'
import type { KubeObject } from '@fairlead/kube/types'
import type { Pod, PodCondition } from '@fairlead/kube/types/core-v1'
import type { Condition } from '@fairlead/kube/types/meta-v1'
import type { PodDisruptionBudget } from '@fairlead/kube/types/policy-v1'

import type { Deletion } from './deletion.ts'
import { parseLabelSelector } from './label-selector.ts'
import { renderTime } from './metadata.ts'
import type { Registry } from './registry.ts'
import { attributesOf, knownResource, readObject } from './resource.ts'
import type { Resource } from './resource.ts'
import type { ResourceRoute } from './route.ts'
import { matches, renderLabelSelector } from './selectors.ts'
import { forbiddenObject, severalBudgets, tooManyRequests } from './status.ts'

/** More evictions that no deletion confirmed are a sign that nobody counts. */
const maxDisruptedPods = 2000
const refusal = "Cannot evict pod as it would violate the pod's disruption budget."

type Budget = KubeObject & PodDisruptionBudget

/** Deletes a pod if the disruption budget that covers it can bear the loss; counts it against that. */
export async function evictPod(
  registry: Registry,
  resource: Resource,
  route: ResourceRoute,
  deletion: Deletion,
): Promise<void> {
  const { namespace, name } = route
  const entry = registry.read(resource, namespace, name)
  const pod = readObject(resource, entry) as KubeObject & Pod
  if (!isCovered(pod)) {
    await registry.delete(resource, namespace, name, deletion)
    return
  }
  const [budget, ...others] = budgetsOf(registry, namespace, attributesOf(resource, entry).labels)
  if (others.length > 0) throw severalBudgets()
  if (budget !== undefined && !mayGoUncounted(budget, pod)) await spendBudget(registry, budget, name, deletion.isDryRun)
  if (!deletion.isDryRun) await announce(registry, resource, route)
  await registry.delete(resource, namespace, name, deletion)
}

/** What runs no longer, or not yet, is no loss. */
function isCovered({ metadata, status }: KubeObject & Pod): boolean {
  return metadata.deletionTimestamp === undefined && !['Succeeded', 'Failed', 'Pending'].includes(status?.phase ?? '')
}

function budgetsOf(registry: Registry, namespace: string, labels: Readonly<Record<string, string>>): Budget[] {
  const budgets = knownResource('policy', 'v1', 'poddisruptionbudgets')
  return [...registry.store.list(budgets.collection, { prefix: `${namespace}/` })]
    .map((entry) => readObject(budgets, entry) as Budget)
    .filter(({ spec }) => spec?.selector && matches(parseLabelSelector(renderLabelSelector(spec.selector)), labels))
}

/** A pod that is not ready is not counted as healthy: to lose it costs the budget nothing (KEP-3017). */
function mayGoUncounted({ spec, status }: Budget, pod: Pod): boolean {
  const isReady = pod.status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True')
  if (isReady === true) return false
  const { currentHealthy = 0, desiredHealthy = 0 } = status ?? {}
  return spec?.unhealthyPodEvictionPolicy === 'AlwaysAllow' || (desiredHealthy > 0 && currentHealthy >= desiredHealthy)
}

async function spendBudget(registry: Registry, budget: Budget, podName: string, isDryRun: boolean): Promise<void> {
  const budgets = knownResource('policy', 'v1', 'poddisruptionbudgets')
  const { namespace = '', name = '' } = budget.metadata
  await registry.update(budgets, { namespace, name, part: 'status', isDryRun }, (current) =>
    spend(budgets, current as Budget, podName),
  )
}

function spend(budgets: Resource, budget: Budget, podName: string): KubeObject {
  const { metadata, status = {} } = budget
  const { name = '' } = metadata
  const { disruptionsAllowed: allowed = 0, disruptedPods = {} } = status
  if ((status.observedGeneration ?? 0) < (metadata.generation ?? 0)) {
    throw refuse(`The disruption budget ${name} is still being processed by the server.`, 10)
  }
  if (allowed < 0) throw forbiddenObject(budgets.info, name, 'pdb disruptions allowed is negative')
  if (Object.keys(disruptedPods).length > maxDisruptedPods) {
    throw forbiddenObject(
      budgets.info,
      name,
      'DisruptedPods map too big - too many evictions not confirmed by PDB controller',
    )
  }
  if (allowed === 0) throw refuse(explain(budget))
  const now = Date.now()
  const spent = {
    ...status,
    disruptionsAllowed: allowed - 1,
    disruptedPods: { ...disruptedPods, [podName]: renderTime(now) },
    ...(allowed === 1 && { conditions: exhausted(budget, now) }),
  }
  return { ...budget, status: spent }
}

function refuse(message: string, retryAfter?: number): Error {
  return tooManyRequests(refusal, retryAfter, [{ reason: 'DisruptionBudget', message }])
}

function explain({ metadata, status }: Budget): string {
  const failed = status?.conditions?.find(({ type, reason }) => type === 'DisruptionAllowed' && reason === 'SyncFailed')
  if (failed !== undefined) {
    return `The disruption budget ${metadata.name} does not allow evicting pods currently because it failed sync: ${failed.message}`
  }
  return `The disruption budget ${metadata.name} needs ${status?.desiredHealthy ?? 0} healthy pods and has ${status?.currentHealthy ?? 0} currently`
}

function exhausted({ metadata, status }: Budget, now: number): Condition[] {
  const condition: Condition = {
    type: 'DisruptionAllowed',
    status: 'False',
    reason: 'InsufficientPods',
    message: '',
    observedGeneration: metadata.generation,
    lastTransitionTime: renderTime(now),
  }
  return [...setCondition<Condition>(status?.conditions, condition, now)]
}

/** Tells in the pod why it goes: jobs do not count that as a failure of theirs. */
async function announce(registry: Registry, resource: Resource, { namespace, name }: ResourceRoute): Promise<void> {
  const condition: PodCondition = {
    type: 'DisruptionTarget',
    status: 'True',
    reason: 'EvictionByEvictionAPI',
    message: 'Eviction API: evicting',
  }
  await registry.update(resource, { namespace, name, part: 'status', isDryRun: false }, (current) => {
    const pod = current as KubeObject & Pod
    const conditions = [...setCondition<PodCondition>(pod.status?.conditions, condition)]
    return { ...pod, status: { ...pod.status, conditions } }
  })
}
