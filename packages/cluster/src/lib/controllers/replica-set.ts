import type { KubeResource, ResourceClient } from '@fairlead/kube'
import type { Informer } from '@fairlead/kube/cache'
import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { ReplicaSet } from '@fairlead/kube/types/apps-v1'
import type { Pod, ReplicationController } from '@fairlead/kube/types/core-v1'

import { byController } from './context.ts'
import type { ControllerContext } from './context.ts'
import { messageOf } from '../errors.ts'
import { writeInGrowingBatches } from './growing-batches.ts'
import { isEmptySelector } from '../label-selector.ts'
import { isNamespaceTerminating } from './namespaces.ts'
import { createOwnedPods } from './owned-pods.ts'
import { controllerOf } from './ownership.ts'
import { isPodActive } from './pod-state.ts'
import { decideReplicas, describeReplicaSet, nextAvailabilityMs, renderPod } from './replica-set-plan.ts'
import type { ReplicaSetPlan } from './replica-set-plan.ts'
import { hasStatus, patchStatus } from './write.ts'

interface Failure {
  readonly reason: string
  readonly message: string
  readonly error: unknown
}

/** A kind that asks for a number of pods of a template: all that differs between ReplicaSets and ReplicationControllers. */
interface ReplicaKind<T extends KubeResource> {
  readonly kind: string
  /** The name it has in events and errors. */
  readonly name: string
  readonly informer: Informer<T>
  readonly objects: ResourceClient<T>
  readonly toReplicaSet: (object: T) => ReplicaSet
}

/** Keeps as many pods running as each ReplicaSet asks for. */
export function runReplicaSetController(context: ControllerContext): Promise<void> {
  return runReplicas(context, {
    kind: 'ReplicaSet',
    name: 'replicaset-controller',
    informer: context.informers.replicaSets,
    objects: context.client.resource('apps/v1/ReplicaSet'),
    toReplicaSet: (replicaSet) => replicaSet,
  })
}

/** Keeps as many pods running as each ReplicationController asks for. */
export function runReplicationController(context: ControllerContext): Promise<void> {
  return runReplicas(context, {
    kind: 'ReplicationController',
    name: 'replication-controller',
    informer: context.informers.replicationControllers,
    objects: context.client.resource('v1/ReplicationController'),
    toReplicaSet,
  })
}

/** The same wish in the newer form: its selector is a set of labels. */
function toReplicaSet(controller: ReplicationController): ReplicaSet {
  const { metadata, spec, status } = controller
  const names = { apiVersion: 'v1', kind: 'ReplicationController' }
  const selector = { matchLabels: { ...spec?.selector } }
  // References to the owner, and events about it, carry these names; nothing else reads them.
  return { ...(names as object), metadata, spec: { ...spec, selector }, status }
}

function runReplicas<T extends KubeResource>(context: ControllerContext, kind: ReplicaKind<T>): Promise<void> {
  const { informers, clock, signal, onError } = context
  const recorder = context.recorder(kind.name)
  const owned = createOwnedPods(context, {
    kind: kind.kind,
    informer: kind.informer,
    objects: kind.objects,
    selectorOf: (object) => kind.toReplicaSet(object).spec?.selector,
    mayOwn: (_, pod) => controllerOf(pod) !== undefined || isPodActive(pod),
  })

  async function createPod(key: string, replicaSet: ReplicaSet): Promise<void> {
    const { metadata } = await owned.create(key, renderPod(replicaSet))
    const message = `Created pod: ${metadata?.name}`
    recorder.record(replicaSet, { type: 'Normal', reason: 'SuccessfulCreate', message })
  }

  async function createPods(key: string, replicaSet: ReplicaSet, count: number): Promise<Failure | undefined> {
    const { failed, error } = await writeInGrowingBatches(count, () => createPod(key, replicaSet))
    return failed ? describeFailure('FailedCreate', error) : undefined
  }

  async function deletePod(key: string, replicaSet: ReplicaSet, pod: Pod): Promise<void> {
    await owned.delete(key, pod)
    const message = `Deleted pod: ${pod.metadata?.name}`
    recorder.record(replicaSet, { type: 'Normal', reason: 'SuccessfulDelete', message })
  }

  async function carryOut(key: string, replicaSet: ReplicaSet, plan: ReplicaSetPlan): Promise<Failure | undefined> {
    switch (plan.act) {
      case 'none':
        return undefined
      case 'create':
        return createPods(key, replicaSet, plan.count)
      case 'delete': {
        const outcomes = await Promise.allSettled(plan.pods.map((pod) => deletePod(key, replicaSet, pod)))
        const failed = outcomes.find((outcome) => outcome.status === 'rejected')
        return failed === undefined ? undefined : describeFailure('FailedDelete', failed.reason)
      }
    }
  }

  /** Also those of the other replica sets of its deployment. */
  function relatedPods(replicaSet: ReplicaSet, own: readonly Pod[]): readonly Pod[] {
    const controller = controllerOf(replicaSet)
    if (kind.kind !== 'ReplicaSet' || controller === undefined) return own
    return informers.replicaSets
      .byIndex(byController, controller.uid)
      .flatMap(({ metadata }) => informers.pods.byIndex(byController, metadata?.uid ?? ''))
  }

  async function reconcile(key: string): Promise<{ requeueAfterMs: number | undefined } | undefined> {
    const { namespace, name } = parseKey(key)
    const object = kind.informer.get(namespace, name)
    const replicaSet = object && kind.toReplicaSet(object)
    if (object === undefined || replicaSet?.spec === undefined || isEmptySelector(replicaSet.spec.selector)) {
      owned.forget(key)
      return undefined
    }
    // Asked before the pods are read: a write that the cache shows after this counts in the next reconcile.
    const waitMs = owned.waitMs(key)
    const mayAct = waitMs === undefined && replicaSet.metadata?.deletionTimestamp === undefined
    const pods = await owned.claim(object)
    const active = pods.filter(isPodActive)
    const plan = decideReplicas(replicaSet.spec.replicas ?? 1, active, {
      related: active.length > (replicaSet.spec.replicas ?? 1) ? relatedPods(replicaSet, pods) : [],
      now: clock.now(),
    })
    const failure = mayAct ? await carryOut(key, replicaSet, plan) : undefined
    if (failure !== undefined && !isNamespaceTerminating(failure.error)) {
      recorder.record(replicaSet, { type: 'Warning', reason: failure.reason, message: failure.message })
    }
    const now = clock.now()
    const status = describeReplicaSet(replicaSet, pods, { now, failure })
    if (!hasStatus(replicaSet, status)) {
      await patchStatus(kind.objects, object, status)
    }
    if (failure !== undefined && !isNamespaceTerminating(failure.error)) {
      throw failure.error
    }
    const availableMs = nextAvailabilityMs(pods, replicaSet.spec.minReadySeconds ?? 0, now)
    // What the cache never shows ends no wait: a pod that came and went between two looks.
    return { requeueAfterMs: waitMs === undefined ? availableMs : Math.min(waitMs, availableMs ?? waitMs) }
  }

  return runController({
    name: kind.name,
    sources: [fromInformer(kind.informer, (object) => [keyOf(object)]), fromInformer(informers.pods, owned.keysOfPod)],
    reconcile,
    concurrency: 8,
    signal,
    onError,
    clock,
  })
}

function describeFailure(reason: 'FailedCreate' | 'FailedDelete', error: unknown): Failure {
  const act = reason === 'FailedCreate' ? 'creating' : 'deleting'
  return { reason, message: `Error ${act}: ${messageOf(error)}`, error }
}
