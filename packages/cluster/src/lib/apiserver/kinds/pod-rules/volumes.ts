import type {
  DownwardAPIVolumeFile,
  EphemeralVolumeSource,
  HostPathVolumeSource,
  KeyToPath,
  PodSpec,
  ProjectedVolumeSource,
  Volume,
  VolumeProjection,
} from '@fairlead/kube/types/core-v1'
import { parseQuantity } from '@fairlead/kube/types'

import type { FieldError } from '../../status.ts'
import { validateClaim } from '../claim-rules.ts'
import { duplicate, forbidden, invalid, notSupported, oneOf, required } from '../field-errors.ts'
import { csiDriverName, dnsLabel } from '../names.ts'
import { fieldsOfVolumes, validateContainerField, validateFieldReference } from './field-references.ts'
import { filePath, withoutBacksteps } from './paths.ts'
import { validateNetworkSource } from './network-volumes.ts'

/** Kinds of volumes in the order in which upstream looks at them: the first is judged, others are too many. */
const order: readonly string[] = [
  'emptyDir',
  'hostPath',
  'gitRepo',
  'gcePersistentDisk',
  'awsElasticBlockStore',
  'secret',
  'nfs',
  'iscsi',
  'glusterfs',
  'persistentVolumeClaim',
  'rbd',
  'cinder',
  'cephfs',
  'flocker',
  'flexVolume',
  'downwardAPI',
  'fc',
  'azureFile',
  'configMap',
  'azureDisk',
  'vsphereVolume',
  'quobyte',
  'photonPersistentDisk',
  'portworxVolume',
  'scaleIO',
  'projected',
  'storageos',
  'csi',
  'ephemeral',
  'image',
]

/** Volumes of a pod; only in a pod is it known that it has an account whose tokens may be written into one. */
export function validateVolumes(
  volumes: readonly Volume[],
  spec: PodSpec,
  place: 'pod' | 'template',
  path: string,
  errors: FieldError[],
): void {
  const seen = new Set<string>()
  volumes.forEach((volume, index) => {
    const { name } = volume
    const field = `${path}[${index}]`
    if (name === '') errors.push(required(`${field}.name`))
    else if (seen.has(name)) errors.push(duplicate(`${field}.name`, name))
    else for (const error of dnsLabel(`${field}.name`, name)) errors.push(error)
    seen.add(name)
    validateVolume(volume, field, errors)
    if (place === 'pod' && (spec.serviceAccountName ?? '') === '') refuseTokens(volume, field, errors)
  })
}

function refuseTokens({ projected }: Volume, path: string, errors: FieldError[]): void {
  projected?.sources?.forEach(({ serviceAccountToken }, index) => {
    if (serviceAccountToken === undefined) return
    const field = `${path}.projected.sources[${index}].serviceAccountToken`
    errors.push(forbidden(field, 'must not be specified when serviceAccountName is not set'))
  })
}

function validateVolume(volume: Volume, path: string, errors: FieldError[]): void {
  const kinds = Object.keys(volume).filter((key) => key !== 'name' && volume[key as keyof Volume] !== undefined)
  if (kinds.length > 1) {
    const [first, ...more] = order.filter((kind) => kinds.includes(kind))
    for (const kind of more) errors.push(forbidden(`${path}.${kind}`, 'may not specify more than 1 volume type'))
    const { [first as 'emptyDir']: source } = volume
    validateSource({ name: volume.name, [first ?? '']: source }, path, errors)
  } else if (kinds.length === 0) errors.push(required(path, 'must specify a volume type'))
  else validateSource(volume, path, errors)
}

function validateSource(volume: Volume, path: string, errors: FieldError[]): void {
  const { configMap, secret, hostPath, emptyDir, projected, downwardAPI, ephemeral, csi, image } = volume
  if ((parseQuantity(emptyDir?.sizeLimit ?? '0') ?? 0) < 0) {
    errors.push(forbidden(`${path}.emptyDir.sizeLimit`, 'SizeLimit field must be a valid resource quantity'))
  }
  if (hostPath !== undefined) validateHostPath(hostPath, `${path}.hostPath`, errors)
  if (configMap !== undefined) {
    if ((configMap.name ?? '') === '') errors.push(required(`${path}.configMap.name`))
    validateFiles(configMap, `${path}.configMap`, errors)
  }
  if (secret !== undefined) {
    if ((secret.secretName ?? '') === '') errors.push(required(`${path}.secret.secretName`))
    validateFiles(secret, `${path}.secret`, errors)
  }
  if (downwardAPI !== undefined) {
    validateMode(downwardAPI.defaultMode, `${path}.downwardAPI.defaultMode`, errors)
    for (const file of downwardAPI.items ?? []) validateDownward(file, `${path}.downwardAPI`, errors)
  }
  if (projected !== undefined) validateProjected(projected, `${path}.projected`, errors)
  if (volume.persistentVolumeClaim?.claimName === '') errors.push(required(`${path}.persistentVolumeClaim.claimName`))
  if (ephemeral !== undefined) validateEphemeral(ephemeral, `${path}.ephemeral`, errors)
  if (csi !== undefined) {
    errors.push(...csiDriverName(`${path}.csi.driver`, csi.driver))
    const secret = csi.nodePublishSecretRef
    if (secret !== undefined && (secret.name ?? '') === '')
      errors.push(required(`${path}.csi.nodePublishSecretRef.name`))
  }
  if (image !== undefined) {
    if ((image.reference ?? '') === '') errors.push(required(`${path}.image.reference`))
    errors.push(...oneOf(`${path}.image.pullPolicy`, image.pullPolicy, ['Always', 'IfNotPresent', 'Never']))
  }
  validateNetworkSource(volume, path, errors)
}

const hostPathTypes = [
  '',
  'BlockDevice',
  'CharDevice',
  'Directory',
  'DirectoryOrCreate',
  'File',
  'FileOrCreate',
  'Socket',
]

function validateHostPath({ path: place, type = '' }: HostPathVolumeSource, path: string, errors: FieldError[]): void {
  if (place === '') {
    errors.push(required(`${path}.path`))
    return
  }
  errors.push(...withoutBacksteps(`${path}.path`, place))
  if (!hostPathTypes.includes(type)) errors.push(notSupported(`${path}.type`, type, hostPathTypes))
}

interface Files {
  items?: readonly KeyToPath[] | undefined
  defaultMode?: number | undefined
}

function validateFiles({ items, defaultMode }: Files, path: string, errors: FieldError[]): void {
  validateMode(defaultMode, `${path}.defaultMode`, errors)
  items?.forEach(({ key, path: file, mode }, index) => {
    const place = `${path}.items[${index}]`
    if (key === '') errors.push(required(`${place}.key`))
    if (file === '') errors.push(required(`${place}.path`))
    errors.push(...filePath(`${place}.path`, file))
    validateMode(mode, `${place}.mode`, errors)
  })
}

function validateMode(mode: number | undefined, field: string, errors: FieldError[]): void {
  if (mode === undefined || (mode >= 0 && mode <= 0o777)) return
  errors.push(invalid(field, mode, 'must be a number between 0 and 0777 (octal), both inclusive'))
}

/** Upstream tells these of the list, not of the entry. */
function validateDownward(file: DownwardAPIVolumeFile, path: string, errors: FieldError[]): void {
  const { fieldRef, resourceFieldRef, mode } = file
  if (file.path === '') errors.push(required(`${path}.path`))
  errors.push(...filePath(`${path}.path`, file.path))
  if (fieldRef !== undefined) {
    validateFieldReference(fieldRef, fieldsOfVolumes, `${path}.fieldRef`, errors)
    if (resourceFieldRef !== undefined) {
      errors.push(invalid(path, 'resource', 'fieldRef and resourceFieldRef can not be specified simultaneously'))
    }
  } else if (resourceFieldRef === undefined) {
    errors.push(required(path, 'one of fieldRef and resourceFieldRef is required'))
  } else validateContainerField(resourceFieldRef, 'volume', `${path}.resourceFieldRef`, errors)
  validateMode(mode, `${path}.mode`, errors)
}

function validateProjected({ sources = [], defaultMode }: ProjectedVolumeSource, path: string, errors: FieldError[]) {
  validateMode(defaultMode, `${path}.defaultMode`, errors)
  const taken = new Set<string>()
  sources.forEach((source, index) => validateProjection(source, `${path}.sources[${index}]`, path, taken, errors))
}

const shortestToken = 600
const longestToken = 2 ** 32

function validateProjection(
  source: VolumeProjection,
  path: string,
  list: string,
  taken: Set<string>,
  errors: FieldError[],
): void {
  const { secret, configMap, downwardAPI, serviceAccountToken: token } = source
  const given = Object.values(source).filter((each) => each !== undefined).length
  for (let extra = 1; extra < given; extra += 1) {
    errors.push(forbidden(path, 'may not specify more than 1 volume type per source'))
  }
  function take(file: string, told: string): void {
    if (file === '') return
    if (taken.has(file)) errors.push(invalid(list, told, 'conflicting duplicate paths'))
    taken.add(file)
  }
  for (const [key, map] of [
    ['secret', secret],
    ['configMap', configMap],
  ] as const) {
    if (map === undefined) continue
    if ((map.name ?? '') === '') errors.push(required(`${path}.${key}.name`))
    validateFiles({ items: map.items }, `${path}.${key}`, errors)
    for (const item of map.items ?? []) take(item.path, map.name ?? '')
  }
  for (const file of downwardAPI?.items ?? []) {
    validateDownward(file, `${path}.downwardAPI`, errors)
    take(file.path, file.path)
  }
  if (token === undefined) return
  const field = `${path}.serviceAccountToken.expirationSeconds`
  const { expirationSeconds: seconds = shortestToken } = token
  if (seconds < shortestToken) errors.push(invalid(field, seconds, 'may not specify a duration less than 10 minutes'))
  if (seconds > longestToken) {
    errors.push(invalid(field, seconds, 'may not specify a duration larger than 2^32 seconds'))
  }
  if (token.path === '') errors.push(required(`${list}.path`))
  else errors.push(...filePath(`${list}.path`, token.path))
  take(token.path, token.path)
}

function validateEphemeral({ volumeClaimTemplate }: EphemeralVolumeSource, path: string, errors: FieldError[]): void {
  const field = `${path}.volumeClaimTemplate`
  if (volumeClaimTemplate === undefined) {
    errors.push(required(field))
    return
  }
  const { name = '' } = volumeClaimTemplate.metadata ?? {}
  if (name !== '') errors.push(forbidden(`${field}.metadata.name`, 'cannot be set'))
  for (const error of validateClaim(volumeClaimTemplate.spec)) {
    errors.push({ ...error, field: `${field}.${error.field}` })
  }
}
