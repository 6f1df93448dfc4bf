import { fieldsOf } from '@fairlead/kube/types'
import type { KindInfo, KubeObject } from '@fairlead/kube/types'

import { apiService } from '../aggregation/api-service-kind.ts'
import { configurationKinds } from '../admission/configuration-kinds.ts'
import { tables } from './columns.ts'
import { clusterRole, clusterRoleBinding, role, roleBinding } from './access.ts'
import { certificateSigningRequest } from './certificates.ts'
import { event, eventsEvent, lease, limitRange, namespace, node, resourceQuota } from './cluster.ts'
import { deviceClass, resourceClaim, resourceClaimTemplate, resourceSlice } from './devices/devices.ts'
import { endpoints, endpointSlice } from './endpoints.ts'
import { customResourceDefinition } from '../custom-resources/definition-strategy.ts'
import type { Rules } from './define.ts'
import { ipAddress, serviceCidr } from './addresses.ts'
import { flowSchema, priorityLevel } from './flow-control.ts'
import { cronJob, job } from './jobs.ts'
import { checkQuantities, normalise } from './normalise.ts'
import { pod } from './pod.ts'
import { age, ageColumn, nameColumn } from './printing.ts'
import { horizontalPodAutoscaler, horizontalPodAutoscalerV1, podDisruptionBudget, priorityClass } from './scaling.ts'
import { service } from './service.ts'
import { controllerRevision } from './revision-rules.ts'
import { runtimeClass } from './runtime-class.ts'
import { configMap, secret, serviceAccount } from './settings.ts'
import { csiDriver, csiNode, csiStorageCapacity, volumeAttachment, volumeAttributesClass } from './storage.ts'
import { ingress, ingressClass, networkPolicy } from './traffic.ts'
import { persistentVolume, persistentVolumeClaim, storageClass } from './volumes.ts'
import { daemonSet, deployment, podTemplate, replicaSet, replicationController, statefulSet } from './workloads.ts'
import type { KindStrategy } from '../strategy.ts'

const plain: KindStrategy = {
  columns: [nameColumn, ageColumn],
  row: ({ metadata }, now) => [metadata.name, age(metadata.creationTimestamp, now)],
}

const strategies: ReadonlyMap<string, KindStrategy> = new Map([
  ['v1 Pod', pod],
  ['v1 Service', service],
  ['v1 Endpoints', endpoints],
  ['v1 Namespace', namespace],
  ['v1 Node', node],
  ['v1 ConfigMap', configMap],
  ['v1 Secret', secret],
  ['v1 ServiceAccount', serviceAccount],
  ['v1 Event', event],
  ['v1 ReplicationController', replicationController],
  ['v1 PersistentVolume', persistentVolume],
  ['v1 PersistentVolumeClaim', persistentVolumeClaim],
  ['v1 ResourceQuota', resourceQuota],
  ['v1 LimitRange', limitRange],
  ['apps/v1 Deployment', deployment],
  ['apps/v1 ReplicaSet', replicaSet],
  ['apps/v1 StatefulSet', statefulSet],
  ['apps/v1 DaemonSet', daemonSet],
  ['batch/v1 Job', job],
  ['batch/v1 CronJob', cronJob],
  ['autoscaling/v1 HorizontalPodAutoscaler', horizontalPodAutoscalerV1],
  ['autoscaling/v2 HorizontalPodAutoscaler', horizontalPodAutoscaler],
  ['certificates.k8s.io/v1 CertificateSigningRequest', certificateSigningRequest],
  ['policy/v1 PodDisruptionBudget', podDisruptionBudget],
  ['coordination.k8s.io/v1 Lease', lease],
  ['discovery.k8s.io/v1 EndpointSlice', endpointSlice],
  ['events.k8s.io/v1 Event', eventsEvent],
  ['networking.k8s.io/v1 Ingress', ingress],
  ['networking.k8s.io/v1 IngressClass', ingressClass],
  ['networking.k8s.io/v1 NetworkPolicy', networkPolicy],
  ['rbac.authorization.k8s.io/v1 Role', role],
  ['rbac.authorization.k8s.io/v1 RoleBinding', roleBinding],
  ['rbac.authorization.k8s.io/v1 ClusterRole', clusterRole],
  ['rbac.authorization.k8s.io/v1 ClusterRoleBinding', clusterRoleBinding],
  ['scheduling.k8s.io/v1 PriorityClass', priorityClass],
  ['storage.k8s.io/v1 StorageClass', storageClass],
  ['apiextensions.k8s.io/v1 CustomResourceDefinition', customResourceDefinition],
  ['apiregistration.k8s.io/v1 APIService', apiService],
  ...configurationKinds.map(([kind, strategy]) => [`admissionregistration.k8s.io/v1 ${kind}`, strategy] as const),
])

/** Kinds whose columns are in `tables`. */
const rules: ReadonlyMap<string, Rules> = new Map([
  ['v1 PodTemplate', podTemplate],
  ['apps/v1 ControllerRevision', controllerRevision],
  ['flowcontrol.apiserver.k8s.io/v1 FlowSchema', flowSchema],
  ['flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration', priorityLevel],
  ['networking.k8s.io/v1 IPAddress', ipAddress],
  ['networking.k8s.io/v1 ServiceCIDR', serviceCidr],
  ['node.k8s.io/v1 RuntimeClass', runtimeClass],
  ['resource.k8s.io/v1 DeviceClass', deviceClass],
  ['resource.k8s.io/v1 ResourceClaim', resourceClaim],
  ['resource.k8s.io/v1 ResourceClaimTemplate', resourceClaimTemplate],
  ['resource.k8s.io/v1 ResourceSlice', resourceSlice],
  ['storage.k8s.io/v1 CSIDriver', csiDriver],
  ['storage.k8s.io/v1 CSINode', csiNode],
  ['storage.k8s.io/v1 CSIStorageCapacity', csiStorageCapacity],
  ['storage.k8s.io/v1 VolumeAttachment', volumeAttachment],
  ['storage.k8s.io/v1 VolumeAttributesClass', volumeAttributesClass],
])

/**
 * What the API server does differently for a kind. Kinds without an entry of their own get what is true for all:
 * objects normalised before anything else looks at them, quantities that are quantities, a status that only the status subresource changes, and Name and
 * Age for `kubectl get`.
 */
export function strategyOf(kind: KindInfo): KindStrategy {
  const key = `${kind.apiVersion} ${kind.kind}`
  const own = strategies.get(key) ?? { ...(tables.get(key) ?? plain), ...rules.get(key) }
  const hasStatus = kind.subresources.includes('status')
  const status = fieldsOf(kind.definition).get('status')?.ref
  return {
    ...own,
    validate(object, old) {
      const errors = own.validate?.(object, old) ?? []
      return [...errors, ...checkQuantities(kind.definition, object)]
    },
    ...(own.validateStatus === undefined ? {} : { validateStatus: withQuantities(own, status) }),
    create(object) {
      normalise(kind.definition, object)
      // A node registers itself with its status; everything else starts with an empty one, which Go does not leave out.
      if (hasStatus && own !== node) object['status'] = {}
      own.create?.(object)
    },
    update(object, old) {
      normalise(kind.definition, object)
      if (hasStatus) keepStatus(object, old)
      own.update?.(object, old)
    },
    updateStatus(object, old) {
      // Only the status is what the client sent; the rest may be shared with the version before.
      if (status !== undefined && isObject(object['status'])) normalise(status, object['status'])
      own.updateStatus?.(object, old)
    },
  }
}

/** Of what is written only the status can hold new quantities. */
function withQuantities(
  own: KindStrategy,
  definition: string | undefined,
): NonNullable<KindStrategy['validateStatus']> {
  return (object, old) => {
    const errors = own.validateStatus?.(object, old) ?? []
    const { status } = object
    if (definition === undefined || !isObject(status)) return errors
    return [...errors, ...checkQuantities(definition, status, 'status')]
  }
}

function keepStatus(object: KubeObject, old: KubeObject): void {
  if (old['status'] === undefined) delete object['status']
  else object['status'] = old['status']
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
