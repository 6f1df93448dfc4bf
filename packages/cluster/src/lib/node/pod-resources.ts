import type { EventRecorder } from '@fairlead/kube/controller'
import type { Pod, ResourceRequirements } from '@fairlead/kube/types/core-v1'
import type { ContainerResources, ContainerRuntime } from '@fairlead/oci/runtime'

import type { Grants } from './grants.ts'
import { containersOf, qosClassOf, uidOf } from './pod.ts'
import { containerLimits, podLimits, requestsOf, widest } from './resources.ts'
import type { Amounts } from './resources.ts'
import { allocationOf, changeOf, describeResize, isSameAllocation, judgeResize, withAllocation } from './resize.ts'
import type { Allocation, ResizeProgress } from './resize.ts'
import { readCgroupUsage } from './usage/read-usage.ts'

/** A running container whose resources may have to change. */
export interface ResizableContainer {
  readonly name: string
  readonly id: string
  /** What it runs with. */
  readonly applied: ResourceRequirements | undefined
  /** Notes what it runs with from now on. */
  readonly onApplied: (resources: ResourceRequirements) => void
  /** Its policy wants a restart for this. */
  readonly onRestart: (why: string) => void
}

export interface PodResourcesContext {
  readonly runtime: ContainerRuntime
  readonly events: EventRecorder
  readonly grants: Grants
  readonly capacity: Amounts
  /** Cgroup all pods of this node are below. */
  readonly cgroupParent: string
}

/**
 * What a pod may use: granted when it comes, and granted anew, deferred or refused when it asks for other amounts
 * (KEP-1287, in-place update of pod resources). Puts what was granted into the pod's control groups.
 */
export class PodResources {
  readonly #context: PodResourcesContext
  readonly #retry: () => void
  #allocation: Allocation
  #granted: Pod
  #limits: ContainerResources | undefined
  #progress: ResizeProgress = {}

  /** `retry` is called when a deferred resize may have become possible. */
  constructor(pod: Pod, kept: Allocation | undefined, context: PodResourcesContext, retry: () => void) {
    this.#context = context
    this.#retry = retry
    this.#allocation = kept ?? allocationOf(pod)
    this.#granted = withAllocation(pod, this.#allocation)
    this.#note()
  }

  /** The pod, with what was granted in place of what it asks for. */
  get granted(): Pod {
    return this.#granted
  }

  get allocation(): Allocation {
    return this.#allocation
  }

  get progress(): ResizeProgress {
    return this.#progress
  }

  get cgroupPath(): string {
    return cgroupOf(this.#granted, this.#context.cgroupParent)
  }

  /** Takes note of what the pod asks for now. */
  consider(pod: Pod): void {
    const generation = pod.metadata?.generation ?? 0
    if (isSameAllocation(allocationOf(pod), this.#allocation)) {
      this.#progress = { ...this.#progress, pending: undefined }
    } else {
      const used = this.#context.grants.besides(uidOf(pod))
      const granted = withAllocation(pod, this.#allocation)
      const refusal = judgeResize(pod, granted, { capacity: this.#context.capacity, used })
      if (refusal === undefined) this.#grant(pod, generation)
      else this.#refuse(pod, { ...refusal, generation })
    }
    this.#granted = withAllocation(pod, this.#allocation)
    this.#note()
  }

  #grant(pod: Pod, generation: number): void {
    this.#allocation = allocationOf(pod)
    this.#progress = { inProgress: { generation } }
    this.#event(pod, 'Normal', 'ResizeStarted', `Pod resize started: ${describeResize(pod)}`)
  }

  #refuse(pod: Pod, pending: NonNullable<ResizeProgress['pending']>): void {
    const { reason, message, generation } = pending
    const before = this.#progress.pending
    this.#progress = { ...this.#progress, pending }
    if (reason === 'Deferred') this.#context.grants.waitForRoom(uidOf(pod), this.#retry)
    if (before?.reason === reason && before.generation === generation) return
    this.#event(pod, 'Warning', `Resize${reason}`, `Pod resize ${reason}: ${describeResize(pod, message)}`)
  }

  #note(): void {
    this.#context.grants.set(uidOf(this.#granted), {
      ...requestsOf(this.#granted),
      qosClass: qosClassOf(this.#granted),
    })
  }

  /** Nothing of the pod runs any more. */
  release(): void {
    this.#context.grants.delete(uidOf(this.#granted))
    this.#limits = undefined
    this.#progress = {}
  }

  /** Makes the pod's control group before the first container is made in it. */
  async prepare(): Promise<void> {
    await this.#limitClass()
    await this.#limitPod(podLimits(this.#granted))
  }

  /** Whether {@link actuate} has anything to do. */
  isDue(running: readonly ResizableContainer[]): boolean {
    return this.#progress.inProgress !== undefined || this.#dueOf(running).length > 0
  }

  #dueOf(running: readonly ResizableContainer[]): (Due & { readonly change: 'update' | 'restart' })[] {
    const defs = new Map(containersOf(this.#granted).map(({ container }) => [container.name, container]))
    return running.flatMap((each) => {
      const container = defs.get(each.name)
      const change = container === undefined ? 'none' : changeOf(container, each.applied, container.resources)
      return container === undefined || change === 'none' ? [] : [{ ...each, container, change }]
    })
  }

  /** Gives running containers what was granted: those that get less first, inside of what the whole pod may use. */
  async actuate(running: readonly ResizableContainer[]): Promise<void> {
    if (!this.isDue(running)) return
    const pod = this.#granted
    const wanted = podLimits(pod)
    const due = this.#dueOf(running)
    try {
      await this.#limitClass()
      await this.#limitPod(this.#limits === undefined ? wanted : widest(this.#limits, wanted))
      for (const { change, name, onRestart } of due)
        if (change === 'restart') onRestart(`Container ${name} resize requires restart`)
      for (const each of due.filter(({ change }) => change === 'update').toSorted(byGrowth)) {
        await this.#update(pod, each)
      }
      await this.#limitPod(wanted)
      // Whoever has to be started anew first is looked at again then.
      if (due.some(({ change }) => change === 'restart') || pod !== this.#granted) return
      this.#finish(pod)
    } catch (error) {
      this.#fail(pod, error instanceof Error ? error.message : String(error))
    }
  }

  async #update(pod: Pod, { id, name, container, onApplied }: Due): Promise<void> {
    const limits = containerLimits(pod, container)
    await this.#checkUsage(name, id, limits.memoryBytes)
    await this.#context.runtime.update(id, limits)
    onApplied(container.resources ?? {})
  }

  /** A limit below what is in use would end the container, in one version of control groups at least. */
  async #checkUsage(name: string, id: string, limit: number | undefined): Promise<void> {
    if (limit === undefined) return
    const { memoryBytes = 0 } = (await readCgroupUsage(`${this.cgroupPath}/${id}`)) ?? {}
    if (memoryBytes <= limit) return
    throw new RangeError(
      `attempting to set container "${name}" memory limit (${limit}) below current usage (${memoryBytes})`,
    )
  }

  async #limitPod(limits: ContainerResources): Promise<void> {
    await this.#context.runtime.limitCgroup(this.cgroupPath, limits)
    this.#limits = limits
  }

  /** Pods of a class share the processor with the guaranteed ones by the sum of what they ask for. */
  async #limitClass(): Promise<void> {
    const { runtime, grants, cgroupParent } = this.#context
    const qosClass = qosClassOf(this.#granted)
    if (qosClass === 'Guaranteed') return
    const cpuShares = qosClass === 'BestEffort' ? 2 : Math.max(2, Math.floor(grants.ofClass(qosClass).cpu * 1024))
    if (!grants.noteShares(qosClass, cpuShares)) return
    await runtime.limitCgroup(`${cgroupParent}/${qosClass.toLowerCase()}`, { cpuShares })
  }

  #finish(pod: Pod): void {
    if (this.#progress.inProgress === undefined) return
    this.#progress = { pending: this.#progress.pending }
    this.#event(pod, 'Normal', 'ResizeCompleted', `Pod resize completed: ${describeResize(pod)}`)
  }

  #fail(pod: Pod, error: string): void {
    const { inProgress } = this.#progress
    const generation = inProgress?.generation ?? pod.metadata?.generation ?? 0
    this.#progress = { ...this.#progress, inProgress: { generation, error } }
    if (inProgress?.error === error) return
    this.#event(pod, 'Warning', 'ResizeError', `Pod resize error: ${describeResize(pod, error)}`)
  }

  #event(pod: Pod, type: 'Normal' | 'Warning', reason: string, message: string): void {
    const about = { apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata }
    this.#context.events.record(about, { type, reason, message })
  }
}

interface Due extends ResizableContainer {
  readonly container: { readonly name: string; readonly resources?: ResourceRequirements | undefined }
}

function byGrowth(one: Due, other: Due): number {
  return growth(one) - growth(other)
}

/** Above nought for a container that gets more memory, or as much and more processor. */
function growth({ container, applied }: Due): number {
  const limits = ({ resources }: Pick<Due['container'], 'resources'>): Amounts => {
    const { limits: list } = resources ?? {}
    const asPod = { spec: { containers: [{ name: '', resources: { requests: list ?? {} } }] } }
    return requestsOf(asPod)
  }
  const [now, before] = [limits(container), limits({ resources: applied })]
  return Math.sign(now.memory - before.memory) || Math.sign(now.cpu - before.cpu)
}

/** Guaranteed pods stand beside the groups of the other classes, as kubelets arrange them. */
function cgroupOf(pod: Pod, parent: string): string {
  const qosClass = qosClassOf(pod)
  return `${parent}/${qosClass === 'Guaranteed' ? '' : `${qosClass.toLowerCase()}/`}pod${uidOf(pod)}`
}
