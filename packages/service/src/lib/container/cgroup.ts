import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { findControllers } from './cgroup-paths.ts'
import type { Controller, ControllerPath } from './cgroup-paths.ts'

/** What a process may use. Undefined: nothing is set, the machine is the limit. */
export interface CgroupLimits {
  /** 1, 2, or 0 where there are no cgroups (not Linux, or not mounted). */
  readonly version: 0 | 1 | 2
  /** CPU time per time: 1.5 is one and a half CPUs. The lowest quota of the group and those above it. */
  readonly cpuCores: number | undefined
  /** How many CPUs it may run on (cpuset); undefined where that is not told. */
  readonly cpusetCount: number | undefined
  /** At this much the kernel kills. */
  readonly memoryBytes: number | undefined
  /** At this much the kernel slows down and reclaims (version 2 `memory.high`). */
  readonly memoryHighBytes: number | undefined
  /** Swap beside the memory; 0: none. */
  readonly swapBytes: number | undefined
  readonly pids: number | undefined
}

/** What a cgroup has used so far. Undefined: the kernel does not tell. */
export interface CgroupUsage {
  readonly cpuSeconds: number | undefined
  /** Enforcement periods of the quota, and how many of them ended with the group stopped. */
  readonly cpuPeriods: number | undefined
  readonly cpuThrottledPeriods: number | undefined
  readonly cpuThrottledSeconds: number | undefined
  readonly memoryBytes: number | undefined
  /** Memory without file pages that have not been used lately: what Kubernetes evicts by. */
  readonly memoryWorkingSetBytes: number | undefined
  readonly swapBytes: number | undefined
  /** Times an allocation hit the limit. */
  readonly memoryLimitHits: number | undefined
  /** Times the group was out of memory, which need not end with a kill. Version 1 does not tell. */
  readonly oomEvents: number | undefined
  readonly oomKills: number | undefined
  readonly pids: number | undefined
  readonly pressure: readonly Pressure[]
}

/** Time that work waited for a resource (pressure stall information). */
export interface Pressure {
  readonly resource: 'cpu' | 'memory' | 'io'
  /** `some`: at least one task waited; `full`: all of them did. */
  readonly kind: 'some' | 'full'
  readonly seconds: number
  /** `machine` where the kernel tells it only for everything that runs there (version 1). */
  readonly scope: 'cgroup' | 'machine'
}

/** The cgroups of this process. */
export interface Cgroup {
  readonly version: 0 | 1 | 2
  /** Read anew at each call: limits change in place (Kubernetes in-place resize, `docker update`). */
  readLimits(): CgroupLimits
  readUsage(): CgroupUsage
}

export interface CgroupOptions {
  /** Where `proc` and `sys` are found, for tests. Default `/`. */
  readonly root?: string | undefined
}

/** Finds the cgroups of this process. Never throws: where there are none, nothing is limited and nothing is told. */
export function openCgroup({ root = '/' }: CgroupOptions = {}): Cgroup {
  const cgroupText = readText(join(root, 'proc/self/cgroup')) ?? ''
  const controllers = findControllers(cgroupText, readText(join(root, 'proc/self/mountinfo')) ?? '', root)
  const groups = new Map([...controllers].map(([name, path]) => [name, createGroup(path)]))
  const version = groups.get('memory')?.version ?? groups.get('cpu')?.version ?? 0
  return {
    version,
    readLimits: () => ({
      version,
      cpuCores: lowest(groups.get('cpu'), (group, level) => readQuota(group, level)),
      cpusetCount: readCpuset(groups.get('cpuset')),
      memoryBytes: readMemoryLimit(groups.get('memory')),
      memoryHighBytes: lowest(groups.get('memory'), ({ version, number }, level) =>
        version === 2 ? number('memory.high', level) : undefined,
      ),
      swapBytes: readSwapLimit(groups.get('memory')),
      pids: lowest(groups.get('pids'), ({ number }, level) => number('pids.max', level)),
    }),
    readUsage: () => ({
      ...readCpuUsage(groups),
      ...readMemoryUsage(groups.get('memory')),
      pids: groups.get('pids')?.number('pids.current'),
      pressure: readPressure(groups, root),
    }),
  }
}

/** Files of one controller; `level` 0 is the process's own folder, higher ones lie above it. */
interface Group {
  readonly version: 1 | 2
  readonly levels: number
  readonly text: (file: string, level?: number) => string | undefined
  /** `max`, and what version 1 writes for it, are undefined. */
  readonly number: (file: string, level?: number) => number | undefined
  /** One `name value` per line. */
  readonly field: (file: string, name: string) => number | undefined
}

function createGroup({ version, folders }: ControllerPath): Group {
  const text = (file: string, level = 0): string | undefined => {
    const folder = folders[level]
    return folder === undefined ? undefined : readText(join(folder, file))
  }
  return {
    version,
    levels: folders.length,
    text,
    number: (file, level) => toLimit(text(file, level)),
    field: (file, name) => {
      const value = new RegExp(`^${name} (\\d+)$`, 'm').exec(text(file) ?? '')?.[1]
      return value === undefined ? undefined : Number(value)
    },
  }
}

function lowest(
  group: Group | undefined,
  read: (group: Group, level: number) => number | undefined,
): number | undefined {
  if (group === undefined) return undefined
  const values = Array.from({ length: group.levels }, (_, level) => read(group, level)).filter(
    (value) => value !== undefined,
  )
  return values.length === 0 ? undefined : Math.min(...values)
}

function readQuota({ version, text, number }: Group, level: number): number | undefined {
  const [quota, period] =
    version === 2
      ? (text('cpu.max', level)?.trim().split(' ') ?? []).map(Number)
      : [number('cpu.cfs_quota_us', level), number('cpu.cfs_period_us', level)]
  // -1 (version 1) and `max`, which is not a number, both mean that there is none.
  return quota !== undefined && quota > 0 && period ? quota / period : undefined
}

/** `0-3,8`: five CPUs. */
function readCpuset(group: Group | undefined): number | undefined {
  const list =
    group?.version === 2
      ? group.text('cpuset.cpus.effective')
      : (group?.text('cpuset.effective_cpus') ?? group?.text('cpuset.cpus'))
  if (!list?.trim()) return undefined
  let count = 0
  for (const range of list.trim().split(',')) {
    const [first, last = first] = range.split('-').map(Number)
    if (first === undefined || last === undefined || !(last >= first)) return undefined
    count += last - first + 1
  }
  return count
}

function readMemoryLimit(group: Group | undefined): number | undefined {
  if (group?.version !== 1) return lowest(group, ({ number }, level) => number('memory.max', level))
  // Also knows of groups above the mount point, which cannot be read from inside of a container.
  const inherited = toLimit(String(group.field('memory.stat', 'hierarchical_memory_limit') ?? ''))
  const own = lowest(group, ({ number }, level) => number('memory.limit_in_bytes', level))
  return own === undefined || (inherited !== undefined && inherited < own) ? inherited : own
}

function readSwapLimit(group: Group | undefined): number | undefined {
  if (group?.version !== 1) return lowest(group, ({ number }, level) => number('memory.swap.max', level))
  // Version 1 limits the sum of both.
  const both = lowest(group, ({ number }, level) => number('memory.memsw.limit_in_bytes', level))
  const memory = readMemoryLimit(group)
  return both === undefined || memory === undefined ? undefined : Math.max(0, both - memory)
}

function readCpuUsage(
  groups: ReadonlyMap<Controller, Group>,
): Pick<CgroupUsage, 'cpuSeconds' | 'cpuPeriods' | 'cpuThrottledPeriods' | 'cpuThrottledSeconds'> {
  const cpu = groups.get('cpu')
  const isFirst = cpu?.version === 1
  const nanoseconds = isFirst ? groups.get('cpuacct')?.number('cpuacct.usage') : undefined
  return {
    cpuSeconds: isFirst ? scale(nanoseconds, 1e9) : scale(cpu?.field('cpu.stat', 'usage_usec'), 1e6),
    cpuPeriods: cpu?.field('cpu.stat', 'nr_periods'),
    cpuThrottledPeriods: cpu?.field('cpu.stat', 'nr_throttled'),
    cpuThrottledSeconds: isFirst
      ? scale(cpu.field('cpu.stat', 'throttled_time'), 1e9)
      : scale(cpu?.field('cpu.stat', 'throttled_usec'), 1e6),
  }
}

function readMemoryUsage(
  memory: Group | undefined,
): Pick<
  CgroupUsage,
  'memoryBytes' | 'memoryWorkingSetBytes' | 'swapBytes' | 'memoryLimitHits' | 'oomEvents' | 'oomKills'
> {
  const isFirst = memory?.version === 1
  const memoryBytes = memory?.number(isFirst ? 'memory.usage_in_bytes' : 'memory.current')
  const inactive = memory?.field('memory.stat', isFirst ? 'total_inactive_file' : 'inactive_file') ?? 0
  const both = isFirst ? memory.number('memory.memsw.usage_in_bytes') : undefined
  const swapFirst = both === undefined ? undefined : Math.max(0, both - (memoryBytes ?? 0))
  return {
    memoryBytes,
    memoryWorkingSetBytes: memoryBytes === undefined ? undefined : Math.max(0, memoryBytes - inactive),
    swapBytes: isFirst ? swapFirst : memory?.number('memory.swap.current'),
    memoryLimitHits: isFirst ? memory.number('memory.failcnt') : memory?.field('memory.events', 'max'),
    oomEvents: isFirst ? undefined : memory?.field('memory.events', 'oom'),
    oomKills: memory?.field(isFirst ? 'memory.oom_control' : 'memory.events', 'oom_kill'),
  }
}

function readPressure(groups: ReadonlyMap<Controller, Group>, root: string): Pressure[] {
  const pressures: Pressure[] = []
  for (const resource of ['cpu', 'memory', 'io'] as const) {
    const group = groups.get(resource)
    const own = group?.version === 2 ? group.text(`${resource}.pressure`) : undefined
    const text = own ?? readText(join(root, 'proc/pressure', resource)) ?? ''
    for (const [, kind, microseconds] of text.matchAll(/^(some|full) .*total=(\d+)$/gm)) {
      const scope = own === undefined ? 'machine' : 'cgroup'
      pressures.push({ resource, kind: kind as Pressure['kind'], seconds: Number(microseconds) / 1e6, scope })
    }
  }
  return pressures
}

/** Version 1 writes the largest multiple of the page size below 2^63 where there is no limit. */
function toLimit(text: string | undefined): number | undefined {
  const value = text === undefined || text.trim() === '' ? Number.NaN : Number(text)
  return value >= 0 && value < 2 ** 62 ? value : undefined
}

function scale(value: number | undefined, divisor: number): number | undefined {
  return value === undefined ? undefined : value / divisor
}

/** Files come and go, and some may not be read: each is optional. */
function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
