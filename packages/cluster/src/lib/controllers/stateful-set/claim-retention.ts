import { isDeepStrictEqual } from 'node:util'

import type { OwnerReference } from '@fairlead/kube/types'
import type { StatefulSet } from '@fairlead/kube/types/apps-v1'
import type { PersistentVolumeClaim, Pod } from '@fairlead/kube/types/core-v1'

import { controllerReference } from '../ownership.ts'
import { isInRange, ordinalOf } from './identity.ts'

/**
 * The owners of a claim by which the garbage collector carries the set's retention policy out (KEP-1847): the set where
 * claims go with it, the pod where claims go when the set shrinks. Undefined when they are right already. A claim that
 * somebody else controls is let go.
 */
export function decideClaimOwners(
  set: StatefulSet,
  pod: Pod,
  { metadata }: PersistentVolumeClaim,
): OwnerReference[] | undefined {
  const before = metadata?.ownerReferences ?? []
  // An earlier set or pod of the name had it: the garbage collector is about to take it.
  if (before.some((one) => isFormer(one, 'StatefulSet', set) || isFormer(one, 'Pod', pod))) return undefined
  const mine = new Set([set.metadata?.uid, pod.metadata?.uid])
  const others = before.filter((one) => !mine.has(one.uid))
  if (others.some(({ controller }) => controller === true)) {
    return others.length === before.length ? undefined : others
  }
  const { whenDeleted = 'Retain', whenScaled = 'Retain' } = set.spec?.persistentVolumeClaimRetentionPolicy ?? {}
  const isCondemned = whenScaled === 'Delete' && !isInRange(set, ordinalOf(set, pod) ?? -1)
  const goesWithSet = whenDeleted === 'Delete' && !isCondemned
  const after = [
    ...others,
    ...(goesWithSet ? [controllerReference(set)] : []),
    ...(isCondemned ? [controllerReference({ ...pod, apiVersion: 'v1', kind: 'Pod' })] : []),
  ]
  return isDeepStrictEqual(after, before) ? undefined : after
}

function isFormer({ kind, name, uid }: OwnerReference, ofKind: string, { metadata }: StatefulSet | Pod): boolean {
  return kind === ofKind && name === metadata?.name && uid !== metadata?.uid
}

/** Whether a claim still goes with an earlier pod of that name: a new pod must not start on it. */
export function isStaleClaim(claim: PersistentVolumeClaim, podName: string, podUid: string | undefined): boolean {
  const owners = claim.metadata?.ownerReferences ?? []
  return owners.some(({ kind, name, uid }) => kind === 'Pod' && name === podName && uid !== podUid)
}
