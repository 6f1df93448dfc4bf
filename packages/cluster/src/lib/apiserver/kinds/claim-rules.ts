import { parseQuantity } from '@fairlead/kube/types'
import type { PersistentVolumeClaimSpec, TypedObjectReference } from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../status.ts'
import { invalid, oneOf, required } from './field-errors.ts'
import { dnsLabel, dnsSubdomain } from './names.ts'
import { validateAccessModes } from './persistent-volume-rules.ts'
import { validateSelector } from './selectors.ts'

const snapshots = 'snapshot.storage.k8s.io'

/** Upstream drops a `dataSource` that is neither a claim nor a snapshot: only `dataSourceRef` may name others. */
export function dropUnknownSource(spec: PersistentVolumeClaimSpec): void {
  const { kind = '', apiGroup = '' } = spec.dataSource ?? {}
  const isClaim = kind === 'PersistentVolumeClaim' && apiGroup === ''
  const isSnapshot = kind === 'VolumeSnapshot' && apiGroup === snapshots
  if (!isClaim && !isSnapshot) delete spec.dataSource
}

/** What is wrong with a claim. */
export function validateClaim(spec: PersistentVolumeClaimSpec): FieldError[] {
  const {
    selector,
    storageClassName = '',
    volumeAttributesClassName: attributes = '',
    dataSource,
    dataSourceRef,
  } = spec
  return [
    ...validateAccessModes(spec.accessModes ?? [], 'spec.accessModes', 'at least 1 access mode is required'),
    ...(selector === undefined ? [] : validateSelector(selector, 'spec.selector')),
    ...validateSize(spec.resources?.requests?.['storage']),
    ...(storageClassName === '' ? [] : dnsSubdomain('spec.storageClassName', storageClassName)),
    ...oneOf('spec.volumeMode', spec.volumeMode, ['Block', 'Filesystem']),
    ...(dataSource === undefined ? [] : validateSource(dataSource, 'spec.dataSource')),
    ...(dataSourceRef === undefined ? [] : validateSource(dataSourceRef, 'spec.dataSourceRef')),
    ...(attributes === '' ? [] : dnsSubdomain('spec.volumeAttributesClassName', attributes)),
  ]
}

function validateSize(size: string | undefined): FieldError[] {
  const field = 'spec.resources[storage]'
  if (size === undefined) return [required(field)]
  return (parseQuantity(size) ?? 1) > 0 ? [] : [invalid(field, size, 'must be greater than zero')]
}

function validateSource({ name, kind, apiGroup = '', namespace = '' }: TypedObjectReference, path: string) {
  const why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
  return [
    ...(name === '' ? [required(`${path}.name`)] : []),
    ...(kind === '' ? [required(`${path}.kind`)] : []),
    ...(apiGroup === '' && kind !== 'PersistentVolumeClaim' ? [invalid(path, kind, why)] : []),
    ...(apiGroup === '' ? [] : dnsSubdomain(`${path}.apiGroup`, apiGroup)),
    ...(namespace === '' ? [] : dnsLabel(`${path}.namespace`, namespace)),
  ]
}
