import type {
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
  MutatingWebhookConfiguration,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  ValidatingWebhookConfiguration,
} from '@fairlead/kube/types/admissionregistration-v1'
import type { APIService } from '@fairlead/kube/types/apiregistration-v1'
import type { ControllerRevision } from '@fairlead/kube/types/apps-v1'
import type { ComponentStatus, PodTemplate } from '@fairlead/kube/types/core-v1'
import type { FlowSchema, PriorityLevelConfiguration } from '@fairlead/kube/types/flowcontrol-v1'
import type { IPAddress, ServiceCIDR } from '@fairlead/kube/types/networking-v1'
import type { RuntimeClass } from '@fairlead/kube/types/node-v1'
import type { ResourceClaim, ResourceSlice } from '@fairlead/kube/types/resource-v1'
import type {
  CSIDriver,
  CSINode,
  CSIStorageCapacity,
  VolumeAttachment,
  VolumeAttributesClass,
} from '@fairlead/kube/types/storage-v1'

import { defineKind } from './define.ts'
import type { Stored } from './define.ts'
import { age, ageColumn, column, containerCells, formatLabels, formatSelector, nameColumn } from './printing.ts'
import type { KindStrategy, TableColumn } from '../strategy.ts'

/** Between name and age stand the cells that tell the kind. */
function table<T>(columns: readonly TableColumn[], cells: (object: Stored<T>) => readonly unknown[]): KindStrategy {
  return defineKind<T>({
    columns: [nameColumn, ...columns, ageColumn],
    row: (object, now) => [object.metadata.name, ...cells(object), age(object.metadata.creationTimestamp, now)],
  })
}

const webhooks = [column('Webhooks', 'integer')]
const binding = [column('PolicyName'), column('ParamRef')]

/** What `kubectl get` shows of kinds that have no other rules of their own, by `apiVersion Kind`. */
export const tables: ReadonlyMap<string, KindStrategy> = new Map([
  [
    'admissionregistration.k8s.io/v1 MutatingWebhookConfiguration',
    table<MutatingWebhookConfiguration>(webhooks, count),
  ],
  [
    'admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration',
    table<ValidatingWebhookConfiguration>(webhooks, count),
  ],
  [
    'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy',
    table<ValidatingAdmissionPolicy>([column('Validations', 'integer'), column('ParamKind')], ({ spec }) => [
      (spec?.validations ?? []).length,
      formatParamKind(spec?.paramKind),
    ]),
  ],
  [
    'admissionregistration.k8s.io/v1 MutatingAdmissionPolicy',
    table<MutatingAdmissionPolicy>([column('Mutations', 'integer'), column('ParamKind')], ({ spec }) => [
      (spec?.mutations ?? []).length,
      formatParamKind(spec?.paramKind),
    ]),
  ],
  [
    'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding',
    table<ValidatingAdmissionPolicyBinding>(binding, ({ spec }) => [
      spec?.policyName ?? '',
      formatParamRef(spec?.paramRef),
    ]),
  ],
  [
    'admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding',
    table<MutatingAdmissionPolicyBinding>(binding, ({ spec }) => [
      spec?.policyName ?? '',
      formatParamRef(spec?.paramRef),
    ]),
  ],
  [
    'apiregistration.k8s.io/v1 APIService',
    table<APIService>([column('Service'), column('Available')], ({ spec, status }) => [
      formatService(spec?.service),
      formatAvailable(status?.conditions),
    ]),
  ],
  [
    'apps/v1 ControllerRevision',
    table<ControllerRevision>([column('Controller'), column('Revision')], ({ metadata, revision }) => [
      formatController(metadata.ownerReferences),
      revision,
    ]),
  ],
  [
    'flowcontrol.apiserver.k8s.io/v1 FlowSchema',
    defineKind<FlowSchema>({
      columns: [
        nameColumn,
        column('PriorityLevel'),
        column('MatchingPrecedence'),
        column('DistinguisherMethod'),
        ageColumn,
        column('MissingPL'),
      ],
      row: ({ metadata, spec, status }, now) => [
        metadata.name,
        spec?.priorityLevelConfiguration.name ?? '',
        spec?.matchingPrecedence ?? 0,
        spec?.distinguisherMethod?.type ?? '<none>',
        age(metadata.creationTimestamp, now),
        status?.conditions?.find(({ type }) => type === 'Dangling')?.status ?? '?',
      ],
    }),
  ],
  [
    'flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration',
    table<PriorityLevelConfiguration>(
      [
        column('Type'),
        column('NominalConcurrencyShares'),
        column('Queues'),
        column('HandSize'),
        column('QueueLengthLimit'),
      ],
      ({ spec }) => {
        const queuing = spec?.limited?.limitResponse?.queuing
        return [
          spec?.type ?? '',
          spec?.limited?.nominalConcurrencyShares ?? '<none>',
          queuing?.queues ?? '<none>',
          queuing?.handSize ?? '<none>',
          queuing?.queueLengthLimit ?? '<none>',
        ]
      },
    ),
  ],
  ['networking.k8s.io/v1 IPAddress', table<IPAddress>([column('ParentRef')], ({ spec }) => [formatParent(spec)])],
  [
    'networking.k8s.io/v1 ServiceCIDR',
    table<ServiceCIDR>([column('CIDRs')], ({ spec }) => [spec?.cidrs?.join() ?? '']),
  ],
  ['node.k8s.io/v1 RuntimeClass', table<RuntimeClass>([column('Handler')], ({ handler }) => [handler])],
  ['resource.k8s.io/v1 ResourceClaim', table<ResourceClaim>([column('State')], (claim) => [claimState(claim)])],
  [
    'resource.k8s.io/v1 ResourceSlice',
    defineKind<ResourceSlice>({
      fields: ({ spec }) => ({ 'spec.nodeName': spec.nodeName ?? '', 'spec.driver': spec.driver }),
      columns: [nameColumn, column('Node'), column('Driver'), column('Pool'), ageColumn],
      row: ({ metadata, spec }, now) => [
        metadata.name,
        spec.nodeName ?? '',
        spec.driver,
        spec.pool.name,
        age(metadata.creationTimestamp, now),
      ],
    }),
  ],
  [
    'storage.k8s.io/v1 CSIDriver',
    table<CSIDriver>(
      [
        column('AttachRequired', 'boolean'),
        column('PodInfoOnMount', 'boolean'),
        column('StorageCapacity', 'boolean'),
        column('TokenRequests'),
        column('RequiresRepublish', 'boolean'),
        column('Modes'),
      ],
      ({ spec }) => [
        spec.attachRequired ?? true,
        spec.podInfoOnMount ?? false,
        spec.storageCapacity ?? false,
        spec.tokenRequests?.map(({ audience }) => audience).join() ?? '<unset>',
        spec.requiresRepublish ?? false,
        spec.volumeLifecycleModes?.join() || '<none>',
      ],
    ),
  ],
  ['storage.k8s.io/v1 CSINode', table<CSINode>([column('Drivers', 'integer')], ({ spec }) => [spec.drivers.length])],
  [
    'storage.k8s.io/v1 CSIStorageCapacity',
    defineKind<CSIStorageCapacity>({
      columns: [nameColumn, column('StorageClassName'), column('Capacity')],
      row: ({ metadata, storageClassName, capacity }) => [metadata.name, storageClassName, capacity ?? '<unset>'],
    }),
  ],
  [
    'storage.k8s.io/v1 VolumeAttachment',
    table<VolumeAttachment>(
      [{ ...column('Attacher'), format: 'name' }, column('PV'), column('Node'), column('Attached', 'boolean')],
      ({ spec, status }) => [
        spec.attacher,
        spec.source.persistentVolumeName ?? '',
        spec.nodeName,
        status?.attached ?? false,
      ],
    ),
  ],
  [
    'storage.k8s.io/v1 VolumeAttributesClass',
    table<VolumeAttributesClass>([column('DriverName')], ({ driverName }) => [driverName]),
  ],
  [
    'v1 ComponentStatus',
    defineKind<ComponentStatus>({
      columns: [nameColumn, column('Status'), column('Message'), column('Error')],
      row: ({ metadata, conditions }) => [metadata.name, ...formatHealth(conditions)],
    }),
  ],
  [
    'v1 PodTemplate',
    defineKind<PodTemplate>({
      columns: [nameColumn, column('Containers'), column('Images'), column('Pod Labels')],
      row: ({ metadata, template }) => [
        metadata.name,
        ...containerCells(template?.spec),
        formatLabels(template?.metadata?.labels),
      ],
    }),
  ],
])

function count({ webhooks: listed }: { webhooks?: unknown[] | undefined }): [number] {
  return [(listed ?? []).length]
}

function formatParamKind(kind: { apiVersion?: string | undefined; kind?: string | undefined } | undefined): string {
  return kind === undefined ? '<unset>' : `${kind.apiVersion ?? ''}/${kind.kind ?? ''}`
}

type ParamRef = NonNullable<NonNullable<ValidatingAdmissionPolicyBinding['spec']>['paramRef']>

/** Parameters without a namespace may be of any, or of none: a star stands for what is not known here. */
function formatParamRef(reference: ParamRef | undefined): string {
  const { name = '', namespace = '', selector } = reference ?? {}
  if (name !== '') return `${namespace === '' ? '*' : namespace}/${name}`
  return selector === undefined ? '<unset>' : formatSelector(selector)
}

function formatService(service: NonNullable<APIService['spec']>['service']): string {
  return service === undefined ? 'Local' : `${service.namespace}/${service.name}`
}

function formatAvailable(conditions: NonNullable<APIService['status']>['conditions']): string {
  const available = conditions?.find(({ type }) => type === 'Available')
  if (available === undefined) return 'Unknown'
  const { status, reason = '' } = available
  return status === 'True' || reason === '' ? status : `${status} (${reason})`
}

/** `statefulset.apps/web`. */
function formatController(owners: Stored<object>['metadata']['ownerReferences']): string {
  const owner = owners?.find(({ controller }) => controller === true)
  if (owner === undefined) return '<none>'
  const group = owner.apiVersion.includes('/') ? `.${owner.apiVersion.split('/')[0]}` : ''
  return `${owner.kind.toLowerCase()}${group}/${owner.name}`
}

function formatParent(spec: IPAddress['spec']): string {
  const parent = spec?.parentRef
  if (parent === undefined) return '<none>'
  const { group = '', resource, namespace = '', name } = parent
  const qualified = group === '' ? resource : `${resource}.${group}`
  return [qualified.toLowerCase(), ...(namespace === '' ? [] : [namespace]), name].join('/')
}

function claimState({ metadata, status }: Stored<ResourceClaim>): string {
  const isDeleted = metadata.deletionTimestamp !== undefined
  if (status?.allocation === undefined) return isDeleted ? 'deleted' : 'pending'
  const isReserved = (status.reservedFor ?? []).length > 0
  return [...(isDeleted ? ['deleted'] : []), 'allocated', ...(isReserved ? ['reserved'] : [])].join()
}

function formatHealth(conditions: ComponentStatus['conditions']): string[] {
  const healthy = conditions?.find(({ type }) => type === 'Healthy')
  if (healthy === undefined) return ['Unknown', '', '']
  return [healthy.status === 'True' ? 'Healthy' : 'Unhealthy', healthy.message ?? '', healthy.error ?? '']
}
