import type { KubeClient } from '@fairlead/kube'
import { createInformer, type Informer } from '@fairlead/kube/cache'
import type { Deployment, ReplicaSet, StatefulSet } from '@fairlead/kube/types/apps-v1'
import type { Pod, Service } from '@fairlead/kube/types/core-v1'
import { countCrashes, crashKey } from './crashes.ts'

/** What runs the pods of a service, or of a database it uses. */
export type Workload = Deployment | StatefulSet

/** What the cluster says about one service at one moment. */
export interface Observed {
  readonly service: string
  readonly workload: Workload | undefined
  /** Pods of the newest revision. */
  readonly pods: readonly Pod[]
  /** The LoadBalancer Service; absent for a service that is not public. */
  readonly publicService?: Service | undefined
  /** Crashes from before the watch began, by {@link crashKey}: they say nothing about what was applied now. */
  readonly earlierCrashes?: ReadonlyMap<string, number> | undefined
}

/** Everything of an app, kept up to date by watches. */
export interface AppView {
  observe(service: { readonly name: string; readonly publicService?: string | undefined }): Observed
  /** Called after each change. */
  onChange(listener: () => void): void
}

/** Starts watching the objects of an app; resolves when all are known. Ends with `signal`. */
export async function watchApp(
  client: KubeClient,
  options: {
    readonly namespace: string
    readonly labelSelector: string
    /** Whether there are any: an account that delivers none need not be allowed to list them. */
    readonly hasStatefulSets: boolean
    readonly signal: AbortSignal
  },
): Promise<AppView> {
  const deployments = createInformer(client.resource('apps/v1/Deployment'), options)
  const statefulSets = options.hasStatefulSets
    ? createInformer(client.resource('apps/v1/StatefulSet'), options)
    : undefined
  const replicaSets = createInformer(client.resource('apps/v1/ReplicaSet'), options)
  const pods = createInformer(client.resource('v1/Pod'), options)
  const services = createInformer(client.resource('v1/Service'), options)
  const informers = [deployments, replicaSets, pods, services, ...(statefulSets ? [statefulSets] : [])]
  await Promise.all(informers.map((informer) => informer.start()))
  const { namespace } = options
  const earlierCrashes = countEarlierCrashes(pods.list(namespace))
  return {
    observe({ name, publicService }) {
      const deployment = deployments.get(namespace, name)
      const statefulSet = deployment ? undefined : statefulSets?.get(namespace, name)
      return {
        service: name,
        workload: deployment ?? statefulSet,
        pods: deployment
          ? podsOfNewestRevision(deployment, replicaSets, pods, namespace)
          : pods.list(namespace).filter((pod) => isOfNewestRevision(pod, statefulSet)),
        publicService: publicService === undefined ? undefined : services.get(namespace, publicService),
        earlierCrashes,
      }
    },
    onChange(listener) {
      for (const informer of informers) informer.on(listener)
    },
  }
}

/** A stopped and started cluster, or node, leaves ends of containers behind; a crash loop goes on and is told at once. */
function countEarlierCrashes(pods: readonly Pod[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const pod of pods) {
    for (const status of [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]) {
      if (status.state?.waiting?.reason !== 'CrashLoopBackOff') counts.set(crashKey(pod, status), countCrashes(status))
    }
  }
  return counts
}

const revisionAnnotation = 'deployment.kubernetes.io/revision'

function podsOfNewestRevision(
  deployment: Deployment,
  replicaSets: Informer<ReplicaSet>,
  pods: Informer<Pod>,
  namespace: string,
): Pod[] {
  const revision = deployment.metadata?.annotations?.[revisionAnnotation]
  const newest = replicaSets
    .list(namespace)
    .find(
      ({ metadata }) =>
        metadata?.annotations?.[revisionAnnotation] === revision && isOwnedBy(metadata, deployment.metadata?.uid),
    )
  return pods.list(namespace).filter(({ metadata }) => isOwnedBy(metadata, newest?.metadata?.uid))
}

/** While its controller has said nothing of a revision yet, every pod counts. */
function isOfNewestRevision({ metadata }: Pod, statefulSet: StatefulSet | undefined): boolean {
  const revision = statefulSet?.status?.updateRevision
  const isOwn = isOwnedBy(metadata, statefulSet?.metadata?.uid)
  return isOwn && (revision === undefined || metadata?.labels?.['controller-revision-hash'] === revision)
}

function isOwnedBy(metadata: Pod['metadata'], uid: string | undefined): boolean {
  return uid !== undefined && (metadata?.ownerReferences?.some((owner) => owner.uid === uid) ?? false)
}
