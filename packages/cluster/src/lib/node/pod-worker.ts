import type { Pod, PodCondition } from '@fairlead/kube/types/core-v1'
import { isConflict, isNotFound } from '@fairlead/kube'

import { ContainerEnds } from './containers/ends.ts'
import { ContainerProbes } from './containers/probes.ts'
import { emptySlot, isUp, redefine, toKept, viewOf } from './containers/slot.ts'
import type { Slot } from './containers/slot.ts'
import { ContainerStarts } from './containers/starts.ts'
import { ContainerStops } from './containers/stops.ts'
import { decide } from './decide.ts'
import type { PodView, Step } from './decide.ts'
import type { NodeContext } from './node-context.ts'
import { adoptPod } from './pod-adoption.ts'
import { podFiles } from './pod-files.ts'
import type { PodFiles } from './pod-files.ts'
import { createPodKeeper } from './pod-keeper.ts'
import type { PodKeeper } from './pod-keeper.ts'
import type { PodLife } from './pod-life.ts'
import { containersOf, hasOtherFields, uidOf } from './pod.ts'
import type { PodPlaceOnNetwork } from './pod-ports.ts'
import type { KeptPod } from './pod-records.ts'
import { PodResizer } from './pod-resizer.ts'
import { PodResources } from './pod-resources.ts'
import { PodSandbox } from './pod-sandbox.ts'
import { renderStatus } from './status.ts'
import { createStatusWriter } from './status-writer.ts'
import type { StatusWriter } from './status-writer.ts'

/** What clearing away may take after the last container has been killed. */
const CLEARING_MS = 10_000
/** What a pod whose object is gone has to end. */
const FORGOTTEN_GRACE_MS = 1000
/** What an evicted pod has to end. */
const EVICTION_GRACE_MS = 1000
const DEFAULT_GRACE_SECONDS = 30
const SETTLE_MS = 50
const FORGET_RETRY_MS = 1000
/** A view may lead to steps that lead to others at once; more rounds than these would be a mistake. */
const MAX_ROUNDS = 10

/** The log files of a container: the present run's, and the one's before. */
interface ContainerLogs {
  readonly current: string
  readonly previous?: string
  readonly isOpen: () => boolean
}

/**
 * The life of one pod: {@link decide} says what to do, those it has for sandbox, starts, stops, probes and ends do it,
 * and the loop here looks again after each of them.
 */
export class PodWorker {
  readonly #context: NodeContext
  readonly #files: PodFiles
  readonly #slots = new Map<string, Slot>()
  readonly #writer: StatusWriter
  readonly #keeper: PodKeeper
  readonly #aborting = new AbortController()
  readonly #gone = Promise.withResolvers<void>()
  readonly #background = new Set<Promise<unknown>>()
  readonly #life: PodLife
  readonly #resources: PodResources
  readonly #resizer: PodResizer
  readonly #sandbox: PodSandbox
  readonly #ends: ContainerEnds
  readonly #stops: ContainerStops
  readonly #probes: ContainerProbes
  readonly #starts: ContainerStarts
  #pod: Pod
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

  private constructor(pod: Pod, kept: KeptPod | undefined, context: NodeContext) {
    this.#pod = pod
    this.#context = context
    this.#files = podFiles(pod, context.records)
    this.#startTime = kept?.startTime ?? context.clock.now()
    this.#finished = kept?.finished
    this.#reason = kept?.reason
    this.#message = kept?.message
    this.#writer = createStatusWriter(context.pods, { clock: context.clock, onError: context.onError })
    this.#keeper = createPodKeeper(context.records, context.onError)
    const capacity = { cpu: context.cpus, memory: context.memoryBytes }
    this.#resources = new PodResources(pod, kept?.allocation, { ...context, capacity }, () => this.#resizer.resize())
    const life = this.#createLife()
    this.#life = life
    this.#sandbox = new PodSandbox(life, this.#resources)
    this.#resizer = new PodResizer(life, this.#resources, () => this.#sandbox.state === 'ready')
    this.#ends = new ContainerEnds(life)
    this.#stops = new ContainerStops(life, this.#sandbox, this.#ends)
    this.#probes = new ContainerProbes(life, this.#sandbox, this.#stops)
    this.#starts = new ContainerStarts(life, this.#sandbox, {
      ends: this.#ends,
      stops: this.#stops,
      probes: this.#probes,
      onRunning: () => this.#resizer.actuate(),
    })
    this.#addSlots()
  }

  /** Takes charge of a pod: from the start, or where an earlier process left it. */
  static async open(pod: Pod, kept: KeptPod | undefined, context: NodeContext): Promise<PodWorker> {
    const worker = new PodWorker(pod, kept, context)
    if (kept) await worker.#adopt(kept)
    if (worker.#finished) worker.#resources.release()
    else worker.#resizer.resize()
    worker.#noteDeletion()
    worker.#tick()
    return worker
  }

  async #adopt(kept: KeptPod): Promise<void> {
    const { allocation } = this.#resources
    await adoptPod(kept, this.#life, { sandbox: this.#sandbox, ends: this.#ends, probes: this.#probes, allocation })
  }

  /** What those who act for the pod see of it. */
  #createLife(): PodLife {
    // oxlint-disable-next-line no-this-alias, typescript/no-this-alias
    const worker = this
    return {
      context: this.#context,
      files: this.#files,
      slots: this.#slots,
      signal: this.#aborting.signal,
      get pod() {
        return worker.#pod
      },
      get granted() {
        return worker.#resources.granted
      },
      get cgroupPath() {
        return worker.#resources.cgroupPath
      },
      get startTime() {
        return worker.#startTime
      },
      get isDeleted() {
        return worker.#deletion !== undefined
      },
      get isLeaving() {
        return worker.#leaving !== undefined
      },
      get isDetached() {
        return worker.#isDetached
      },
      tick: () => this.#tick(),
      run: (work) => this.#run(work),
      publish: () => this.#publish(),
      save: () => this.#save(),
      saved: () => this.#keeper.kept(),
      event: (type, reason, message, container) => {
        const fieldPath = container ? `spec.containers{${container.name}}` : undefined
        const about = { apiVersion: 'v1', kind: 'Pod', metadata: this.#pod.metadata }
        const isTold = !this.#isForgotten && this.#leaving === undefined
        if (isTold) this.#context.events.record(about, { type, reason, message, fieldPath })
      },
    }
  }

  // ---- what others see

  get pod(): Pod {
    return this.#pod
  }

  /** Resolves when nothing of the pod is left on this node. */
  get gone(): Promise<void> {
    return this.#gone.promise
  }

  /** Where the containers' control groups are. */
  get cgroupPath(): string {
    return this.#resources.cgroupPath
  }

  /** Where the pod's volumes lie. */
  get volumesDir(): string {
    return this.#files.volumesDir
  }

  /** Where the pod is on the network; undefined while it has no place there. */
  get place(): PodPlaceOnNetwork | undefined {
    return this.#sandbox.placeOnNetwork
  }

  /** Ids of the containers this pod has, or is making. */
  get containerIds(): readonly string[] {
    return this.runningContainers.map(({ id }) => id)
  }

  /** Names and ids of the containers that may be running. */
  get runningContainers(): readonly { readonly name: string; readonly id: string }[] {
    return [...this.#slots].flatMap(([name, { id, phase }]) => (id && phase.phase !== 'exited' ? [{ name, id }] : []))
  }

  /** Id of a container that runs; undefined for others. */
  runningId(container: string): string | undefined {
    const phase = this.#slots.get(container)?.phase
    return phase?.phase === 'running' || phase?.phase === 'stopping' ? phase.id : undefined
  }

  logOf(container: string): ContainerLogs | undefined {
    const slot = this.#slots.get(container)
    if (!slot) return undefined
    const { restarts } = slot
    return {
      current: this.#files.logPath(container, restarts),
      ...(restarts > 0 ? { previous: this.#files.logPath(container, restarts - 1) } : {}),
      isOpen: () => !this.#isDetached && isUp(slot),
    }
  }

  /** Whether there is anything to read of a container yet. */
  hasLog(container: string): boolean {
    return this.#slots.get(container)?.id !== undefined
  }

  /** Logs that are being written, with the containers that write them. */
  get openLogs(): readonly { readonly id: string; readonly path: string }[] {
    return [...this.#slots].flatMap(([name, { id, phase, restarts }]) =>
      id && phase.phase === 'running' ? [{ id, path: this.#files.logPath(name, restarts) }] : [],
    )
  }

  // ---- what others tell

  update(pod: Pod): void {
    const isRelabelled = hasOtherFields(pod, this.#pod)
    this.#pod = pod
    if (isRelabelled) this.refresh()
    if (this.#finished === undefined) this.#resizer.resize()
    this.#addSlots()
    this.#redefineSlots()
    this.#noteDeletion()
    this.#tick()
  }

  /** Ephemeral containers come later than the pod. */
  #addSlots(): void {
    for (const def of containersOf(this.#resources.granted)) {
      if (!this.#slots.has(def.container.name)) this.#slots.set(def.container.name, emptySlot(def))
    }
  }

  #redefineSlots(): void {
    for (const def of containersOf(this.#resources.granted)) {
      const slot = this.#slots.get(def.container.name)
      if (slot) redefine(slot, def, this.#context.clock.now())
    }
  }

  #noteDeletion(): void {
    const { deletionTimestamp, deletionGracePeriodSeconds } = this.#pod.metadata ?? {}
    if (deletionTimestamp === undefined || this.#isForgotten) return
    this.#aborting.abort()
    // The timestamp is when the grace ends, to the second; this clock may differ from the one that wrote it.
    this.#endWithin((deletionGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000)
  }

  #endWithin(graceMs: number): void {
    const deadline = this.#context.clock.now() + graceMs
    this.#deletion = { deadline: Math.min(deadline, this.#deletion?.deadline ?? deadline) }
  }

  /** The object was removed, perhaps by force: what still runs has a second to end. */
  forgotten(): void {
    this.#isForgotten = true
    this.#writer.close()
    this.#endWithin(FORGOTTEN_GRACE_MS)
    this.#tick()
  }

  /** An object the pod's volumes may come from has changed. */
  refresh(): void {
    this.#sandbox.refresh()
  }

  /** A container has ended, or something else about it is worth a look. */
  noticed(id: string): void {
    const slot = [...this.#slots.values()].find((one) => one.id === id)
    if (slot) this.#run(this.#ends.look(slot, id))
  }

  /** Ends the pod for good, within a second: the node is short of something, or the pod has taken more than it may. */
  evict(message: string, isForNode: boolean): void {
    if (this.#finished !== undefined || this.#deletion !== undefined || this.#leaving !== undefined) return
    this.#life.event('Warning', 'Evicted', message)
    this.#eviction = { deadline: this.#context.clock.now() + EVICTION_GRACE_MS, isForNode }
    this.#finish({ phase: 'Failed', reason: 'Evicted', message })
    this.#tick()
  }

  /** Stops the pod's containers without touching its object; resolves when they have ended. */
  async leave(graceMs: number): Promise<void> {
    const { clock } = this.#context
    const deadline = clock.now() + graceMs
    this.#leaving = { deadline }
    this.#sandbox.giveUp(clock.now())
    this.#tick()
    // What cannot be cleared away must not keep the cluster from ending: the next start finds it.
    while (!this.#isAtRest() && clock.now() < deadline + CLEARING_MS) await this.#settleOnce()
    // Nobody may take the pod for ready when the cluster is started again.
    this.#tell()
    await this.detach()
  }

  #isAtRest(): boolean {
    return ![...this.#slots.values()].some(isUp) && this.#background.size === 0 && this.#sandbox.state === 'absent'
  }

  async #settleOnce(): Promise<void> {
    const tick = Promise.withResolvers<void>()
    const cancel = this.#context.clock.schedule(SETTLE_MS, () => tick.resolve())
    await Promise.race([...this.#background, tick.promise])
    cancel()
    this.#tick()
  }

  /** Ends the work on the pod and leaves its containers as they are, for the next process to adopt. */
  async detach(): Promise<void> {
    this.#isDetached = true
    this.#cancelTimer?.()
    this.#resizer.close()
    this.#aborting.abort()
    for (const slot of this.#slots.values()) slot.probing?.abort()
    await this.#writer.flush()
    this.#writer.close()
    await this.#keeper.kept()
  }

  /** Resolves when the API has been told of the pod's present state. */
  told(): Promise<void> {
    return this.#writer.flush()
  }

  // ---- the loop

  /** Decides and acts until there is nothing to do now; then waits for the next event or time. */
  #tick(): void {
    if (this.#isTicking || this.#isDetached) return
    this.#isTicking = true
    try {
      this.#cancelTimer?.()
      this.#wakeAt(this.#actUntilQuiet())
    } finally {
      this.#isTicking = false
    }
    this.#publish()
  }

  /** The time before which there is nothing more to do. */
  #actUntilQuiet(): number {
    for (let round = 1; ; round += 1) {
      const steps = decide(this.#view(), this.#context.clock.now())
      const acts = steps.filter((step) => step.do !== 'wait')
      for (const step of acts) this.#act(step)
      if (acts.length > 0 && round < MAX_ROUNDS) continue
      return Math.min(Number.POSITIVE_INFINITY, ...steps.flatMap((step) => (step.do === 'wait' ? [step.until] : [])))
    }
  }

  #wakeAt(time: number): void {
    if (time === Number.POSITIVE_INFINITY) return
    const delay = Math.min(Math.max(0, time - this.#context.clock.now()), 2 ** 31 - 1)
    this.#cancelTimer = this.#context.clock.schedule(delay, () => this.#tick())
  }

  #view(): PodView {
    const { activeDeadlineSeconds } = this.#pod.spec ?? {}
    return {
      sandbox: this.#sandbox.state,
      containers: [...this.#slots.values()].map(viewOf),
      deletion: this.#deletion,
      leaving: this.#leaving,
      finished: this.#finished,
      eviction: this.#eviction,
      activeDeadline: activeDeadlineSeconds === undefined ? undefined : this.#startTime + activeDeadlineSeconds * 1000,
    }
  }

  #act(step: Step): void {
    const slot = 'container' in step ? this.#slots.get(step.container) : undefined
    if (step.do === 'prepare') this.#run(this.#sandbox.prepare())
    if (step.do === 'start' && slot) this.#run(this.#starts.start(slot).finally(() => (slot.isBetween = false)))
    if (step.do === 'stop' && slot) this.#stops.stop(slot, step.why, step.deadline)
    if (step.do === 'finish') this.#finish(step)
    if (step.do === 'remove') this.#run(this.#sandbox.remove(this.#ends.cleared()))
    if (step.do === 'forget' && !this.#isForgetting) this.#run(this.#forget())
  }

  #finish({ phase, reason, message }: Omit<Extract<Step, { do: 'finish' }>, 'do'>): void {
    this.#finished = phase
    this.#reason = reason
    this.#message = message
    this.#resources.release()
    this.#save()
  }

  async #forget(): Promise<void> {
    this.#isForgetting = true
    try {
      if (!this.#isForgotten) await this.#deleteObject()
      this.#isDetached = true
      this.#writer.close()
      this.#resources.release()
      await this.#keeper.kept()
      const { uid = '', namespace = '', name = '' } = this.#pod.metadata ?? {}
      await this.#context.records.remove({ uid, namespace, name })
      this.#gone.resolve()
    } catch (error) {
      this.#context.clock.schedule(FORGET_RETRY_MS, () => {
        this.#isForgetting = false
        this.#tick()
      })
      throw error
    }
  }

  async #deleteObject(): Promise<void> {
    await this.#writer.flush()
    const { name = '', namespace } = this.#pod.metadata ?? {}
    const options = { namespace, gracePeriodSeconds: 0, uid: uidOf(this.#pod) }
    await this.#context.pods.delete(name, options).catch((error: unknown) => {
      if (!isNotFound(error) && !isConflict(error)) throw error
    })
  }

  #run(work: Promise<unknown>): void {
    const settled = work
      .catch((error: unknown) => this.#context.onError(error))
      .finally(() => {
        this.#background.delete(settled)
        this.#tick()
      })
    this.#background.add(settled)
  }

  // ---- what is told and kept

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
      podIp: this.#sandbox.attachment?.ip,
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
    this.#keeper.keep({
      uid,
      namespace,
      name,
      startTime: this.#startTime,
      allocation: this.#resources.allocation,
      containers: Object.fromEntries([...this.#slots].map(([key, slot]) => [key, toKept(slot)])),
      finished: this.#finished,
      reason: this.#reason,
      message: this.#message,
    })
  }
}
