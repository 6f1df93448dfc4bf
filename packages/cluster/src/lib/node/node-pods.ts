import type { KubeClient } from '@fairlead/kube'
import { createInformer } from '@fairlead/kube/cache'
import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { rejectPod, rejectUnderPressure } from './admission.ts'
import type { PodRejection } from './admission.ts'
import type { Pressure } from './eviction/pressure.ts'
import { FollowedSources } from './followed-sources.ts'
import type { NodeContext } from './node-context.ts'
import { nameOf, qosClassOf, uidOf } from './pod.ts'
import type { KeptPod } from './pod-records.ts'
import { PodWorker } from './pod-worker.ts'
import { rejectSysctls } from './sysctls.ts'
import type { TokenCache } from './token-cache.ts'
import { removeRest, sweepLeftovers } from './leftovers.ts'

export interface NodePodsParts {
  readonly client: KubeClient
  readonly context: NodeContext
  readonly tokens: TokenCache
  /** Pods an earlier agent left. */
  readonly kept: readonly KeptPod[]
  /** What the node is short of. */
  readonly pressure: () => Pressure
}

type PodEvent = 'add' | 'update' | 'delete'

/** The pods that are bound to a node: each has a worker from when it is seen until nothing of it is left. */
export class NodePods {
  readonly #client: KubeClient
  readonly #context: NodeContext
  readonly #tokens: TokenCache
  readonly #followed: FollowedSources
  readonly #workers = new Map<string, PodWorker>()
  /** Pods whose worker is being made. */
  readonly #opening = new Map<string, Promise<void>>()
  /** The pods themselves: they count already. */
  readonly #incoming = new Map<string, Pod>()
  readonly #kept: Map<string, KeptPod>
  readonly #stopping = new AbortController()
  readonly #pressure: () => Pressure
  #node: Node | undefined

  constructor({ client, context, tokens, kept, pressure }: NodePodsParts) {
    this.#client = client
    this.#pressure = pressure
    this.#context = context
    this.#tokens = tokens
    this.#kept = new Map(kept.map((pod) => [pod.uid, pod]))
    this.#followed = new FollowedSources({
      client,
      clock: context.clock,
      onError: context.onError,
      onChange: (podUids) => this.#refresh(podUids),
    })
  }

  get workers(): readonly PodWorker[] {
    return [...this.#workers.values()]
  }

  find(namespace: string, name: string): PodWorker | undefined {
    return this.workers.find(({ pod }) => nameOf(pod) === `${namespace}/${name}`)
  }

  findByUid(uid: string): PodWorker | undefined {
    return this.#workers.get(uid)
  }

  /** A container has ended. */
  noticed(id: string): void {
    for (const worker of this.#workers.values()) if (worker.containerIds.includes(id)) worker.noticed(id)
  }

  /** Takes charge of the pods of `node`, adopting what runs; from then on follows what becomes of them. */
  async follow(node: Node): Promise<void> {
    this.#node = node
    const pods = createInformer(this.#client.resource('v1/Pod'), {
      fieldSelector: `spec.nodeName=${this.#context.nodeName}`,
      signal: this.#stopping.signal,
      onError: this.#context.onError,
      clock: this.#context.clock,
    })
    pods.on((event, pod) => this.#changed(event, pod))
    await pods.start()
    // What is adopted must be known before leftovers are swept.
    await Promise.all(this.#opening.values())
    await this.sweep()
    // Whoever looks from now on sees the pods as they are, not as they were when the last agent went.
    await Promise.all(this.workers.map((worker) => worker.told()))
  }

  /** Ends the work here: with the pods, each given `graceMs` at most, or without. */
  async close({ stopPods, graceMs }: { readonly stopPods: boolean; readonly graceMs: number }): Promise<void> {
    this.#stopping.abort()
    await Promise.allSettled(this.#opening.values())
    await Promise.allSettled(this.workers.map((worker) => (stopPods ? worker.leave(graceMs) : worker.detach())))
    if (stopPods) await removeRest(this.#context).catch(this.#context.onError)
    this.#followed.close()
  }

  /** Tokens end whether or not an object changes. */
  renewTokens(): void {
    for (const [uid, worker] of this.#workers) if (this.#tokens.isDue(uid)) worker.refresh()
  }

  /** Removes what belongs to no pod of this node: pods deleted while nobody was here, half-made containers, their logs. */
  async sweep(): Promise<void> {
    const { records } = this.#context
    const kept = [...this.#kept.values()]
    this.#kept.clear()
    // Each time as things are then: pods come and go meanwhile.
    await sweepLeftovers(this.#context, {
      kept,
      isOwned: (uid) => this.#workers.has(uid) || this.#opening.has(uid),
      hasContainer: (id) => this.workers.some(({ containerIds }) => containerIds.includes(id)),
      hasLogs: (dir) => this.#pods.some((pod) => dir === records.logsOf(placeOf(pod))),
    })
  }

  /** All there are, those on their way too. */
  get #pods(): readonly Pod[] {
    return [...this.#incoming.values(), ...this.workers.map((worker) => worker.pod)]
  }

  /** Those that take room: who was deleted without grace has given it back, as with kubelets and the scheduler. */
  get #wanted(): readonly Pod[] {
    const wanted = this.workers.filter((worker) => !worker.isForgotten)
    return [...this.#incoming.values(), ...wanted.map((worker) => worker.pod)]
  }

  #refresh(podUids: Iterable<string>): void {
    for (const uid of podUids) this.#workers.get(uid)?.refresh()
  }

  #changed(event: PodEvent, pod: Pod): void {
    const uid = uidOf(pod)
    const opening = this.#opening.get(uid)
    if (opening) {
      // The newest is told again once there is somebody to tell.
      void opening.then(() => this.#changed(event, pod))
      return
    }
    if (this.#workers.has(uid)) this.#tell(event, pod)
    else if (event !== 'delete') this.#open(pod)
  }

  #tell(event: PodEvent, pod: Pod): void {
    const worker = this.#workers.get(uidOf(pod))
    if (event === 'delete') worker?.forgotten()
    else worker?.update(pod)
  }

  #open(pod: Pod): void {
    const uid = uidOf(pod)
    const kept = this.#kept.get(uid)
    this.#kept.delete(uid)
    const others = this.#wanted
    const work = this.#take(pod, kept, others)
      .catch(this.#context.onError)
      .finally(() => {
        this.#opening.delete(uid)
        this.#incoming.delete(uid)
      })
    this.#opening.set(uid, work)
    this.#incoming.set(uid, pod)
  }

  /** One without a record, already ended, has nothing to do with this node any more. */
  async #take(pod: Pod, kept: KeptPod | undefined, others: readonly Pod[]): Promise<void> {
    const rejection = kept === undefined && isNew(pod) ? await this.#judge(pod, others) : undefined
    if (rejection !== undefined) return await this.#reject(pod, rejection)
    this.#followed.follow(pod)
    const worker = await PodWorker.open(pod, kept ?? recordOfEnded(pod), this.#context)
    this.#workers.set(uidOf(pod), worker)
    void worker.gone.then(() => this.#released(uidOf(pod)))
  }

  #released(podUid: string): void {
    this.#workers.delete(podUid)
    this.#followed.release(podUid)
    this.#tokens.forget(podUid)
  }

  /** The labels of the node may have changed since it was registered: who asks for them is judged by those of now. */
  async #judge(pod: Pod, others: readonly Pod[]): Promise<PodRejection | undefined> {
    const isChoosy = pod.spec?.nodeSelector !== undefined || pod.spec?.affinity?.nodeAffinity !== undefined
    const node = isChoosy ? await this.#client.resource('v1/Node').get(this.#context.nodeName) : this.#node
    return rejectUnderPressure(pod, this.#pressure()) ?? rejectSysctls(pod) ?? (node && rejectPod(pod, others, node))
  }

  /** The pod is over before it began. When its new status comes back it is one of those that have ended. */
  async #reject(pod: Pod, { reason, message }: PodRejection): Promise<void> {
    this.#context.events.record(pod, { type: 'Warning', reason, message })
    const status = { phase: 'Failed', reason, message: `Pod was rejected: ${message}`, qosClass: qosClassOf(pod) }
    const { name = '', namespace, uid } = pod.metadata ?? {}
    const patch = { type: 'merge', body: { metadata: { uid }, status } } as const
    await this.#context.pods.patch(name, patch, { namespace, subresource: 'status' })
  }
}

/** Whether no agent has begun with the pod, and it is still wanted. */
function isNew({ metadata, status }: Pod): boolean {
  const isOver = status?.phase === 'Failed' || status?.phase === 'Succeeded'
  return status?.startTime === undefined && metadata?.deletionTimestamp === undefined && !isOver
}

function recordOfEnded(pod: Pod): KeptPod | undefined {
  const phase = pod.status?.phase
  if (phase !== 'Succeeded' && phase !== 'Failed') return undefined
  return {
    ...placeOf(pod),
    startTime: Date.parse(pod.status?.startTime ?? '') || Date.now(),
    finished: phase,
    containers: {},
  }
}

function placeOf({ metadata }: Pod): { readonly uid: string; readonly namespace: string; readonly name: string } {
  const { uid = '', namespace = '', name = '' } = metadata ?? {}
  return { uid, namespace, name }
}
