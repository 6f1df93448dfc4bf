// The life of one pod as a state machine: `decide` says what to do, this class does it. It stays whole because every part
// of it reads and writes the same few fields, in one order.
import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DockerAuth } from '@fairlead/oci/registry'
import type { ContainerRuntime, SharedNamespaces } from '@fairlead/oci/runtime'
import { isConflict, isNotFound } from '@fairlead/kube'
import type { ResourceClient } from '@fairlead/kube'
import type { Clock, EventRecorder } from '@fairlead/kube/controller'
import type {
  Container,
  EphemeralContainer,
  ImageVolumeSource,
  Pod,
  PodCondition,
  Probe,
  ResourceRequirements,
} from '@fairlead/kube/types/core-v1'

import { hookFailed } from '../errors.ts'
import { hostPortsOf } from '../network/host-ports.ts'
import type { PodAttachment, PodNetwork } from '../network/pod-network.ts'
import { runAction } from './actions.ts'
import type { ActionTarget } from './actions.ts'
import { createContainerSpec } from './container-spec.ts'
import { LONG_RUN_MS, crashBackoffMs, decide, restartAt } from './decide.ts'
import type { ContainerPhase, ContainerView, Ending, PodView, Step } from './decide.ts'
import { accountEnvironment, createEnvironment } from './environment.ts'
import type { PodPlace } from './environment.ts'
import type { Grants } from './grants.ts'
import { prepareImage } from './images.ts'
import type { ImageSources } from './images.ts'
import { readPullSecrets } from './pull-secrets.ts'
import type { PullSecretSources } from './pull-secrets.ts'
import { namesOf, renderHostNetworkHosts, renderHosts, renderResolvConf } from './name-files.ts'
import { containersOf, fingerprintOf, hasOtherFields, knownStatus, uidOf } from './pod.ts'
import type { PodContainer } from './pod.ts'
import type { PodPlaceOnNetwork } from './pod-ports.ts'
import type { KeptPod, PodRecords } from './pod-records.ts'
import { PodResources } from './pod-resources.ts'
import type { ResizableContainer } from './pod-resources.ts'
import { watchProbes } from './prober.ts'
import { renderStatus } from './status.ts'
import { createStatusWriter } from './status-writer.ts'
import type { StatusWriter } from './status-writer.ts'
import { readTerminationMessage } from './termination-message.ts'
import { mountVolumes, refreshVolumes, unmountVolumes } from './volumes.ts'
import type { MountedVolumes, VolumeSources } from './volumes.ts'

/** What all pods of a node share. */
export interface NodeContext extends ImageSources {
  readonly nodeName: string
  readonly clock: Clock
  readonly runtime: ContainerRuntime
  readonly network: PodNetwork
  readonly pods: ResourceClient<Pod>
  readonly records: PodRecords
  readonly events: EventRecorder
  readonly sources: VolumeSources & PullSecretSources
  readonly hostIp: string
  readonly cpus: number
  readonly memoryBytes: number
  readonly clusterDns: string
  readonly clusterDomain: string
  readonly hostResolvConf: string
  /** Where seccomp profiles of this node lie. */
  readonly seccompDir: string
  /** Cgroup all pods of this node are below. */
  readonly cgroupParent: string
  /** What the pods of this node may use. */
  readonly grants: Grants
  /** Where Services are, the API among them, as variables for the containers of a pod. */
  serviceEnvironment(pod: Pod): Promise<Record<string, string>>
  readonly onError: (error: unknown) => void
}

/** One container of the pod, as the worker keeps it. */
interface Slot {
  def: PodContainer
  phase: ContainerPhase
  restarts: number
  crashes: number
  /** The next start is a restart. */
  isAgain: boolean
  /** Failed attempts to start in a row. */
  failures: number
  image: string
  imageId?: string | undefined
  id?: string | undefined
  fingerprint: string
  /** The resources the container `id` runs with. */
  applied?: ResourceRequirements | undefined
  /** It is being stopped to be replaced, which is no crash. */
  isReplaced?: boolean | undefined
  /** The old one has ended and the next is on its way: nothing is told of that, as with kubelets. */
  isBetween?: boolean | undefined
  last?: Ending | undefined
  /** Settles when the container `id` has ended. */
  ended: PromiseWithResolvers<void>
  probing?: AbortController | undefined
  /** The last container whose end has been taken note of. */
  concluded?: string | undefined
  /** Told when a stop must go faster. */
  hurry?: (() => void) | undefined
}

/** What clearing away may take after the last container has been killed. */
const clearingMs = 10_000
const FAILURE_FIRST_MS = 1000
/** What an evicted pod has to end. */
const EVICTION_GRACE_MS = 1000
/** A resize that failed is tried again after so long. */
const RESIZE_RETRY_MS = 5000
const FAILURE_LONGEST_MS = 300_000
const DEFAULT_GRACE_SECONDS = 30

export class PodWorker {
  readonly #context: NodeContext
  readonly #slots = new Map<string, Slot>()
  readonly #writer: StatusWriter
  readonly #aborting = new AbortController()
  readonly #gone = Promise.withResolvers<void>()
  readonly #background = new Set<Promise<unknown>>()
  readonly #deleting = new Set<Promise<void>>()
  readonly #resources: PodResources
  #pod: Pod
  #sandbox: PodView['sandbox'] = 'absent'
  #sandboxFailures = 0
  #attachment: PodAttachment | undefined
  #volumes: MountedVolumes = new Map()
  #namespaces: SharedNamespaces | undefined
  #startTime: number
  #finished: 'Succeeded' | 'Failed' | undefined
  #reason: string | undefined
  #message: string | undefined
  #conditions: readonly PodCondition[] | undefined
  #deletion: { deadline: number } | undefined
  #leaving: { deadline: number } | undefined
  #eviction: { deadline: number; isForNode: boolean } | undefined
  /** The object is no more: nobody to tell. */
  #isForgotten = false
  #isForgetting = false
  #isDetached = false
  #isTicking = false
  #cancelTimer: (() => void) | undefined
  #saving: Promise<void> = Promise.resolve()
  #refreshing: Promise<void> = Promise.resolve()
  #resizing: Promise<void> = Promise.resolve()
  #cancelResize: (() => void) | undefined

  private constructor(pod: Pod, kept: KeptPod | undefined, context: NodeContext) {
    this.#pod = pod
    this.#context = context
    const capacity = { cpu: context.cpus, memory: context.memoryBytes }
    this.#resources = new PodResources(pod, kept?.allocation, { ...context, capacity }, () => this.#resize())
    this.#startTime = context.clock.now()
    this.#writer = createStatusWriter(context.pods, { clock: context.clock, onError: context.onError })
    this.#addSlots()
  }

  /** Ephemeral containers come later than the pod. */
  #addSlots(): void {
    for (const def of containersOf(this.#granted)) {
      if (!this.#slots.has(def.container.name)) this.#slots.set(def.container.name, emptySlot(def))
    }
  }

  /** Takes charge of a pod: from the start, or where an earlier process left it. */
  static async open(pod: Pod, kept: KeptPod | undefined, context: NodeContext): Promise<PodWorker> {
    const worker = new PodWorker(pod, kept, context)
    if (kept) await worker.#adopt(kept)
    if (worker.#finished) worker.#resources.release()
    else worker.#resize()
    worker.#noteDeletion()
    worker.#tick()
    return worker
  }

  /** The pod as this node runs it: with the resources it was granted. */
  get #granted(): Pod {
    return this.#resources.granted
  }

  get pod(): Pod {
    return this.#pod
  }

  /** Ids of the containers this pod has, or is making. */
  get containerIds(): readonly string[] {
    return [...this.#slots.values()].flatMap(({ id, phase }) => (id && phase.phase !== 'exited' ? [id] : []))
  }

  /** Names and ids of the containers that may be running. */
  get runningContainers(): readonly { readonly name: string; readonly id: string }[] {
    return [...this.#slots].flatMap(([name, { id, phase }]) => (id && phase.phase !== 'exited' ? [{ name, id }] : []))
  }

  /** Where the containers' control groups are. */
  get cgroupPath(): string {
    return this.#cgroup()
  }

  /** Resolves when nothing of the pod is left on this node. */
  get gone(): Promise<void> {
    return this.#gone.promise
  }

  update(pod: Pod): void {
    const isRelabelled = hasOtherFields(pod, this.#pod)
    this.#pod = pod
    if (isRelabelled) this.refresh()
    if (this.#finished === undefined) this.#resize()
    this.#addSlots()
    for (const slot of this.#slots.values()) this.#redefine(slot)
    this.#noteDeletion()
    this.#tick()
  }

  // ---- resources

  /** Finds out what the pod may use now, and gives it to its containers. */
  #resize(): void {
    this.#resources.consider(this.#pod)
    this.#save()
    this.#actuate()
  }

  #actuate(): void {
    this.#cancelResize?.()
    if (this.#sandbox !== 'ready') return
    // One after the other, so that the newest stays.
    this.#resizing = this.#actuateAfter(this.#resizing).catch(this.#context.onError)
    this.#run(this.#resizing)
  }

  async #actuateAfter(previous: Promise<void>): Promise<void> {
    await previous
    await this.#resources.actuate([...this.#slots.values()].flatMap((slot) => this.#resizable(slot)))
    if (this.#resources.progress.inProgress?.error === undefined || this.#isDetached) return
    this.#cancelResize = this.#context.clock.schedule(RESIZE_RETRY_MS, () => this.#actuate())
  }

  #resizable(slot: Slot): ResizableContainer[] {
    const { phase, applied } = slot
    if (phase.phase !== 'running' || slot.def.role === 'ephemeral' || phase.outdated !== undefined) return []
    const isSame = (): boolean => slot.id === phase.id && slot.phase.phase === 'running'
    return [
      {
        name: slot.def.container.name,
        id: phase.id,
        applied,
        onApplied: (resources) => {
          if (isSame()) slot.applied = resources
          this.#save()
        },
        onRestart: (why) => {
          if (slot.phase.phase === 'running' && isSame()) slot.phase = { ...slot.phase, outdated: why }
        },
      },
    ]
  }

  /** The object was removed, perhaps by force: what still runs has a second to end. */
  forgotten(): void {
    this.#isForgotten = true
    this.#writer.close()
    const deadline = this.#context.clock.now() + 1000
    this.#deletion = { deadline: Math.min(deadline, this.#deletion?.deadline ?? deadline) }
    this.#tick()
  }

  /** An object the pod's volumes may come from has changed. */
  refresh(): void {
    if (this.#sandbox !== 'ready') return
    // One after the other, so that the newest stays.
    this.#refreshing = this.#refreshing
      .then(() => this.#writeVolumes())
      .catch((error: unknown) => {
        // With a pod that goes, what it reads goes, and its node's right to read it: nobody looks at its files any more.
        if (this.#deletion === undefined) this.#context.onError(error)
      })
    this.#run(this.#refreshing)
  }

  async #writeVolumes(): Promise<void> {
    await refreshVolumes(this.#granted, this.#volumesDir(), this.#place(), this.#context.sources)
  }

  /** A container has ended, or something else about it is worth a look. */
  noticed(id: string): void {
    const slot = [...this.#slots.values()].find((one) => one.id === id)
    if (slot) this.#run(this.#look(slot, id))
  }

  /** Ends the pod for good, within a second: the node is short of something, or the pod has taken more than it may. */
  evict(message: string, isForNode: boolean): void {
    if (this.#finished !== undefined || this.#deletion !== undefined || this.#leaving !== undefined) return
    this.#event('Warning', 'Evicted', message)
    this.#eviction = { deadline: this.#context.clock.now() + EVICTION_GRACE_MS, isForNode }
    this.#finished = 'Failed'
    this.#reason = 'Evicted'
    this.#message = message
    this.#resources.release()
    this.#save()
    this.#tick()
  }

  /** Where the pod's volumes lie. */
  get volumesDir(): string {
    return this.#volumesDir()
  }

  /** Stops the pod's containers without touching its object; resolves when they have ended. */
  async leave(graceMs: number): Promise<void> {
    const now = this.#context.clock.now()
    const deadline = now + graceMs
    this.#leaving = { deadline }
    // A place that could not be made is not tried again, but cleared away at once.
    if (typeof this.#sandbox === 'object') this.#sandbox = { retryAt: now }
    this.#tick()
    // What cannot be cleared away must not keep the cluster from ending: the next start finds it.
    while (!this.#isAtRest() && this.#context.clock.now() < deadline + clearingMs) await this.#settleOnce()
    // Nobody may take the pod for ready when the cluster is started again.
    this.#tell()
    await this.detach()
  }

  /** Ends the work on the pod and leaves its containers as they are, for the next process to adopt. */
  async detach(): Promise<void> {
    this.#isDetached = true
    this.#cancelTimer?.()
    this.#cancelResize?.()
    this.#aborting.abort()
    for (const slot of this.#slots.values()) slot.probing?.abort()
    await this.#writer.flush()
    this.#writer.close()
    await this.#saving
  }

  /** Resolves when the API has been told of the pod's present state. */
  told(): Promise<void> {
    return this.#writer.flush()
  }

  /** Files of a container's log: the present run's, and the one's before. */
  logOf(container: string): { current: string; previous?: string; isOpen: () => boolean } | undefined {
    const slot = this.#slots.get(container)
    if (!slot) return undefined
    return {
      current: this.#logPath(slot, slot.restarts),
      ...(slot.restarts > 0 ? { previous: this.#logPath(slot, slot.restarts - 1) } : {}),
      isOpen: () => !this.#isDetached && ['starting', 'running', 'stopping'].includes(slot.phase.phase),
    }
  }

  /** Whether there is anything to read of a container yet. */
  hasLog(container: string): boolean {
    return this.#slots.get(container)?.id !== undefined
  }

  /** Logs that are being written, with the containers that write them. */
  get openLogs(): readonly { readonly id: string; readonly path: string }[] {
    return [...this.#slots.values()].flatMap((slot) =>
      slot.id && slot.phase.phase === 'running' ? [{ id: slot.id, path: this.#logPath(slot, slot.restarts) }] : [],
    )
  }

  /** Id of a container that runs; undefined for others. */
  runningId(container: string): string | undefined {
    const phase = this.#slots.get(container)?.phase
    return phase?.phase === 'running' || phase?.phase === 'stopping' ? phase.id : undefined
  }

  /** Where the pod is on the network; undefined while it has no place there. */
  get place(): PodPlaceOnNetwork | undefined {
    if (this.#attachment === undefined || this.#sandbox !== 'ready') return undefined
    if (this.#pod.spec?.hostNetwork === true) return { ip: '127.0.0.1' }
    return { ip: this.#attachment.ip, netnsPath: this.#attachment.netnsPath }
  }

  // ---- taking over

  async #adopt(kept: KeptPod): Promise<void> {
    this.#startTime = kept.startTime
    this.#finished = kept.finished
    this.#reason = kept.reason
    this.#message = kept.message
    const states = new Map<string, Awaited<ReturnType<ContainerRuntime['state']>>>()
    for (const [name, { id, ending }] of Object.entries(kept.containers)) {
      if (id && !ending) states.set(name, await this.#context.runtime.state(id))
    }
    // With nothing left running the sandbox is made anew, and what init containers prepared with it.
    const survives = [...states.values()].some((state) => state?.status === 'running')
    for (const [name, one] of Object.entries(kept.containers)) {
      const slot = this.#slots.get(name)
      if (!slot) continue
      Object.assign(slot, {
        restarts: one.restarts,
        crashes: one.crashes,
        imageId: one.imageId,
        id: one.id,
        fingerprint: one.fingerprint,
        applied: one.applied ?? this.#resources.allocation.containers[name],
        last: one.last,
      })
      if (one.ending) {
        const isAgain = slot.def.role === 'init' && !survives && !this.#finished
        slot.phase = isAgain ? { phase: 'waiting' } : { phase: 'exited', ending: one.ending }
      } else if (one.id) await this.#adoptContainer(slot, one.id, states.get(name))
    }
    if (survives || Object.keys(kept.containers).length > 0) await this.#adoptSandbox(survives)
  }

  async #adoptContainer(slot: Slot, id: string, state: Awaited<ReturnType<ContainerRuntime['state']>>): Promise<void> {
    if (state?.status === 'running') {
      const known = knownStatus(this.#pod, slot.def.container.name)
      const isSame = known?.containerID?.endsWith(id) === true
      const adopted = { ready: isSame && known.ready, started: isSame && known.started === true }
      const startedAt = state.startedAt ?? this.#context.clock.now()
      const outdated = state.isUnsupervised ? 'its monitor is gone' : undefined
      slot.phase = { phase: 'running', id, startedAt, ...adopted, ...(outdated ? { outdated } : {}) }
      this.#redefine(slot)
      return
    }
    await this.#conclude(slot, id, state)
  }

  async #adoptSandbox(survives: boolean): Promise<void> {
    if (!survives) {
      // Half of a sandbox may be there; making it again is the same work as finding out.
      this.#sandbox = this.#finished ? { retryAt: 0 } : 'absent'
      return
    }
    this.#sandbox = 'preparing'
    await this.#prepare()
    for (const slot of this.#slots.values()) {
      if (slot.phase.phase === 'running')
        this.#probe(slot, slot.phase.started ? { ready: slot.phase.ready } : undefined)
    }
  }

  // ---- the loop

  /** Decides and acts until there is nothing to do now; then waits for the next event or time. */
  #tick(): void {
    if (this.#isTicking || this.#isDetached) return
    this.#isTicking = true
    try {
      this.#cancelTimer?.()
      let wakeAt = Number.POSITIVE_INFINITY
      for (let round = 0; round < 10; round += 1) {
        const steps = decide(this.#view(), this.#context.clock.now())
        const acts = steps.filter((step) => step.do !== 'wait')
        wakeAt = Math.min(
          Number.POSITIVE_INFINITY,
          ...steps.flatMap((step) => (step.do === 'wait' ? [step.until] : [])),
        )
        for (const step of acts) this.#act(step)
        if (acts.length === 0) break
      }
      if (wakeAt < Number.POSITIVE_INFINITY) {
        const delay = Math.min(Math.max(0, wakeAt - this.#context.clock.now()), 2 ** 31 - 1)
        this.#cancelTimer = this.#context.clock.schedule(delay, () => this.#tick())
      }
    } finally {
      this.#isTicking = false
    }
    this.#publish()
  }

  #view(): PodView {
    const { activeDeadlineSeconds } = this.#pod.spec ?? {}
    return {
      sandbox: this.#sandbox,
      containers: [...this.#slots.values()].map(viewOf),
      deletion: this.#deletion,
      leaving: this.#leaving,
      finished: this.#finished,
      eviction: this.#eviction,
      activeDeadline: activeDeadlineSeconds === undefined ? undefined : this.#startTime + activeDeadlineSeconds * 1000,
    }
  }

  #act(step: Step): void {
    if (step.do === 'prepare') {
      this.#sandbox = 'preparing'
      this.#run(this.#prepare())
    } else if (step.do === 'start') {
      const slot = this.#slots.get(step.container)
      if (slot) this.#run(this.#start(slot).finally(() => (slot.isBetween = false)))
    } else if (step.do === 'stop') {
      const slot = this.#slots.get(step.container)
      if (slot) this.#stopOrHurry(slot, step.why, step.deadline)
    } else if (step.do === 'finish') {
      this.#finished = step.phase
      this.#reason = step.reason
      this.#message = step.message
      this.#resources.release()
      this.#save()
    } else if (step.do === 'remove') {
      this.#sandbox = 'removing'
      this.#run(this.#remove())
    } else if (step.do === 'forget' && !this.#isForgetting) {
      this.#isForgetting = true
      this.#run(this.#forget())
    }
  }

  /** Runs work beside the loop; whatever comes of it, the loop looks again. */
  #run(work: Promise<unknown>): void {
    const settled = work
      .catch((error: unknown) => this.#context.onError(error))
      .finally(() => {
        this.#background.delete(settled)
        this.#tick()
      })
    this.#background.add(settled)
  }

  #publish(): void {
    const isBetween = [...this.#slots.values()].some((slot) => slot.isBetween) && !this.#deletion && !this.#finished
    // While the agent leaves, only the end is told.
    if (!this.#leaving && !this.#isDetached && !isBetween) this.#tell()
  }

  #tell(): void {
    if (this.#isForgotten) return
    // Ended before this node knew of it: the status there is knows more than we do.
    if (this.#finished && [...this.#slots.values()].every(({ phase }) => phase.phase === 'waiting')) return
    const facts = {
      pod: this.#pod,
      hostIp: this.#context.hostIp,
      podIp: this.#attachment?.ip,
      startTime: this.#startTime,
      containers: new Map([...this.#slots].map(([name, slot]) => [name, { ...slot, containerId: slot.id }])),
      reason: this.#reason,
      message: this.#message,
      conditions: this.#conditions,
      allocation: this.#resources.allocation,
      resize: this.#finished ? {} : this.#resources.progress,
      disruption: this.#eviction?.isForNode === true ? this.#message : undefined,
      runtime: this.#context.runtime.version.split(':')[0] ?? '',
    }
    const status = renderStatus(this.#view(), facts, this.#context.clock.now())
    this.#conditions = status.conditions
    this.#writer.submit(this.#pod, status)
  }

  #save(): void {
    const { uid = '', namespace = '', name = '' } = this.#pod.metadata ?? {}
    const containers = Object.fromEntries(
      [...this.#slots].map(([key, slot]) => {
        const { id, restarts, crashes, image, imageId, fingerprint, applied, last, phase } = slot
        const ending = phase.phase === 'exited' ? phase.ending : undefined
        return [key, { id, restarts, crashes, image, imageId, fingerprint, applied, last, ending }] as const
      }),
    )
    const kept: KeptPod = {
      uid,
      namespace,
      name,
      startTime: this.#startTime,
      allocation: this.#resources.allocation,
      containers,
      finished: this.#finished,
      reason: this.#reason,
      message: this.#message,
    }
    this.#saving = this.#saving.then(() => this.#context.records.write(kept)).catch(this.#context.onError)
  }

  // ---- sandbox

  async #prepare(): Promise<void> {
    const { namespace = '', name = '' } = this.#pod.metadata ?? {}
    let reason = 'FailedCreatePodSandBox'
    try {
      const hostNetwork = this.#pod.spec?.hostNetwork === true
      const attached = hostNetwork
        ? { ip: this.#context.hostIp }
        : await this.#context.network.attach({
            uid: uidOf(this.#pod),
            namespace,
            name,
            hostPorts: hostPortsOf(this.#pod),
          })
      this.#attachment = attached
      const dir = this.#dir()
      await mkdir(dir, { recursive: true, mode: 0o711 })
      await this.#resources.prepare()
      this.#namespaces = await this.#openNamespaces()
      reason = 'FailedMount'
      this.#volumes = await mountVolumes(
        this.#granted,
        this.#volumesDir(),
        this.#place(),
        this.#context.sources,
        (source, path) => this.#mountImage(source, path),
      )
      reason = 'FailedCreatePodSandBox'
      await this.#writeNameFiles(attached.ip)
      this.#sandbox = 'ready'
      this.#sandboxFailures = 0
    } catch (error) {
      this.#event('Warning', reason, messageOf(error))
      this.#sandboxFailures += 1
      this.#sandbox = {
        retryAt: this.#context.clock.now() + failureBackoffMs(this.#sandboxFailures, FAILURE_FIRST_MS, 10_000),
      }
    }
  }

  /** Where there is but one container, the namespaces it gets anyway are those of the pod. */
  async #openNamespaces(): Promise<SharedNamespaces | undefined> {
    const { shareProcessNamespace = false, hostPID, hostIPC } = this.#pod.spec ?? {}
    const pids = shareProcessNamespace && !hostPID
    if (hostIPC && !pids) return undefined
    if (!pids && containersOf(this.#pod).length < 2) return undefined
    return await this.#context.runtime.openNamespaces(this.#namespacesDir(), { pids })
  }

  async #mountImage({ reference = '', pullPolicy }: ImageVolumeSource, path: string): Promise<string> {
    const asked = { name: '', image: reference, imagePullPolicy: pullPolicy }
    const { signal } = this.#aborting
    const found = await prepareImage(asked, this.#context, { signal, auths: () => this.#pullSecrets() })
    if ('reason' in found) throw found.error
    return await this.#context.runtime.mountImage(found.image, path)
  }

  async #writeNameFiles(ip: string): Promise<void> {
    const { nodeName, clusterDns, clusterDomain, hostResolvConf } = this.#context
    const { hostname, kernelName } = namesOf(this.#pod, nodeName, clusterDomain)
    const texts = {
      hosts:
        this.#pod.spec?.hostNetwork === true
          ? renderHostNetworkHosts(this.#pod, await readFile('/etc/hosts', 'utf8').catch(() => ''))
          : renderHosts(this.#pod, ip, hostname, clusterDomain),
      hostname: `${kernelName}\n`,
      'resolv.conf': renderResolvConf(this.#pod, clusterDns, clusterDomain, hostResolvConf),
    }
    await Promise.all(Object.entries(texts).map(([file, text]) => writeFile(join(this.#dir(), file), text)))
  }

  async #remove(): Promise<void> {
    try {
      // Containers that have ended may still be on their way out.
      await Promise.all(this.#deleting)
      await this.#context.network.detach(uidOf(this.#pod))
      await this.#context.runtime.closeNamespaces(this.#namespacesDir())
      await unmountVolumes(this.#granted, this.#volumesDir())
      await this.#context.runtime.removeCgroup(this.#cgroup())
      this.#attachment = undefined
      this.#sandbox = 'absent'
    } catch (error) {
      this.#sandboxFailures += 1
      this.#sandbox = {
        retryAt: this.#context.clock.now() + failureBackoffMs(this.#sandboxFailures, FAILURE_FIRST_MS, 10_000),
      }
      throw error
    }
  }

  async #forget(): Promise<void> {
    try {
      if (!this.#isForgotten) {
        await this.#writer.flush()
        const { name = '', namespace } = this.#pod.metadata ?? {}
        await this.#context.pods
          .delete(name, { namespace, gracePeriodSeconds: 0, uid: uidOf(this.#pod) })
          .catch((error: unknown) => {
            if (!isNotFound(error) && !isConflict(error)) throw error
          })
      }
      this.#isDetached = true
      this.#writer.close()
      this.#resources.release()
      await this.#saving
      const { uid = '', namespace = '', name = '' } = this.#pod.metadata ?? {}
      await this.#context.records.remove({ uid, namespace, name })
      this.#gone.resolve()
    } catch (error) {
      this.#context.clock.schedule(1000, () => {
        this.#isForgetting = false
        this.#tick()
      })
      throw error
    }
  }

  // ---- containers

  async #start(slot: Slot): Promise<void> {
    const { container } = slot.def
    const before = slot.phase
    slot.phase = { phase: 'starting' }
    if (before.phase === 'exited') {
      slot.last = before.ending
      slot.isAgain = true
    }
    this.#publish()
    const { runtime, clock } = this.#context
    const { signal } = this.#aborting
    const found = await prepareImage(container, this.#context, { signal, auths: () => this.#pullSecrets() })
    if ('reason' in found) {
      const message = messageOf(found.error)
      this.#event('Warning', 'Failed', `Failed to pull image "${container.image}": ${message}`, container)
      const reason = found.reason === 'ErrImagePull' && slot.failures > 0 ? 'ImagePullBackOff' : found.reason
      // Looking into the local store costs nothing; a registry is left in peace for longer.
      this.#fail(slot, reason, message, found.wasAsked ? [10_000, FAILURE_LONGEST_MS] : [FAILURE_FIRST_MS, 15_000])
      return
    }
    const pulled = found.wasPresent
      ? `Container image "${container.image}" already present on machine`
      : `Successfully pulled image "${container.image}"`
    this.#event('Normal', 'Pulled', pulled, container)
    const id = randomBytes(32).toString('hex')
    let step = 'CreateContainerConfigError'
    try {
      const restarts = slot.restarts + (slot.isAgain ? 1 : 0)
      const spec = await this.#specOf(slot, id, restarts, found.image)
      step = 'CreateContainerError'
      Object.assign(slot, { id, restarts, isAgain: false, imageId: found.imageId, image: container.image })
      slot.fingerprint = fingerprintOf(container)
      slot.applied = container.resources ?? {}
      slot.ended = Promise.withResolvers()
      this.#save()
      await runtime.create(spec)
      this.#event('Normal', 'Created', `Created container: ${container.name}`, container)
      step = 'RunContainerError'
      await this.#saving
      await runtime.start(id)
    } catch (error) {
      await runtime.delete(id).catch(this.#context.onError)
      this.#event('Warning', 'Failed', `Error: ${messageOf(error)}`, container)
      this.#fail(slot, step, messageOf(error))
      return
    }
    slot.failures = 0
    slot.phase = { phase: 'running', id, startedAt: clock.now(), started: false, ready: false }
    // It may have been granted other resources meanwhile.
    this.#redefine(slot)
    this.#actuate()
    this.#event('Normal', 'Started', `Started container ${container.name}`, container)
    // A short program may have ended before anybody knew its name.
    await this.#look(slot, id)
    if (slot.phase.phase !== 'running') return
    await this.#postStart(slot, id)
    this.#probe(slot, undefined)
  }

  async #pullSecrets(): Promise<readonly DockerAuth[]> {
    const { auths, missing } = await readPullSecrets(this.#pod, this.#context.sources)
    if (missing.length > 0) {
      const what = `Unable to retrieve some image pull secrets (${missing.join(', ')})`
      const message = `${what}; attempting to pull the image may not succeed.`
      this.#event('Warning', 'FailedToRetrieveImagePullSecret', message)
    }
    return auths
  }

  async #specOf(
    slot: Slot,
    id: string,
    attempt: number,
    image: Parameters<typeof createContainerSpec>[0]['image'],
  ): ReturnType<typeof createContainerSpec> {
    const { container } = slot.def
    const { sources, nodeName, clusterDomain, seccompDir } = this.#context
    const { kernelName } = namesOf(this.#pod, nodeName, clusterDomain)
    const initial = {
      ...(await this.#context.serviceEnvironment(this.#pod)),
      ...accountEnvironment(container, this.#context.runtime.kind),
      HOSTNAME: kernelName,
    }
    const own = await createEnvironment(this.#granted, container, this.#place(), sources, initial)
    const logPath = this.#logPath(slot, attempt)
    const terminationLog = join(this.#dir(), `termination-${container.name}`)
    await mkdir(join(logPath, '..'), { recursive: true, mode: 0o711 })
    await rm(terminationLog, { force: true })
    // Anybody may write: the container's user is not known outside of it.
    await writeFile(terminationLog, '')
    // Whoever the container runs as has to write it, whatever the umask of this process is.
    await chmod(terminationLog, 0o666)
    await this.#dropOldLogs(slot, attempt)
    const files = ['hosts', 'hostname', 'resolv.conf'].map((file) => [`/etc/${file}`, join(this.#dir(), file)] as const)
    return createContainerSpec({
      id,
      pod: this.#granted,
      container,
      image,
      hostname: kernelName,
      logPath,
      terminationLog,
      env: mergeEnvironment(own, this.#attachment?.env),
      place: this.#place(),
      volumes: this.#volumes,
      files: new Map(files),
      networkNamespace: this.#attachment?.netnsPath,
      cgroupPath: `${this.#cgroup()}/${id}`,
      pidNamespace: await this.#pidNamespaceOf(container),
      namespaces: this.#namespaces,
      seccompDir,
    })
  }

  /** An ephemeral container may share the processes of the one it was added to look into. */
  async #pidNamespaceOf(container: EphemeralContainer): Promise<string | undefined> {
    const { targetContainerName: target = '' } = container
    const id = target === '' ? undefined : this.runningId(target)
    const pid = id === undefined ? undefined : (await this.#context.runtime.state(id))?.pid
    return pid === undefined ? undefined : `/proc/${pid}/ns/pid`
  }

  #fail(
    slot: Slot,
    reason: string,
    message: string,
    [firstMs, longestMs]: readonly [number, number] = [FAILURE_FIRST_MS, FAILURE_LONGEST_MS],
  ): void {
    slot.failures += 1
    slot.id = slot.last?.id
    const retryAt = this.#context.clock.now() + failureBackoffMs(slot.failures, firstMs, longestMs)
    slot.phase = { phase: 'failed', reason, message, retryAt }
    this.#save()
  }

  async #postStart(slot: Slot, id: string): Promise<void> {
    const hook = slot.def.container.lifecycle?.postStart
    if (!hook) return
    const result = await runAction(hook, this.#target(slot, id), 60_000)
    if (result.ok || slot.phase.phase !== 'running') return
    const error = hookFailed('postStart', slot.def.container.name, result.message)
    this.#event('Warning', 'FailedPostStartHook', error.message, slot.def.container)
    this.#stopOrHurry(slot, 'its postStart hook failed', undefined)
  }

  /** Looks at a container that may have ended. */
  async #look(slot: Slot, id: string): Promise<void> {
    const isUp = slot.phase.phase === 'running' || slot.phase.phase === 'stopping'
    if (slot.id !== id || !isUp) return
    const state = await this.#context.runtime.state(id)
    if (slot.id !== id) return
    if (state?.status === 'running' || state?.status === 'created') {
      if (state.isUnsupervised && slot.phase.phase === 'running') {
        slot.phase = { ...slot.phase, outdated: 'its monitor is gone' }
      }
      return
    }
    await this.#conclude(slot, id, state)
  }

  /** Takes note of a container's end and removes it; its log stays. */
  async #conclude(slot: Slot, id: string, state: Awaited<ReturnType<ContainerRuntime['state']>>): Promise<void> {
    // Two may notice the same end; it counts once.
    if (slot.concluded === id) return
    slot.concluded = id
    const { clock, runtime } = this.#context
    const startedAt = 'startedAt' in slot.phase ? slot.phase.startedAt : (state?.startedAt ?? this.#startTime)
    const finishedAt = state?.finishedAt ?? clock.now()
    const wasToldToGo = this.#leaving !== undefined && slot.def.restartPolicy !== 'Always' && slot.def.role === 'main'
    const exitCode = wasToldToGo && state?.exitCode === 0 ? 143 : (state?.exitCode ?? 137)
    const terminationLog = join(this.#dir(), `termination-${slot.def.container.name}`)
    const logPath = this.#logPath(slot, slot.restarts)
    const message = await readTerminationMessage(slot.def.container, terminationLog, logPath, exitCode).catch(
      () => undefined,
    )
    slot.probing?.abort()
    const reason = state?.oomKilled ? 'OOMKilled' : exitCode === 0 ? 'Completed' : 'Error'
    const lost = state ? undefined : 'the container was lost'
    slot.phase = {
      phase: 'exited',
      ending: { id, exitCode, reason, message: message ?? lost, startedAt, finishedAt },
    }
    const startsAgain = restartAt(viewOf(slot)) !== undefined && !this.#deletion && !this.#leaving
    slot.isBetween = slot.isReplaced === true && startsAgain
    if (slot.isReplaced) slot.crashes = 1
    else if (!this.#leaving) slot.crashes = finishedAt - startedAt >= LONG_RUN_MS ? 1 : slot.crashes + 1
    slot.isReplaced = false
    slot.ended.resolve()
    this.#save()
    const delay = crashBackoffMs(slot.crashes)
    if (delay > 0 && !this.#deletion && !this.#leaving && restartAt(viewOf(slot)) !== undefined) {
      const { name, namespace } = this.#pod.metadata ?? {}
      const text = `Back-off restarting failed container ${slot.def.container.name} in pod ${name}_${namespace}(${uidOf(this.#pod)})`
      this.#event('Warning', 'BackOff', text, slot.def.container)
    }
    const deleting = runtime.delete(id).catch(this.#context.onError)
    this.#deleting.add(deleting)
    this.#tick()
    await deleting
    this.#deleting.delete(deleting)
  }

  #stopOrHurry(slot: Slot, why: string, deadline: number | undefined): void {
    if (slot.phase.phase === 'stopping') {
      if (deadline !== undefined) slot.phase = { ...slot.phase, deadline: Math.min(deadline, slot.phase.deadline) }
      slot.hurry?.()
    } else if (slot.phase.phase === 'running') this.#run(this.#stop(slot, slot.phase, why, deadline))
  }

  async #stop(
    slot: Slot,
    running: { readonly id: string; readonly startedAt: number },
    why: string,
    wanted: number | undefined,
  ): Promise<void> {
    const { clock, runtime } = this.#context
    const { id, startedAt } = running
    const graceMs = (this.#pod.spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000
    const deadline = wanted ?? clock.now() + graceMs
    slot.isReplaced = slot.phase.phase === 'running' && slot.phase.outdated !== undefined
    const { started, ready } = slot.phase.phase === 'running' ? slot.phase : {}
    slot.phase = { phase: 'stopping', id, startedAt, deadline, started, ready }
    slot.probing?.abort()
    const { container } = slot.def
    const isPlain = this.#deletion !== undefined || this.#leaving !== undefined
    this.#event('Normal', 'Killing', `Stopping container ${container.name}${isPlain ? '' : ` (${why})`}`, container)
    const isUp = (): boolean => slot.id === id && slot.phase.phase === 'stopping'
    if (container.lifecycle?.preStop && deadline > clock.now()) {
      const ended = slot.ended.promise
      await Promise.race([this.#preStop(slot, id, deadline), ended, this.#until(slot, () => this.#deadlineOf(slot))])
    }
    if (isUp()) await runtime.kill(id, stopSignalOf(container, await this.#imageStopSignal(slot)))
    // Hooks and signals that came late still get the two seconds Kubernetes grants them.
    if (isUp()) await this.#until(slot, () => this.#deadlineOf(slot))
    for (let tries = 0; isUp(); tries += 1) {
      await runtime.kill(id, 'SIGKILL')
      await this.#until(slot, () => clock.now() + 200)
      // Its end may have been missed; after long enough it is made to end.
      if (isUp()) await this.#look(slot, id)
      if (tries >= 25 && isUp()) await this.#conclude(slot, id, undefined)
    }
  }

  #deadlineOf(slot: Slot): number {
    return slot.phase.phase === 'stopping' ? slot.phase.deadline : 0
  }

  /** Waits until the container has ended or the time has come, which may move closer meanwhile. */
  async #until(slot: Slot, time: () => number): Promise<void> {
    const { clock } = this.#context
    const ended = slot.ended.promise.then(() => true)
    for (const end = time(); ;) {
      const at = Math.min(end, time())
      if (at <= clock.now()) return
      const { promise, resolve } = Promise.withResolvers<boolean>()
      const cancel = clock.schedule(at - clock.now(), () => resolve(false))
      slot.hurry = () => resolve(false)
      const hasEnded = await Promise.race([promise, ended])
      cancel()
      slot.hurry = undefined
      if (hasEnded) return
    }
  }

  async #preStop(slot: Slot, id: string, deadline: number): Promise<void> {
    const { container } = slot.def
    const hook = container.lifecycle?.preStop ?? {}
    const left = Math.max(1, deadline - this.#context.clock.now())
    if (hook.sleep) {
      const until = this.#context.clock.now() + Math.min(hook.sleep.seconds * 1000, left)
      await this.#until(slot, () => until)
      return
    }
    const result = await runAction(hook, this.#target(slot, id), left)
    if (!result.ok)
      this.#event(
        'Warning',
        'FailedPreStopHook',
        hookFailed('preStop', container.name, result.message).message,
        container,
      )
  }

  async #imageStopSignal(slot: Slot): Promise<string | undefined> {
    const image = await this.#context.layout.resolve(slot.image).catch(() => undefined)
    return image?.config.config?.StopSignal
  }

  // ---- probes

  #probe(slot: Slot, adopted: { ready: boolean } | undefined): void {
    const { id } = slot
    if (!id || slot.phase.phase !== 'running') return
    const probing = new AbortController()
    slot.probing = probing
    const { container, role } = slot.def
    const target = this.#target(slot, id)
    const change = (change: { started?: boolean; ready?: boolean }): void => {
      if (slot.id !== id || slot.phase.phase !== 'running') return
      slot.phase = { ...slot.phase, ...change }
      this.#tick()
    }
    const work = watchProbes(role === 'init' ? { name: container.name } : container, {
      clock: this.#context.clock,
      signal: probing.signal,
      adopted,
      run: (probe, timeoutMs) => runAction(probe, target, timeoutMs),
      onStarted: () => change({ started: true }),
      onReady: (ready) => change({ ready }),
      onFailure: (kind, message, isFatal, probe) =>
        this.#probeFailed(slot, id, kind, message, isFatal ? probe : undefined),
    })
    work.catch(this.#context.onError)
  }

  #probeFailed(slot: Slot, id: string, kind: string, message: string, fatal: Probe | undefined): void {
    const { container } = slot.def
    const title = `${kind.charAt(0).toUpperCase()}${kind.slice(1)}`
    this.#event('Warning', 'Unhealthy', `${title} probe failed: ${message}`, container)
    if (!fatal || slot.id !== id || slot.phase.phase !== 'running') return
    const { terminationGracePeriodSeconds: own } = fatal
    const deadline = own === undefined ? undefined : this.#context.clock.now() + own * 1000
    this.#stopOrHurry(slot, `it failed its ${kind} probe and will be restarted`, deadline)
    this.#tick()
  }

  #target(slot: Slot, id: string): ActionTarget {
    const { runtime } = this.#context
    return {
      container: slot.def.container,
      podIp: this.#attachment?.ip ?? '127.0.0.1',
      exec: (args, timeoutMs) => runtime.exec(id, { args, timeoutMs, maxOutputBytes: 16_384 }),
    }
  }

  // ---- small things

  /** Takes over what the pod says of a container now. */
  #redefine(slot: Slot): void {
    const wanted = containersOf(this.#granted).find(({ container }) => container.name === slot.def.container.name)
    if (!wanted) return
    const isOther = wanted.container.image !== slot.def.container.image
    slot.def = wanted
    const { phase } = slot
    // What held it up may have been mended: no reason to wait any longer.
    if (isOther && phase.phase === 'failed') slot.phase = { ...phase, retryAt: this.#context.clock.now() }
    if (phase.phase !== 'running' || fingerprintOf(wanted.container) === slot.fingerprint) return
    slot.phase = { ...phase, outdated: 'its definition has changed' }
  }

  #noteDeletion(): void {
    const { deletionTimestamp, deletionGracePeriodSeconds } = this.#pod.metadata ?? {}
    if (deletionTimestamp === undefined || this.#isForgotten) return
    this.#aborting.abort()
    // The timestamp is when the grace ends, to the second; this clock may differ from the one that wrote it.
    const graceMs = (deletionGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000
    const deadline = this.#context.clock.now() + graceMs
    this.#deletion = { deadline: Math.min(deadline, this.#deletion?.deadline ?? deadline) }
  }

  #isAtRest(): boolean {
    const isUp = [...this.#slots.values()].some(({ phase }) =>
      ['starting', 'running', 'stopping'].includes(phase.phase),
    )
    return !isUp && this.#background.size === 0 && this.#sandbox === 'absent'
  }

  async #settleOnce(): Promise<void> {
    const tick = Promise.withResolvers<void>()
    const cancel = this.#context.clock.schedule(50, () => tick.resolve())
    await Promise.race([...this.#background, tick.promise])
    cancel()
    this.#tick()
  }

  async #dropOldLogs(slot: Slot, attempt: number): Promise<void> {
    const dir = join(this.#logPath(slot, attempt), '..')
    for (const name of await readdir(dir).catch(() => [])) {
      if (Number.parseInt(name, 10) < attempt - 1) await rm(join(dir, name), { force: true })
    }
  }

  #place(): PodPlace {
    const { hostIp, nodeName, cpus, memoryBytes } = this.#context
    return { podIp: this.#attachment?.ip ?? '', hostIp, nodeName, cpus, memoryBytes }
  }

  #dir(): string {
    return this.#context.records.dirOf(uidOf(this.#pod))
  }

  #volumesDir(): string {
    return join(this.#dir(), 'volumes')
  }

  #namespacesDir(): string {
    return join(this.#dir(), 'namespaces')
  }

  #cgroup(): string {
    return this.#resources.cgroupPath
  }

  #logPath(slot: Slot, attempt: number): string {
    const { uid = '', namespace = '', name = '' } = this.#pod.metadata ?? {}
    return join(this.#context.records.logsOf({ uid, namespace, name }), slot.def.container.name, `${attempt}.log`)
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string, container?: Container): void {
    const fieldPath = container ? `spec.containers{${container.name}}` : undefined
    const about = { apiVersion: 'v1', kind: 'Pod', metadata: this.#pod.metadata }
    if (!this.#isForgotten && !this.#leaving) this.#context.events.record(about, { type, reason, message, fieldPath })
  }
}

function emptySlot(def: PodContainer): Slot {
  return {
    def,
    phase: { phase: 'waiting' },
    restarts: 0,
    crashes: 0,
    isAgain: false,
    failures: 0,
    image: def.container.image ?? '',
    fingerprint: '',
    ended: Promise.withResolvers(),
  }
}

function viewOf({ def, phase, crashes }: Slot): ContainerView {
  const { container, role, restartPolicy, restartRules } = def
  return { name: container.name, role, restartPolicy, restartRules, state: phase, crashes }
}

function failureBackoffMs(failures: number, firstMs: number, longestMs: number): number {
  return Math.min(firstMs * 2 ** Math.min(failures - 1, 20), longestMs)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** A list of options like NODE_OPTIONS is needed by both sides: the network's come first. */
function mergeEnvironment(
  own: Record<string, string>,
  network: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  if (!network) return own
  const options = [network['NODE_OPTIONS'], own['NODE_OPTIONS']].filter(Boolean).join(' ')
  return { ...own, ...network, ...(options === '' ? {} : { NODE_OPTIONS: options }) }
}

/** The signal that asks a container to end: the pod's word, else the image's, else SIGTERM. */
function stopSignalOf(container: Container, image: string | undefined): NodeJS.Signals | number {
  const text = container.lifecycle?.stopSignal ?? image ?? 'SIGTERM'
  if (/^\d+$/.test(text)) return Number(text)
  return (text.startsWith('SIG') ? text : `SIG${text}`) as NodeJS.Signals
}
