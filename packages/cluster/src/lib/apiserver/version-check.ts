import type { KubeObject } from '@fairlead/kube/types'

import { invalid as invalidField } from './kinds/field-errors.ts'
import type { Resource } from './resource.ts'
import { conflict, invalid } from './status.ts'

/**
 * Kinds whose replacement must name the version it replaces: upstream's strategies say AllowUnconditionalUpdate is false
 * (pkg/registry of Kubernetes 1.36, apiextensions-apiserver, kube-aggregator).
 */
const conditional = new Set([
  'admissionregistration.k8s.io/MutatingAdmissionPolicy',
  'admissionregistration.k8s.io/MutatingAdmissionPolicyBinding',
  'admissionregistration.k8s.io/MutatingWebhookConfiguration',
  'admissionregistration.k8s.io/ValidatingAdmissionPolicy',
  'admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding',
  'admissionregistration.k8s.io/ValidatingWebhookConfiguration',
  'apiextensions.k8s.io/CustomResourceDefinition',
  'apiregistration.k8s.io/APIService',
  'certificates.k8s.io/ClusterTrustBundle',
  'certificates.k8s.io/PodCertificateRequest',
  'coordination.k8s.io/Lease',
  'coordination.k8s.io/LeaseCandidate',
  'internal.apiserver.k8s.io/StorageVersion',
  'node.k8s.io/RuntimeClass',
  'policy/PodDisruptionBudget',
  'storage.k8s.io/CSIDriver',
  'storage.k8s.io/CSINode',
  'storage.k8s.io/CSIStorageCapacity',
  'storage.k8s.io/VolumeAttachment',
  'storagemigration.k8s.io/StorageVersionMigration',
])

/** Refuses a write that is meant for another version or another object than `current`, or names none where it must. */
export function checkVersion(resource: Resource, asked: KubeObject, current: KubeObject): void {
  const { info, custom } = resource
  const { name = '' } = current.metadata
  const { resourceVersion = '', uid = '' } = asked.metadata
  // "0" is what Go reads no version as: any will do.
  if (resourceVersion === '' || resourceVersion === '0') {
    if (custom !== undefined || conditional.has(`${info.group}/${info.kind}`)) throw unconditional(resource, name)
  } else if (resourceVersion !== current.metadata.resourceVersion) throw conflict(info, name)
  if (uid !== '' && uid !== current.metadata.uid) {
    throw conflict(info, name, uidMismatch(uid, current.metadata.uid ?? ''))
  }
}

/** Upstream puts the resource where a kind belongs, and clients read it so. */
function unconditional({ info: { group, plural } }: Resource, name: string): Error {
  const error = invalidField('metadata.resourceVersion', 0, 'must be specified for an update')
  return invalid({ group, kind: plural }, name, [error])
}

function uidMismatch(asked: string, found: string): string {
  return `Precondition failed: UID in precondition: ${asked}, UID in object meta: ${found}`
}
