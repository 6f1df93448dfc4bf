import { type KubeClient, KubeError } from '@fairlead/kube'
import type { Deployment, StatefulSet } from '@fairlead/kube/types/apps-v1'
import type { Pod, Service } from '@fairlead/kube/types/core-v1'
import { addressOf } from '../apply/judge.ts'
import { appLabel, managedByLabel, managerName, serviceLabel, versionLabel } from '../render/labels.ts'

/** One service as the cluster has it. */
export interface ServiceStatus {
  readonly app: string
  readonly service: string
  readonly namespace: string
  readonly version: string | undefined
  readonly replicas: number
  readonly readyReplicas: number
  /** Pods of a version before that still run: a rollout is under way, or it does not get on. */
  readonly outdatedReplicas: number
  /** Restarts of its present containers. */
  readonly restarts: number
  readonly image: string | undefined
  /** Where it is reachable from outside, when it is. */
  readonly url: string | undefined
  /** When its Deployment, or the StatefulSet of a backing service, was made. */
  readonly createdAt: string | undefined
}

export interface StatusOptions {
  /** One app. Default: all. */
  readonly app?: string | undefined
  /** Default: every namespace. */
  readonly namespace?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** The services delivered to a cluster, with the databases and brokers they use, sorted by app and name. */
export async function listServices(client: KubeClient, options: StatusOptions = {}): Promise<ServiceStatus[]> {
  const { app, namespace, signal } = options
  const labelSelector = [`${managedByLabel}=${managerName}`, ...(app === undefined ? [] : [`${appLabel}=${app}`])].join(
    ',',
  )
  const selection = { namespace, allNamespaces: namespace === undefined, labelSelector, signal }
  const [deployments, statefulSets, pods, services] = await Promise.all([
    client.resource('apps/v1/Deployment').list(selection),
    client.resource('apps/v1/StatefulSet').list(selection).catch(noneIfForbidden),
    client.resource('v1/Pod').list(selection),
    client.resource('v1/Service').list(selection),
  ])
  return [...deployments.items, ...statefulSets.items]
    .map((workload) => describe(workload, pods.items, services.items))
    .toSorted((a, b) => `${a.app} ${a.service}`.localeCompare(`${b.app} ${b.service}`))
}

/** A port at which a Service of type LoadBalancer is reachable from outside. */
export interface ServicePort {
  readonly port: number
  /** Name of the Service. */
  readonly service: string
  /** App it belongs to; absent for a Service of another tool. */
  readonly app: string | undefined
}

/** The ports of every LoadBalancer Service of a cluster, whoever made it. */
export async function listServicePorts(
  client: KubeClient,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ServicePort[]> {
  const { items } = await client.resource('v1/Service').list({ allNamespaces: true, signal })
  return items
    .filter(({ spec }) => spec?.type === 'LoadBalancer')
    .flatMap(({ metadata, spec }) =>
      (spec?.ports ?? []).map(({ port }) => ({
        port,
        service: metadata?.name ?? '',
        app: metadata?.labels?.[appLabel],
      })),
    )
}

/** An account that delivers no databases need not be allowed to list them. */
function noneIfForbidden(error: unknown): { items: StatefulSet[] } {
  if (error instanceof KubeError && error.httpStatus === 403) return { items: [] }
  throw error
}

function describe(
  workload: Deployment | StatefulSet,
  pods: readonly Pod[],
  services: readonly Service[],
): ServiceStatus {
  const { metadata, spec, status } = workload
  const service = metadata?.labels?.[serviceLabel] ?? metadata?.name ?? ''
  const belongs = (object: Pod | Service): boolean =>
    object.metadata?.namespace === metadata?.namespace &&
    object.metadata?.labels?.[serviceLabel] === service &&
    object.metadata.labels[appLabel] === metadata?.labels?.[appLabel]
  const publicService = services.find((object) => belongs(object) && object.spec?.type === 'LoadBalancer')
  return {
    app: metadata?.labels?.[appLabel] ?? '',
    service,
    namespace: metadata?.namespace ?? '',
    version: metadata?.labels?.[versionLabel],
    replicas: spec?.replicas ?? 1,
    readyReplicas: status?.readyReplicas ?? 0,
    outdatedReplicas: Math.max(0, (status?.replicas ?? 0) - (status?.updatedReplicas ?? 0)),
    restarts: pods.filter(belongs).reduce((sum, pod) => sum + countRestarts(pod), 0),
    image: spec?.template.spec?.containers[0]?.image,
    url: publicService && addressOf(publicService),
    createdAt: metadata?.creationTimestamp,
  }
}

function countRestarts({ status }: Pod): number {
  return (status?.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0)
}
