import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { findKind, kinds } from '@fairlead/kube/types'
import type { KubeObject } from '@fairlead/kube/types'

import { strategyOf } from './strategy-of.ts'

/** Columns as the API server of Kubernetes 1.36 announces them: `*` only with `-o wide`, `:type` where not text. */
const expected: Record<string, string> = {
  'admissionregistration.k8s.io/v1 MutatingAdmissionPolicy': 'Name|Mutations:integer|ParamKind|Age',
  'admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding': 'Name|PolicyName|ParamRef|Age',
  'admissionregistration.k8s.io/v1 MutatingWebhookConfiguration': 'Name|Webhooks:integer|Age',
  'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy': 'Name|Validations:integer|ParamKind|Age',
  'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding': 'Name|PolicyName|ParamRef|Age',
  'admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration': 'Name|Webhooks:integer|Age',
  'apiextensions.k8s.io/v1 CustomResourceDefinition': 'Name|Created At',
  'apiregistration.k8s.io/v1 APIService': 'Name|Service|Available|Age',
  'apps/v1 ControllerRevision': 'Name|Controller|Revision|Age',
  'apps/v1 DaemonSet':
    'Name|Desired:integer|Current:integer|Ready:integer|Up-to-date:integer|Available:integer|Node Selector|Age|Containers*|Images*|Selector*',
  'apps/v1 Deployment': 'Name|Ready|Up-to-date|Available|Age|Containers*|Images*|Selector*',
  'apps/v1 ReplicaSet': 'Name|Desired:integer|Current:integer|Ready:integer|Age|Containers*|Images*|Selector*',
  'apps/v1 StatefulSet': 'Name|Ready|Age|Containers*|Images*',
  'autoscaling/v1 HorizontalPodAutoscaler': 'Name|Reference|Targets|MinPods|MaxPods|Replicas|Age',
  'autoscaling/v2 HorizontalPodAutoscaler': 'Name|Reference|Targets|MinPods|MaxPods|Replicas|Age',
  'batch/v1 CronJob':
    'Name|Schedule|Timezone|Suspend:boolean|Active:integer|Last Schedule|Age|Containers*|Images*|Selector*',
  'batch/v1 Job': 'Name|Status|Completions|Duration|Age|Containers*|Images*|Selector*',
  'certificates.k8s.io/v1 CertificateSigningRequest': 'Name|Age|SignerName|Requestor|RequestedDuration|Condition',
  'coordination.k8s.io/v1 Lease': 'Name|Holder|Age',
  'discovery.k8s.io/v1 EndpointSlice': 'Name|AddressType|Ports|Endpoints|Age',
  'events.k8s.io/v1 Event': 'Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name*',
  'flowcontrol.apiserver.k8s.io/v1 FlowSchema':
    'Name|PriorityLevel|MatchingPrecedence|DistinguisherMethod|Age|MissingPL',
  'flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration':
    'Name|Type|NominalConcurrencyShares|Queues|HandSize|QueueLengthLimit|Age',
  'networking.k8s.io/v1 IPAddress': 'Name|ParentRef|Age',
  'networking.k8s.io/v1 Ingress': 'Name|Class|Hosts|Address|Ports|Age',
  'networking.k8s.io/v1 IngressClass': 'Name|Controller|Parameters|Age',
  'networking.k8s.io/v1 NetworkPolicy': 'Name|Pod-Selector|Age',
  'networking.k8s.io/v1 ServiceCIDR': 'Name|CIDRs|Age',
  'node.k8s.io/v1 RuntimeClass': 'Name|Handler|Age',
  'policy/v1 PodDisruptionBudget': 'Name|Min Available|Max Unavailable|Allowed Disruptions:integer|Age',
  'rbac.authorization.k8s.io/v1 ClusterRole': 'Name|Created At',
  'rbac.authorization.k8s.io/v1 ClusterRoleBinding': 'Name|Role|Age|Users*|Groups*|ServiceAccounts*',
  'rbac.authorization.k8s.io/v1 Role': 'Name|Created At',
  'rbac.authorization.k8s.io/v1 RoleBinding': 'Name|Role|Age|Users*|Groups*|ServiceAccounts*',
  'resource.k8s.io/v1 DeviceClass': 'Name|Age',
  'resource.k8s.io/v1 ResourceClaim': 'Name|State|Age',
  'resource.k8s.io/v1 ResourceClaimTemplate': 'Name|Age',
  'resource.k8s.io/v1 ResourceSlice': 'Name|Node|Driver|Pool|Age',
  'scheduling.k8s.io/v1 PriorityClass': 'Name|Value:integer|Global-Default:boolean|Age|PreemptionPolicy',
  'storage.k8s.io/v1 CSIDriver':
    'Name|AttachRequired:boolean|PodInfoOnMount:boolean|StorageCapacity:boolean|TokenRequests|RequiresRepublish:boolean|Modes|Age',
  'storage.k8s.io/v1 CSINode': 'Name|Drivers:integer|Age',
  'storage.k8s.io/v1 CSIStorageCapacity': 'Name|StorageClassName|Capacity',
  'storage.k8s.io/v1 StorageClass': 'Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age',
  'storage.k8s.io/v1 VolumeAttachment': 'Name|Attacher|PV|Node|Attached:boolean|Age',
  'storage.k8s.io/v1 VolumeAttributesClass': 'Name|DriverName|Age',
  'v1 ConfigMap': 'Name|Data|Age',
  'v1 Endpoints': 'Name|Endpoints|Age',
  'v1 Event': 'Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name*',
  'v1 LimitRange': 'Name|Created At',
  'v1 Namespace': 'Name|Status|Age',
  'v1 Node': 'Name|Status|Roles|Age|Version|Internal-IP*|External-IP*|OS-Image*|Kernel-Version*|Container-Runtime*',
  'v1 PersistentVolume':
    'Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|VolumeMode*',
  'v1 PersistentVolumeClaim':
    'Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode*',
  'v1 Pod': 'Name|Ready|Status|Restarts|Age|IP*|Node*|Nominated Node*|Readiness Gates*',
  'v1 PodTemplate': 'Name|Containers|Images|Pod Labels',
  'v1 ReplicationController': 'Name|Desired:integer|Current:integer|Ready:integer|Age|Containers*|Images*|Selector*',
  'v1 ResourceQuota': 'Name|Request|Limit|Age',
  'v1 Secret': 'Name|Type|Data|Age',
  'v1 Service': 'Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector*',
  'v1 ServiceAccount': 'Name|Age',
}

describe('columns', () => {
  for (const kind of kinds) {
    if (!kind.verbs.includes('watch')) continue
    const key = `${kind.apiVersion} ${kind.kind}`
    it(`of ${key} are those of Kubernetes`, () => {
      const columns = strategyOf(kind).columns.map(
        ({ name, type, priority }) => `${name}${priority === 1 ? '*' : ''}${type === 'string' ? '' : `:${type}`}`,
      )
      assert.equal(columns.join('|'), expected[key])
    })
  }
})

const now = Date.parse('2026-01-01T01:00:00Z')
const metadata = { name: 'x', creationTimestamp: '2026-01-01T00:00:00Z' }

/** Cells between name and age, or all but the name where there is no age. */
const rows: { key: string; object: Record<string, unknown>; cells: unknown[] }[] = [
  {
    key: 'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy',
    object: { spec: { validations: [{}, {}], paramKind: { apiVersion: 'v1', kind: 'ConfigMap' } } },
    cells: ['x', 2, 'v1/ConfigMap', '60m'],
  },
  {
    key: 'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding',
    object: { spec: { policyName: 'p', paramRef: { name: 'c' } } },
    cells: ['x', 'p', '*/c', '60m'],
  },
  {
    key: 'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding',
    object: { spec: { policyName: 'p', paramRef: { selector: { matchLabels: { a: 'b' } } } } },
    cells: ['x', 'p', 'a=b', '60m'],
  },
  {
    key: 'admissionregistration.k8s.io/v1 MutatingWebhookConfiguration',
    object: { webhooks: [{}] },
    cells: ['x', 1, '60m'],
  },
  {
    key: 'apiregistration.k8s.io/v1 APIService',
    object: {
      spec: { service: { namespace: 'kube-system', name: 'metrics' } },
      status: { conditions: [{ type: 'Available', status: 'False', reason: 'MissingEndpoints' }] },
    },
    cells: ['x', 'kube-system/metrics', 'False (MissingEndpoints)', '60m'],
  },
  { key: 'apiregistration.k8s.io/v1 APIService', object: { spec: {} }, cells: ['x', 'Local', 'Unknown', '60m'] },
  {
    key: 'apps/v1 ControllerRevision',
    object: {
      revision: 3,
      metadata: {
        ...metadata,
        ownerReferences: [{ apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'web', uid: 'u', controller: true }],
      },
    },
    cells: ['x', 'statefulset.apps/web', 3, '60m'],
  },
  {
    key: 'flowcontrol.apiserver.k8s.io/v1 FlowSchema',
    object: { spec: { priorityLevelConfiguration: { name: 'exempt' }, matchingPrecedence: 1 } },
    cells: ['x', 'exempt', 1, '<none>', '60m', '?'],
  },
  {
    key: 'flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration',
    object: {
      spec: {
        type: 'Limited',
        limited: { nominalConcurrencyShares: 20, limitResponse: { queuing: { queues: 64, handSize: 6 } } },
      },
    },
    cells: ['x', 'Limited', 20, 64, 6, '<none>', '60m'],
  },
  {
    key: 'networking.k8s.io/v1 IPAddress',
    object: { spec: { parentRef: { resource: 'services', namespace: 'default', name: 'kubernetes' } } },
    cells: ['x', 'services/default/kubernetes', '60m'],
  },
  {
    key: 'networking.k8s.io/v1 ServiceCIDR',
    object: { spec: { cidrs: ['10.96.0.0/16', 'fd00::/112'] } },
    cells: ['x', '10.96.0.0/16,fd00::/112', '60m'],
  },
  { key: 'node.k8s.io/v1 RuntimeClass', object: { handler: 'runc' }, cells: ['x', 'runc', '60m'] },
  {
    key: 'resource.k8s.io/v1 ResourceClaim',
    object: { status: { allocation: {}, reservedFor: [{}] } },
    cells: ['x', 'allocated,reserved', '60m'],
  },
  {
    key: 'storage.k8s.io/v1 CSIDriver',
    object: { spec: { tokenRequests: [{ audience: 'a' }, { audience: 'b' }] } },
    cells: ['x', true, false, false, 'a,b', false, '<none>', '60m'],
  },
  {
    key: 'storage.k8s.io/v1 VolumeAttachment',
    object: { spec: { attacher: 'csi', nodeName: 'n1', source: { persistentVolumeName: 'pv' } } },
    cells: ['x', 'csi', 'pv', 'n1', false, '60m'],
  },
  {
    key: 'v1 PodTemplate',
    object: {
      template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
    },
    cells: ['x', 'c', 'i', 'a=b'],
  },
]

describe('rows', () => {
  for (const { key, object, cells } of rows) {
    it(`of ${key} show ${JSON.stringify(cells)}`, () => {
      const [apiVersion = '', kind = ''] = key.split(' ')
      const info = findKind(apiVersion, kind)
      assert.ok(info)
      const whole = { apiVersion, kind, metadata, ...object } satisfies KubeObject
      assert.deepEqual(strategyOf(info).row(whole, now), cells)
    })
  }
})
