import type { CSIPersistentVolumeSource, PersistentVolumeSpec, SecretReference } from '@fairlead/kube/types/core-v1'
import { parseQuantity } from '@fairlead/kube/types'

import type { FieldError } from '../status.ts'
import { forbidden, invalid, notSupported, required } from './field-errors.ts'
import { csiDriverName, dnsLabel, dnsSubdomain } from './names.ts'

const accessModes = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod']
const policies = ['Delete', 'Recycle', 'Retain']
const volumeModes = ['Block', 'Filesystem']

/** Places of volumes, in the order in which upstream looks at them. */
const sources = [
  'hostPath',
  'gcePersistentDisk',
  'awsElasticBlockStore',
  'glusterfs',
  'flocker',
  'nfs',
  'rbd',
  'quobyte',
  'cephfs',
  'iscsi',
  'cinder',
  'fc',
  'flexVolume',
  'azureFile',
  'vsphereVolume',
  'photonPersistentDisk',
  'portworxVolume',
  'azureDisk',
  'scaleIO',
  'local',
  'storageos',
  'csi',
] as const satisfies readonly (keyof PersistentVolumeSpec)[]

/** What is wrong with a volume: one of its own, or one written into a VolumeAttachment, which may say less. */
export function validatePersistentVolumeSpec(
  spec: PersistentVolumeSpec,
  path: string,
  place: 'object' | 'inline',
): FieldError[] {
  const isInline = place === 'inline'
  return [
    ...(isInline ? validateInline(spec, path) : []),
    ...validateAccessModes(spec.accessModes ?? [], `${path}.accessModes`),
    ...(isInline ? [] : validateCapacity(spec.capacity ?? {}, `${path}.capacity`)),
    ...validatePolicy(spec, path, isInline),
    ...validateAffinity(spec, path, isInline),
    ...validateSources(spec, path),
    ...validateNames(spec, path, isInline),
  ]
}

const inInline = 'in the context of inline volumes'

function validateInline({ claimRef, capacity, csi }: PersistentVolumeSpec, path: string): FieldError[] {
  return [
    ...(claimRef === undefined ? [] : [forbidden(`${path}.claimRef`, `may not be specified ${inInline}`)]),
    ...(Object.keys(capacity ?? {}).length === 0
      ? []
      : [forbidden(`${path}.capacity`, `may not be specified ${inInline}`)]),
    ...(csi === undefined ? [required(`${path}.csi`, `has to be specified ${inInline}`)] : []),
  ]
}

export function validateAccessModes(modes: readonly string[], field: string, missing = ''): FieldError[] {
  if (modes.length === 0) return [required(field, missing)]
  const errors = modes.flatMap((mode) => (accessModes.includes(mode) ? [] : [notSupported(field, mode, accessModes)]))
  const others = modes.some((mode) => mode !== 'ReadWriteOncePod' && accessModes.includes(mode))
  if (!modes.includes('ReadWriteOncePod') || !others) return errors
  return [...errors, forbidden(field, 'may not use ReadWriteOncePod with other access modes')]
}

function validateCapacity(capacity: Readonly<Record<string, string>>, field: string): FieldError[] {
  const names = Object.keys(capacity)
  const errors = names.length === 0 ? [required(field)] : []
  if (capacity['storage'] === undefined || names.length > 1)
    errors.push(notSupported(field, names.length === 0 ? null : capacity, ['storage']))
  for (const [name, amount] of Object.entries(capacity)) {
    if ((parseQuantity(amount) ?? 1) <= 0)
      errors.push(invalid(`${field}[${name}]`, amount, 'must be greater than zero'))
  }
  return errors
}

function validatePolicy(spec: PersistentVolumeSpec, path: string, isInline: boolean): FieldError[] {
  const policy = spec.persistentVolumeReclaimPolicy ?? ''
  const field = `${path}.persistentVolumeReclaimPolicy`
  if (policy === '') return []
  if (isInline) return policy === 'Retain' ? [] : [forbidden(field, `may only be Retain ${inInline}`)]
  return policies.includes(policy) ? [] : [notSupported(field, policy, policies)]
}

function validateAffinity(
  { nodeAffinity, local }: PersistentVolumeSpec,
  path: string,
  isInline: boolean,
): FieldError[] {
  const field = `${path}.nodeAffinity`
  if (nodeAffinity !== undefined && isInline) return [forbidden(field, `may not be specified ${inInline}`)]
  if (nodeAffinity !== undefined && nodeAffinity.required === undefined) {
    return [required(`${field}.required`, 'must specify required node constraints')]
  }
  const terms = nodeAffinity?.required?.nodeSelectorTerms
  if (terms?.length === 0) {
    return [required(`${field}.required.nodeSelectorTerms`, 'must have at least one node selector term')]
  }
  return nodeAffinity === undefined && local !== undefined
    ? [required(field, 'Local volume requires node affinity')]
    : []
}

function validateSources(spec: PersistentVolumeSpec, path: string): FieldError[] {
  const [first, ...more] = sources.filter((source) => spec[source] !== undefined)
  if (first === undefined) return [required(path, 'must specify a volume type')]
  const extra = more.map((name) => forbidden(`${path}.${name}`, 'may not specify more than 1 volume type'))
  const isRootRecycled =
    /^\/+$/.test(spec.hostPath?.path ?? '') && spec.persistentVolumeReclaimPolicy === 'Recycle'
      ? [forbidden(`${path}.persistentVolumeReclaimPolicy`, "may not be 'recycle' for a hostPath mount of '/'")]
      : []
  return [...validateSource(spec, first, `${path}.${first}`), ...extra, ...isRootRecycled]
}

function validateSource(spec: PersistentVolumeSpec, name: (typeof sources)[number], path: string): FieldError[] {
  if (name === 'hostPath' || name === 'local') return validatePath(spec[name]?.path ?? '', `${path}.path`)
  if (name === 'csi') return spec.csi === undefined ? [] : validateCsi(spec.csi, path)
  if (name !== 'nfs') return []
  const { server = '', path: place = '' } = spec.nfs ?? {}
  return [
    ...(server === '' ? [required(`${path}.server`)] : []),
    ...(place === '' ? [required(`${path}.path`)] : []),
    ...(place.startsWith('/') ? [] : [invalid(`${path}.path`, place, 'must be an absolute path')]),
  ]
}

function validatePath(place: string, field: string): FieldError[] {
  if (place === '') return [required(field)]
  return place.split('/').includes('..') ? [invalid(field, place, "must not contain '..'")] : []
}

const secretsOfCsi = [
  'controllerPublishSecretRef',
  'controllerExpandSecretRef',
  'nodePublishSecretRef',
  'nodeExpandSecretRef',
] as const

function validateCsi(csi: CSIPersistentVolumeSource, path: string): FieldError[] {
  return [
    ...csiDriverName(`${path}.driver`, csi.driver),
    ...(csi.volumeHandle === '' ? [required(`${path}.volumeHandle`)] : []),
    ...secretsOfCsi.flatMap((name) => (csi[name] === undefined ? [] : validateSecret(csi[name], `${path}.${name}`))),
  ]
}

function validateSecret({ name = '', namespace = '' }: SecretReference, path: string): FieldError[] {
  return [
    ...(name === '' ? [required(`${path}.name`)] : dnsSubdomain(`${path}.name`, name)),
    ...(namespace === '' ? [required(`${path}.namespace`)] : dnsLabel(`${path}.namespace`, namespace)),
  ]
}

function validateNames(spec: PersistentVolumeSpec, path: string, isInline: boolean): FieldError[] {
  const { storageClassName = '', volumeMode, volumeAttributesClassName: attributes, csi } = spec
  const errors: FieldError[] = []
  if (storageClassName !== '') {
    const field = `${path}.storageClassName`
    if (isInline) errors.push(forbidden(field, `may not be specified ${inInline}`))
    else errors.push(...dnsSubdomain(field, storageClassName))
  }
  if (volumeMode !== undefined) {
    const field = `${path}.volumeMode`
    if (isInline && volumeMode !== 'Filesystem') {
      errors.push(forbidden(field, `may not specify volumeMode other than Filesystem ${inInline}`))
    } else if (!isInline && !volumeModes.includes(volumeMode)) {
      errors.push(notSupported(field, volumeMode, volumeModes))
    }
  }
  if (attributes === undefined || isInline) return errors
  const field = `${path}.volumeAttributesClassName`
  if (attributes === '') errors.push(required(field, 'an empty string is disallowed'))
  else errors.push(...dnsSubdomain(field, attributes))
  const why = 'has to be specified when using volumeAttributesClassName'
  return csi === undefined ? [...errors, required(`${path}.csi`, why)] : errors
}
