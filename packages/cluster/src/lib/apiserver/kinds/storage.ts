import { parseQuantity } from '@fairlead/kube/types'
import type {
  CSIDriver,
  CSINode,
  CSINodeDriver,
  CSIStorageCapacity,
  TokenRequest,
  VolumeAttachment,
  VolumeAttributesClass,
  VolumeError,
} from '@fairlead/kube/types/storage-v1'

import { isEqual } from '../metadata.ts'
import type { FieldError } from '../status.ts'
import { defineRules } from './define.ts'
import type { Rules } from './define.ts'
import {
  duplicate,
  forbidden,
  immutable,
  invalid,
  notSupported,
  required,
  tooLong,
  unsupported,
} from './field-errors.ts'
import { csiDriverName, dnsSubdomain, qualifiedName } from './names.ts'
import { validatePersistentVolumeSpec } from './persistent-volume-rules.ts'
import { validateSelector } from './selectors.ts'

const mostParameters = 512
const mostParameterBytes = 256 * 1024
const mostMessageBytes = 1024

export const csiDriver: Rules = defineRules<CSIDriver>({
  default({ spec }) {
    spec.attachRequired ??= true
    spec.podInfoOnMount ??= false
    spec.storageCapacity ??= false
    spec.fsGroupPolicy ??= 'ReadWriteOnceWithFSType'
    if ((spec.volumeLifecycleModes ?? []).length === 0) spec.volumeLifecycleModes = ['Persistent']
    spec.requiresRepublish ??= false
    spec.seLinuxMount ??= false
  },
  validate({ spec }, old) {
    const { fsGroupPolicy, nodeAllocatableUpdatePeriodSeconds: period, tokenRequests = [] } = spec
    const errors: FieldError[] = []
    if (fsGroupPolicy !== undefined && !fsGroupPolicies.includes(fsGroupPolicy)) {
      errors.push(notSupported('spec.fsGroupPolicy', fsGroupPolicy, fsGroupPolicies))
    }
    errors.push(...validateTokenRequests(tokenRequests))
    for (const mode of spec.volumeLifecycleModes ?? []) {
      if (!lifecycleModes.includes(mode)) errors.push(unsupported('spec.volumeLifecycleModes', mode, lifecycleModes))
    }
    if (period !== undefined && period < 10) {
      const why = 'must be greater than or equal to 10 seconds'
      errors.push(invalid('spec.nodeAllocatableUpdatePeriodSeconds', period, why))
    }
    if (spec.serviceAccountTokenInSecrets !== undefined && tokenRequests.length === 0) {
      const why = 'serviceAccountTokenInSecrets is set but no tokenRequests are specified'
      errors.push(invalid('spec.serviceAccountTokenInSecrets', spec.serviceAccountTokenInSecrets, why))
    }
    if (old === undefined) return errors
    // The name of the field is upstream's slip; clients may look for it.
    const isSame = spec.attachRequired === old.spec.attachRequired
    const modes = spec.volumeLifecycleModes
    return [
      ...errors,
      ...immutable('spec.attachedRequired', spec.attachRequired, isSame),
      ...immutable('spec.volumeLifecycleModes', modes, isEqual(modes, old.spec.volumeLifecycleModes)),
    ]
  },
})

const fsGroupPolicies = ['File', 'None', 'ReadWriteOnceWithFSType']
const lifecycleModes = ['Persistent', 'Ephemeral']

function validateTokenRequests(requests: readonly TokenRequest[]): FieldError[] {
  const seen = new Set<string>()
  return requests.flatMap(({ audience, expirationSeconds }, index) => {
    const path = `spec.tokenRequests[${index}]`
    if (seen.has(audience)) return [duplicate(`${path}.audience`, audience)]
    seen.add(audience)
    if (expirationSeconds === undefined) return []
    const field = `${path}.expirationSeconds`
    if (expirationSeconds < 600) {
      return [invalid(field, expirationSeconds, 'may not specify a duration less than 10 minutes')]
    }
    if (expirationSeconds <= 2 ** 32) return []
    return [invalid(field, expirationSeconds, 'may not specify a duration larger than 2^32 seconds')]
  })
}

export const csiNode: Rules = defineRules<CSINode>({
  validate({ spec }, old) {
    const errors = spec.drivers.flatMap((driver, index) =>
      validateDriver(driver, `spec.drivers[${index}]`, spec.drivers.slice(0, index)),
    )
    for (const before of old?.spec.drivers ?? []) {
      const now = spec.drivers.find(({ name }) => name === before.name)
      if (now === undefined) continue
      // How many volumes a node takes may change, nothing else.
      const isSame = isEqual({ ...now, allocatable: undefined }, { ...before, allocatable: undefined })
      const { allocatable: _allocatable, ...fixed } = now
      errors.push(...immutable('spec.drivers', fixed, isSame))
    }
    return errors
  },
})

function validateDriver(driver: CSINodeDriver, path: string, others: readonly CSINodeDriver[]): FieldError[] {
  const { name, nodeID, allocatable, topologyKeys = [] } = driver
  const errors = csiDriverName(`${path}.name`, name)
  if (nodeID === '') errors.push(required(`${path}.nodeID`))
  if (nodeID.length > 256) errors.push(invalid(`${path}.nodeID`, nodeID, 'must be 256 characters or less'))
  const count = allocatable?.count
  if (count !== undefined && count < 0) {
    errors.push(invalid(`${path}.allocatable.count`, count, 'must be greater than or equal to 0'))
  }
  if (others.some((other) => other.name === name)) errors.push(duplicate(`${path}.name`, name))
  for (const [index, key] of topologyKeys.entries()) {
    if (key === '') errors.push(required(path))
    if (topologyKeys.indexOf(key) < index) errors.push(duplicate(path, key))
    errors.push(...qualifiedName(path, key))
  }
  return errors
}

export const csiStorageCapacity: Rules = defineRules<CSIStorageCapacity>({
  validate({ nodeTopology, storageClassName, capacity }, old) {
    const errors = [
      ...(nodeTopology === undefined ? [] : validateSelector(nodeTopology, 'nodeTopology')),
      ...dnsSubdomain('storageClassName', storageClassName),
    ]
    if ((parseQuantity(capacity ?? 0) ?? 0) < 0) {
      errors.push(invalid('capacity', capacity, 'must be greater than or equal to 0'))
    }
    if (old === undefined) return errors
    return [
      ...errors,
      ...immutable('nodeTopology', nodeTopology, isEqual(nodeTopology, old.nodeTopology)),
      ...immutable('storageClassName', storageClassName, storageClassName === old.storageClassName),
    ]
  },
})

export const volumeAttachment: Rules = defineRules<VolumeAttachment>({
  validate({ spec, status }, old) {
    const { source } = spec
    const name = source.persistentVolumeName
    return [
      ...csiDriverName('spec.attacher', spec.attacher),
      ...validateSource(source),
      ...dnsSubdomain('spec.nodeName', spec.nodeName),
      ...validateAttachmentMetadata(status?.attachmentMetadata),
      ...validateError(status?.attachError, 'status.attachError'),
      ...validateError(status?.detachError, 'status.detachError'),
      ...(name === undefined ? [] : dnsSubdomain('spec.source.persistentVolumeName', name)),
      ...(old === undefined ? [] : immutable('spec', spec, isEqual(spec, old.spec))),
    ]
  },
})

function validateSource({
  inlineVolumeSpec: inline,
  persistentVolumeName: name,
}: VolumeAttachment['spec']['source']): FieldError[] {
  const field = 'spec.source'
  const why = 'must specify exactly one of inlineVolumeSpec and persistentVolumeName'
  if (inline === undefined && name === undefined) return [required(field, why)]
  if (inline !== undefined && name !== undefined) return [forbidden(field, why)]
  if (name === '') return [required(`${field}.persistentVolumeName`, 'must specify non empty persistentVolumeName')]
  return inline === undefined ? [] : validatePersistentVolumeSpec(inline, `${field}.inlineVolumeSpec`, 'inline')
}

function validateAttachmentMetadata(metadata: Readonly<Record<string, string>> = {}): FieldError[] {
  return bytesOf(metadata) > mostParameterBytes ? [tooLong('status.attachmentMetadata', mostParameterBytes)] : []
}

function validateError(error: VolumeError | undefined, path: string): FieldError[] {
  if (error === undefined) return []
  const { message = '', errorCode = 0 } = error
  const isLong = Buffer.byteLength(message) > mostMessageBytes
  return [
    // Upstream names another limit than it keeps.
    ...(isLong ? [tooLong(`${path}.message`, mostParameterBytes)] : []),
    ...(errorCode < 0 ? [invalid(`${path}.errorCode`, errorCode, 'must be between 0 and 2147483647, inclusive')] : []),
  ]
}

export const volumeAttributesClass: Rules = defineRules<VolumeAttributesClass>({
  validate({ driverName, parameters = {} }, old) {
    const errors: FieldError[] = []
    if (old !== undefined && driverName !== old.driverName) {
      errors.push(forbidden('driverName', 'updates to driverName are forbidden.'))
    }
    if (old !== undefined && !isEqual(parameters, old.parameters ?? {})) {
      errors.push(forbidden('parameters', 'updates to parameters are forbidden.'))
    }
    errors.push(...validateProvisioner('driverName', driverName), ...validateParameters(parameters))
    if (Object.keys(parameters).length === 0) {
      errors.push(required('parameters', 'must contain at least one key/value pair'))
    }
    return errors
  },
})

export function validateProvisioner(field: string, name: string): FieldError[] {
  return name === '' ? [required(field)] : qualifiedName(field, name.toLowerCase())
}

/** Parameters of a class: what the driver makes of them is its own affair. */
export function validateParameters(parameters: Readonly<Record<string, string>>): FieldError[] {
  const field = 'parameters'
  const keys = Object.keys(parameters)
  if (keys.length > mostParameters) return [tooLong(field, mostParameters)]
  const errors = keys.includes('') ? [invalid(field, '', 'field can not be empty.')] : []
  return bytesOf(parameters) > mostParameterBytes ? [...errors, tooLong(field, mostParameterBytes)] : errors
}

function bytesOf(texts: Readonly<Record<string, string>>): number {
  return Object.entries(texts).reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0)
}
