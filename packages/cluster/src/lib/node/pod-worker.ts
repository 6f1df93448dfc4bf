import type { Pod } from '@fairlead/kube/types/core-v1'
import { isConflict, isNotFound } from '@fairlead/kube'

import { ContainerEnds } from './containers/ends.ts'
import { ContainerProbes } from './containers/probes.ts'
import { emptySlot, isUp, redefine } from './containers/slot.ts'
import type { Slot } from './containers/slot.ts'
import { ContainerStarts } from './containers/starts.ts'
import { ContainerStops } from './containers/stops.ts'
import { decide } from './decide.ts'
import type { Step } from './decide.ts'
import type { NodeContext } from './node-context.ts'
import { adoptPod } from './pod-adoption.ts'
import { podFiles } from './pod-files.ts'
import type { PodFiles } from './pod-files.ts'
import { createPodLife } from './pod-life.ts'
import type { PodLife } from './pod-life.ts'
import { PodLoop } from './pod-loop.ts'
import { PodLogs } from './pod-logs.ts'
import type { ContainerLogs } from './pod-logs.ts'
import { containersOf, hasOtherFields, uidOf } from './pod.ts'
import type { PodPlaceOnNetwork } from './pod-ports.ts'
import type { KeptPod } from './pod-records.ts'
import { PodResizer } from './pod-resizer.ts'
import { PodResources } from './pod-resources.ts'
import { PodSandbox } from './pod-sandbox.ts'
import { podState, viewOfPod } from './pod-state.ts'
import type { PodState } from './pod-state.ts'
import { PodTeller } from './pod-teller.ts'
import type { PodDiskPlaces } from './usage/disk-meter.ts'
import { onDisk } from './volumes.ts'

/** What a pod whose object is gone has to end. */
const FORGOTTEN_GRACE_MS = 1000
const DEFAULT_GRACE_SECONDS = 30
const FORGET_RETRY_MS = 1000
/** How a pod is evicted. */
export interface EvictOptions {
  readonly graceMs: number
  /** The node needs the room, whatever the pod has done. Default false. */
  readonly isForNode?: boolean | undefined
}

/**
 * The life of one pod: {@link decide} says what to do, those it has for sandbox, starts, stops, probes and ends do it,
 * and the loop here looks again after each of them.
 */
export class PodWorker {
  readonly #context: NodeContext
  readonly #files: PodFiles
  readonly #slots = new Map<string, Slot>()
  readonly #state: PodState
  readonly #teller: PodTeller
  readonly #logs: PodLogs
  readonly #aborting = new AbortController()
  readonly #gone = Promise.withResolvers<void>()
  /** Resolves when the agent leaves and nothing of the pod is left here. */
  readonly #rested = Promise.withResolvers<void>()
  readonly #background = new Set<Promise<unknown>>()
  readonly #life: PodLife
  readonly #resources: PodResources
  readonly #resizer: PodResizer
  readonly #sandbox: PodSandbox
  readonly #ends: ContainerEnds
  readonly #stops: ContainerStops
  readonly #probes: ContainerProbes
  readonly #starts: ContainerStarts
  readonly #loop: PodLoop

  private constructor(pod: Pod, kept: KeptPod | undefined, context: NodeContext) {
    this.#context = context
    this.#state = podState(pod, kept, context.clock.now())
    this.#files = podFiles(pod, context)
    this.#logs = new PodLogs(this.#files, this.#slots, this.#state)
    this.#loop = new PodLoop({
      clock: context.clock,
      decide: (now) => decide(viewOfPod(this.#state, this.#slots.values(), this.#sandbox.state), now),
      act: (step) => this.#act(step),
      onQuiet: () => {
        this.#teller.publish()
        if (this.#state.leaving !== undefined && this.isAtRest) this.#rested.resolve()
      },
    })
    const capacity = { cpu: context.cpus, memory: context.memoryBytes }
    this.#resources = new PodResources(pod, kept?.allocation, { ...context, capacity }, () => this.#resizer.resize())
    const life = createPodLife({
      context,
      files: this.#files,
      slots: this.#slots,
      state: this.#state,
      resources: this.#resources,
      signal: this.#aborting.signal,
      teller: () => this.#teller,
      tick: () => this.#loop.tick(),
      run: (work) => this.#run(work),
    })
    this.#life = life
    this.#sandbox = new PodSandbox(life, this.#resources)
    this.#teller = new PodTeller(life, this.#state, { sandbox: this.#sandbox, resources: this.#resources })
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
    // An earlier process may have been killed before it wrote anything down.
    else if (pod.metadata?.deletionTimestamp !== undefined) worker.#sandbox.adoptRest()
    if (worker.#state.finished) worker.#resources.release()
    else worker.#resizer.resize()
    worker.#noteDeletion()
    worker.#loop.tick()
    return worker
  }

  async #adopt(kept: KeptPod): Promise<void> {
    const { allocation } = this.#resources
    await adoptPod(kept, this.#life, { sandbox: this.#sandbox, ends: this.#ends, probes: this.#probes, allocation })
  }

  // ---- what others see

  get pod(): Pod {
    return this.#state.pod
  }

  get uid(): string {
    return uidOf(this.#state.pod)
  }

  /** Resolves when nothing of the pod is left on this node. */
  get gone(): Promise<void> {
    return this.#gone.promise
  }

  /** Where the containers' control groups are. */
  get cgroupPath(): string {
    return this.#resources.cgroupPath
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
    return this.#logs.of(container)
  }

  /** Whether there is anything to read of a container yet. */
  hasLog(container: string): boolean {
    return this.#logs.has(container)
  }

  /** Logs that are being written, with the containers that write them. */
  get openLogs(): PodLogs['open'] {
    return this.#logs.open
  }

  /** Images its containers and volumes have or wait for; none any more when it has ended. */
  get images(): readonly string[] {
    if (this.#state.finished !== undefined && ![...this.#slots.values()].some(isUp)) return []
    const volumes = (this.pod.spec?.volumes ?? []).flatMap(({ image }) => image?.reference ?? [])
    return [...volumes, ...[...this.#slots.values()].flatMap(({ image, def }) => [image, def.container.image ?? ''])]
  }

  /** Where it writes on disk. */
  get diskPlaces(): PodDiskPlaces {
    const containers = [...this.#slots].map(([name, { id }]) => ({
      name,
      rootfs: id === undefined ? undefined : this.#context.runtime.writableDir(id),
      logs: this.#logs.dirOf(name),
    }))
    return { uid: this.uid, containers, volumes: onDisk(this.pod, this.#files.volumesDir) }
  }

  // ---- what others tell

  update(pod: Pod): void {
    const isRelabelled = hasOtherFields(pod, this.#state.pod)
    this.#state.pod = pod
    if (isRelabelled) this.refresh()
    if (this.#state.finished === undefined) this.#resizer.resize()
    this.#addSlots()
    this.#redefineSlots()
    this.#noteDeletion()
    this.#loop.tick()
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
    const { deletionTimestamp, deletionGracePeriodSeconds } = this.#state.pod.metadata ?? {}
    if (deletionTimestamp === undefined || this.#state.isForgotten) return
    this.#aborting.abort()
    // The timestamp is when the grace ends, to the second; this clock may differ from the one that wrote it.
    this.#endWithin((deletionGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1000)
  }

  #endWithin(graceMs: number): void {
    const deadline = this.#context.clock.now() + graceMs
    this.#state.deletion = { deadline: Math.min(deadline, this.#state.deletion?.deadline ?? deadline) }
  }

  /** Whether the API has the pod no more; what is left of it may still be on its way out. */
  get isForgotten(): boolean {
    return this.#state.isForgotten
  }

  /** The object was removed, perhaps by force: what still runs has a second to end. */
  forgotten(): void {
    this.#state.isForgotten = true
    this.#teller.close()
    this.#endWithin(FORGOTTEN_GRACE_MS)
    this.#loop.tick()
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

  /** Ends the pod for good, unless it ends already: the pod has taken more than it may, or the node is short of something. */
  evict(message: string, { graceMs, isForNode = false }: EvictOptions): boolean {
    const { finished, deletion, leaving } = this.#state
    if (finished !== undefined || deletion !== undefined || leaving !== undefined) return false
    this.#life.event('Warning', 'Evicted', message)
    this.#state.eviction = { deadline: this.#context.clock.now() + graceMs, isForNode }
    this.#finish({ phase: 'Failed', reason: 'Evicted', message })
    this.#loop.tick()
    return true
  }

  /** Stops the pod's containers, with no more than their own grace, without touching its object; resolves when they have ended. */
  async leave(graceMs: number): Promise<void> {
    const { clock, clearing } = this.#context
    const { terminationGracePeriodSeconds: own = DEFAULT_GRACE_SECONDS } = this.#state.pod.spec ?? {}
    const deadline = clock.now() + Math.min(graceMs, own * 1000)
    this.#state.leaving = { deadline }
    this.#sandbox.giveUp(clock.now())
    this.#loop.tick()
    // What cannot be cleared away must not keep the cluster from ending: the next start finds it.
    await clearing.wait(this.#rested.promise, deadline)
    // Nobody may take the pod for ready when the cluster is started again.
    this.#teller.tell()
    await this.detach()
  }

  /** Whether nothing of it runs, or takes room but for its logs. */
  get isAtRest(): boolean {
    return ![...this.#slots.values()].some(isUp) && this.#background.size === 0 && this.#sandbox.state === 'absent'
  }

  /** Ends the work on the pod and leaves its containers as they are, for the next process to adopt. */
  async detach(): Promise<void> {
    this.#state.isDetached = true
    this.#loop.close()
    this.#resizer.close()
    this.#aborting.abort()
    for (const slot of this.#slots.values()) slot.probing?.abort()
    await this.#teller.told()
    this.#teller.close()
    await this.#teller.saved()
  }

  /** Resolves when the API has been told of the pod's present state. */
  told(): Promise<void> {
    return this.#teller.told()
  }

  // ---- what is done

  #act(step: Step): void {
    const slot = 'container' in step ? this.#slots.get(step.container) : undefined
    if (step.do === 'prepare') this.#run(this.#sandbox.prepare())
    if (step.do === 'start' && slot) this.#run(this.#starts.start(slot).finally(() => (slot.isBetween = false)))
    if (step.do === 'stop' && slot) this.#stops.stop(slot, step.why, step.deadline)
    if (step.do === 'finish') this.#finish(step)
    if (step.do === 'remove') this.#run(this.#sandbox.remove(this.#ends.cleared()))
    if (step.do === 'forget' && !this.#state.isForgetting) this.#run(this.#forget())
  }

  #finish({ phase, reason, message }: Omit<Extract<Step, { do: 'finish' }>, 'do'>): void {
    this.#state.finished = phase
    this.#state.reason = reason
    this.#state.message = message
    this.#resources.release()
    this.#teller.save()
  }

  async #forget(): Promise<void> {
    this.#state.isForgetting = true
    try {
      if (!this.#state.isForgotten) await this.#deleteObject()
      this.#state.isDetached = true
      this.#teller.close()
      this.#resources.release()
      await this.#teller.saved()
      const { uid = '', namespace = '', name = '' } = this.#state.pod.metadata ?? {}
      await this.#context.records.remove({ uid, namespace, name })
      this.#loop.close()
      this.#gone.resolve()
    } catch (error) {
      this.#context.clock.schedule(FORGET_RETRY_MS, () => {
        this.#state.isForgetting = false
        this.#loop.tick()
      })
      throw error
    }
  }

  async #deleteObject(): Promise<void> {
    await this.#teller.told()
    const { name = '', namespace } = this.#state.pod.metadata ?? {}
    const options = { namespace, gracePeriodSeconds: 0, uid: uidOf(this.#state.pod) }
    await this.#context.pods.delete(name, options).catch((error: unknown) => {
      if (!isNotFound(error) && !isConflict(error)) throw error
    })
  }

  #run(work: Promise<unknown>): void {
    const settled = work
      .catch((error: unknown) => this.#context.onError(error))
      .finally(() => {
        this.#background.delete(settled)
        this.#loop.tick()
      })
    this.#background.add(settled)
  }
}
