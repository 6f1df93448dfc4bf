import { isDeepStrictEqual } from 'node:util'

import { isAlreadyExists } from '@fairlead/kube'
import { findCondition } from '@fairlead/kube/controller'
import type { EventRecorder } from '@fairlead/kube/controller'
import type { Deployment, ReplicaSet } from '@fairlead/kube/types/apps-v1'

import { byController } from './context.ts'
import type { ControllerContext } from './context.ts'
import { progressing } from './deployment-status.ts'
import type { Progress } from './deployment-status.ts'
import { messageOf } from '../errors.ts'
import { isNamespaceTerminating } from './namespaces.ts'
import { claimObjects, controllerOf, decideClaim, orphansOf } from './ownership.ts'
import {
  canonicalTemplate,
  decideCleanup,
  hashTemplate,
  newestAnnotations,
  nextRevision,
  renderReplicaSet,
  scaleAnnotations,
} from './revision.ts'
import { decideNewest, maxReplicas, replicasOf } from './rollout-plan.ts'
import type { Scaling } from './rollout-plan.ts'
import { ignoreNotFound } from './write.ts'

/** What a step of a rollout came to. */
export interface RolloutOutcome {
  /** The replica set of the present template; undefined while there is none. */
  readonly newest: ReplicaSet | undefined
  /** What the step adds to the deployment's status. */
  readonly progress: Progress
  /** Why there is none. Thrown again once the status tells of it, so that the deployment is retried. */
  readonly error?: unknown
}

/** The replica sets of Deployments: every write to them, each with its event. */
export interface DeploymentReplicaSets {
  /** Those of the deployment. Orphans it selects are adopted first, others are released. */
  claim(deployment: Deployment): Promise<ReplicaSet[]>
  /** Scales each; true when there was anything to scale. */
  scale(deployment: Deployment, scalings: readonly Scaling[]): Promise<boolean>
  /** Creates the replica set of a new template. One of its name that is not ours raises the collision count. */
  create(deployment: Deployment, old: readonly ReplicaSet[]): Promise<RolloutOutcome>
  /** Makes `newest`, of a template that came back, the latest revision, and its annotations the deployment's. */
  renew(deployment: Deployment, newest: ReplicaSet, old: readonly ReplicaSet[]): Promise<RolloutOutcome>
  /** Deletes old ones beyond the deployment's `revisionHistoryLimit`. */
  cleanUp(deployment: Deployment, old: readonly ReplicaSet[]): Promise<void>
}

export function createDeploymentReplicaSets(
  { client, informers }: ControllerContext,
  recorder: EventRecorder,
): DeploymentReplicaSets {
  const deployments = client.resource('apps/v1/Deployment')
  const replicaSets = client.resource('apps/v1/ReplicaSet')

  async function scaleOne(deployment: Deployment, { replicaSet, replicas }: Scaling): Promise<void> {
    const { name = '', namespace, resourceVersion, uid } = replicaSet.metadata ?? {}
    const before = replicasOf(replicaSet)
    const annotations = scaleAnnotations(replicasOf(deployment), maxReplicas(deployment))
    // With its version: a step decided on old counts must not be taken.
    const body = { metadata: { uid, resourceVersion, annotations }, spec: { replicas } }
    await replicaSets.patch(name, { type: 'merge', body }, { namespace })
    if (before !== replicas) recordScaling(deployment, name, before, replicas)
  }

  function recordScaling(deployment: Deployment, name: string, from: number, to: number): void {
    const message = `Scaled ${to > from ? 'up' : 'down'} replica set ${name} from ${from} to ${to}`
    recorder.record(deployment, { type: 'Normal', reason: 'ScalingReplicaSet', message })
  }

  /** The cache may be behind its own creation; anything else of that name is a collision. */
  async function adoptExisting(deployment: Deployment, name: string, collisions: number): Promise<RolloutOutcome> {
    const existing = await replicaSets.get(name, { namespace: deployment.metadata?.namespace })
    const isOurs =
      controllerOf(existing)?.uid === deployment.metadata?.uid &&
      canonicalTemplate(existing.spec?.template) === canonicalTemplate(deployment.spec?.template)
    return isOurs
      ? { newest: existing, progress: {} }
      : { newest: undefined, progress: { collisionCount: collisions + 1 } }
  }

  function createFailed(deployment: Deployment, name: string, error: unknown): RolloutOutcome {
    const reason = 'ReplicaSetCreateError'
    const message = `Failed to create new replica set "${name}": ${messageOf(error)}`
    recorder.record(deployment, { type: 'Warning', reason, message })
    const verdict = { type: 'Progressing', status: 'False', reason, message }
    return { newest: undefined, progress: { verdict }, error }
  }

  return {
    claim(deployment) {
      const { uid = '', namespace } = deployment.metadata ?? {}
      const candidates = [
        ...informers.replicaSets.byIndex(byController, uid),
        ...informers.replicaSets.byIndex(byController, orphansOf(namespace)),
      ]
      const claim = decideClaim(deployment, deployment.spec?.selector ?? {}, candidates)
      return claimObjects({ objects: replicaSets, owners: deployments }, deployment, claim)
    },
    async scale(deployment, scalings) {
      await Promise.all(scalings.map((scaling) => scaleOne(deployment, scaling)))
      return scalings.length > 0
    },
    async create(deployment, old) {
      const collisions = deployment.status?.collisionCount ?? 0
      const replicas = decideNewest(deployment, { newest: undefined, old })
      const wanted = renderReplicaSet(deployment, {
        hash: hashTemplate(deployment.spec?.template, collisions),
        replicas,
        annotations: annotationsOf(deployment, undefined, old),
      })
      const name = wanted.metadata?.name ?? ''
      try {
        const newest = await replicaSets.create(wanted)
        if (replicas > 0) recordScaling(deployment, name, 0, replicas)
        const verdict = progressing('NewReplicaSetCreated', `Created new replica set "${name}"`)
        return { newest, progress: { verdict } }
      } catch (error) {
        if (isAlreadyExists(error)) return adoptExisting(deployment, name, collisions)
        // Nothing can be made there any more, and nothing has to be.
        if (isNamespaceTerminating(error)) return { newest: undefined, progress: {} }
        return createFailed(deployment, name, error)
      }
    },
    async renew(deployment, newest, old) {
      const annotations = annotationsOf(deployment, newest, old)
      const { minReadySeconds = 0 } = deployment.spec ?? {}
      const isCurrent =
        isDeepStrictEqual(annotations, { ...newest.metadata?.annotations }) &&
        (newest.spec?.minReadySeconds ?? 0) === minReadySeconds
      const hasBegun = findCondition(deployment.status?.conditions, 'Progressing') !== undefined
      const found = `Found new replica set "${newest.metadata?.name}"`
      const progress = hasBegun ? {} : { verdict: progressing('FoundNewReplicaSet', found) }
      if (isCurrent) return { newest, progress }
      const { name = '', namespace, resourceVersion, uid } = newest.metadata ?? {}
      const spec = { minReadySeconds: deployment.spec?.minReadySeconds ?? null }
      const body = { metadata: { uid, resourceVersion, annotations }, spec }
      return { newest: await replicaSets.patch(name, { type: 'merge', body }, { namespace }), progress }
    },
    async cleanUp(deployment, old) {
      await Promise.all(
        decideCleanup(deployment, old).map(({ metadata }) => {
          const { name = '', namespace, uid } = metadata ?? {}
          return ignoreNotFound(replicaSets.delete(name, { namespace, uid }))
        }),
      )
    },
  }
}

function annotationsOf(
  deployment: Deployment,
  newest: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
): Record<string, string> {
  const facts = { revision: nextRevision(old), maxReplicas: maxReplicas(deployment) }
  return newestAnnotations(deployment, newest, facts)
}
