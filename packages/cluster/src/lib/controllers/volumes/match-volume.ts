import { parseQuantity } from '@fairlead/kube/types'
import type { Node, PersistentVolume, PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'

import { matchesRequired } from '../../node-selector.ts'
import { matchesSelector } from '../../label-selector.ts'

const oldClassAnnotation = 'volume.beta.kubernetes.io/storage-class'

/** The class a volume or claim names; empty for none. */
export function classOf({ metadata, spec }: PersistentVolume | PersistentVolumeClaim): string {
  return metadata?.annotations?.[oldClassAnnotation] ?? spec?.storageClassName ?? ''
}

/** Whether a claim says nothing of classes; the empty name asks for none. */
export function isUnclassified({ metadata, spec }: PersistentVolumeClaim): boolean {
  return spec?.storageClassName === undefined && metadata?.annotations?.[oldClassAnnotation] === undefined
}

/** Whether the volume is, or is kept for, this claim. */
export function isClaimedBy({ spec }: PersistentVolume, { metadata }: PersistentVolumeClaim): boolean {
  const claim = spec?.claimRef
  if (claim === undefined || claim.name !== metadata?.name || claim.namespace !== metadata?.namespace) return false
  return (claim.uid ?? '') === '' || claim.uid === metadata?.uid
}

/** What keeps a claim from a volume it names; undefined when nothing does. */
export function mismatchOf(claim: PersistentVolumeClaim, volume: PersistentVolume): string | undefined {
  if (volume.metadata?.deletionTimestamp !== undefined) {
    return `the volume is marked for deletion ${JSON.stringify(volume.metadata.name)}`
  }
  if (capacityOf(volume) < requestOf(claim)) return 'requested PV is too small'
  if (classOf(claim) !== classOf(volume)) return 'storageClassName does not match'
  if ((claim.spec?.volumeAttributesClassName ?? '') !== (volume.spec?.volumeAttributesClassName ?? '')) {
    return 'volumeAttributesClassName does not match'
  }
  if ((claim.spec?.volumeMode ?? 'Filesystem') !== (volume.spec?.volumeMode ?? 'Filesystem')) {
    return 'incompatible volumeMode'
  }
  return hasModes(claim, volume) ? undefined : 'incompatible accessMode'
}

export interface FindVolumeOptions {
  /** Leaves free volumes alone. Default false. */
  readonly onlyKept?: boolean | undefined
  /** Where the volume is needed. Default: anywhere. */
  readonly node?: Node | undefined
}

/** The volume kept for the claim, else the smallest free one that suits. */
export function findVolume(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
  { onlyKept = false, node }: FindVolumeOptions = {},
): PersistentVolume | undefined {
  const living = volumes.filter((volume) => volume.metadata?.deletionTimestamp === undefined && isOn(volume, node))
  const kept = living.find((volume) => isClaimedBy(volume, claim) && mismatchOf(claim, volume) === undefined)
  if (kept !== undefined || onlyKept) return kept
  const free = living.filter(
    (volume) => volume.spec?.claimRef === undefined && volume.status?.phase === 'Available' && suits(claim, volume),
  )
  return free.toSorted((a, b) => capacityOf(a) - capacityOf(b))[0]
}

function suits(claim: PersistentVolumeClaim, volume: PersistentVolume): boolean {
  const { selector } = claim.spec ?? {}
  return (
    mismatchOf(claim, volume) === undefined &&
    (selector === undefined || matchesSelector(selector, volume.metadata?.labels))
  )
}

/** Whether the volume can be had on a node. */
function isOn({ spec }: PersistentVolume, node: Node | undefined): boolean {
  const required = spec?.nodeAffinity?.required
  if (node === undefined || required === undefined) return true
  const nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution: required }
  return matchesRequired({ spec: { containers: [], affinity: { nodeAffinity } } }, node)
}

function hasModes(claim: PersistentVolumeClaim, volume: PersistentVolume): boolean {
  const modes = volume.spec?.accessModes ?? []
  return (claim.spec?.accessModes ?? []).every((mode) => modes.includes(mode))
}

export function requestOf({ spec }: PersistentVolumeClaim): number {
  return parseQuantity(spec?.resources?.requests?.['storage'] ?? '0') ?? 0
}

export function capacityOf({ spec }: PersistentVolume): number {
  return parseQuantity(spec?.capacity?.['storage'] ?? '0') ?? 0
}
