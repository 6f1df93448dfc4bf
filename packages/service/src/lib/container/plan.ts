import { availableParallelism, totalmem } from 'node:os'
import type { CgroupLimits } from './cgroup.ts'

/** One setting of Node, and why it is what it is. */
export interface Decision {
  readonly setting: 'max-old-space-size' | 'max-semi-space-size' | 'UV_THREADPOOL_SIZE' | 'workers'
  /** Mebibytes for the first two. Undefined: left as it is. */
  readonly value: number | undefined
  readonly reason: string
}

export interface Machine {
  /** CPUs there are. Default `os.availableParallelism()`. */
  readonly cpus?: number | undefined
  /** Default `os.totalmem()`. */
  readonly memoryBytes?: number | undefined
}

const mebibyte = 1024 * 1024

/** What Node itself takes: 15 to 17 MiB above the heap when it does nothing, 30 to 60 under load with telemetry. */
const nativeFloor = 48
const nativeCeiling = 1024

/** What was Node's own until its release 24. Measured: see `service-kit` in docs/performance.md. */
const unlimitedSemiSpace = 16

/**
 * Decides the sizes Node is started with. Pure.
 *
 * - Heap: what the limit leaves when a quarter of it (48 MiB at least, 1 GiB at most) is kept for buffers, code and
 *   threads, and three semi-spaces for the young generation. Node's own rule is half of the limit, at least about
 *   260 MiB and at most about 2 GiB: below 512 MiB the kernel kills before V8 is under pressure, above 4 GiB the rest
 *   lies idle.
 *   Without a limit only the semi-spaces are set: Node lets each of the three grow to 64 MiB there, which a service fills with
 *   garbage for a few per cent less CPU.
 * - Threads: two per CPU, because those of libuv mostly wait (files, host names); never below libuv's own 4.
 * - Workers: one per whole CPU, for programs that run several processes or threads; the launcher starts none itself: replicas are what
 *   the platform starts. A process with half a thread more than CPUs is stopped for the rest of each period.
 */
export function planResources(limits: CgroupLimits, machine: Machine = {}): Decision[] {
  const memory = planMemory(limits, machine.memoryBytes ?? totalmem())
  return [...memory, ...planCpus(limits, machine.cpus ?? availableParallelism())]
}

function planMemory({ memoryBytes, memoryHighBytes }: CgroupLimits, machineBytes: number): Decision[] {
  const limit = Math.min(memoryBytes ?? Infinity, memoryHighBytes ?? Infinity)
  if (limit >= machineBytes) {
    const reason =
      limit === Infinity
        ? 'no memory limit is set'
        : `the limit is above the machine's ${toMebibytes(machineBytes)} MiB`
    return [
      { setting: 'max-old-space-size', value: undefined, reason },
      {
        setting: 'max-semi-space-size',
        value: unlimitedSemiSpace,
        reason: `${reason}: Node's own of up to 64 MiB fill with garbage, and three exist`,
      },
    ]
  }
  const total = toMebibytes(limit)
  const named = `${total} MiB ${limit === memoryBytes ? 'limit' : 'above which the kernel slows down (memory.high)'}`
  const semi = planSemiSpace(total)
  const reserve = Math.min(nativeCeiling, Math.max(nativeFloor, Math.round(total / 4)))
  const old = total - reserve - 3 * semi
  // Below this Node does not get through its own start.
  const smallest = 24
  return [
    {
      setting: 'max-old-space-size',
      value: Math.max(smallest, old),
      reason:
        old < smallest
          ? `${named} is too little: Node needs about ${nativeFloor + smallest + 3 * semi} MiB, the kernel may kill it`
          : `${named} less ${reserve} MiB for buffers, code and threads, less 3 semi-spaces of ${semi} MiB`,
    },
    {
      setting: 'max-semi-space-size',
      value: semi,
      reason: `1/32 of the ${total} MiB, as a power of two from 1 to 32: a larger one means fewer collections, and three exist`,
    },
  ]
}

function planSemiSpace(totalMebibytes: number): number {
  return 2 ** Math.min(5, Math.max(0, Math.floor(Math.log2(totalMebibytes / 32))))
}

function planCpus({ cpuCores, cpusetCount }: CgroupLimits, machineCpus: number): Decision[] {
  const cpus = Math.min(cpuCores ?? Infinity, cpusetCount ?? Infinity, machineCpus)
  const named = nameCpus(cpus, cpuCores, cpusetCount)
  const threads = Math.min(64, Math.ceil(cpus) * 2)
  return [
    {
      setting: 'UV_THREADPOOL_SIZE',
      value: threads > 4 ? threads : undefined,
      reason: `${named}, two threads each${threads > 4 ? '' : ': not more than the 4 that libuv has anyway'}`,
    },
    { setting: 'workers', value: Math.max(1, Math.floor(cpus)), reason: `${named}, one process per whole CPU` },
  ]
}

function nameCpus(cpus: number, quota: number | undefined, cpuset: number | undefined): string {
  const count = `${Math.round(cpus * 100) / 100} CPU${cpus === 1 ? '' : 's'}`
  if (cpus === quota) return `${count} by quota`
  return cpus === cpuset ? `${count} by cpuset` : `${count} in the machine`
}

function toMebibytes(bytes: number): number {
  return Math.floor(bytes / mebibyte)
}
