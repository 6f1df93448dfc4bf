import type { Node, PersistentVolume, PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'
import type { StorageClass } from '@fairlead/kube/types/storage-v1'

import { provisionedBy } from './local-volumes.ts'
import { classOf, findVolume, isClaimedBy, isUnclassified, mismatchOf } from './match-volume.ts'

const bindCompleted = 'pv.kubernetes.io/bind-completed'
const boundByController = 'pv.kubernetes.io/bound-by-controller'
/** The node a scheduler chose for the first pod of a claim that waits for one. */
export const selectedNode = 'volume.kubernetes.io/selected-node'

export type ClaimStep =
  | { readonly act: 'bind'; readonly volume: PersistentVolume }
  | { readonly act: 'provision'; readonly storageClass: StorageClass; readonly nodeName: string | undefined }
  /** Made before there was a default class: it has one now. */
  | { readonly act: 'classify'; readonly storageClass: StorageClass }
  | { readonly act: 'wait'; readonly event?: ClaimEvent | undefined }
  | { readonly act: 'lose'; readonly event: ClaimEvent }

export interface ClaimEvent {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
}

/** What there is for a claim. */
export interface ClaimView {
  readonly volumes: readonly PersistentVolume[]
  /** The one the claim names. */
  readonly storageClass?: StorageClass | undefined
  /** The one of claims that name none. */
  readonly defaultClass?: StorageClass | undefined
  /** The one the scheduler chose. */
  readonly node?: Node | undefined
}

/** What brings a claim to its volume. */
export function decideClaim(claim: PersistentVolumeClaim, view: ClaimView): ClaimStep {
  const { volumes } = view
  const named = claim.spec?.volumeName ?? ''
  const volume = volumes.find(({ metadata }) => metadata?.name === named)
  if (claim.metadata?.annotations?.[bindCompleted] !== undefined) return decideBound(claim, volume)
  if (named === '') return decideUnbound(claim, view)
  if (volume === undefined) return { act: 'wait' }
  if (volume.spec?.claimRef !== undefined) {
    if (isClaimedBy(volume, claim)) return { act: 'bind', volume }
    const message = `volume "${named}" already bound to a different claim.`
    return { act: 'wait', event: { type: 'Warning', reason: 'FailedBinding', message } }
  }
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

function decideUnbound(claim: PersistentVolumeClaim, view: ClaimView): ClaimStep {
  const { volumes, storageClass, defaultClass, node } = view
  const nodeName = claim.metadata?.annotations?.[selectedNode]
  const isDelayed = storageClass?.volumeBindingMode === 'WaitForFirstConsumer' && nodeName === undefined
  const volume = findVolume(claim, volumes, { onlyKept: isDelayed, node })
  if (volume !== undefined) return { act: 'bind', volume }
  if (isUnclassified(claim) && defaultClass !== undefined) return { act: 'classify', storageClass: defaultClass }
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
  /** Its claim is gone, and nobody can do what is to be done then. */
  | { readonly act: 'fail'; readonly reason: string; readonly message: string }
  | { readonly act: 'wait' }

/** What becomes of a volume, by the claim its `claimRef` names. */
export function decideVolume(volume: PersistentVolume, claim: PersistentVolumeClaim | undefined): VolumeStep {
  const uid = volume.spec?.claimRef?.uid ?? ''
  if (uid === '') return { act: 'phase', phase: 'Available' }
  if (claim === undefined || claim.metadata?.uid !== uid) {
    if (volume.status?.phase !== 'Released' && volume.status?.phase !== 'Failed')
      return { act: 'phase', phase: 'Released' }
    return decideReclaim(volume)
  }
  return claim.spec?.volumeName === volume.metadata?.name ? { act: 'phase', phase: 'Bound' } : { act: 'wait' }
}

function decideReclaim({ metadata, spec, status }: PersistentVolume): VolumeStep {
  const policy = spec?.persistentVolumeReclaimPolicy
  if (policy !== 'Delete' && policy !== 'Recycle') return { act: 'wait' }
  // Whoever made it takes it away; what a person made only persons can.
  if (policy === 'Delete' && metadata?.annotations?.[provisionedBy] !== undefined) return { act: 'reclaim' }
  if (status?.phase === 'Failed') return { act: 'wait' }
  return policy === 'Recycle'
    ? { act: 'fail', reason: 'VolumeFailedRecycle', message: 'No recycler plugin found for the volume!' }
    : {
        act: 'fail',
        reason: 'VolumeFailedDelete',
        message: `error getting deleter volume plugin for volume "${metadata?.name}": no deletable volume plugin matched`,
      }
}
