import type { Container, Volume, VolumeDevice, VolumeMount } from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../../status.ts'
import { forbidden, invalid, notFound, notSupported, required } from '../field-errors.ts'
import { descendingPath } from './paths.ts'

const propagations = ['Bidirectional', 'HostToContainer', 'None']
const readOnlyModes = ['Disabled', 'Enabled', 'IfPossible']

/** Where a container has its volumes: as files and as devices, never as both. */
export function validateMounts(
  container: Container,
  volumes: readonly Volume[],
  path: string,
  errors: FieldError[],
): void {
  const { volumeMounts = [], volumeDevices = [] } = container
  const places = new Set<string>()
  volumeMounts.forEach((mount, index) => {
    const place = `${path}.volumeMounts[${index}]`
    validatePlace(mount, volumes, places, place, errors)
    if (volumeDevices.length > 0) validateOverlap(mount, volumeDevices, place, errors)
    validateOptions(mount, container, place, `${path}.volumeMounts`, errors)
  })
  if (volumeDevices.length > 0) validateDevices(volumeDevices, volumeMounts, volumes, path, errors)
}

function validatePlace(
  { name, mountPath }: VolumeMount,
  volumes: readonly Volume[],
  places: Set<string>,
  path: string,
  errors: FieldError[],
): void {
  if (name === '') errors.push(required(`${path}.name`))
  if (!volumes.some((volume) => volume.name === name)) errors.push(notFound(`${path}.name`, name))
  if (mountPath === '') errors.push(required(`${path}.mountPath`))
  if (places.has(mountPath)) errors.push(invalid(`${path}.mountPath`, mountPath, 'must be unique'))
  places.add(mountPath)
}

function validateOverlap(
  { name, mountPath }: VolumeMount,
  devices: readonly VolumeDevice[],
  path: string,
  errors: FieldError[],
): void {
  if (devices.some((device) => device.name === name)) {
    errors.push(invalid(`${path}.name`, name, 'must not already exist in volumeDevices'))
  }
  if (devices.some(({ devicePath }) => devicePath === mountPath)) {
    errors.push(invalid(`${path}.mountPath`, mountPath, 'must not already exist as a path in volumeDevices'))
  }
}

/** Upstream tells most of these of the list (`list`), not of the entry. */
function validateOptions(
  mount: VolumeMount,
  { securityContext }: Container,
  path: string,
  list: string,
  errors: FieldError[],
): void {
  const { subPath = '', subPathExpr = '', mountPropagation, recursiveReadOnly } = mount
  if (subPath !== '') errors.push(...descendingPath(`${list}.subPath`, subPath))
  if (subPathExpr !== '') {
    if (subPath !== '') {
      errors.push(invalid(`${path}.subPathExpr`, subPathExpr, 'subPathExpr and subPath are mutually exclusive'))
    }
    errors.push(...descendingPath(`${list}.subPathExpr`, subPathExpr))
  }
  if (mountPropagation !== undefined) {
    const field = `${list}.mountPropagation`
    if (!propagations.includes(mountPropagation)) errors.push(notSupported(field, mountPropagation, propagations))
    if (mountPropagation === 'Bidirectional' && securityContext?.privileged !== true) {
      const why = 'Bidirectional mount propagation is available only to privileged containers'
      errors.push(forbidden(field, why))
    }
  }
  if (recursiveReadOnly !== undefined) validateReadOnly(mount, `${list}.recursiveReadOnly`, errors)
}

function validateReadOnly(mount: VolumeMount, field: string, errors: FieldError[]): void {
  const { recursiveReadOnly = '', readOnly = false, mountPropagation = 'None' } = mount
  if (!readOnlyModes.includes(recursiveReadOnly)) {
    errors.push(notSupported(field, recursiveReadOnly, readOnlyModes))
    return
  }
  if (recursiveReadOnly === 'Disabled') return
  if (!readOnly) errors.push(forbidden(field, 'may only be specified when readOnly is true'))
  if (mountPropagation !== 'None') {
    errors.push(forbidden(field, 'may only be specified when mountPropagation is None or not specified'))
  }
}

function validateDevices(
  devices: readonly VolumeDevice[],
  mounts: readonly VolumeMount[],
  volumes: readonly Volume[],
  path: string,
  errors: FieldError[],
): void {
  const names = new Set<string>()
  const paths = new Set<string>()
  devices.forEach((device, index) => {
    const place = `${path}.volumeDevices[${index}]`
    const { name, devicePath } = device
    validateDevice(device, volumes, place, errors)
    if (names.has(name)) errors.push(invalid(`${place}.name`, name, 'must be unique'))
    if (paths.has(devicePath)) errors.push(invalid(`${place}.devicePath`, devicePath, 'must be unique'))
    if (mounts.some((mount) => mount.name === name)) {
      errors.push(invalid(`${place}.name`, name, 'must not already exist in volumeMounts'))
    }
    if (mounts.some(({ mountPath }) => mountPath === devicePath)) {
      errors.push(invalid(`${place}.devicePath`, devicePath, 'must not already exist as a path in volumeMounts'))
    }
    if (name !== '') names.add(name)
    if (!devicePath.split('/').includes('..')) paths.add(devicePath)
  })
}

function validateDevice(
  { name, devicePath }: VolumeDevice,
  volumes: readonly Volume[],
  path: string,
  errors: FieldError[],
): void {
  const volume = volumes.find((each) => each.name === name)
  if (name === '') errors.push(required(`${path}.name`))
  if (volume === undefined) errors.push(notFound(`${path}.name`, name))
  else if (volume.persistentVolumeClaim === undefined && volume.ephemeral === undefined) {
    const why = 'can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode'
    errors.push(invalid(`${path}.name`, name, why))
  }
  if (devicePath === '') errors.push(required(`${path}.devicePath`))
  if (devicePath.split('/').includes('..')) {
    errors.push(invalid(`${path}.devicePath`, devicePath, "can not contain backsteps ('..')"))
  }
}
