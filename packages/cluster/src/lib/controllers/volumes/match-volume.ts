import { parseQuantity } from '@fairlead/kube/types'
import type { PersistentVolume, PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'

import { matchesSelector } from '../../label-selector.ts'

const oldClassAnnotation = 'volume.beta.kubernetes.io/storage-class'

/** The class a volume or claim names; empty for none. */
export function classOf({ metadata, spec }: PersistentVolume | PersistentVolumeClaim): string {
  return metadata?.annotations?.[oldClassAnnotation] ?? spec?.storageClassName ?? ''
}

/** Whether the volume is, or is kept for, this claim. */
export function isClaimedBy({ spec }: PersistentVolume, { metadata }: PersistentVolumeClaim): boolean {
  const claim = spec?.claimRef
  if (claim === undefined || claim.name !== metadata?.name || claim.namespace !== metadata?.namespace) return false
  return (claim.uid ?? '') === '' || claim.uid === metadata?.uid
}

/** What keeps a claim from a volume it names; undefined when nothing does. */
export function mismatchOf(claim: PersistentVolumeClaim, volume: PersistentVolume): string | undefined {
  if (capacityOf(volume) < requestOf(claim)) return 'requested PV is too small'
  if (classOf(claim) !== classOf(volume)) return 'storageClassName does not match'
  if ((claim.spec?.volumeMode ?? 'Filesystem') !== (volume.spec?.volumeMode ?? 'Filesystem')) {
    return 'incompatible volumeMode'
  }
  return hasModes(claim, volume) ? undefined : 'incompatible accessMode'
}

/** The volume kept for the claim, else the smallest free one that suits; `onlyKept` leaves the free ones alone. */
export function findVolume(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
  { onlyKept = false }: { readonly onlyKept?: boolean } = {},
): PersistentVolume | undefined {
  const living = volumes.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
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
