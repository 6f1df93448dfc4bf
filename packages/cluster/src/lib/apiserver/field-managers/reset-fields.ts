import type { FieldSet } from '@fairlead/kube/patch'
import type { KindInfo } from '@fairlead/kube/types'

/**
 * Fields a write cannot change, whatever it brings, so that nobody comes to own them by it: the status for writes to the
 * object, everything else for writes to the status. What upstream's kinds do differently stands below.
 */
export function resetFieldsOf(info: KindInfo, subresource: string): FieldSet | undefined {
  const name = `${info.apiVersion} ${info.kind}`
  switch (subresource) {
    case '':
      if (!info.subresources.includes('status')) return undefined
      return name === certificate ? both : status
    case 'status':
      return statusResets.get(name) ?? spec
    case 'approval':
      return { 'f:spec': {}, 'f:status': { 'f:certificate': {} } }
    default:
      return undefined
  }
}

const certificate = 'certificates.k8s.io/v1 CertificateSigningRequest'
const status: FieldSet = { 'f:status': {} }
const spec: FieldSet = { 'f:spec': {} }
const both: FieldSet = { ...spec, ...status }
const withMetadata: FieldSet = { 'f:spec': {}, 'f:metadata': {} }

const statusResets: ReadonlyMap<string, FieldSet> = new Map<string, FieldSet>([
  ['v1 Pod', { 'f:spec': {}, 'f:metadata': { 'f:deletionTimestamp': {}, 'f:ownerReferences': {} } }],
  ['apps/v1 Deployment', { 'f:spec': {}, 'f:metadata': { 'f:labels': {} } }],
  [certificate, { 'f:spec': {}, 'f:status': { 'f:conditions': {} } }],
  ['admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy', withMetadata],
  ['flowcontrol.apiserver.k8s.io/v1 FlowSchema', withMetadata],
  ['flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration', withMetadata],
  ['networking.k8s.io/v1 ServiceCIDR', withMetadata],
  ['resource.k8s.io/v1 ResourceClaim', withMetadata],
  ['storage.k8s.io/v1 VolumeAttachment', withMetadata],
])

/** The status of a custom resource is written with nothing else. */
export const customStatusResets: FieldSet = withMetadata
