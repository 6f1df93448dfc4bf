import type { PersistentVolume, PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'
import type { StorageClass } from '@fairlead/kube/types/storage-v1'

import { classOf, findVolume, isClaimedBy, mismatchOf } from './match-volume.ts'

const bindCompleted = 'pv.kubernetes.io/bind-completed'
const boundByController = 'pv.kubernetes.io/bound-by-controller'
/** The node a scheduler chose for the first pod of a claim that waits for one. */
const selectedNode = 'volume.kubernetes.io/selected-node'

export type ClaimStep =
  | { readonly act: 'bind'; readonly volume: PersistentVolume }
  | { readonly act: 'provision'; readonly storageClass: StorageClass; readonly nodeName: string | undefined }
  | { readonly act: 'wait'; readonly event?: ClaimEvent | undefined }
  | { readonly act: 'lose'; readonly event: ClaimEvent }

export interface ClaimEvent {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
}

/** What brings a claim to its volume. */
export function decideClaim(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
  storageClass: StorageClass | undefined,
): ClaimStep {
  const named = claim.spec?.volumeName ?? ''
  const volume = volumes.find(({ metadata }) => metadata?.name === named)
  if (claim.metadata?.annotations?.[bindCompleted] !== undefined) return decideBound(claim, volume)
  if (named === '') return decideUnbound(claim, volumes, storageClass)
  if (volume === undefined) return { act: 'wait' }
  if (volume.spec?.claimRef !== undefined) return isClaimedBy(volume, claim) ? { act: 'bind', volume } : { act: 'wait' }
  const mismatch = mismatchOf(claim, volume)
  if (mismatch === undefined) return { act: 'bind', volume }
  const message = `Cannot bind to requested volume "${named}": ${mismatch}`
  return { act: 'wait', event: { type: 'Warning', reason: 'VolumeMismatch', message } }
}

function decideBound(claim: PersistentVolumeClaim, volume: PersistentVolume | undefined): ClaimStep {
  if (volume === undefined) {
    const message = 'Bound claim has lost its PersistentVolume. Data on the volume is lost!'
    return { act: 'lose', event: { type: 'Warning', reason: 'ClaimLost', message } }
  }
  if (volume.spec?.claimRef === undefined || isClaimedBy(volume, claim)) return { act: 'bind', volume }
  const message = 'Two claims are bound to the same volume, this one is bound incorrectly'
  return { act: 'lose', event: { type: 'Warning', reason: 'ClaimMisbound', message } }
}

function decideUnbound(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
  storageClass: StorageClass | undefined,
): ClaimStep {
  const nodeName = claim.metadata?.annotations?.[selectedNode]
  const isDelayed = storageClass?.volumeBindingMode === 'WaitForFirstConsumer' && nodeName === undefined
  const volume = findVolume(claim, volumes, { onlyKept: isDelayed })
  if (volume !== undefined) return { act: 'bind', volume }
  if (isDelayed) {
    const message = 'waiting for first consumer to be created before binding'
    return { act: 'wait', event: { type: 'Normal', reason: 'WaitForFirstConsumer', message } }
  }
  if (storageClass !== undefined) return { act: 'provision', storageClass, nodeName }
  const name = classOf(claim)
  const event: ClaimEvent =
    name === ''
      ? {
          type: 'Normal',
          reason: 'FailedBinding',
          message: 'no persistent volumes available for this claim and no storage class is set',
        }
      : { type: 'Warning', reason: 'ProvisioningFailed', message: `storageclass.storage.k8s.io "${name}" not found` }
  return { act: 'wait', event }
}

/** The volume as it is when it belongs to the claim. */
export function bindVolume(volume: PersistentVolume, { metadata }: PersistentVolumeClaim): PersistentVolume {
  if (volume.spec?.claimRef?.uid === metadata?.uid && metadata?.uid !== undefined) return volume
  const isChosen = volume.spec?.claimRef === undefined
  return {
    ...volume,
    metadata: {
      ...volume.metadata,
      annotations: { ...volume.metadata?.annotations, ...(isChosen && { [boundByController]: 'yes' }) },
    },
    spec: {
      ...volume.spec,
      claimRef: {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        namespace: metadata?.namespace,
        name: metadata?.name,
        uid: metadata?.uid,
        resourceVersion: metadata?.resourceVersion,
      },
    },
  }
}

/** The claim as it is when it has the volume; the same object when it has it already. */
export function bindClaim(claim: PersistentVolumeClaim, { metadata }: PersistentVolume): PersistentVolumeClaim {
  const annotations = claim.metadata?.annotations
  const isNamed = (claim.spec?.volumeName ?? '') !== ''
  if (isNamed && annotations?.[bindCompleted] !== undefined) return claim
  return {
    ...claim,
    metadata: {
      ...claim.metadata,
      annotations: { ...annotations, [bindCompleted]: 'yes', ...(!isNamed && { [boundByController]: 'yes' }) },
    },
    spec: { ...claim.spec, volumeName: metadata?.name },
  }
}

export type VolumeStep =
  | { readonly act: 'phase'; readonly phase: 'Available' | 'Bound' | 'Released' }
  /** Its claim is gone: what it holds goes too. */
  | { readonly act: 'reclaim' }
  | { readonly act: 'wait' }

/** What becomes of a volume, by the claim its `claimRef` names. */
export function decideVolume(volume: PersistentVolume, claim: PersistentVolumeClaim | undefined): VolumeStep {
  const uid = volume.spec?.claimRef?.uid ?? ''
  if (uid === '') return { act: 'phase', phase: 'Available' }
  if (claim === undefined || claim.metadata?.uid !== uid) {
    if (volume.status?.phase !== 'Released' && volume.status?.phase !== 'Failed')
      return { act: 'phase', phase: 'Released' }
    return volume.spec?.persistentVolumeReclaimPolicy === 'Delete' ? { act: 'reclaim' } : { act: 'wait' }
  }
  return claim.spec?.volumeName === volume.metadata?.name ? { act: 'phase', phase: 'Bound' } : { act: 'wait' }
}
