import type { Deployment, ReplicaSet } from '@fairlead/kube/types/apps-v1'

import { compareAge, desiredReplicasOf, maxReplicasOf } from './revision.ts'
import { resolveShare } from './share.ts'

/** A replica set to set to a number of replicas. */
export interface Scaling {
  readonly replicaSet: ReplicaSet
  readonly replicas: number
}

/** The replica sets of a deployment: the one of its present template, when it exists, and the others. */
export interface Generations {
  readonly newest: ReplicaSet | undefined
  readonly old: readonly ReplicaSet[]
}

/** How many replicas more, and how many less, a rolling update may have than it should. */
export interface Bounds {
  readonly maxSurge: number
  readonly maxUnavailable: number
}

/** The strategy's numbers; percentages of surge are rounded up, of unavailability down. Both zero would never move: then one may be missing. */
export function boundsOf(deployment: Deployment): Bounds {
  const { strategy } = deployment.spec ?? {}
  if (strategy?.type === 'Recreate') {
    return { maxSurge: 0, maxUnavailable: 0 }
  }
  const replicas = replicasOf(deployment)
  const maxSurge = resolveShare(strategy?.rollingUpdate?.maxSurge ?? '25%', replicas, 'up')
  const maxUnavailable = resolveShare(strategy?.rollingUpdate?.maxUnavailable ?? '25%', replicas, 'down')
  return {
    maxSurge,
    maxUnavailable: maxSurge === 0 && maxUnavailable === 0 ? 1 : Math.min(maxUnavailable, replicas),
  }
}

/** The most replicas there may be at once. */
export function maxReplicas(deployment: Deployment): number {
  const replicas = replicasOf(deployment)
  return replicas === 0 ? 0 : replicas + boundsOf(deployment).maxSurge
}

export function replicasOf({ spec }: Deployment | ReplicaSet): number {
  return spec?.replicas ?? 1
}

function sum(replicaSets: readonly ReplicaSet[], count: (replicaSet: ReplicaSet) => number): number {
  return replicaSets.reduce((total, replicaSet) => total + count(replicaSet), 0)
}

const available = ({ status }: ReplicaSet): number => status?.availableReplicas ?? 0

function all({ newest, old }: Generations): ReplicaSet[] {
  return newest === undefined ? [...old] : [...old, newest]
}

/** How many replicas the newest replica set may have now: as many as fit under the surge, never more than wanted. */
export function decideNewest(deployment: Deployment, generations: Generations): number {
  const replicas = replicasOf(deployment)
  if (deployment.spec?.strategy?.type === 'Recreate') {
    return replicas
  }
  const current = generations.newest === undefined ? 0 : replicasOf(generations.newest)
  const room = replicas + boundsOf(deployment).maxSurge - sum(all(generations), replicasOf)
  return room <= 0 ? current : current + Math.min(room, replicas - current)
}

/**
 * The next step of a rolling update: first the newest replica set grows as far as the surge allows; only when it cannot,
 * the old ones shrink as far as availability allows, replicas that never became available first.
 */
export function decideRollingUpdate(deployment: Deployment, generations: Generations): Scaling[] {
  const { newest, old } = generations
  if (newest !== undefined) {
    const wanted =
      replicasOf(newest) > replicasOf(deployment) ? replicasOf(deployment) : decideNewest(deployment, generations)
    if (wanted !== replicasOf(newest)) {
      return [{ replicaSet: newest, replicas: wanted }]
    }
  }
  const active = old.filter((replicaSet) => replicasOf(replicaSet) > 0)
  const minAvailable = replicasOf(deployment) - boundsOf(deployment).maxUnavailable
  const newestMissing = newest === undefined ? 0 : replicasOf(newest) - available(newest)
  const removable = sum(all(generations), replicasOf) - minAvailable - newestMissing
  if (active.length === 0 || removable <= 0) {
    return []
  }
  const afterUnhealthy = removeUnhealthy(active, removable)
  const spare = sum(all(generations), available) - minAvailable
  const after = removeAvailable(afterUnhealthy, spare)
  return after.filter(({ replicaSet, replicas }) => replicas !== replicasOf(replicaSet))
}

/** Takes away up to `count` replicas that are not available; they cost nothing. */
function removeUnhealthy(replicaSets: readonly ReplicaSet[], count: number): Scaling[] {
  let left = count
  return replicaSets.toSorted(compareAge).map((replicaSet) => {
    const unhealthy = Math.max(0, replicasOf(replicaSet) - available(replicaSet))
    const removed = Math.min(left, unhealthy)
    left -= removed
    return { replicaSet, replicas: replicasOf(replicaSet) - removed }
  })
}

/** Takes away up to `count` replicas that serve. */
function removeAvailable(scalings: readonly Scaling[], count: number): Scaling[] {
  let left = Math.max(0, count)
  return scalings.map(({ replicaSet, replicas }) => {
    const removed = Math.min(left, replicas)
    left -= removed
    return { replicaSet, replicas: replicas - removed }
  })
}

/** The next step of `Recreate`: everything old to nothing. The caller starts the newest when no old pod is left. */
export function decideRecreate(old: readonly ReplicaSet[]): Scaling[] {
  return old.filter((replicaSet) => replicasOf(replicaSet) > 0).map((replicaSet) => ({ replicaSet, replicas: 0 }))
}

/**
 * What a change of the deployment's size means while it stands still or is half rolled out: all to the one replica set
 * that is active, or to each in proportion to its size, so no side of a rollout runs away.
 */
export function decideScale(deployment: Deployment, generations: Generations): Scaling[] {
  const { newest, old } = generations
  const replicas = replicasOf(deployment)
  const active = all(generations).filter((replicaSet) => replicasOf(replicaSet) > 0)
  const only = active.length <= 1 ? (active[0] ?? newest ?? old.toSorted(compareAge).at(-1)) : undefined
  if (only !== undefined) {
    return changed([{ replicaSet: only, replicas }])
  }
  if (newest !== undefined && isSaturated(newest, replicas)) {
    return decideRecreate(old)
  }
  return deployment.spec?.strategy?.type === 'Recreate' ? [] : changed(scaleInProportion(deployment, active))
}

/** Whether the replica set was scaled to all of `replicas` before now, and serves with them. */
function isSaturated(newest: ReplicaSet, replicas: number): boolean {
  return [replicasOf(newest), desiredReplicasOf(newest), available(newest)].every((count) => count === replicas)
}

function scaleInProportion(deployment: Deployment, active: readonly ReplicaSet[]): Scaling[] {
  const total = sum(active, replicasOf)
  const allowed = maxReplicas(deployment)
  let left = allowed - total
  // Larger ones first; of equals, the newer when growing and the older when shrinking.
  const ranked = active.toSorted(
    (a, b) => replicasOf(b) - replicasOf(a) || (left > 0 ? compareAge(b, a) : compareAge(a, b)),
  )
  const scalings = ranked.map((replicaSet) => {
    const size = replicasOf(replicaSet)
    const before = maxReplicasOf(replicaSet) || (deployment.status?.replicas ?? 0)
    const fraction = before === 0 ? 0 : Math.round((size * allowed) / before) - size
    const change = left > 0 ? Math.max(0, Math.min(fraction, left)) : Math.min(0, Math.max(fraction, left))
    left -= change
    return { replicaSet, replicas: size + change }
  })
  // What rounding left over goes to the largest.
  return scalings.map((scaling, index) => {
    return index === 0 ? { ...scaling, replicas: Math.max(0, scaling.replicas + left) } : scaling
  })
}

function changed(scalings: readonly Scaling[]): Scaling[] {
  return scalings.filter(({ replicaSet, replicas }) => replicas !== replicasOf(replicaSet))
}
