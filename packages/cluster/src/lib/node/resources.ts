import { parseQuantity } from '@fairlead/kube/types'
import type { Container, Pod, ResourceRequirements } from '@fairlead/kube/types/core-v1'
import type { ContainerResources } from '@fairlead/oci/runtime'

import { containersOf, qosClassOf } from './pod.ts'

/** Processors and bytes. */
export interface Amounts {
  readonly cpu: number
  readonly memory: number
}

/** The number a resource list gives for `name`; undefined where it gives none, or nought. */
export function amountOf(list: Readonly<Record<string, string>> | undefined, name: string): number | undefined {
  const text = list?.[name]
  return text === undefined ? undefined : parseQuantity(text) || undefined
}

/** What requests or limits say for a container of the pod: its own word, else that of the pod (KEP-2837). */
function requirementsOf(pod: Pod, { resources = {} }: Pick<Container, 'resources'>): ResourceRequirements {
  const { limits: whole } = pod.spec?.resources ?? {}
  // A container without a limit may use what the pod may.
  const limits = { ...pick(whole), ...resources.limits }
  return { ...resources, ...(Object.keys(limits).length === 0 ? {} : { limits }) }
}

function pick(list: Readonly<Record<string, string>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(list).filter(([name]) => name === 'cpu' || name === 'memory'))
}

/** What a pod needs at the most demanding moment of its life (Kubernetes, "Resource sharing within containers"). */
export function requestsOf(pod: Pod): Amounts {
  const own = pod.spec?.resources?.requests
  return { cpu: sumOf(pod, 'cpu', own), memory: sumOf(pod, 'memory', own) }
}

function sumOf(pod: Pod, name: 'cpu' | 'memory', own: Readonly<Record<string, string>> | undefined): number {
  const ask = ({ resources }: Container): number =>
    amountOf(resources?.requests, name) ?? amountOf(resources?.limits, name) ?? 0
  return (amountOf(own, name) ?? mostAtOnce(pod, ask)) + (amountOf(pod.spec?.overhead, name) ?? 0)
}

/** Sidecars stay, init containers come one after another beside those started before them. */
function mostAtOnce(pod: Pod, ask: (container: Container) => number): number {
  let sidecars = 0
  let most = 0
  for (const { container, role } of containersOf(pod)) {
    if (role === 'sidecar') sidecars += ask(container)
    if (role === 'init' || role === 'sidecar')
      most = Math.max(most, role === 'init' ? sidecars + ask(container) : sidecars)
  }
  const main = containersOf(pod).filter(({ role }) => role === 'main')
  return Math.max(most, sidecars + main.reduce((sum, { container }) => sum + ask(container), 0))
}

/** Bytes of disk the pod asks for. */
export function ephemeralStorageRequest(pod: Pod): number {
  const own = amountOf(pod.spec?.overhead, STORAGE) ?? 0
  return mostAtOnce(pod, ({ resources }) => amountOf(resources?.requests, STORAGE) ?? 0) + own
}

/** Bytes of disk all of the pod may take; undefined where no container is limited. */
export function ephemeralStorageLimit(pod: Pod): number | undefined {
  const limit = mostAtOnce(pod, ({ resources }) => amountOf(resources?.limits, STORAGE) ?? 0)
  return limit === 0 ? undefined : limit + (amountOf(pod.spec?.overhead, STORAGE) ?? 0)
}

const STORAGE = 'ephemeral-storage'

/** Limits of one container as its control group has them. */
export function containerLimits(pod: Pod, container: Container): ContainerResources {
  const { requests, limits } = requirementsOf(pod, container)
  const memory = amountOf(limits, 'memory')
  const cpuLimit = amountOf(limits, 'cpu')
  const cpu = amountOf(requests, 'cpu') ?? amountOf(container.resources?.limits, 'cpu') ?? 0
  return {
    ...(memory === undefined ? {} : { memoryBytes: Math.floor(memory) }),
    ...(cpuLimit === undefined ? {} : { cpuLimit }),
    cpuShares: Math.max(2, Math.floor(cpu * 1024)),
  }
}

/** What all containers of a pod may use together: limited only where each of them is, or the pod as a whole. */
export function podLimits(pod: Pod): ContainerResources {
  const { cpu } = requestsOf(pod)
  const total = (name: 'cpu' | 'memory'): number | undefined => {
    const overhead = amountOf(pod.spec?.overhead, name) ?? 0
    const whole = amountOf(pod.spec?.resources?.limits, name)
    if (whole !== undefined) return whole + overhead
    const all = containersOf(pod).filter(({ role }) => role !== 'ephemeral')
    if (!all.every(({ container }) => amountOf(container.resources?.limits, name) !== undefined)) return undefined
    return mostAtOnce(pod, ({ resources }) => amountOf(resources?.limits, name) ?? 0) + overhead
  }
  const [cpuLimit, memory] = [total('cpu'), total('memory')]
  return {
    cpuShares: qosClassOf(pod) === 'BestEffort' ? 2 : Math.max(2, Math.floor(cpu * 1024)),
    ...(cpuLimit === undefined ? {} : { cpuLimit }),
    ...(memory === undefined ? {} : { memoryBytes: Math.floor(memory) }),
  }
}

/** The larger of two sets of limits, to be in force while containers go from one to the other. */
export function widest(one: ContainerResources, other: ContainerResources): ContainerResources {
  const larger = (key: 'cpuLimit' | 'memoryBytes'): Partial<ContainerResources> => {
    const [a, b] = [one[key], other[key]]
    return a === undefined || b === undefined ? {} : { [key]: Math.max(a, b) }
  }
  const cpuShares = Math.max(one.cpuShares ?? 2, other.cpuShares ?? 2)
  return { cpuShares, ...larger('cpuLimit'), ...larger('memoryBytes') }
}
