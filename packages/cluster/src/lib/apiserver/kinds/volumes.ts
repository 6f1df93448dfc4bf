import type {
  PersistentVolume,
  PersistentVolumeClaim,
  PersistentVolumeSpec,
  TopologySelectorTerm,
} from '@fairlead/kube/types/core-v1'
import type { StorageClass } from '@fairlead/kube/types/storage-v1'

import { isEqual } from '../metadata.ts'
import { validateClaimUpdate } from './claim-update.ts'
import { defineKind } from './define.ts'
import { duplicate, forbidden, immutable, oneOf, required } from './field-errors.ts'
import { labelKey } from './names.ts'
import { dropUnknownSource, validateClaim } from './claim-rules.ts'
import { validatePersistentVolumeSpec } from './persistent-volume-rules.ts'
import { defaultClaimSpec } from './pod-defaults.ts'
import { age, ageColumn, column, nameColumn, wideColumn } from './printing.ts'
import { validateParameters, validateProvisioner } from './storage.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

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
    if (object.spec !== undefined) dropUnknownSource(object.spec)
  },
  default({ spec }) {
    if (spec !== undefined) defaultClaimSpec(spec)
  },
  validate(object, old) {
    const { spec } = object
    if (spec === undefined) return [required('spec')]
    const errors = [...validateClaim(spec)]
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
  validate({ spec }, old) {
    if (spec === undefined) return [required('spec')]
    const errors = validatePersistentVolumeSpec(spec, 'spec', 'object')
    if (old?.spec === undefined) return errors
    if (!isEqual(placeOf(spec, old.spec), placeOf(old.spec, old.spec))) {
      // Upstream adds what differs, in the form Go prints it.
      errors.push(forbidden('spec.persistentvolumesource', 'spec.persistentvolumesource is immutable after creation'))
    }
    errors.push(...immutable('volumeMode', spec.volumeMode, spec.volumeMode === old.spec.volumeMode))
    if (old.spec.volumeAttributesClassName !== undefined && spec.volumeAttributesClassName === undefined) {
      errors.push(forbidden('spec.volumeAttributesClassName', 'update from non-nil value to nil is forbidden'))
    }
    return errors
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

const notPlaces: ReadonlySet<string> = new Set([
  'accessModes',
  'capacity',
  'claimRef',
  'mountOptions',
  'nodeAffinity',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'volumeAttributesClassName',
  'volumeMode',
] satisfies (keyof PersistentVolumeSpec)[])

/** Where a volume is, which never changes; the secret for growing it may be added. */
function placeOf(spec: PersistentVolumeSpec, old: PersistentVolumeSpec): unknown {
  const place = Object.fromEntries(Object.entries(spec).filter(([key]) => !notPlaces.has(key)))
  if (spec.csi === undefined || old.csi?.controllerExpandSecretRef !== undefined) return place
  const { controllerExpandSecretRef: _added, ...csi } = spec.csi
  return { ...place, csi }
}

const defaultClass = 'storageclass.kubernetes.io/is-default-class'

export const storageClass: KindStrategy = defineKind<StorageClass>({
  default(object) {
    object.reclaimPolicy ??= 'Delete'
    object.volumeBindingMode ??= 'Immediate'
  },
  validate(object, old) {
    const { provisioner, parameters = {}, reclaimPolicy, volumeBindingMode } = object
    const errors = [
      ...validateProvisioner('provisioner', provisioner),
      ...validateParameters(parameters),
      ...oneOf('reclaimPolicy', reclaimPolicy, ['Delete', 'Retain']),
      ...oneOf('volumeBindingMode', volumeBindingMode, ['Immediate', 'WaitForFirstConsumer']),
      ...validateTopologies(object.allowedTopologies ?? []),
    ]
    if (old === undefined) return errors
    return [
      ...immutable('parameters', parameters, isEqual(parameters, old.parameters ?? {})),
      ...immutable('provisioner', provisioner, provisioner === old.provisioner),
      ...immutable('reclaimPolicy', reclaimPolicy, reclaimPolicy === old.reclaimPolicy),
      ...immutable('volumeBindingMode', volumeBindingMode, volumeBindingMode === old.volumeBindingMode),
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

function validateTopologies(terms: readonly TopologySelectorTerm[]): FieldError[] {
  return terms.flatMap(({ matchLabelExpressions = [] }, index) => {
    const path = `allowedTopologies[${index}].matchLabelExpressions`
    const errors = matchLabelExpressions.flatMap(({ key, values }, at) => [
      ...(values.length === 0 ? [required(`${path}[${at}].values`)] : []),
      ...values.flatMap((value, place) =>
        values.indexOf(value) < place ? [duplicate(`${path}[${at}].values[${place}]`, value)] : [],
      ),
      ...labelKey(`${path}[${at}].key`, key),
      ...(matchLabelExpressions.findIndex((other) => other.key === key) < at
        ? [duplicate(`${path}[${at}].key`, key)]
        : []),
    ])
    const isRepeated = terms.slice(0, index).some((other) => isEqual(keyed(other), keyed({ matchLabelExpressions })))
    return isRepeated ? [...errors, duplicate(path, '')] : errors
  })
}

function keyed({ matchLabelExpressions = [] }: TopologySelectorTerm): Record<string, readonly string[]> {
  return Object.fromEntries(matchLabelExpressions.map(({ key, values }) => [key, [...new Set(values)].toSorted()]))
}

function formatModes(modes: readonly string[] | undefined): string {
  const order = Object.keys(shortModes)
  return order
    .filter((mode) => modes?.includes(mode) === true)
    .map((mode) => shortModes[mode])
    .join(',')
}
