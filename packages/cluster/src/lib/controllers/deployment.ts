import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { Deployment, ReplicaSet } from '@fairlead/kube/types/apps-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { byController } from './context.ts'
import type { ControllerContext } from './context.ts'
import { createDeploymentReplicaSets } from './deployment-replica-sets.ts'
import type { RolloutOutcome } from './deployment-replica-sets.ts'
import { describeDeployment, isComplete, pauseVerdict, progressDeadlineMs } from './deployment-status.ts'
import { isEmptySelector, matchesSelector } from '../label-selector.ts'
import { controllerOf, keysOfController } from './ownership.ts'
import { isPodTerminal } from './pod-state.ts'
import { desiredReplicasOf, findNewReplicaSet, revisionAnnotation, revisionOf } from './revision.ts'
import { decideRollback, forgetRollback, rollBack } from './rollback.ts'
import type { Rollback } from './rollback.ts'
import { decideRecreate, decideRollingUpdate, decideScale, replicasOf } from './rollout-plan.ts'
import type { Generations } from './rollout-plan.ts'
import { hasStatus, ignoreNotFound, patchStatus } from './write.ts'

/** Rolls Deployments out: one ReplicaSet per template, scaled against each other within the strategy's bounds. */
export function runDeploymentController(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const deployments = client.resource('apps/v1/Deployment')
  const recorder = context.recorder('deployment-controller')
  const replicaSets = createDeploymentReplicaSets(context, recorder)

  async function reconcile(key: string): Promise<{ requeueAfterMs: number | undefined } | undefined> {
    const { namespace, name } = parseKey(key)
    const deployment = informers.deployments.get(namespace, name)
    if (deployment?.spec === undefined || isEmptySelector(deployment.spec.selector)) {
      return undefined
    }
    const owned = await replicaSets.claim(deployment)
    const newest = findNewReplicaSet(deployment, owned)
    const old = owned.filter((replicaSet) => replicaSet !== newest)
    const outcome = await act(deployment, { newest, old })
    const verdict = pauseVerdict(deployment)
    const progress = verdict === undefined ? outcome.progress : { ...outcome.progress, verdict }
    const now = clock.now()
    const status = describeDeployment(deployment, { newest: outcome.newest, old }, progress, now)
    if (!hasStatus(deployment, status)) await patchStatus(deployments, deployment, status)
    if (outcome.error !== undefined) throw outcome.error
    const leftMs = isComplete(deployment, status)
      ? undefined
      : progressDeadlineMs(deployment, status.conditions ?? [], now)
    return { requeueAfterMs: leftMs === undefined ? undefined : Math.max(leftMs, 0) + 1000 }
  }

  async function act(deployment: Deployment, generations: Generations): Promise<RolloutOutcome> {
    if (deployment.metadata?.deletionTimestamp !== undefined) {
      return { newest: generations.newest, progress: {} }
    }
    const all = [...generations.old, ...(generations.newest === undefined ? [] : [generations.newest])]
    const isPaused = deployment.spec?.paused === true
    const rollback = isPaused ? undefined : decideRollback(deployment, all)
    if (rollback !== undefined) return rollBackTo(deployment, generations, rollback)
    const isResized = all.some((one) => replicasOf(one) > 0 && needsSize(deployment, one))
    if (isPaused || isResized) return adaptSize(deployment, generations)
    const outcome = await rollOut(deployment, generations)
    if (outcome.newest !== undefined && isComplete(deployment, deployment.status ?? {})) {
      await replicaSets.cleanUp(deployment, generations.old)
    }
    return outcome
  }

  /** Writes the old template into the deployment; the watch event of that write leads to the next reconcile. */
  async function rollBackTo(
    deployment: Deployment,
    { newest }: Generations,
    rollback: Rollback,
  ): Promise<RolloutOutcome> {
    const isPossible = rollback.act === 'roll-back'
    const wanted = isPossible ? rollBack(deployment, rollback.to) : forgetRollback(deployment)
    await ignoreNotFound(deployments.update(wanted))
    const { reason, message } = isPossible
      ? {
          reason: 'DeploymentRollback',
          message: `Rolled back deployment "${deployment.metadata?.name}" to revision ${rollback.revision}`,
        }
      : rollback
    recorder.record(deployment, { type: isPossible ? 'Normal' : 'Warning', reason, message })
    return { newest, progress: {} }
  }

  async function rollOut(deployment: Deployment, { newest: found, old }: Generations): Promise<RolloutOutcome> {
    const isRecreate = deployment.spec?.strategy?.type === 'Recreate'
    if (isRecreate && ((await replicaSets.scale(deployment, decideRecreate(old))) || hasOldPods(old))) {
      return { newest: found, progress: {} }
    }
    const outcome =
      found === undefined ? await replicaSets.create(deployment, old) : await replicaSets.renew(deployment, found, old)
    const { newest } = outcome
    if (newest === undefined) return outcome
    await writeRevision(deployment, newest)
    await replicaSets.scale(deployment, decideRollingUpdate(deployment, { newest, old }))
    return outcome
  }

  function hasOldPods(old: readonly ReplicaSet[]): boolean {
    return old.some(({ metadata }) =>
      informers.pods.byIndex(byController, metadata?.uid ?? '').some((pod) => !isPodTerminal(pod)),
    )
  }

  /** While the deployment is paused, or when its size has changed: scales what there is, and rolls nothing out. */
  async function adaptSize(deployment: Deployment, { newest: found, old }: Generations): Promise<RolloutOutcome> {
    const outcome: RolloutOutcome =
      found === undefined ? { newest: undefined, progress: {} } : await replicaSets.renew(deployment, found, old)
    const { newest } = outcome
    if (newest !== undefined) await writeRevision(deployment, newest)
    const scalings = decideScale(deployment, { newest, old })
    await replicaSets.scale(deployment, scalings)
    const scaled = new Set(scalings.map(({ replicaSet }) => replicaSet))
    // Those of the right size already only learn the deployment's size, which is among their annotations.
    const stale = [...old, ...(newest === undefined ? [] : [newest])]
      .filter((one) => replicasOf(one) > 0 && !scaled.has(one) && needsSize(deployment, one))
      .map((replicaSet) => ({ replicaSet, replicas: replicasOf(replicaSet) }))
    await replicaSets.scale(deployment, stale)
    if (deployment.spec?.paused === true) await replicaSets.cleanUp(deployment, old)
    return outcome
  }

  async function writeRevision(deployment: Deployment, newest: ReplicaSet): Promise<void> {
    if (revisionOf(deployment) === revisionOf(newest)) return
    const { name = '', namespace, uid } = deployment.metadata ?? {}
    const annotations = { [revisionAnnotation]: String(revisionOf(newest)) }
    const body = { metadata: { uid, annotations } }
    await ignoreNotFound(deployments.patch(name, { type: 'merge', body }, { namespace }))
  }

  function keysOfReplicaSet(replicaSet: ReplicaSet, _event: string, old?: ReplicaSet): string[] {
    const keys = [...keysOfController(replicaSet, 'Deployment'), ...keysOfController(old, 'Deployment')]
    if (keys.length > 0 || controllerOf(replicaSet) !== undefined) return keys
    return informers.deployments
      .list(replicaSet.metadata?.namespace)
      .filter(({ spec }) => matchesSelector(spec?.selector, replicaSet.metadata?.labels))
      .map(keyOf)
  }

  /** `Recreate` waits for the last old pod. */
  function keysOfPod(pod: Pod, event: string): string[] {
    const controller = event === 'delete' || isPodTerminal(pod) ? controllerOf(pod) : undefined
    const replicaSet = controller && informers.replicaSets.get(pod.metadata?.namespace, controller.name)
    return keysOfController(replicaSet, 'Deployment')
  }

  return runController({
    name: 'deployment',
    sources: [
      fromInformer(informers.deployments, (deployment) => [keyOf(deployment)]),
      fromInformer(informers.replicaSets, keysOfReplicaSet),
      fromInformer(informers.pods, keysOfPod),
    ],
    reconcile,
    concurrency: 8,
    signal,
    onError,
    clock,
  })
}

/** Whether the deployment's size changed since the replica set was scaled last. */
function needsSize(deployment: Deployment, replicaSet: ReplicaSet): boolean {
  const desired = desiredReplicasOf(replicaSet)
  return desired !== undefined && desired !== replicasOf(deployment)
}
