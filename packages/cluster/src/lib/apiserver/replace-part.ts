import type { KubeObject, ObjectMeta } from '@fairlead/kube/types'
import type { CertificateSigningRequest } from '@fairlead/kube/types/certificates-v1'
import type { Namespace, Pod } from '@fairlead/kube/types/core-v1'

import { stampConditions } from './kinds/certificates.ts'
import { keepIdentity } from './metadata.ts'
import { replaceResources } from './pod-resize.ts'
import type { Resource } from './resource.ts'

/** What of an object a write to a subresource changes. */
export type Part = 'status' | 'finalize' | 'binding' | 'approval' | 'ephemeralcontainers' | 'resize'

type Ruled = Pick<Resource, 'info' | 'strategy' | 'custom'>

/** Makes `object` what a write to a subresource leaves: its part as asked, some of the metadata, and all else as it was. */
export function replacePart(stored: Ruled, part: Part, object: KubeObject, current: KubeObject): void {
  const asked: KubeObject = { ...object }
  for (const key of Object.keys(object)) delete object[key]
  // Nothing below is changed in place: what stays may be shared.
  Object.assign(object, current, { metadata: metadataAfter(stored, part, asked, current) })
  if (part === 'binding') {
    object['spec'] = asked['spec']
    object['status'] = asked['status']
  }
  if (part === 'status') {
    if (asked['status'] === undefined) delete object['status']
    else object['status'] = asked['status']
    stored.strategy.updateStatus?.(object, current)
  }
  if (part === 'ephemeralcontainers') {
    const { ephemeralContainers = [] } = (asked as KubeObject & Pod).spec ?? {}
    // Defaults are written into it, and what is there may be shared.
    object['spec'] = structuredClone({ ...(current as KubeObject & Pod).spec, ephemeralContainers })
    stored.strategy.default?.(object)
  }
  if (part === 'resize') {
    object['spec'] = structuredClone(replaceResources(asked as KubeObject & Pod, current as KubeObject & Pod))
    stored.strategy.default?.(object)
  }
  if (part === 'approval') {
    const { conditions = [] } = (asked as KubeObject & CertificateSigningRequest).status ?? {}
    const before = (current as KubeObject & CertificateSigningRequest).status
    object['status'] = { ...before, conditions: stampConditions(conditions, before?.conditions ?? []) }
  }
  if (part === 'finalize') {
    const namespace = object as KubeObject & Namespace
    namespace.spec = { ...namespace.spec, finalizers: (asked as KubeObject & Namespace).spec?.finalizers ?? [] }
  }
}

// Upstream's strategies for the status of these kinds put all of the metadata back; those of all others let labels,
// annotations, finalizers and owners be written with the status.
const statusOnly = new Set([
  'APIService',
  'FlowSchema',
  'PriorityLevelConfiguration',
  'ResourceClaim',
  'ServiceCIDR',
  'ValidatingAdmissionPolicy',
  'VolumeAttachment',
])

function metadataAfter(stored: Ruled, part: Part, asked: KubeObject, current: KubeObject): ObjectMeta {
  const { kind } = stored.info
  const kept = { ...current.metadata }
  const isWritten = part === 'status' || part === 'approval' || part === 'finalize'
  if (!isWritten || stored.custom !== undefined || (part === 'status' && statusOnly.has(kind))) return kept
  const written: KubeObject = { ...asked, metadata: { ...asked.metadata } }
  if (kind === 'Deployment') written.metadata.labels = kept.labels
  if (kind === 'Pod') written.metadata.ownerReferences = kept.ownerReferences
  keepIdentity(written, current)
  return written.metadata
}
