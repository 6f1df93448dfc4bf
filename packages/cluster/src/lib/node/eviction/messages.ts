import type { Pod } from '@fairlead/kube/types/core-v1'

import { amountOf } from '../resources.ts'
import { amountIn, renderBytes, shortageOf } from './thresholds.ts'
import type { Observations, Threshold } from './thresholds.ts'

/** The resource that pods have to give up for a threshold. */
export function resourceOf(threshold: Threshold): string {
  if (threshold.signal.endsWith('.inodesFree')) return 'inodes'
  return shortageOf(threshold) === 'memory' ? 'memory' : 'ephemeral-storage'
}

/** Why a pod is evicted for the node, in the words of kubelets. `usage`: bytes by container. */
export function describeEviction(
  threshold: Threshold,
  seen: Observations,
  pod: Pod,
  usage: ReadonlyMap<string, number>,
): string {
  const resource = resourceOf(threshold)
  const low = `The node was low on resource: ${resource}. ${describeThreshold(threshold, seen)}`
  const { containers = [], initContainers = [] } = pod.spec ?? {}
  const greedy = [...containers, ...initContainers].map(({ name, resources }) => {
    const used = usage.get(name) ?? 0
    if (used <= (amountOf(resources?.requests, resource) ?? 0)) return ''
    const request = resources?.requests?.[resource] ?? '0'
    return `Container ${name} was using ${renderBytes(used)}, request is ${request}, has larger consumption of ${resource}. `
  })
  return [low, ...greedy].join('')
}

function describeThreshold({ signal, least }: Threshold, seen: Observations): string {
  const { available = 0, capacity = 0 } = seen.get(signal) ?? {}
  const render = signal.endsWith('.inodesFree') ? String : renderBytes
  return `Threshold quantity: ${render(amountIn(least, capacity))}, available: ${render(available)}. `
}
