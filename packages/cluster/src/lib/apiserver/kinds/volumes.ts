import type { PersistentVolume, PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'
import type { StorageClass } from '@fairlead/kube/types/storage-v1'

import { isEqual } from '../metadata.ts'
import { validateClaimUpdate } from './claim-update.ts'
import { defineKind } from './define.ts'
import { forbidden, immutable, notSupported, oneOf, required } from './field-errors.ts'
import { defaultClaimSpec } from './pod-defaults.ts'
import { age, ageColumn, column, nameColumn, wideColumn } from './printing.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

const accessModes = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod']
const shortModes: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
}
const unset = '<unset>'

export const persistentVolumeClaim: KindStrategy = defineKind<PersistentVolumeClaim>({
  create(object) {
    object.status = { phase: 'Pending' }
  },
  default({ spec }) {
    if (spec !== undefined) defaultClaimSpec(spec)
  },
  validate(object, old) {
    const { spec } = object
    if (spec === undefined) return [required('spec')]
    const errors = [
      ...validateAccessModes(spec.accessModes, 'spec'),
      ...(spec.resources?.requests?.['storage'] === undefined ? [required('spec.resources[storage]')] : []),
      ...oneOf('spec.volumeMode', spec.volumeMode, ['Block', 'Filesystem']),
    ]
    return old?.spec === undefined ? errors : [...errors, ...validateClaimUpdate(object, old)]
  },
  columns: [
    nameColumn,
    column('Status'),
    column('Volume'),
    column('Capacity'),
    column('Access Modes'),
    column('StorageClass'),
    column('VolumeAttributesClass'),
    ageColumn,
    wideColumn('VolumeMode'),
  ],
  row({ metadata, spec, status }, now) {
    const isBound = (spec?.volumeName ?? '') !== ''
    return [
      metadata.name,
      metadata.deletionTimestamp === undefined ? (status?.phase ?? '') : 'Terminating',
      spec?.volumeName ?? '',
      isBound ? (status?.capacity?.['storage'] ?? '') : '',
      isBound ? formatModes(status?.accessModes) : '',
      spec?.storageClassName ?? '',
      spec?.volumeAttributesClassName ?? unset,
      age(metadata.creationTimestamp, now),
      spec?.volumeMode ?? unset,
    ]
  },
})

export const persistentVolume: KindStrategy = defineKind<PersistentVolume>({
  create(object) {
    object.status = { phase: 'Pending' }
  },
  default({ spec }) {
    if (spec === undefined) return
    spec.persistentVolumeReclaimPolicy ??= 'Retain'
    spec.volumeMode ??= 'Filesystem'
    if (spec.hostPath !== undefined) spec.hostPath.type ??= ''
  },
  validate({ spec }) {
    if (spec === undefined) return [required('spec')]
    return [
      ...validateAccessModes(spec.accessModes, 'spec'),
      ...(spec.capacity?.['storage'] === undefined ? [required('spec.capacity')] : []),
      ...oneOf('spec.persistentVolumeReclaimPolicy', spec.persistentVolumeReclaimPolicy, [
        'Delete',
        'Recycle',
        'Retain',
      ]),
    ]
  },
  columns: [
    nameColumn,
    column('Capacity'),
    column('Access Modes'),
    column('Reclaim Policy'),
    column('Status'),
    column('Claim'),
    column('StorageClass'),
    column('VolumeAttributesClass'),
    column('Reason'),
    ageColumn,
    wideColumn('VolumeMode'),
  ],
  row({ metadata, spec, status }, now) {
    const claim = spec?.claimRef
    return [
      metadata.name,
      spec?.capacity?.['storage'] ?? '',
      formatModes(spec?.accessModes),
      spec?.persistentVolumeReclaimPolicy ?? '',
      metadata.deletionTimestamp === undefined ? (status?.phase ?? '') : 'Terminating',
      claim === undefined ? '' : `${claim.namespace}/${claim.name}`,
      spec?.storageClassName ?? '',
      spec?.volumeAttributesClassName ?? unset,
      status?.reason ?? '',
      age(metadata.creationTimestamp, now),
      spec?.volumeMode ?? unset,
    ]
  },
})

const defaultClass = 'storageclass.kubernetes.io/is-default-class'

export const storageClass: KindStrategy = defineKind<StorageClass>({
  default(object) {
    object.reclaimPolicy ??= 'Delete'
    object.volumeBindingMode ??= 'Immediate'
  },
  validate(object, old) {
    const errors = [
      ...(object.provisioner === '' ? [required('provisioner')] : []),
      ...oneOf('reclaimPolicy', object.reclaimPolicy, ['Delete', 'Retain']),
      ...oneOf('volumeBindingMode', object.volumeBindingMode, ['Immediate', 'WaitForFirstConsumer']),
    ]
    if (old === undefined) return errors
    if (!isEqual(object.parameters ?? {}, old.parameters ?? {})) {
      errors.push(forbidden('parameters', 'updates to parameters are forbidden.'))
    }
    if (object.provisioner !== old.provisioner) {
      errors.push(forbidden('provisioner', 'updates to provisioner are forbidden.'))
    }
    return [
      ...errors,
      ...immutable('volumeBindingMode', object.volumeBindingMode, object.volumeBindingMode === old.volumeBindingMode),
    ]
  },
  columns: [
    nameColumn,
    column('Provisioner'),
    column('ReclaimPolicy'),
    column('VolumeBindingMode'),
    column('AllowVolumeExpansion'),
    ageColumn,
  ],
  row(object, now) {
    const { metadata } = object
    const isDefault = metadata.annotations?.[defaultClass] === 'true'
    return [
      isDefault ? `${metadata.name} (default)` : metadata.name,
      object.provisioner,
      object.reclaimPolicy ?? 'Delete',
      object.volumeBindingMode ?? 'Immediate',
      object.allowVolumeExpansion ?? false,
      age(metadata.creationTimestamp, now),
    ]
  },
})

function validateAccessModes(modes: readonly string[] | undefined, path: string): FieldError[] {
  if (modes === undefined || modes.length === 0)
    return [required(`${path}.accessModes`, 'at least 1 access mode is required')]
  return modes.flatMap((mode) =>
    accessModes.includes(mode) ? [] : [notSupported(`${path}.accessModes`, mode, accessModes)],
  )
}

function formatModes(modes: readonly string[] | undefined): string {
  const order = Object.keys(shortModes)
  return order
    .filter((mode) => modes?.includes(mode) === true)
    .map((mode) => shortModes[mode])
    .join(',')
}
