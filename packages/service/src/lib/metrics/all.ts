import { addCgroupMetrics } from '../container/metrics.ts'
import type { Metrics } from './metrics.ts'
import { addProcessMetrics } from './process.ts'
import { addNodeMetrics } from './runtime.ts'

/** Adds everything about the process (`process_*`), Node (`nodejs_*`) and the cgroup (`cgroup_*`). Returns what ends it. */
export function addRuntimeMetrics(metrics: Metrics): () => void {
  const ends = [addProcessMetrics(metrics), addNodeMetrics(metrics), addCgroupMetrics(metrics)]
  return () => {
    for (const end of ends) end()
  }
}
