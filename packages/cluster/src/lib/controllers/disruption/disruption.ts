import { isNotFound } from '@fairlead/kube'
import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { OwnerReference } from '@fairlead/kube/types'
import type { Pod } from '@fairlead/kube/types/core-v1'
import type { PodDisruptionBudget } from '@fairlead/kube/types/policy-v1'

import type { ControllerContext } from '../context.ts'
import { matchesSelector } from '../../label-selector.ts'
import { controllerOf } from '../ownership.ts'
import { hasStatus, ignoreNotFound } from '../write.ts'
import { decideBudget, needsOwners } from './decide-disruption.ts'

/** Keeps in every PodDisruptionBudget how many of its pods may be evicted now. */
export function runDisruptionController(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const budgets = client.resource('policy/v1/PodDisruptionBudget')
  const recorder = context.recorder('controllermanager')

  async function reconcile(key: string): Promise<{ requeueAfterMs: number | undefined } | undefined> {
    const { namespace, name } = parseKey(key)
    const budget = informers.disruptionBudgets.get(namespace, name)
    if (budget === undefined) return undefined
    const pods = informers.pods.list(namespace).filter((pod) => covers(budget, pod))
    if (pods.length === 0) {
      recorder.record(budget, { type: 'Normal', reason: 'NoPods', message: 'No matching pods found' })
    }
    if (needsOwners(budget) && pods.some((pod) => controllerOf(pod) === undefined)) {
      recorder.record(budget, { type: 'Warning', reason: 'UnmanagedPods', message: unmanaged(budget) })
    }
    const expected = needsOwners(budget) ? await countExpected(pods) : pods.length
    if (expected instanceof Error) {
      const message = `Failed to calculate the number of expected pods: ${expected.message}`
      recorder.record(budget, { type: 'Warning', reason: 'CalculateExpectedPodCountFailed', message })
    }
    const { status, requeueAfterMs } = decideBudget({ budget, pods, expected, now: clock.now() })
    if (!hasStatus(budget, status)) {
      // Only this version: an eviction counted meanwhile must not be lost.
      await ignoreNotFound(budgets.updateStatus({ ...budget, status }))
    }
    return { requeueAfterMs }
  }

  /** Replicas that the owners of the pods ask for, each owner counted once. Pods of nobody do not count. */
  async function countExpected(pods: readonly Pod[]): Promise<number | Error> {
    const owners = new Map<string, { readonly reference: OwnerReference; readonly namespace: string }>()
    for (const pod of pods) {
      const owner = topOwner(pod)
      if (owner !== undefined) owners.set(owner.uid, { reference: owner, namespace: pod.metadata?.namespace ?? '' })
    }
    const counts = await Promise.all(
      [...owners.values()].map(({ reference, namespace }) => replicasOf(reference, namespace)),
    )
    const failed = counts.find((count) => count instanceof Error)
    return failed ?? counts.reduce<number>((sum, count) => sum + Number(count), 0)
  }

  /** The deployment of a replica set is who asks. */
  function topOwner(pod: Pod): OwnerReference | undefined {
    const owner = controllerOf(pod)
    if (owner?.kind !== 'ReplicaSet') return owner
    const replicaSet = informers.replicaSets.get(pod.metadata?.namespace, owner.name)
    return (replicaSet && controllerOf(replicaSet)) ?? owner
  }

  async function replicasOf(
    { apiVersion, kind, name, uid }: OwnerReference,
    namespace: string,
  ): Promise<number | Error> {
    const known = {
      Deployment: informers.deployments,
      ReplicaSet: informers.replicaSets,
      StatefulSet: informers.statefulSets,
      ReplicationController: informers.replicationControllers,
    }[kind]?.get(namespace, name)
    if (known?.metadata?.uid === uid && uid !== undefined) return known?.spec?.replicas ?? 1
    try {
      const scale = await client.object(apiVersion, kind).getScale(name, { namespace })
      return scale.spec?.replicas ?? 0
    } catch (error) {
      if (!isNotFound(error)) throw error
      return new Error(
        `${kind.toLowerCase()}s.${apiVersion.split('/')[0] ?? ''} does not implement the scale subresource`,
      )
    }
  }

  function keysOfPod(pod: Pod, _event: string, old?: Pod): string[] {
    return informers.disruptionBudgets
      .list(pod.metadata?.namespace)
      .filter((budget) => covers(budget, pod) || (old !== undefined && covers(budget, old)))
      .map(keyOf)
  }

  return runController({
    name: 'disruption',
    sources: [
      fromInformer(informers.deployments, () => []),
      fromInformer(informers.replicaSets, () => []),
      fromInformer(informers.statefulSets, () => []),
      fromInformer(informers.replicationControllers, () => []),
      fromInformer(informers.disruptionBudgets, (budget) => [keyOf(budget)]),
      fromInformer(informers.pods, keysOfPod),
    ],
    reconcile,
    signal,
    onError,
    clock,
  })
}

function unmanaged({ spec }: PodDisruptionBudget): string {
  const pods = `Pods selected by this PodDisruptionBudget (selector: ${JSON.stringify(spec?.selector)}) were found to be unmanaged`
  const effect =
    'As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior'
  const way = 'To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value'
  return `${pods}. ${effect}. ${way}.`
}

function covers({ spec }: PodDisruptionBudget, pod: Pod): boolean {
  return matchesSelector(spec?.selector, pod.metadata?.labels)
}
