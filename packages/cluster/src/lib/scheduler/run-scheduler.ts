import { setImmediate as yieldToOthers } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'

import type { KubeClient } from '@fairlead/kube'
import { createInformer } from '@fairlead/kube/cache'
import type { InformerEvent } from '@fairlead/kube/cache'
import { createEventRecorder, keyOf, systemClock } from '@fairlead/kube/controller'
import type { Clock } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { createVolumeFilter, judgeClaims, selectedNode } from './claims.ts'
import type { ClaimsVerdict } from './claims.ts'
import { isAlike } from './cluster-event.ts'
import { findPlace } from './find-place.ts'
import type { Scene, Verdict } from './find-place.ts'
import { createPodWriter } from './pod-writer.ts'
import { decidePreemption } from './preemption.ts'
import type { Candidate } from './preemption.ts'
import { describeRejections } from './rejection.ts'
import type { FilterName } from './rejection.ts'
import { requestsOf } from './resources.ts'
import { SchedulingQueue } from './scheduling-queue.ts'
import type { QueuedPod } from './scheduling-queue.ts'
import { Snapshot } from './snapshot.ts'

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

/** So many answers of the API are waited for at a time. */
const maxWrites = 64
/** After so many decisions others get their turn. */
const decisionsPerTurn = 16

const ofVolumes: ReadonlySet<FilterName> = new Set(['VolumeBinding'])
const notHelpful = 'Preemption is not helpful for scheduling'

/**
 * Gives every pod without a node the node that suits it best, the most important first, until `signal` aborts. Pods no node takes get
 * the condition `PodScheduled` False and are tried again when something happens that may help them; before, less important pods are made
 * to leave if that makes room.
 */
export async function runScheduler(options: RunSchedulerOptions): Promise<void> {
  await new Scheduler(options).run()
}

class Scheduler {
  readonly #signal: AbortSignal
  readonly #name: string
  readonly #onError: (error: unknown, key?: string) => void
  readonly #informers: Informers
  readonly #write: ReturnType<typeof createPodWriter>
  readonly #client: KubeClient
  readonly #queue: SchedulingQueue
  readonly #snapshot = new Snapshot()
  /** Uids of pods being bound by us that the cache does not show on their node yet. */
  readonly #assumed = new Set<string>()
  readonly #writes = new Set<Promise<void>>()
  #tellWritten: () => void = () => {}

  constructor({ client, signal, onError, name = 'default-scheduler', clock = systemClock }: RunSchedulerOptions) {
    this.#signal = signal
    this.#name = name
    this.#client = client
    this.#onError = (error, key) => onError?.(error, { controller: name, ...(key !== undefined && { key }) })
    this.#queue = new SchedulingQueue(clock)
    const common = { signal, clock, onError: (error: unknown) => this.#onError(error) }
    this.#informers = createInformers(client, common)
    const recorder = createEventRecorder(client, name, common)
    this.#write = createPodWriter({ client, recorder, name, clock, signal })
  }

  async run(): Promise<void> {
    try {
      await this.#follow()
      for (let count = 1; !this.#signal.aborted; count++) {
        const next = this.#queue.pop()
        if (next === undefined) await this.#queue.ready(this.#signal)
        else this.#try(next)
        while (this.#writes.size >= maxWrites) await this.#oneWritten()
        if (count % decisionsPerTurn === 0) await yieldToOthers()
      }
    } catch (error) {
      if (!this.#signal.aborted) throw error
    }
    await Promise.all(this.#writes)
  }

  // ---- what happens in the cluster

  async #follow(): Promise<void> {
    const { pods, nodes, namespaces, claims, volumes, storageClasses, budgets } = this.#informers
    // Nodes first: a pod looked at before them would be told there are none.
    await Promise.all([nodes, namespaces, claims, volumes, storageClasses, budgets].map((informer) => informer.start()))
    nodes.on((event, node, old) => {
      if (event === 'delete') {
        this.#snapshot.removeNode(node.metadata?.name ?? '')
        this.#queue.happened({ kind: 'node-gone' })
        return
      }
      this.#snapshot.setNode(node)
      if (old === undefined || !isAlike(node, old)) this.#queue.happened({ kind: 'node', node, old })
    })
    for (const informer of [claims, volumes, storageClasses]) {
      informer.on(() => this.#queue.happened({ kind: 'volumes' }))
    }
    namespaces.on((_, { metadata }, old) => {
      if (!isDeepStrictEqual(metadata?.labels, old?.metadata?.labels)) this.#queue.happened({ kind: 'namespace' })
    })
    pods.on((event, pod, old) => this.#notice(event, pod, old))
    await pods.start()
  }

  #notice(event: InformerEvent, pod: Pod, old: Pod | undefined): void {
    const nodeName = pod.spec?.nodeName ?? ''
    if (event === 'delete' || isEnded(pod)) return this.#forget(pod)
    if (nodeName !== '') return this.#confirm(pod, nodeName)
    if (pod.metadata?.deletionTimestamp !== undefined) return this.#forget(pod)
    if (!this.#isOurs(pod)) return
    // One being bound is followed by one on its node, or by a failure.
    if (this.#assumed.has(pod.metadata?.uid ?? '')) return
    this.#snapshot.nominate(pod, this.#nominationNow(pod, old))
    this.#queue.set(pod, old)
  }

  /** What was decided here may not have been written yet; what has changed there holds. */
  #nominationNow(pod: Pod, old: Pod | undefined): string {
    const told = pod.status?.nominatedNodeName ?? ''
    const isNews = old === undefined || told !== (old.status?.nominatedNodeName ?? '')
    return isNews ? told : this.#snapshot.nominationOf(pod)
  }

  #forget(pod: Pod): void {
    this.#queue.delete(keyOf(pod))
    this.#assumed.delete(pod.metadata?.uid ?? '')
    const isLeaving = this.#snapshot.placed(pod) !== undefined || this.#snapshot.nominationOf(pod) !== ''
    this.#snapshot.leave(pod)
    this.#snapshot.nominate(pod, '')
    if (isLeaving) this.#queue.happened({ kind: 'pod-left', pod })
  }

  #confirm(pod: Pod, nodeName: string): void {
    const before = this.#snapshot.placed(pod)
    this.#assumed.delete(pod.metadata?.uid ?? '')
    this.#queue.delete(keyOf(pod))
    this.#snapshot.nominate(pod, '')
    this.#snapshot.place(pod, nodeName)
    if (before === undefined || !isDeepStrictEqual(before.metadata?.labels, pod.metadata?.labels)) {
      this.#queue.happened({ kind: 'pod-placed', pod })
    }
    if (before !== undefined && asksForLess(pod, before)) this.#queue.happened({ kind: 'pod-left', pod: before })
  }

  #isOurs({ spec }: Pod): boolean {
    return (spec?.schedulerName ?? 'default-scheduler') === this.#name
  }

  // ---- one pod

  /** A pod that cannot be judged does not keep others from being. */
  #try(queued: QueuedPod): void {
    try {
      this.#schedule(queued)
    } catch (error) {
      this.#onError(error, queued.key)
      this.#queue.fail(queued.key)
    }
  }

  #schedule({ key, pod }: QueuedPod): void {
    const { views } = this.#snapshot
    if (views.length === 0) return this.#reject(key, pod, { message: describeRejections([]), filters: new Set() })
    const verdict = judgeClaims(pod, this.#sources)
    if (verdict.state === 'missing') {
      const message = `0/${views.length} nodes are available: ${verdict.message}.`
      return this.#reject(key, pod, { message, filters: ofVolumes, hopeless: views.length })
    }
    const scene = this.#sceneOf(pod)
    const found = findPlace(pod, scene, this.#snapshot.nominationOf(pod))
    if ('verdicts' in found) return this.#makeRoom(key, pod, { scene, verdicts: found.verdicts })
    if (verdict.state === 'ready') return this.#bind(key, pod, found.view.name)
    this.#queue.reject(key, ofVolumes)
    this.#start(key, () => this.#selectNode(verdict, found.view.name))
  }

  #sceneOf(pod: Pod): Scene {
    return {
      views: this.#snapshot.views,
      namespaces: (name) => this.#informers.namespaces.get(undefined, name)?.metadata?.labels,
      nominatedOn: (nodeName) => this.#snapshot.nominatedOn(nodeName),
      volumes: createVolumeFilter(pod, this.#sources),
    }
  }

  get #sources(): Parameters<typeof judgeClaims>[1] {
    const { claims, storageClasses, volumes } = this.#informers
    return {
      claim: (namespace, name) => claims.get(namespace, name),
      storageClass: (name) => storageClasses.get(undefined, name),
      volume: (name) => volumes.get(undefined, name),
    }
  }

  #bind(key: string, pod: Pod, nodeName: string): void {
    const uid = pod.metadata?.uid ?? ''
    this.#assumed.add(uid)
    this.#snapshot.place(pod, nodeName)
    this.#snapshot.nominate(pod, '')
    this.#start(key, async () => {
      const isBound = await this.#write.bind(pod, nodeName).catch((error: unknown) => {
        this.#takeBack(pod)
        this.#queue.fail(key)
        throw error
      })
      // Gone, or another's: the watch tells what has become of it.
      if (!isBound) this.#takeBack(pod)
    })
  }

  #takeBack(pod: Pod): void {
    if (!this.#assumed.delete(pod.metadata?.uid ?? '')) return
    this.#snapshot.leave(pod)
    this.#queue.happened({ kind: 'pod-left', pod })
  }

  /** No node takes the pod: others may have to leave for it. */
  #makeRoom(key: string, pod: Pod, { scene, verdicts }: { scene: Scene; verdicts: readonly Verdict[] }): void {
    const message = describeRejections(verdicts.map(({ rejections }) => rejections.map(({ reason }) => reason)))
    const filters = new Set(verdicts.flatMap(({ rejections }) => rejections.map(({ filter }) => filter)))
    const nominated = this.#snapshot.nominationOf(pod)
    const decision = decidePreemption(pod, { scene, verdicts, nominated, budgets: this.#informers.budgets.list() })
    switch (decision.outcome) {
      case 'preempt':
        return this.#preempt(key, pod, { ...decision, message, filters })
      case 'wait':
        return this.#reject(key, pod, { message: `${message} preemption: ${decision.message}`, filters, nominated })
      case 'none':
        return this.#reject(key, pod, { message: `${message} preemption: ${decision.message}`, filters })
    }
  }

  #preempt(
    key: string,
    pod: Pod,
    { nodeName, victims, message, filters }: Candidate & Pick<Outcome, 'message' | 'filters'>,
  ): void {
    const outranked = this.#snapshot.outranked(pod, nodeName)
    for (const other of outranked) this.#snapshot.nominate(other, '')
    this.#snapshot.nominate(pod, nodeName)
    this.#start(key, async () => {
      // Until all have been told to go the pod is not tried again, or it would ask for more.
      await Promise.all([
        this.#write.reject(pod, message, nodeName),
        ...outranked.map((other) => this.#write.clearNomination(other)),
        ...victims.map((victim) => this.#write.evict(victim, pod, nodeName)),
      ]).catch((error: unknown) => {
        this.#queue.fail(key)
        throw error
      })
      this.#queue.reject(key, filters)
      for (const other of outranked) this.#queue.activate(keyOf(other))
    })
  }

  #reject(key: string, pod: Pod, { message, filters, nominated = '', hopeless }: Outcome): void {
    this.#snapshot.nominate(pod, nominated)
    this.#queue.reject(key, filters)
    const told =
      hopeless === undefined
        ? message
        : `${message} preemption: ${describeRejections(Array.from({ length: hopeless }, () => [notHelpful]))}`
    this.#start(key, () => this.#write.reject(pod, told, nominated))
  }

  /** The pod follows when its claims have volumes there. */
  async #selectNode(
    { claims: waiting }: Extract<ClaimsVerdict, { state: 'delayed' }>,
    nodeName: string,
  ): Promise<void> {
    for (const { metadata } of waiting) {
      if (metadata?.annotations?.[selectedNode] !== undefined) continue
      const { name = '', namespace, uid } = metadata ?? {}
      const body = { metadata: { uid, annotations: { [selectedNode]: nodeName } } }
      await this.#client.resource('v1/PersistentVolumeClaim').patch(name, { type: 'merge', body }, { namespace })
    }
  }

  #start(key: string, write: () => Promise<void>): void {
    const writing = write()
      .catch((error: unknown) => {
        if (!this.#signal.aborted) this.#onError(error, key)
      })
      .finally(() => {
        this.#writes.delete(writing)
        this.#tellWritten()
      })
    this.#writes.add(writing)
  }

  async #oneWritten(): Promise<void> {
    await new Promise<void>((resolve) => (this.#tellWritten = resolve))
  }
}

interface Outcome {
  readonly message: string
  /** That kept the pod from the nodes. */
  readonly filters: ReadonlySet<FilterName>
  readonly nominated?: string
  /** So many nodes, and none to be helped by preemption. */
  readonly hopeless?: number
}

function isEnded({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed'
}

function asksForLess(pod: Pod, before: Pod): boolean {
  if (pod.spec === before.spec) return false
  const now = requestsOf(pod)
  return [...requestsOf(before)].some(([name, amount]) => (now.get(name) ?? 0) < amount)
}

type Informers = ReturnType<typeof createInformers>

function createInformers(
  client: KubeClient,
  common: { readonly signal: AbortSignal; readonly clock: Clock; readonly onError: (error: unknown) => void },
) {
  return {
    pods: createInformer(client.resource('v1/Pod'), common),
    nodes: createInformer(client.resource('v1/Node'), common),
    namespaces: createInformer(client.resource('v1/Namespace'), common),
    claims: createInformer(client.resource('v1/PersistentVolumeClaim'), common),
    volumes: createInformer(client.resource('v1/PersistentVolume'), common),
    storageClasses: createInformer(client.resource('storage.k8s.io/v1/StorageClass'), common),
    budgets: createInformer(client.resource('policy/v1/PodDisruptionBudget'), common),
  }
}
