import type { Metrics } from '../metrics/metrics.ts'
import { openCgroup } from './cgroup.ts'
import type { Cgroup, CgroupLimits, CgroupUsage } from './cgroup.ts'

/**
 * Adds what the kernel says about this process's cgroup (`cgroup_*`): limits, use, throttling, memory kills, pressure.
 * What it does not tell, and limits that are not set, are not shown. Not named `container_*`: these are cAdvisor's names,
 * and sums over both would count everything twice. Returns what takes it away.
 */
export function addCgroupMetrics(metrics: Metrics, cgroup: Cgroup = openCgroup()): () => void {
  if (cgroup.version === 0) return () => {}
  let limits: CgroupLimits | undefined
  let usage: CgroupUsage | undefined
  const ends = [
    metrics.onCollect(() => {
      limits = cgroup.readLimits()
      usage = cgroup.readUsage()
    }),
    ...limitGauges.map(([name, help, read]) =>
      metrics.observable(name, { help, read: () => (limits === undefined ? undefined : read(limits)) }),
    ),
    ...usageMetrics.map(([name, help, read]) =>
      metrics.observable(name, {
        help,
        kind: name.endsWith('_total') ? 'counter' : 'gauge',
        read: () => (usage === undefined ? undefined : read(usage)),
      }),
    ),
    metrics.observable('cgroup_pressure_waiting_seconds_total', {
      help: 'Time tasks waited for a resource in seconds: some of them, or all at once (full).',
      kind: 'counter',
      labels: ['resource', 'kind', 'scope'],
      read: () => usage?.pressure.map(({ seconds, ...labels }) => [labels, seconds] as const) ?? [],
    }),
  ]
  return () => {
    for (const end of ends) end()
  }
}

const limitGauges: readonly (readonly [string, string, (limits: CgroupLimits) => number | undefined])[] = [
  ['cgroup_cpu_limit_cores', 'CPU time per time that is allowed.', (limits) => limits.cpuCores],
  ['cgroup_cpuset_cpus', 'CPUs this group may run on.', (limits) => limits.cpusetCount],
  ['cgroup_memory_limit_bytes', 'Memory at which the kernel kills.', (limits) => limits.memoryBytes],
  [
    'cgroup_memory_high_bytes',
    'Memory at which the kernel slows down and reclaims.',
    (limits) => limits.memoryHighBytes,
  ],
  ['cgroup_swap_limit_bytes', 'Swap that is allowed beside the memory.', (limits) => limits.swapBytes],
  ['cgroup_pids_limit', 'Processes and threads that are allowed.', (limits) => limits.pids],
]

const usageMetrics: readonly (readonly [string, string, (usage: CgroupUsage) => number | undefined])[] = [
  ['cgroup_cpu_usage_seconds_total', 'CPU time used in seconds.', (usage) => usage.cpuSeconds],
  ['cgroup_cpu_periods_total', 'Periods in which the CPU quota was enforced.', (usage) => usage.cpuPeriods],
  [
    'cgroup_cpu_throttled_periods_total',
    'Periods in which the group was stopped for its quota.',
    (usage) => usage.cpuThrottledPeriods,
  ],
  [
    'cgroup_cpu_throttled_seconds_total',
    'Time the group was stopped for its quota in seconds.',
    (usage) => usage.cpuThrottledSeconds,
  ],
  ['cgroup_memory_usage_bytes', 'Memory in use, file pages included.', (usage) => usage.memoryBytes],
  [
    'cgroup_memory_working_set_bytes',
    'Memory in use without file pages that have not been used lately.',
    (usage) => usage.memoryWorkingSetBytes,
  ],
  ['cgroup_swap_usage_bytes', 'Swap in use.', (usage) => usage.swapBytes],
  ['cgroup_memory_limit_hits_total', 'Times an allocation ran into the limit.', (usage) => usage.memoryLimitHits],
  ['cgroup_memory_oom_events_total', 'Times the group was out of memory.', (usage) => usage.oomEvents],
  [
    'cgroup_memory_oom_kills_total',
    'Processes of the group that the kernel killed for memory.',
    (usage) => usage.oomKills,
  ],
  ['cgroup_pids', 'Processes and threads.', (usage) => usage.pids],
]
