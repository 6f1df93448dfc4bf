import { isAlreadyExists } from '@fairlead/kube'
import type { StatefulSet } from '@fairlead/kube/types/apps-v1'
import type { PersistentVolumeClaim, Pod } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from '../context.ts'
import { messageOf } from '../../errors.ts'
import { ignoreNotFound } from '../write.ts'
import { decideClaimOwners, isStaleClaim } from './claim-retention.ts'
import { isInRange, ordinalOf, renderClaims } from './identity.ts'

/** An event about a StatefulSet. */
export type Tell = (set: StatefulSet, reason: string, message: string, type?: 'Warning') => void

/** The PersistentVolumeClaims of StatefulSets: one per ordinal and template, whatever pod has the ordinal. */
export interface SetClaims {
  /** Makes claims again that a pending pod waits for, and gives each claim the owners its retention policy names. */
  keep(set: StatefulSet, pods: readonly Pod[]): Promise<void>
  /** Makes those claims of the ordinal that do not exist. Throws while one of them is being deleted. */
  create(set: StatefulSet, ordinal: number): Promise<void>
  /** Whether a claim of the ordinal is about to be collected, because the pod that owned it is gone. */
  areStale(set: StatefulSet, ordinal: number, podName: string): boolean
}

export function createSetClaims({ client, informers }: ControllerContext, tell: Tell): SetClaims {
  const claims = client.resource('v1/PersistentVolumeClaim')

  async function createClaim(set: StatefulSet, ordinal: number, claim: PersistentVolumeClaim): Promise<void> {
    const subject = `Claim ${claim.metadata?.name} Pod ${set.metadata?.name}-${ordinal} in StatefulSet ${set.metadata?.name}`
    try {
      await claims.create(claim)
    } catch (error) {
      // The cache may be behind.
      if (isAlreadyExists(error)) return
      tell(set, 'FailedCreate', `create ${subject} failed error: ${messageOf(error)}`)
      throw error
    }
    tell(set, 'SuccessfulCreate', `create ${subject} success`)
  }

  async function create(set: StatefulSet, ordinal: number): Promise<void> {
    for (const claim of renderClaims(set, ordinal)) {
      const { name = '', namespace } = claim.metadata ?? {}
      const known = informers.claims.get(namespace, name)
      if (known?.metadata?.deletionTimestamp !== undefined) throw new Error(`pvc ${name} is being deleted`)
      if (known === undefined) await createClaim(set, ordinal, claim)
    }
  }

  function claimsOf(set: StatefulSet, ordinal: number): PersistentVolumeClaim[] {
    return renderClaims(set, ordinal).flatMap(
      ({ metadata }) => informers.claims.get(metadata?.namespace, metadata?.name ?? '') ?? [],
    )
  }

  async function writeOwners(set: StatefulSet, pod: Pod, ordinal: number): Promise<void> {
    for (const claim of claimsOf(set, ordinal)) {
      const ownerReferences = decideClaimOwners(set, pod, claim)
      if (ownerReferences === undefined) continue
      await ignoreNotFound(claims.update({ ...claim, metadata: { ...claim.metadata, ownerReferences } }))
    }
  }

  return {
    create,
    async keep(set, pods) {
      for (const pod of pods) {
        const ordinal = ordinalOf(set, pod) ?? -1
        const isWaiting = (pod.status?.phase ?? 'Pending') === 'Pending' && isInRange(set, ordinal)
        if (isWaiting && pod.metadata?.deletionTimestamp === undefined) await create(set, ordinal)
        await writeOwners(set, pod, ordinal)
      }
    },
    areStale: (set, ordinal, podName) =>
      claimsOf(set, ordinal).some((claim) => isStaleClaim(claim, podName, undefined)),
  }
}
