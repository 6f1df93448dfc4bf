import { isDeepStrictEqual } from 'node:util'

import { isAlreadyExists } from '@fairlead/kube'
import { findCondition, fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { Deployment, ReplicaSet } from '@fairlead/kube/types/apps-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { byController } from './context.ts'
import type { ControllerContext } from './context.ts'
import { describeDeployment, isComplete, pauseVerdict, progressDeadlineMs, progressing } from './deployment-status.ts'
import type { Progress } from './deployment-status.ts'
import { isEmptySelector, matchesSelector } from '../label-selector.ts'
import { isNamespaceTerminating } from './namespaces.ts'
import { claimObjects, controllerOf, decideClaim, orphansOf } from './ownership.ts'
import { isPodTerminal } from './pod-state.ts'
import {
  canonicalTemplate,
  decideCleanup,
  desiredReplicasOf,
  findNewReplicaSet,
  hashTemplate,
  newestAnnotations,
  nextRevision,
  renderReplicaSet,
  revisionAnnotation,
  revisionOf,
  scaleAnnotations,
} from './revision.ts'
import { decideRollback, forgetRollback, rollBack } from './rollback.ts'
import type { Rollback } from './rollback.ts'
import {
  decideNewest,
  decideRecreate,
  decideRollingUpdate,
  decideScale,
  maxReplicas,
  replicasOf,
} from './rollout-plan.ts'
import type { Generations, Scaling } from './rollout-plan.ts'
import { ignoreNotFound, patchStatus } from './write.ts'

/** Rolls Deployments out: one ReplicaSet per template, scaled against each other within the strategy's bounds. */
export function runDeploymentController(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const deployments = client.resource('apps/v1/Deployment')
  const replicaSets = client.resource('apps/v1/ReplicaSet')
  const recorder = context.recorder('deployment-controller')

  async function claimReplicaSets(deployment: Deployment): Promise<ReplicaSet[]> {
    const { uid = '', namespace } = deployment.metadata ?? {}
    const candidates = [
      ...informers.replicaSets.byIndex(byController, uid),
      ...informers.replicaSets.byIndex(byController, orphansOf(namespace)),
    ]
    const claim = decideClaim(deployment, deployment.spec?.selector ?? {}, candidates)
    return claimObjects({ objects: replicaSets, owners: deployments }, deployment, claim)
  }

  async function scale(deployment: Deployment, { replicaSet, replicas }: Scaling): Promise<void> {
    const { name = '', namespace, resourceVersion, uid } = replicaSet.metadata ?? {}
    const before = replicasOf(replicaSet)
    const annotations = scaleAnnotations(replicasOf(deployment), maxReplicas(deployment))
    // With its version: a step decided on old counts must not be taken.
    const body = { metadata: { uid, resourceVersion, annotations }, spec: { replicas } }
    await replicaSets.patch(name, { type: 'merge', body }, { namespace })
    if (before !== replicas) {
      recordScaling(deployment, name, before, replicas)
    }
  }

  function recordScaling(deployment: Deployment, name: string, from: number, to: number): void {
    const message = `Scaled ${to > from ? 'up' : 'down'} replica set ${name} from ${from} to ${to}`
    recorder.record(deployment, { type: 'Normal', reason: 'ScalingReplicaSet', message })
  }

  async function scaleAll(deployment: Deployment, scalings: readonly Scaling[]): Promise<boolean> {
    await Promise.all(scalings.map((scaling) => scale(deployment, scaling)))
    return scalings.length > 0
  }

  /** Creates the replica set of a new template. One of its name that is not ours raises the collision count. */
  async function createNewest(deployment: Deployment, old: readonly ReplicaSet[]): Promise<Created> {
    const collisions = deployment.status?.collisionCount ?? 0
    const replicas = decideNewest(deployment, { newest: undefined, old })
    const replicaSet = renderReplicaSet(deployment, {
      hash: hashTemplate(deployment.spec?.template, collisions),
      replicas,
      annotations: newestAnnotations(deployment, undefined, {
        revision: nextRevision(old),
        maxReplicas: maxReplicas(deployment),
      }),
    })
    const name = replicaSet.metadata?.name ?? ''
    try {
      const newest = await replicaSets.create(replicaSet)
      if (replicas > 0) {
        recordScaling(deployment, name, 0, replicas)
      }
      return { newest, progress: { verdict: progressing('NewReplicaSetCreated', `Created new replica set "${name}"`) } }
    } catch (error) {
      if (isAlreadyExists(error)) return adoptExisting(deployment, name, collisions)
      // Nothing can be made there any more, and nothing has to be.
      if (isNamespaceTerminating(error)) return { newest: undefined, progress: {} }
      const reason = 'ReplicaSetCreateError'
      const cause = error instanceof Error ? error.message : String(error)
      const message = `Failed to create new replica set "${name}": ${cause}`
      recorder.record(deployment, { type: 'Warning', reason, message })
      const verdict = { type: 'Progressing', status: 'False', reason, message }
      return { newest: undefined, progress: { verdict }, error }
    }
  }

  /** The cache may be behind its own creation; anything else of that name is a collision. */
  async function adoptExisting(deployment: Deployment, name: string, collisions: number): Promise<Created> {
    const existing = await replicaSets.get(name, { namespace: deployment.metadata?.namespace })
    const isOurs =
      controllerOf(existing)?.uid === deployment.metadata?.uid &&
      canonicalTemplate(existing.spec?.template) === canonicalTemplate(deployment.spec?.template)
    return isOurs
      ? { newest: existing, progress: {} }
      : { newest: undefined, progress: { collisionCount: collisions + 1 } }
  }

  /** Makes a template that came back the newest revision, and its annotations the deployment's. */
  async function renewNewest(deployment: Deployment, newest: ReplicaSet, old: readonly ReplicaSet[]): Promise<Created> {
    const annotations = newestAnnotations(deployment, newest, {
      revision: nextRevision(old),
      maxReplicas: maxReplicas(deployment),
    })
    const { minReadySeconds } = deployment.spec ?? {}
    const isCurrent =
      isDeepStrictEqual(annotations, { ...newest.metadata?.annotations }) &&
      (newest.spec?.minReadySeconds ?? 0) === (minReadySeconds ?? 0)
    const found = `Found new replica set "${newest.metadata?.name}"`
    const hasBegun = findCondition(deployment.status?.conditions, 'Progressing') !== undefined
    const progress = hasBegun ? {} : { verdict: progressing('FoundNewReplicaSet', found) }
    if (isCurrent) {
      return { newest, progress }
    }
    const { name = '', namespace, resourceVersion, uid } = newest.metadata ?? {}
    const body = { metadata: { uid, resourceVersion, annotations }, spec: { minReadySeconds: minReadySeconds ?? null } }
    return { newest: await replicaSets.patch(name, { type: 'merge', body }, { namespace }), progress }
  }

  async function syncRevision(deployment: Deployment, newest: ReplicaSet): Promise<void> {
    if (revisionOf(deployment) !== revisionOf(newest)) {
      const { name = '', namespace, uid } = deployment.metadata ?? {}
      const annotations = { [revisionAnnotation]: String(revisionOf(newest)) }
      await ignoreNotFound(
        deployments.patch(name, { type: 'merge', body: { metadata: { uid, annotations } } }, { namespace }),
      )
    }
  }

  function hasOldPods(old: readonly ReplicaSet[]): boolean {
    return old.some(({ metadata }) =>
      informers.pods.byIndex(byController, metadata?.uid ?? '').some((pod) => !isPodTerminal(pod)),
    )
  }

  async function cleanUp(deployment: Deployment, old: readonly ReplicaSet[]): Promise<void> {
    await Promise.all(
      decideCleanup(deployment, old).map(({ metadata }) => {
        const { name = '', namespace, uid } = metadata ?? {}
        return ignoreNotFound(replicaSets.delete(name, { namespace, uid }))
      }),
    )
  }

  async function rollOut(
    deployment: Deployment,
    old: readonly ReplicaSet[],
    found: ReplicaSet | undefined,
  ): Promise<Created> {
    const isRecreate = deployment.spec?.strategy?.type === 'Recreate'
    if (isRecreate && ((await scaleAll(deployment, decideRecreate(old))) || hasOldPods(old))) {
      return { newest: found, progress: {} }
    }
    const made = found === undefined ? await createNewest(deployment, old) : await renewNewest(deployment, found, old)
    if (made.newest === undefined) {
      return made
    }
    await syncRevision(deployment, made.newest)
    await scaleAll(deployment, decideRollingUpdate(deployment, { newest: made.newest, old }))
    return made
  }

  /** Paused, or changed in size: only sizes are adapted, and what the newest replica set tells of the deployment. */
  async function adaptSize(deployment: Deployment, { newest: found, old }: Generations): Promise<Created> {
    const made = found === undefined ? { newest: found, progress: {} } : await renewNewest(deployment, found, old)
    if (made.newest !== undefined) await syncRevision(deployment, made.newest)
    const generations = { newest: made.newest, old }
    await scaleAll(deployment, decideScale(deployment, generations))
    const touched = [...generations.old, ...(generations.newest === undefined ? [] : [generations.newest])]
    const scaled = new Set(decideScale(deployment, generations).map(({ replicaSet }) => replicaSet))
    const stale = touched.filter(
      (replicaSet) => replicasOf(replicaSet) > 0 && !scaled.has(replicaSet) && needsSize(deployment, replicaSet),
    )
    await scaleAll(
      deployment,
      stale.map((replicaSet) => ({ replicaSet, replicas: replicasOf(replicaSet) })),
    )
    if (deployment.spec?.paused === true) await cleanUp(deployment, old)
    return made
  }

  async function reconcile(key: string): Promise<{ requeueAfterMs: number | undefined } | undefined> {
    const { namespace, name } = parseKey(key)
    const deployment = informers.deployments.get(namespace, name)
    if (deployment?.spec === undefined || isEmptySelector(deployment.spec.selector)) {
      return undefined
    }
    const owned = await claimReplicaSets(deployment)
    const found = findNewReplicaSet(deployment, owned)
    const old = owned.filter((replicaSet) => replicaSet !== found)
    const made = await act(deployment, { newest: found, old })
    const verdict = pauseVerdict(deployment)
    const progress = verdict === undefined ? made.progress : { ...made.progress, verdict }
    const now = clock.now()
    const status = describeDeployment(deployment, { newest: made.newest, old }, progress, now)
    if (!isDeepStrictEqual(defined(status), { ...deployment.status })) {
      await patchStatus(deployments, deployment, status)
    }
    if (made.error !== undefined) {
      throw made.error
    }
    const leftMs = isComplete(deployment, status)
      ? undefined
      : progressDeadlineMs(deployment, status.conditions ?? [], now)
    return { requeueAfterMs: leftMs === undefined ? undefined : Math.max(leftMs, 0) + 1000 }
  }

  async function act(deployment: Deployment, generations: Generations): Promise<Created> {
    if (deployment.metadata?.deletionTimestamp !== undefined) {
      return { newest: generations.newest, progress: {} }
    }
    const all = [...generations.old, ...(generations.newest === undefined ? [] : [generations.newest])]
    const rollback = deployment.spec?.paused === true ? undefined : decideRollback(deployment, all)
    if (rollback !== undefined) return goBack(deployment, generations, rollback)
    const isResized = all.some((one) => replicasOf(one) > 0 && needsSize(deployment, one))
    if (deployment.spec?.paused === true || isResized) {
      return adaptSize(deployment, generations)
    }
    const made = await rollOut(deployment, generations.old, generations.newest)
    if (made.newest !== undefined && isComplete(deployment, deployment.status ?? {})) {
      await cleanUp(deployment, generations.old)
    }
    return made
  }

  /** The change of the deployment brings it back here. */
  async function goBack(deployment: Deployment, { newest }: Generations, rollback: Rollback): Promise<Created> {
    const isDone = rollback.act === 'roll-back'
    await ignoreNotFound(deployments.update(isDone ? rollBack(deployment, rollback.to) : forgetRollback(deployment)))
    const { reason, message } = isDone
      ? {
          reason: 'DeploymentRollback',
          message: `Rolled back deployment "${deployment.metadata?.name}" to revision ${rollback.revision}`,
        }
      : rollback
    recorder.record(deployment, { type: isDone ? 'Normal' : 'Warning', reason, message })
    return { newest, progress: {} }
  }

  function keysOfReplicaSet(replicaSet: ReplicaSet, _event: string, old?: ReplicaSet): string[] {
    const keys = [keyOfController(replicaSet), old && keyOfController(old)].filter((key) => key !== undefined)
    if (keys.length > 0 || controllerOf(replicaSet) !== undefined) {
      return keys
    }
    return informers.deployments
      .list(replicaSet.metadata?.namespace)
      .filter(({ spec }) => matchesSelector(spec?.selector, replicaSet.metadata?.labels))
      .map(keyOf)
  }

  /** `Recreate` waits for the last old pod. */
  function keysOfPod(pod: Pod, event: string): string[] {
    const controller = event === 'delete' || isPodTerminal(pod) ? controllerOf(pod) : undefined
    const replicaSet = controller && informers.replicaSets.get(pod.metadata?.namespace, controller.name)
    const key = replicaSet && keyOfController(replicaSet)
    return key === undefined ? [] : [key]
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

interface Created {
  readonly newest: ReplicaSet | undefined
  readonly progress: Progress
  readonly error?: unknown
}

/** Whether the deployment's size changed since the replica set was scaled last. */
function needsSize(deployment: Deployment, replicaSet: ReplicaSet): boolean {
  const desired = desiredReplicasOf(replicaSet)
  return desired !== undefined && desired !== replicasOf(deployment)
}

function keyOfController(replicaSet: ReplicaSet): string | undefined {
  const controller = controllerOf(replicaSet)
  return controller?.kind === 'Deployment' ? `${replicaSet.metadata?.namespace ?? ''}/${controller.name}` : undefined
}

function defined(status: object): object {
  return Object.fromEntries(Object.entries(status).filter(([, value]) => value !== undefined))
}
