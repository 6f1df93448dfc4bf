import type { KubeClient } from '@fairlead/kube'
import { createInformer } from '@fairlead/kube/cache'
import type { Informer } from '@fairlead/kube/cache'
import { createEventRecorder } from '@fairlead/kube/controller'
import type { Clock, EventRecorder } from '@fairlead/kube/controller'
import type { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet } from '@fairlead/kube/types/apps-v1'
import type { CronJob, Job } from '@fairlead/kube/types/batch-v1'
import type { Lease } from '@fairlead/kube/types/coordination-v1'
import type {
  ConfigMap,
  Endpoints,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  ReplicationController,
  Service,
  ServiceAccount,
} from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import type { PodDisruptionBudget } from '@fairlead/kube/types/policy-v1'
import type { StorageClass } from '@fairlead/kube/types/storage-v1'

import { controllerIndex } from './ownership.ts'

/** The copies of the API's objects that all controllers share. */
interface Informers {
  readonly namespaces: Informer<Namespace>
  readonly serviceAccounts: Informer<ServiceAccount>
  readonly rootCertificates: Informer<ConfigMap>
  readonly pods: Informer<Pod>
  readonly services: Informer<Service>
  readonly endpoints: Informer<Endpoints>
  readonly endpointSlices: Informer<EndpointSlice>
  readonly replicaSets: Informer<ReplicaSet>
  readonly deployments: Informer<Deployment>
  readonly replicationControllers: Informer<ReplicationController>
  readonly statefulSets: Informer<StatefulSet>
  readonly daemonSets: Informer<DaemonSet>
  readonly controllerRevisions: Informer<ControllerRevision>
  readonly disruptionBudgets: Informer<PodDisruptionBudget>
  readonly claims: Informer<PersistentVolumeClaim>
  readonly volumes: Informer<PersistentVolume>
  readonly storageClasses: Informer<StorageClass>
  readonly jobs: Informer<Job>
  readonly cronJobs: Informer<CronJob>
  readonly nodes: Informer<Node>
  readonly leases: Informer<Lease>
}

/** What every controller is given. */
export interface ControllerContext {
  readonly client: KubeClient
  readonly informers: Informers
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Told of failures that are being retried. */
  readonly onError: (error: unknown, context: { readonly controller: string; readonly key?: string }) => void
  /** A recorder of events as `component`. */
  recorder(component: string): EventRecorder
}

export type ContextOptions = Pick<ControllerContext, 'client' | 'clock' | 'signal' | 'onError'>

/** The same context for a controller that writes as somebody of its own. */
export function actAs(context: ControllerContext, client: KubeClient): ControllerContext {
  const { clock, onError } = context
  return { ...context, client, recorder: (component) => createRecorder(client, component, { clock, onError }) }
}

function createRecorder(
  client: KubeClient,
  component: string,
  { clock, onError }: Pick<ControllerContext, 'clock' | 'onError'>,
): EventRecorder {
  return createEventRecorder(client, component, {
    clock,
    onError: (error) => onError(error, { controller: component }),
  })
}

/** Name of the ConfigMap that carries the cluster's CA into every namespace. */
export const rootCertificateName = 'kube-root-ca.crt'

/** The index of pods and replica sets by their controller. */
export const byController = 'controller'
/** The index of pods by the node they are on. */
export const byNode = 'node'
/** The index of endpoint slices by their service. */
export const byService = 'service'
export const serviceNameLabel = 'kubernetes.io/service-name'

export function createContext(options: ContextOptions): ControllerContext {
  const { client, clock, signal, onError } = options
  const common = { signal, clock, onError: (error: unknown) => onError(error, { controller: 'informer' }) }
  const informers: Informers = {
    namespaces: createInformer(client.resource('v1/Namespace'), common),
    serviceAccounts: createInformer(client.resource('v1/ServiceAccount'), {
      ...common,
      fieldSelector: 'metadata.name=default',
    }),
    rootCertificates: createInformer(client.resource('v1/ConfigMap'), {
      ...common,
      fieldSelector: `metadata.name=${rootCertificateName}`,
    }),
    pods: createInformer(client.resource('v1/Pod'), common),
    services: createInformer(client.resource('v1/Service'), common),
    endpoints: createInformer(client.resource('v1/Endpoints'), common),
    endpointSlices: createInformer(client.resource('discovery.k8s.io/v1/EndpointSlice'), common),
    replicaSets: createInformer(client.resource('apps/v1/ReplicaSet'), common),
    deployments: createInformer(client.resource('apps/v1/Deployment'), common),
    replicationControllers: createInformer(client.resource('v1/ReplicationController'), common),
    statefulSets: createInformer(client.resource('apps/v1/StatefulSet'), common),
    daemonSets: createInformer(client.resource('apps/v1/DaemonSet'), common),
    controllerRevisions: createInformer(client.resource('apps/v1/ControllerRevision'), common),
    disruptionBudgets: createInformer(client.resource('policy/v1/PodDisruptionBudget'), common),
    claims: createInformer(client.resource('v1/PersistentVolumeClaim'), common),
    volumes: createInformer(client.resource('v1/PersistentVolume'), common),
    storageClasses: createInformer(client.resource('storage.k8s.io/v1/StorageClass'), common),
    jobs: createInformer(client.resource('batch/v1/Job'), common),
    cronJobs: createInformer(client.resource('batch/v1/CronJob'), common),
    nodes: createInformer(client.resource('v1/Node'), common),
    leases: createInformer(client.resource('coordination.k8s.io/v1/Lease'), {
      ...common,
      namespace: 'kube-node-lease',
    }),
  }
  informers.pods.index(byController, controllerIndex)
  informers.pods.index(byNode, ({ spec }) => [spec?.nodeName ?? ''])
  informers.jobs.index(byController, controllerIndex)
  informers.replicaSets.index(byController, controllerIndex)
  informers.controllerRevisions.index(byController, controllerIndex)
  informers.endpointSlices.index(byService, ({ metadata }) => [
    `${metadata?.namespace ?? ''}/${metadata?.labels?.[serviceNameLabel] ?? ''}`,
  ])
  return {
    client,
    informers,
    clock,
    signal,
    onError,
    recorder: (component) => createRecorder(client, component, { clock, onError }),
  }
}
