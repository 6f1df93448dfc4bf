import type {
  DeviceClass,
  DeviceSubRequest,
  ExactDeviceRequest,
  ResourceClaim,
  ResourceClaimSpec,
  ResourceClaimTemplate,
  ResourceSlice,
} from '@fairlead/kube/types/resource-v1'

import { isEqual } from '../../metadata.ts'
import { defineRules } from '../define.ts'
import type { Rules } from '../define.ts'
import { immutable } from '../field-errors.ts'
import { annotationKeys, labels } from '../names.ts'
import { validateClaim, validateClass } from './claim-rules.ts'
import { dropDeallocated, validateClaimStatus } from './claim-status.ts'
import { validateSlice } from './slice-rules.ts'

export const deviceClass: Rules = defineRules<DeviceClass>({
  validate: ({ spec }, old) => validateClass(spec, old?.spec),
})

export const resourceClaim: Rules = defineRules<ResourceClaim>({
  default: ({ spec }) => defaultClaim(spec),
  updateStatus: dropDeallocated,
  validate: ({ spec }, old) =>
    old === undefined ? validateClaim(spec.devices, 'spec.devices') : immutable('spec', spec, isEqual(spec, old.spec)),
  validateStatus: validateClaimStatus,
})

export const resourceClaimTemplate: Rules = defineRules<ResourceClaimTemplate>({
  default({ spec }) {
    spec.metadata ??= {}
    defaultClaim(spec.spec)
  },
  validate: ({ spec }, old) => [
    ...labels('spec.metadata.labels', spec.metadata?.labels),
    ...annotationKeys('spec.metadata.annotations', spec.metadata?.annotations),
    ...validateClaim(spec.spec.devices, 'spec.spec.devices'),
    ...(old === undefined ? [] : immutable('spec', spec, isEqual(spec, old.spec))),
  ],
})

export const resourceSlice: Rules = defineRules<ResourceSlice>({
  create: ({ spec }) => dropDisabled(spec),
  update: ({ spec }) => dropDisabled(spec),
  default({ spec }) {
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
    for (const device of spec.devices ?? []) for (const taint of device.taints ?? []) taint.timeAdded ??= now
  },
  validate: ({ spec }, old) => validateSlice(spec, old?.spec),
})

function defaultClaim(spec: ResourceClaimSpec): void {
  const devices = (spec.devices ??= {})
  for (const { exactly, firstAvailable = [] } of devices.requests ?? []) {
    for (const request of [...firstAvailable, ...(exactly === undefined ? [] : [exactly])]) defaultRequest(request)
  }
}

function defaultRequest(request: ExactDeviceRequest | DeviceSubRequest): void {
  for (const toleration of request.tolerations ?? []) toleration.operator ??= 'Equal'
  if ((request.allocationMode ?? '') === '') request.allocationMode = 'ExactCount'
  if (request.allocationMode === 'ExactCount' && (request.count ?? 0) === 0) request.count = 1
}

/** Behind feature gates that are off in 1.36: attributes that are lists, and what of a device counts as the node's. */
function dropDisabled({ devices = [] }: ResourceSlice['spec']): void {
  for (const device of devices) {
    delete device.nodeAllocatableResourceMappings
    for (const attribute of Object.values(device.attributes ?? {})) {
      delete attribute.bools
      delete attribute.ints
      delete attribute.strings
      delete attribute.versions
    }
  }
}
