import { createHash } from 'node:crypto'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import type { KubeClient } from '@fairlead/kube'
import { createInformer } from '@fairlead/kube/cache'
import { createEventRecorder, systemClock } from '@fairlead/kube/controller'
import type { Clock, EventRecorder } from '@fairlead/kube/controller'
import type { ContainerImage, Node, Pod } from '@fairlead/kube/types/core-v1'
import { openLayout } from '@fairlead/oci/layout'
import type { Layout } from '@fairlead/oci/layout'
import { pullImage } from '@fairlead/oci/registry'
import { createAdmission } from '@fairlead/oci/sign'
import type { ImagePolicy } from '@fairlead/oci/sign'
import { openRuntime } from '@fairlead/oci/runtime'
import type { ContainerRuntime } from '@fairlead/oci/runtime'

import type { PodNetwork } from '../network/pod-network.ts'
import type { PullImage } from './images.ts'
import type { OpenRegistryClient } from './registry-clients.ts'
import { rejectPod } from './admission.ts'
import type { PodRejection } from './admission.ts'
import { describeMemoryPressure, findOverfull, pressureOf, rankForEviction, readLeft } from './eviction.ts'
import type { Left, PodUse } from './eviction.ts'
import { Grants } from './grants.ts'
import { createKubelet } from './kubelet.ts'
import type { Kubelet } from './kubelet.ts'
import { rotateLog } from './log-rotation.ts'
import type { RotationOptions } from './log-rotation.ts'
import { readHostResolvConf } from './name-files.ts'
import { FollowedSources } from './followed-sources.ts'
import { createImageLister } from './node-images.ts'
import { nameOf, qosClassOf, uidOf } from './pod.ts'
import { openPodRecords } from './pod-records.ts'
import type { KeptPod } from './pod-records.ts'
import { PodWorker } from './pod-worker.ts'
import type { NodeContext } from './node-context.ts'
import { RENEW_MS, registerNode, renewLease, reportStatus, reportStopped } from './registration.ts'
import type { NodeReport } from './registration.ts'
import { readServiceEnvironment } from './service-environment.ts'
import { createSources, createTokenCache } from './sources.ts'
import { rejectSysctls } from './sysctls.ts'
import type { TokenCache } from './token-cache.ts'
import { readCgroupUsage } from './usage/read-usage.ts'
import { UsageMeter, machine } from './usage/usage-meter.ts'
import type { MeteredContainer } from './usage/usage-meter.ts'
import { unmountVolumes } from './volumes.ts'

/** Options of {@link runNode}. */
export interface NodeOptions {
  readonly client: KubeClient
  readonly nodeName: string
  /** Own directory: pods, logs, containers, unpacked layers. */
  readonly dir: string
  /** Directory of the OCI layout images are run from. */
  readonly images: string
  /** Default `auto`: containers where the network has namespaces and the machine allows, else processes. */
  readonly runtime?: 'auto' | 'runc' | 'process' | undefined
  readonly network: PodNetwork
  /** Address of the cluster's name server; empty: pods get the machine's. */
  readonly clusterDns: string
  /** Default `cluster.local`. */
  readonly clusterDomain?: string | undefined
  /** Brings images that are not in the layout. Default: from their registry. */
  readonly pull?: PullImage | undefined
  /** Talks to registries, also with credentials of a pod. Default: as the user of this process. */
  readonly openRegistryClient?: OpenRegistryClient | undefined
  /** Which images may run; default: all. */
  readonly imagePolicy?: ImagePolicy | undefined
  /** Hosts, with port, of registries that serve `images`. Default: none. */
  readonly ownRegistries?: (() => readonly string[]) | undefined
  /** Stops the agent, as {@link NodeAgent.stop} with `stopPods` as given here does. */
  readonly signal?: AbortSignal | undefined
  /** What becomes of the pods when `signal` aborts. Default false: they go on and are adopted by the next agent. */
  readonly stopPods?: boolean | undefined
  readonly maxPods?: number | undefined
  /** Value of the label `topology.kubernetes.io/zone`. Default: the node has none. */
  readonly zone?: string | undefined
  /** How many nodes share this machine: pods of each get an equal part of it. Default 1. */
  readonly nodesOfMachine?: number | undefined
  readonly logRotation?: RotationOptions | undefined
  /** What the machine has left, given the node's folder. Default: as the kernel says. */
  readonly readLeft?: ((dir: string) => Promise<Left>) | undefined
  /** Told of failures that are retried. */
  readonly onError?: ((error: unknown) => void) | undefined
  readonly clock?: Clock | undefined
}

/** A running node agent. */
export interface NodeAgent {
  readonly kubelet: Kubelet
  /** Name and version of the runtime, `runc://1.1.5` or `process://24.1.0`. */
  readonly runtimeVersion: string
  /** Whether pods are isolated, or plain processes; `reason` says why the latter when not asked for. */
  readonly kind: 'containers' | 'processes'
  readonly reason?: string | undefined
  /** Resolves when the agent has stopped. */
  readonly done: Promise<void>
  /** Stops the agent: with its pods, each given `graceMs` (default 10,000) at most, or without. */
  stop(options?: { readonly stopPods?: boolean | undefined; readonly graceMs?: number | undefined }): Promise<void>
}

const ROTATE_MS = 10_000
/** How often it is measured what containers use, as kubelets do. */
const MEASURE_MS = 10_000
const PRUNE_MS = 3_600_000
const TOKEN_MS = 60_000
/** How often it is looked at what is left, as kubelets do. */
const GUARD_MS = 10_000
/** A node whose state does not change says so again after this long. */
const HEARTBEAT_MS = 300_000
/** Layers stay for so long after their last use. */
const UNUSED_LAYER_MS = 24 * 3_600_000

/**
 * Runs the pods that are bound to a node, as the kubelet does: registers the Node and keeps its Lease, adopts what an
 * earlier agent left running, starts, probes, restarts and stops containers, and writes pod status. Resolves when the
 * agent works; it goes on until stopped.
 */
export async function runNode(options: NodeOptions): Promise<NodeAgent> {
  const agent = await Agent.open(options)
  await agent.start()
  return agent
}

class Agent implements NodeAgent {
  readonly kubelet: Kubelet
  readonly reason: string | undefined
  readonly done: Promise<void>
  readonly #options: NodeOptions
  readonly #context: NodeContext
  readonly #clock: Clock
  readonly #events: EventRecorder
  readonly #tokens: TokenCache
  readonly #followed: FollowedSources
  readonly #layout: Layout
  readonly #listImages: () => Promise<readonly ContainerImage[]>
  readonly #workers = new Map<string, PodWorker>()
  /** Pods whose worker is being made. */
  readonly #opening = new Map<string, Promise<void>>()
  /** The pods themselves: they count already. */
  readonly #incoming = new Map<string, Pod>()
  readonly #kept: Map<string, KeptPod>
  readonly #stopping = new AbortController()
  readonly #meter: UsageMeter
  readonly #finished = Promise.withResolvers<void>()
  readonly #timers: (() => void)[] = []
  #stopped: Promise<void> | undefined
  #told: { text: string; at: number } = { text: '', at: 0 }
  #node: Node | undefined

  private constructor(
    options: NodeOptions,
    parts: {
      context: NodeContext
      tokens: TokenCache
      layout: Layout
      events: EventRecorder
      kept: readonly KeptPod[]
      reason: string | undefined
    },
  ) {
    this.#options = options
    this.#context = parts.context
    this.#clock = parts.context.clock
    this.#events = parts.events
    this.#layout = parts.layout
    this.#listImages = createImageLister(parts.layout)
    this.#kept = new Map(parts.kept.map((pod) => [pod.uid, pod]))
    this.reason = parts.reason
    // One node among several has used what its pods have, not what the machine has.
    const { cgroupParent } = parts.context
    this.#meter =
      (options.nodesOfMachine ?? 1) === 1
        ? new UsageMeter()
        : new UsageMeter({ ...machine, readNode: () => readCgroupUsage(cgroupParent) })
    this.#tokens = parts.tokens
    this.#followed = new FollowedSources({
      client: options.client,
      clock: this.#clock,
      onError: this.#context.onError,
      onChange: (podUids) => this.#refresh(podUids),
    })
    this.done = this.#finished.promise
    const find = (namespace: string, name: string): PodWorker | undefined =>
      [...this.#workers.values()].find(({ pod }) => nameOf(pod) === `${namespace}/${name}`)
    this.kubelet = createKubelet(find, () => [...this.#workers.values()], parts.context.runtime, {
      nodeName: options.nodeName,
      read: async () => this.#meter.readings,
    })
  }

  static async open(options: NodeOptions): Promise<Agent> {
    const { client, network, dir, nodeName, nodesOfMachine = 1, clock = systemClock } = options
    const onError = options.onError ?? (() => {})
    const layout = await openLayout(options.images)
    const opened = await openRuntime(runtimeMode(options), runtimeDirs(options, layout))
    const { runtime } = opened
    const records = await openPodRecords(dir)
    const events = createEventRecorder(client, 'kubelet', { host: nodeName, onError, clock })
    const tokens = createTokenCache(client, clock)
    const context: NodeContext = {
      nodeName,
      clock,
      runtime,
      layout,
      network,
      records,
      events,
      onError,
      admit: options.imagePolicy && createAdmission({ policy: options.imagePolicy, layout }),
      pull: options.pull ?? (async (reference, asked) => void (await pullImage(reference, { layout, ...asked }))),
      openRegistryClient: options.openRegistryClient,
      ownRegistries: options.ownRegistries,
      pods: client.resource('v1/Pod'),
      sources: createSources(client, tokens),
      hostIp: network.gateway,
      // Nodes of one machine have equal parts of it.
      cpus: cpus().length / nodesOfMachine,
      memoryBytes: Math.floor(totalmem() / nodesOfMachine),
      clusterDns: options.clusterDns,
      clusterDomain: options.clusterDomain ?? 'cluster.local',
      hostResolvConf: await readHostResolvConf(),
      cgroupParent: `/fairlead-${createHash('sha256').update(dir).digest('hex').slice(0, 8)}`,
      seccompDir: join(dir, 'seccomp'),
      grants: new Grants(),
      serviceEnvironment: (pod) => readServiceEnvironment(client, pod),
    }
    const reason = opened.reason ?? (runtime.kind === 'processes' ? network.reason : undefined)
    return new Agent(options, { context, tokens, layout, events, kept: await records.readAll(), reason })
  }

  get runtimeVersion(): string {
    return this.#context.runtime.version
  }

  get kind(): ContainerRuntime['kind'] {
    return this.#context.runtime.kind
  }

  async start(): Promise<void> {
    const { client, signal } = this.#options
    const { runtime } = this.#context
    signal?.addEventListener(
      'abort',
      () => void this.stop({ stopPods: this.#options.stopPods }).catch(this.#context.onError),
      { once: true },
    )
    const node = await registerNode(client, this.#facts(), this.#clock)
    this.#node = node
    await renewLease(client, node, this.#clock)
    runtime.onExit((id) => {
      for (const worker of this.#workers.values()) if (worker.containerIds.includes(id)) worker.noticed(id)
    })
    await this.#followPods()
    await this.#sweep()
    // Whoever looks from now on sees the pods as they are, not as they were when the last agent went.
    await Promise.all([...this.#workers.values()].map((worker) => worker.told()))
    this.#every(RENEW_MS, () => this.#renew())
    this.#every(ROTATE_MS, () => this.#rotateLogs())
    void this.#measure().catch(this.#context.onError)
    this.#every(MEASURE_MS, () => this.#measure())
    this.#every(PRUNE_MS, () => this.#prune())
    this.#every(TOKEN_MS, () => this.#renewTokens())
    this.#every(GUARD_MS, () => this.#guard())
  }

  stop(options: { stopPods?: boolean | undefined; graceMs?: number | undefined } = {}): Promise<void> {
    this.#stopped ??= this.#stop(options.stopPods ?? false, options.graceMs ?? 10_000).finally(() =>
      this.#finished.resolve(),
    )
    return this.#stopped
  }

  async #stop(stopPods: boolean, graceMs: number): Promise<void> {
    for (const cancel of this.#timers) cancel()
    this.#stopping.abort()
    await Promise.allSettled(this.#opening.values())
    const workers = [...this.#workers.values()]
    await Promise.allSettled(workers.map((worker) => (stopPods ? worker.leave(graceMs) : worker.detach())))
    this.#followed.close()
    await this.#events.flush()
    if (stopPods) {
      await this.#context.runtime.removeCgroup(this.#context.cgroupParent)
      await reportStopped(this.#options.client, this.#options.nodeName, this.#clock).catch(this.#context.onError)
    }
    await this.#context.runtime.close()
  }

  // ---- pods

  async #followPods(): Promise<void> {
    const { client, nodeName } = this.#options
    const pods = createInformer(client.resource('v1/Pod'), {
      fieldSelector: `spec.nodeName=${nodeName}`,
      signal: this.#stopping.signal,
      onError: this.#context.onError,
      clock: this.#clock,
    })
    pods.on((event, pod) => this.#changed(event, pod))
    await pods.start()
    // What is adopted must be known before leftovers are swept.
    await Promise.all(this.#opening.values())
  }

  #changed(event: 'add' | 'update' | 'delete', pod: Pod): void {
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

  #tell(event: 'add' | 'update' | 'delete', pod: Pod): void {
    const worker = this.#workers.get(uidOf(pod))
    if (event === 'delete') worker?.forgotten()
    else worker?.update(pod)
  }

  #open(pod: Pod): void {
    const uid = uidOf(pod)
    const kept = this.#kept.get(uid)
    this.#kept.delete(uid)
    const others = [...this.#incoming.values(), ...[...this.#workers.values()].map((worker) => worker.pod)]
    // One without a record, already ended, has nothing to do with this node any more.
    const open = async (): Promise<void> => {
      const rejection = kept === undefined && isNew(pod) ? await this.#judge(pod, others) : undefined
      if (rejection !== undefined) return await this.#reject(pod, rejection)
      this.#followed.follow(pod)
      const worker = await PodWorker.open(pod, kept ?? recordOfEnded(pod), this.#context)
      this.#workers.set(uid, worker)
      void worker.gone.then(() => this.#released(uid))
    }
    const work = open()
      .catch((error: unknown) => this.#context.onError(error))
      .finally(() => {
        this.#opening.delete(uid)
        this.#incoming.delete(uid)
      })
    this.#opening.set(uid, work)
    this.#incoming.set(uid, pod)
  }

  /** The labels of the node may have changed since it was registered: who asks for them is judged by those of now. */
  async #judge(pod: Pod, others: readonly Pod[]): Promise<PodRejection | undefined> {
    const { client, nodeName } = this.#options
    const isChoosy = pod.spec?.nodeSelector !== undefined || pod.spec?.affinity?.nodeAffinity !== undefined
    const node = isChoosy ? await client.resource('v1/Node').get(nodeName) : this.#node
    return rejectSysctls(pod) ?? (node && rejectPod(pod, others, node))
  }

  /** The pod is over before it began. When its new status comes back it is one of those that have ended. */
  async #reject(pod: Pod, { reason, message }: PodRejection): Promise<void> {
    this.#events.record(pod, { type: 'Warning', reason, message })
    const status = { phase: 'Failed', reason, message: `Pod was rejected: ${message}`, qosClass: qosClassOf(pod) }
    const { name = '', namespace, uid } = pod.metadata ?? {}
    const patch = { type: 'merge', body: { metadata: { uid }, status } } as const
    await this.#context.pods.patch(name, patch, { namespace, subresource: 'status' })
  }

  /** Removes what belongs to no pod of this node: pods deleted while nobody was here, half-made containers. */
  async #sweep(): Promise<void> {
    const { runtime, network, records } = this.#context
    const owned = new Set([...this.#workers.values()].flatMap(({ containerIds }) => containerIds))
    for (const id of await runtime.list()) if (!owned.has(id)) await runtime.delete(id)
    for (const pod of this.#kept.values()) {
      await runtime.closeNamespaces(join(records.dirOf(pod.uid), 'namespaces'))
      await unmountVolumes(undefined, join(records.dirOf(pod.uid), 'volumes'))
      const { cgroupParent } = this.#context
      for (const parent of ['', '/burstable', '/besteffort'])
        await runtime.removeCgroup(`${cgroupParent}${parent}/pod${pod.uid}`)
      await records.remove(pod)
    }
    this.#kept.clear()
    for (const { uid } of network.attached())
      if (!this.#workers.has(uid) && !this.#opening.has(uid)) await network.detach(uid)
  }

  // ---- ConfigMaps, Secrets and tokens

  #refresh(podUids: Iterable<string>): void {
    for (const uid of podUids) this.#workers.get(uid)?.refresh()
  }

  /** Tokens end whether or not an object changes. */
  async #renewTokens(): Promise<void> {
    for (const [uid, worker] of this.#workers) if (this.#tokens.isDue(uid)) worker.refresh()
  }

  #released(podUid: string): void {
    this.#workers.delete(podUid)
    this.#followed.release(podUid)
    this.#tokens.forget(podUid)
  }

  // ---- what is done again and again

  #every(ms: number, work: () => Promise<void>): void {
    let cancel: () => void
    const again = (): void => {
      cancel = this.#clock.schedule(ms, () => {
        void work()
          .catch((error: unknown) => this.#context.onError(error))
          .finally(() => {
            if (!this.#stopping.signal.aborted) again()
          })
      })
    }
    again()
    this.#timers.push(() => cancel())
  }

  async #renew(): Promise<void> {
    if (this.#node) await renewLease(this.#options.client, this.#node, this.#clock)
  }

  async #measure(): Promise<void> {
    const { runtime } = this.#context
    const found = await Promise.all(
      [...this.#workers.values()].flatMap(({ pod, cgroupPath, runningContainers }) =>
        runningContainers.map(async ({ name, id }): Promise<MeteredContainer[]> => {
          const state = await runtime.state(id)
          if (state?.status !== 'running' || state.startedAt === undefined) return []
          const { namespace = '', name: podName = '', uid = '' } = pod.metadata ?? {}
          const { pid, startedAt } = state
          return [
            { id, name, pod: { namespace, name: podName, uid }, pid, startedAt, cgroupPath: `${cgroupPath}/${id}` },
          ]
        }),
      ),
    )
    await this.#meter.sample(found.flat(), this.#clock.now())
  }

  /** Evicts pods that take more than they may, and one where the node is short of memory; tells how the node is. */
  async #guard(): Promise<void> {
    for (const worker of this.#workers.values()) {
      const why = await findOverfull(worker.pod, worker.volumesDir)
      if (why !== undefined) worker.evict(why, false)
    }
    const left = await (this.#options.readLeft ?? readLeft)(this.#options.dir)
    const pressure = pressureOf(left)
    if (pressure.memory) this.#evictOne(left)
    await this.#tellStatus({ pressure, images: await this.#listImages() })
  }

  #evictOne(left: Left): void {
    const uses = new Map<string, number>()
    for (const { container, latest } of this.#meter.readings.containers) {
      uses.set(container.pod.uid, (uses.get(container.pod.uid) ?? 0) + latest.memoryBytes)
    }
    const candidates = [...this.#workers].flatMap(([uid, { pod }]): PodUse[] => {
      const isOver = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
      return isOver ? [] : [{ pod, memoryBytes: uses.get(uid) ?? 0 }]
    })
    const [first] = rankForEviction(candidates)
    if (first !== undefined) this.#workers.get(uidOf(first.pod))?.evict(describeMemoryPressure(left), true)
  }

  async #tellStatus(report: NodeReport): Promise<void> {
    const text = JSON.stringify(report)
    const now = this.#clock.now()
    if (this.#told.text === text && now - this.#told.at < HEARTBEAT_MS) return
    await reportStatus(this.#options.client, this.#facts(), report, this.#clock)
    this.#told = { text, at: now }
  }

  async #rotateLogs(): Promise<void> {
    for (const worker of this.#workers.values()) {
      for (const { id, path } of worker.openLogs) {
        await rotateLog(path, () => this.#context.runtime.reopenLog(id), this.#options.logRotation)
      }
    }
  }

  async #prune(): Promise<void> {
    const images = []
    for (const { reference } of await this.#layout.list()) {
      const image = await this.#layout.resolve(reference).catch(() => undefined)
      if (image) images.push(image)
    }
    await this.#context.runtime.prune(images, UNUSED_LAYER_MS)
  }

  #facts(): Parameters<typeof registerNode>[1] {
    const { nodeName, maxPods = 110, zone, nodesOfMachine = 1 } = this.#options
    const { runtime, hostIp } = this.#context
    return {
      nodeName,
      address: hostIp,
      runtimeVersion: runtime.version,
      kind: runtime.kind,
      reason: this.reason,
      maxPods,
      zone,
      nodesOfMachine,
    }
  }
}

/** Containers need a network of namespaces, plain processes the network made for them. */
function runtimeMode({ runtime = 'auto', network }: NodeOptions): 'auto' | 'containers' | 'processes' {
  if (runtime === 'runc') return 'containers'
  if (runtime === 'process' || network.plan.mode === 'processes') return 'processes'
  return 'auto'
}

function runtimeDirs({ dir, network, runtime }: NodeOptions, layout: Layout): Parameters<typeof openRuntime>[1] {
  const isProcess = runtime === 'process' || network.plan.mode === 'processes'
  return { dir: join(dir, 'runtime'), layersDir: join(dir, isProcess ? 'layers-process' : 'layers'), layout }
}

/** Whether no agent has begun with the pod, and it is still wanted. */
function isNew({ metadata, status }: Pod): boolean {
  const isOver = status?.phase === 'Failed' || status?.phase === 'Succeeded'
  return status?.startTime === undefined && metadata?.deletionTimestamp === undefined && !isOver
}

function recordOfEnded(pod: Pod): KeptPod | undefined {
  const phase = pod.status?.phase
  if (phase !== 'Succeeded' && phase !== 'Failed') return undefined
  const { uid = '', namespace = '', name = '' } = pod.metadata ?? {}
  return {
    uid,
    namespace,
    name,
    startTime: Date.parse(pod.status?.startTime ?? '') || Date.now(),
    finished: phase,
    containers: {},
  }
}
