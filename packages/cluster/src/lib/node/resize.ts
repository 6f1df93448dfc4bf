import { parseQuantity } from '@fairlead/kube/types'
import type { Container, Pod, PodCondition, ResourceRequirements } from '@fairlead/kube/types/core-v1'

import { containersOf } from './pod.ts'
import { requestsOf } from './resources.ts'
import type { Amounts } from './resources.ts'

/** What the node has granted a pod: its own resources, and those of its containers by name (KEP-1287). */
export interface Allocation {
  readonly pod?: ResourceRequirements | undefined
  readonly containers: Readonly<Record<string, ResourceRequirements>>
}

/** Why what a pod asks for is not granted. */
export interface Refusal {
  /** `Deferred` may be granted when other pods have gone. */
  readonly reason: 'Deferred' | 'Infeasible'
  readonly message: string
}

/** How far the last resize of a pod has come; `generation` is that of the pod that asked for it. */
export interface ResizeProgress {
  readonly pending?: (Refusal & { readonly generation: number }) | undefined
  readonly inProgress?: { readonly generation: number; readonly error?: string | undefined } | undefined
}

/** All that a pod asks for. */
export function allocationOf(pod: Pod): Allocation {
  const own = containersOf(pod).filter(({ role }) => role !== 'ephemeral')
  const containers = Object.fromEntries(own.map(({ container }) => [container.name, container.resources ?? {}]))
  return { containers, ...(pod.spec?.resources === undefined ? {} : { pod: pod.spec.resources }) }
}

/** The pod with what was granted in place of what it asks for. */
export function withAllocation(pod: Pod, allocation: Allocation): Pod {
  if (pod.spec === undefined || isSameAllocation(allocationOf(pod), allocation)) return pod
  const grant = (container: Container): Container => {
    const resources = allocation.containers[container.name]
    return resources === undefined ? container : { ...container, resources }
  }
  const { containers, initContainers } = pod.spec
  const spec = { ...pod.spec, containers: containers.map(grant), resources: allocation.pod }
  return { ...pod, spec: initContainers === undefined ? spec : { ...spec, initContainers: initContainers.map(grant) } }
}

export function isSameAllocation(one: Allocation, other: Allocation): boolean {
  const names = new Set([...Object.keys(one.containers), ...Object.keys(other.containers)])
  return isSame(one.pod, other.pod) && [...names].every((name) => isSame(one.containers[name], other.containers[name]))
}

/** By value: "1" processor is "1000m". */
function isSame(one: ResourceRequirements | undefined, other: ResourceRequirements | undefined): boolean {
  return changedResources(one, other).length === 0
}

/** The names of the resources of which requests or limits differ. */
function changedResources(
  one: ResourceRequirements | undefined,
  other: ResourceRequirements | undefined,
): readonly string[] {
  const differing = (['requests', 'limits'] as const).flatMap((part) => {
    const names = new Set([...Object.keys(one?.[part] ?? {}), ...Object.keys(other?.[part] ?? {})])
    const value = (of: ResourceRequirements | undefined, name: string): number | undefined => {
      const text = of?.[part]?.[name]
      return text === undefined ? undefined : parseQuantity(text)
    }
    return [...names].filter((name) => value(one, name) !== value(other, name))
  })
  return [...new Set(differing)]
}

/** What has to be done to a running container for its resources to become what was granted. */
export function changeOf(
  container: Container,
  applied: ResourceRequirements | undefined,
  granted: ResourceRequirements | undefined,
): 'none' | 'update' | 'restart' {
  const changed = changedResources(applied, granted)
  if (changed.length === 0) return 'none'
  const mustRestart = container.resizePolicy?.some(
    ({ resourceName, restartPolicy }) => restartPolicy === 'RestartContainer' && changed.includes(resourceName),
  )
  return mustRestart === true ? 'restart' : 'update'
}

/** Whether a node can give a pod what it asks for now; `used` is what it has granted others. Undefined: it can. */
export function judgeResize(
  wanted: Pod,
  granted: Pod,
  node: { readonly capacity: Amounts; readonly used: Amounts },
): Refusal | undefined {
  const [asked, had] = [requestsOf(wanted), requestsOf(granted)]
  for (const [name, unit] of [
    ['cpu', 1000],
    ['memory', 1],
  ] as const) {
    const [requested, capacity] = [asked[name], node.capacity[name]].map((amount) => Math.round(amount * unit))
    if ((requested ?? 0) > (capacity ?? 0)) {
      const message = `Node didn't have enough capacity: ${name}, requested: ${requested}, capacity: ${capacity}`
      return { reason: 'Infeasible', message }
    }
    const used = Math.round(node.used[name] * unit)
    // Less than before can always be had, however full the node is.
    if (asked[name] > had[name] && (requested ?? 0) + used > (capacity ?? 0)) {
      const message = `Node didn't have enough resource: ${name}, requested: ${requested}, used: ${used}, capacity: ${capacity}`
      return { reason: 'Deferred', message }
    }
  }
  return undefined
}

/** The conditions a resize shows while it is not done (core/v1 PodConditionType). */
export function resizeConditions({ pending, inProgress }: ResizeProgress): Omit<PodCondition, 'lastTransitionTime'>[] {
  const conditions: Omit<PodCondition, 'lastTransitionTime'>[] = []
  if (pending !== undefined) {
    const { reason, message, generation } = pending
    conditions.push({ type: 'PodResizePending', status: 'True', reason, message, observedGeneration: generation })
  }
  if (inProgress !== undefined) {
    const { generation, error } = inProgress
    const why = error === undefined ? {} : { reason: 'Error', message: error }
    conditions.push({ type: 'PodResizeInProgress', status: 'True', ...why, observedGeneration: generation })
  }
  return conditions
}

/** The words of the events of a resize: what it is about as JSON, as upstream has it. */
export function describeResize(pod: Pod, error?: string): string {
  const list = (containers: readonly Container[] = []): unknown[] =>
    containers.map(({ name, resources = {} }) => ({ name, resources }))
  const init = list(pod.spec?.initContainers)
  return JSON.stringify({
    ...(init.length === 0 ? {} : { initContainers: init }),
    containers: list(pod.spec?.containers),
    generation: pod.metadata?.generation,
    ...(error === undefined ? {} : { error }),
  })
}
