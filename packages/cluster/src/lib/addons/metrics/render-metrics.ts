import { canonicalQuantity } from '@fairlead/kube/types'
import type { KubeObject } from '@fairlead/kube/types'
import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import type { CpuStats, MemoryStats, PodStats, Summary } from '../../node/usage/render-usage.ts'

/** What a container or a node uses, in the words of the resource metrics API. */
export interface ResourceUsage {
  readonly cpu: string
  readonly memory: string
}

/** A NodeMetrics without kind; undefined while the node has measured once only. */
export function renderNodeMetrics(node: KubeObject & Node, stats: Summary['node']): object | undefined {
  const { startTime, cpu, memory } = stats
  if (startTime === undefined || cpu === undefined || memory === undefined) return undefined
  return { metadata: metadataOf(node), ...windowOf(startTime, cpu.time), usage: usageOf(cpu, memory) }
}

/** A PodMetrics without kind; undefined for a pod that does not run or was not measured yet. */
export function renderPodMetrics(pod: KubeObject & Pod, stats: PodStats | undefined): object | undefined {
  const [first] = stats?.containers ?? []
  if (stats === undefined || first === undefined) return undefined
  // A pod is as old as its youngest container: before that, not all of it was measured.
  const startTime = stats.containers.map((each) => each.startTime).reduce((a, b) => (a > b ? a : b))
  return {
    metadata: metadataOf(pod),
    ...windowOf(startTime, first.cpu.time),
    containers: stats.containers.map(({ name, cpu, memory }) => ({ name, usage: usageOf(cpu, memory) })),
  }
}

function metadataOf({ metadata }: KubeObject): object {
  const { name, namespace, labels, creationTimestamp } = metadata
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    creationTimestamp,
    ...(labels === undefined ? {} : { labels }),
  }
}

function windowOf(startTime: string, time: string): { timestamp: string; window: string } {
  const milliseconds = Math.max(0, Date.parse(time) - Date.parse(startTime))
  return { timestamp: time.replace(/\.\d+Z$/, 'Z'), window: renderDuration(milliseconds) }
}

/** A duration as Go prints it. */
function renderDuration(milliseconds: number): string {
  const seconds = milliseconds / 1000
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)]
  const rest = `${Number((seconds % 60).toFixed(3))}s`
  return hours > 0 ? `${hours}h${minutes}m${rest}` : minutes > 0 ? `${minutes}m${rest}` : rest
}

function usageOf({ usageNanoCores }: CpuStats, { workingSetBytes }: MemoryStats): ResourceUsage {
  const memory = `${Math.ceil(workingSetBytes / 1024)}Ki`
  return { cpu: canonicalQuantity(`${usageNanoCores}n`) ?? '0', memory: canonicalQuantity(memory) ?? '0' }
}
