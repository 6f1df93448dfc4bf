import { getHeapStatistics } from 'node:v8'
import type { Logger } from '../log/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { openCgroup } from './cgroup.ts'
import type { Cgroup, CgroupLimits } from './cgroup.ts'

export interface WatchLimitsOptions {
  readonly log?: Logger | undefined
  /** Gets `cgroup_limit_changes_total` and `nodejs_heap_use_ratio`. */
  readonly metrics?: Metrics | undefined
  /** How often the files are read, four small ones. Default 10000. */
  readonly intervalMs?: number | undefined
  /** Default: that of this process. */
  readonly cgroup?: Cgroup | undefined
  /** Share of the heap's or the container's limit in use from which it is told that the end is near. Default 0.9. */
  readonly warningRatio?: number | undefined
  /** Called with each change, after it is logged. */
  readonly onChange?: ((limits: CgroupLimits, before: CgroupLimits) => void) | undefined
}

/**
 * Tells when the limits of the running process change (Kubernetes resizes pods in place), because the heap cannot
 * follow, and when the heap or the container is nearly full, because V8 and the kernel end the process without asking:
 * the line is the last one of a process whose event loop still turns. Does not keep the process alive. Returns what
 * ends it.
 */
export function watchLimits(options: WatchLimitsOptions = {}): () => void {
  const { log, metrics, cgroup = openCgroup(), warningRatio = 0.9 } = options
  const changes = metrics?.counter('cgroup_limit_changes_total', { help: 'Times a limit changed while running.' })
  const removeRatio = metrics?.observable('nodejs_heap_use_ratio', {
    help: 'Share of the heap limit in use.',
    read: readHeapUse,
  })
  let limits = cgroup.readLimits()

  const checkLimits = (): void => {
    const before = limits
    limits = cgroup.readLimits()
    const changed = changesBetween(before, limits)
    if (Object.keys(changed).length === 0) return
    changes?.inc()
    const heapLimitBytes = getHeapStatistics().heap_size_limit
    const isTooSmall = limits.memoryBytes !== undefined && limits.memoryBytes < heapLimitBytes
    log?.warn(
      isTooSmall
        ? 'container limits changed, memory is now below the heap limit: restart before the kernel kills the process'
        : 'container limits changed, the heap keeps the size it was started with until the next restart',
      { ...changed, heap_limit_bytes: heapLimitBytes },
    )
    options.onChange?.(limits, before)
  }
  const heapAlarm = createAlarm(warningRatio)
  const memoryAlarm = createAlarm(warningRatio)
  const checkUse = (): void => {
    if (heapAlarm(readHeapUse()))
      log?.error('heap nearly full, V8 ends the process when nothing can be freed', readMemory())
    // Not the cgroup's own number: its files cost more than this, four times a second.
    const { memoryBytes } = limits
    if (memoryBytes !== undefined && memoryAlarm(process.memoryUsage.rss() / memoryBytes))
      log?.error('memory nearly full, the kernel kills the process at the limit', {
        ...readMemory(),
        memory_limit_bytes: memoryBytes,
      })
  }
  const limitTimer = setInterval(checkLimits, options.intervalMs ?? 10_000).unref()
  // A leak under load fills the last tenth within a second.
  const useTimer = setInterval(checkUse, 250).unref()
  return () => {
    clearInterval(limitTimer)
    clearInterval(useTimer)
    removeRatio?.()
    metrics?.remove('cgroup_limit_changes_total')
  }
}

/** Once per approach: garbage that waits for its collection makes the number swing. */
function createAlarm(from: number): (use: number) => boolean {
  let isRaised = false
  return (use) => {
    if (use < from - 0.1) isRaised = false
    if (isRaised || use < from) return false
    isRaised = true
    return true
  }
}

/** What tells a leak of objects from one of Buffers. */
function readMemory(): Record<string, number> {
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage()
  const heapLimit = getHeapStatistics().heap_size_limit
  return {
    rss_bytes: rss,
    heap_used_bytes: heapUsed,
    heap_limit_bytes: heapLimit,
    external_bytes: external,
    array_buffers_bytes: arrayBuffers,
  }
}

function readHeapUse(): number {
  const { used_heap_size, heap_size_limit } = getHeapStatistics()
  return used_heap_size / heap_size_limit
}

/** Old and new of what is not the same, under the names that go into the log. */
function changesBetween(before: CgroupLimits, now: CgroupLimits): Record<string, unknown> {
  const changed: Record<string, unknown> = {}
  for (const [name, field] of names) {
    if (before[field] === now[field]) continue
    changed[name] = now[field] ?? 'none'
    changed[`${name}_before`] = before[field] ?? 'none'
  }
  return changed
}

const names = [
  ['memory_limit_bytes', 'memoryBytes'],
  ['memory_high_bytes', 'memoryHighBytes'],
  ['cpu_limit_cores', 'cpuCores'],
  ['cpuset_cpus', 'cpusetCount'],
  ['pids_limit', 'pids'],
] as const
