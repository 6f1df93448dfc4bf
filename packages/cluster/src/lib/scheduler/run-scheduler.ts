import { isDeepStrictEqual } from 'node:util'

import { isNotFound, readBytes } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { createInformer } from '@fairlead/kube/cache'
import type { InformerEvent } from '@fairlead/kube/cache'
import {
  createEventRecorder,
  findCondition,
  fromInformer,
  keyOf,
  parseKey,
  runController,
  setCondition,
  systemClock,
} from '@fairlead/kube/controller'
import type { Clock, Source } from '@fairlead/kube/controller'
import type { Node, Pod, PodCondition } from '@fairlead/kube/types/core-v1'

import { judgeClaims, selectedNode } from './claims.ts'
import type { ClaimsVerdict } from './claims.ts'
import { hasPodAffinity, relate } from './affinity.ts'
import { describeRejections, rejectionsOf, viewNode } from './filter.ts'
import type { NodeView } from './filter.ts'
import { choose } from './score.ts'
import { spread } from './topology-spread.ts'

export interface RunSchedulerOptions {
  readonly client: KubeClient
  readonly signal: AbortSignal
  /** Told of failures that are being retried. Default: nobody. */
  readonly onError?:
    | ((error: unknown, context: { readonly controller: string; readonly key?: string }) => void)
    | undefined
  /** Pods with this `spec.schedulerName` are ours. Default `default-scheduler`. */
  readonly name?: string | undefined
  readonly clock?: Clock | undefined
}

const byNode = 'node'

/**
 * Gives every pod without a node the node that suits it best, until `signal` aborts. Pods no node takes get the
 * condition `PodScheduled` False and are tried again when a node changes or a pod leaves one.
 */
export async function runScheduler(options: RunSchedulerOptions): Promise<void> {
  const { client, signal, onError = () => {}, name = 'default-scheduler', clock = systemClock } = options
  const common = { signal, clock, onError: (error: unknown) => onError(error, { controller: name }) }
  const pods = createInformer(client.resource('v1/Pod'), common)
  const nodes = createInformer(client.resource('v1/Node'), common)
  const namespaces = createInformer(client.resource('v1/Namespace'), common)
  const claims = createInformer(client.resource('v1/PersistentVolumeClaim'), common)
  const storageClasses = createInformer(client.resource('storage.k8s.io/v1/StorageClass'), common)
  pods.index(byNode, ({ spec }) => (spec?.nodeName === undefined ? [] : [spec.nodeName]))
  const recorder = createEventRecorder(client, name, common)
  /** Pods bound by us that the cache does not show on their node yet, with that node. */
  const assumed = new Map<string, { readonly pod: Pod; readonly nodeName: string }>()
  const rejected = new Set<string>()
  const view = createViewCache()

  function viewNodes(): NodeView[] {
    const unconfirmed = Map.groupBy(assumed.values(), ({ nodeName }) => nodeName)
    return nodes.list().map((node) => {
      const nodeName = node.metadata?.name ?? ''
      const seen = pods.byIndex(byNode, nodeName).filter((pod) => !isEnded(pod))
      const waiting = unconfirmed.get(nodeName)
      if (waiting === undefined) return view(nodeName, node, seen)
      const seenUids = new Set(seen.map(({ metadata }) => metadata?.uid))
      const unseen = waiting.map(({ pod }) => pod).filter(({ metadata }) => !seenUids.has(metadata?.uid))
      return view(nodeName, node, [...seen, ...unseen])
    })
  }

  async function bind(key: string, pod: Pod, nodeName: string): Promise<void> {
    const { name: podName = '', namespace = '', uid } = pod.metadata ?? {}
    assumed.set(key, { pod, nodeName })
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(podName)}/binding`
    const body = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: podName, namespace, uid },
      target: { apiVersion: 'v1', kind: 'Node', name: nodeName },
    }
    try {
      const headers = { accept: 'application/json', 'content-type': 'application/json' }
      const response = await client.request({ method: 'POST', path, headers, body: JSON.stringify(body), signal })
      await readBytes(response.body)
    } catch (error) {
      assumed.delete(key)
      if (isNotFound(error)) {
        return
      }
      throw error
    }
    const message = `Successfully assigned ${key} to ${nodeName}`
    recorder.record(pod, { type: 'Normal', reason: 'Scheduled', message })
  }

  async function reject(key: string, pod: Pod, message: string): Promise<void> {
    rejected.add(key)
    const current = findCondition(pod.status?.conditions, 'PodScheduled')
    if (current?.status === 'False' && current.message === message) {
      return
    }
    const condition: PodCondition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message }
    const conditions = setCondition<PodCondition>(pod.status?.conditions, condition, clock.now())
    const { name: podName = '', namespace, uid, resourceVersion } = pod.metadata ?? {}
    const body = { metadata: { uid, resourceVersion }, status: { conditions } }
    try {
      await client.resource('v1/Pod').patch(podName, { type: 'merge', body }, { namespace, subresource: 'status' })
      recorder.record(pod, { type: 'Warning', reason: 'FailedScheduling', message })
    } catch (error) {
      if (!isNotFound(error)) {
        throw error
      }
    }
  }

  /** The pod follows when its claims have volumes there. */
  async function selectNode(
    { claims: waiting }: Extract<ClaimsVerdict, { state: 'delayed' }>,
    nodeName: string,
  ): Promise<void> {
    for (const { metadata } of waiting) {
      if (metadata?.annotations?.[selectedNode] !== undefined) continue
      const { name: claimName = '', namespace, uid } = metadata ?? {}
      const body = { metadata: { uid, annotations: { [selectedNode]: nodeName } } }
      await client.resource('v1/PersistentVolumeClaim').patch(claimName, { type: 'merge', body }, { namespace })
    }
  }

  async function reconcile(key: string): Promise<void> {
    const { namespace, name: podName } = parseKey(key)
    const pod = pods.get(namespace, podName)
    rejected.delete(key)
    if (pod === undefined || !isPending(pod, name) || assumed.get(key)?.pod.metadata?.uid === pod.metadata?.uid) {
      return
    }
    const verdict = judgeClaims(pod, {
      claim: (of, claimName) => claims.get(of, claimName),
      storageClass: (className) => storageClasses.get(undefined, className),
    })
    const views = viewNodes()
    if (verdict.state === 'missing') {
      await reject(key, pod, `0/${views.length} nodes are available: ${verdict.message}.`)
      return
    }
    const relations = relate(pod, views, (of) => namespaces.get(undefined, of)?.metadata?.labels)
    const spreading = spread(pod, views)
    const verdicts = views.map((view) => {
      const own = rejectionsOf(pod, view)
      const crowded = own.length > 0 ? own : spreading.rejectionsOf(view)
      return { view, rejections: crowded.length > 0 ? crowded : relations.rejectionsOf(view) }
    })
    const chosen = choose(
      pod,
      verdicts.filter(({ rejections }) => rejections.length === 0).map(({ view }) => view),
      { attractionOf: relations.attractionOf, crowdingOf: spreading.crowdingOf },
    )
    if (chosen === undefined) {
      await reject(key, pod, describeRejections(verdicts.map(({ rejections }) => rejections)))
    } else if (verdict.state === 'delayed') {
      rejected.add(key)
      await selectNode(verdict, chosen.node.metadata?.name ?? '')
    } else {
      await bind(key, pod, chosen.node.metadata?.name ?? '')
    }
  }

  /** Our own pods, and all that wait when one that took room is gone. */
  function keysOfPod(pod: Pod, event: InformerEvent, old: Pod | undefined): Iterable<string> {
    const key = keyOf(pod)
    if (pod.spec?.nodeName !== undefined || event === 'delete') {
      assumed.delete(key)
    }
    if (event === 'delete') {
      rejected.delete(key)
    }
    const hasLeft = pod.spec?.nodeName !== undefined && (event === 'delete' || isEnded(pod))
    if (hasLeft) return [...rejected]
    if (isPending(pod, name) && event !== 'delete') return [key]
    const isMoved = pod.spec?.nodeName !== old?.spec?.nodeName
    const isNews = isMoved || !isDeepStrictEqual(pod.metadata?.labels, old?.metadata?.labels)
    return isNews ? waitingForOthers() : []
  }

  /** Pods that may have a place now that others have one, or other labels. */
  function waitingForOthers(): string[] {
    return [...rejected].filter((key) => {
      const { namespace, name: podName } = parseKey(key)
      const pod = pods.get(namespace, podName)
      return pod !== undefined && (hasPodAffinity(pod) || (pod.spec?.topologySpreadConstraints ?? []).length > 0)
    })
  }

  const sources: Source[] = [
    // Nodes first: a pod looked at before them would be told there are none.
    sequence(
      fromInformer(storageClasses, () => [...rejected]),
      fromInformer(claims, () => [...rejected]),
      fromInformer(nodes, (node, event, old) => (event === 'update' && isAlike(node, old) ? [] : [...rejected])),
      fromInformer(namespaces, ({ metadata }, _event, old) =>
        isDeepStrictEqual(metadata?.labels, old?.metadata?.labels) ? [] : waitingForOthers(),
      ),
      fromInformer(pods, keysOfPod),
    ),
  ]
  await runController({ name, sources, reconcile, concurrency: 32, signal, onError, clock })
}

/** Adds up a node again only when it or what is on it has changed: most pods find all nodes but one as the last pod left them. */
function createViewCache(): (nodeName: string, node: Node, pods: readonly Pod[]) => NodeView {
  const kept = new Map<string, NodeView>()
  return (nodeName, node, pods) => {
    const known = kept.get(nodeName)
    const isSame =
      known?.node === node && known.pods.length === pods.length && pods.every((pod, index) => known.pods[index] === pod)
    if (isSame) return known
    const fresh = viewNode(node, pods)
    kept.set(nodeName, fresh)
    return fresh
  }
}

function sequence(...sources: readonly Source[]): Source {
  return {
    async start(add) {
      for (const source of sources) {
        await source.start(add)
      }
    },
  }
}

function isPending({ metadata, spec }: Pod, schedulerName: string): boolean {
  return (
    (spec?.nodeName === undefined || spec.nodeName === '') &&
    (spec?.schedulerName ?? 'default-scheduler') === schedulerName &&
    (spec?.schedulingGates ?? []).length === 0 &&
    metadata?.deletionTimestamp === undefined
  )
}

function isEnded({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed'
}

/** Whether a node offers what it did before: heartbeats change nothing for those who wait. */
function isAlike(node: Node, old: Node | undefined): boolean {
  return old !== undefined && isDeepStrictEqual(offerOf(node), offerOf(old))
}

function offerOf({ metadata, spec, status }: Node): object {
  const conditions = status?.conditions?.map(({ type, status: value }) => [type, value])
  return { labels: metadata?.labels, spec, allocatable: status?.allocatable, conditions }
}
