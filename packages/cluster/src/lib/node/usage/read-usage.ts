import { execFile } from 'node:child_process'
import { readFile, readdir } from 'node:fs/promises'
import { cpus, freemem, totalmem } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** What has been used since something started, and the memory it has now. */
export interface Usage {
  readonly cpuNanos: number
  /** Without what the kernel could take back at once: the "working set". */
  readonly memoryBytes: number
}

const ROOT = '/sys/fs/cgroup'
/** Of user space, in all architectures Linux runs Node on (`getconf CLK_TCK`). */
const tickNanos = 1e7
const pageBytes = 4096

/** The accounts of a control group, of either version; undefined where the kernel keeps none. */
export async function readCgroupUsage(path: string, root: string = ROOT): Promise<Usage | undefined> {
  const [v2Cpu, v2Memory, v2Stat] = await readAll([
    join(root, path, 'cpu.stat'),
    join(root, path, 'memory.current'),
    join(root, path, 'memory.stat'),
  ])
  if (v2Cpu !== undefined && v2Memory !== undefined) {
    const inactive = fieldOf(v2Stat ?? '', 'inactive_file')
    return { cpuNanos: fieldOf(v2Cpu, 'usage_usec') * 1000, memoryBytes: Math.max(0, Number(v2Memory) - inactive) }
  }
  const [cpu, memory, stat] = await readAll([
    join(root, 'cpuacct', path, 'cpuacct.usage'),
    join(root, 'memory', path, 'memory.usage_in_bytes'),
    join(root, 'memory', path, 'memory.stat'),
  ])
  if (cpu === undefined || memory === undefined) return undefined
  const inactive = fieldOf(stat ?? '', 'total_inactive_file')
  return { cpuNanos: Number(cpu), memoryBytes: Math.max(0, Number(memory) - inactive) }
}

async function readAll(paths: readonly string[]): Promise<(string | undefined)[]> {
  return await Promise.all(paths.map((path) => readFile(path, 'utf8').catch(() => undefined)))
}

function fieldOf(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
}

/** A process as `/proc/<pid>/stat` has it. */
export interface ProcessUsage extends Usage {
  readonly pid: number
  readonly parentPid: number
}

/** All processes of this machine, as `ps` has them where there is no `/proc`. */
export async function readProcesses(
  root = '/proc',
  platform: NodeJS.Platform = process.platform,
): Promise<ProcessUsage[]> {
  if (platform !== 'linux') return await readByPs()
  const entries = await readdir(root).catch(() => [])
  const texts = await readAll(entries.filter((name) => /^\d+$/.test(name)).map((pid) => join(root, pid, 'stat')))
  return texts.flatMap((text) => (text === undefined ? [] : [parseStat(text)]))
}

/** Reads `proc_pid_stat(5)`. The name of the program may hold anything, so counting begins after its last bracket. */
export function parseStat(text: string): ProcessUsage {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const at = (index: number): number => Number(fields[index - 3] ?? 0)
  // Children that have ended and were waited for count as well: fields 16 and 17.
  const ticks = at(14) + at(15) + at(16) + at(17)
  return {
    pid: Number.parseInt(text, 10),
    parentPid: at(4),
    cpuNanos: ticks * tickNanos,
    memoryBytes: at(24) * pageBytes,
  }
}

async function readByPs(): Promise<ProcessUsage[]> {
  const args = ['-A', '-o', 'pid=,ppid=,time=,rss=']
  const options = { timeout: 5000, maxBuffer: 16 << 20, env: { ...process.env, LC_ALL: 'C' } }
  return await promisify(execFile)('ps', args, options).then(
    ({ stdout }) => parsePs(stdout),
    () => [],
  )
}

/** Reads lines of `pid ppid time rss`: time as `[[days-]hours:]minutes:seconds[.hundredths]`, memory in kibibytes. */
export function parsePs(text: string): ProcessUsage[] {
  return text.split('\n').flatMap((line) => {
    const [, pid, parentPid, days = '0', time = '', memory] = psLine.exec(line) ?? []
    if (pid === undefined) return []
    const seconds = time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0) + Number(days) * 86_400
    const cpuNanos = Math.round(seconds * 1000) * 1e6
    return [{ pid: Number(pid), parentPid: Number(parentPid), cpuNanos, memoryBytes: Number(memory) * 1024 }]
  })
}

const psLine = /^\s*(\d+)\s+(\d+)\s+(?:(\d+)-)?([\d:.]+)\s+(\d+)\s*$/

/** What a process and all that descend from it use together. */
export function sumTree(pid: number, processes: ReadonlyMap<number, readonly ProcessUsage[]>): Usage {
  const total = { cpuNanos: 0, memoryBytes: 0 }
  const waiting = [pid]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    for (const { pid: child, cpuNanos, memoryBytes } of processes.get(next) ?? []) {
      total.cpuNanos += cpuNanos
      total.memoryBytes += memoryBytes
      waiting.push(child)
    }
  }
  return total
}

/** The whole machine. */
export function readNodeUsage(): Usage {
  const busyMs = cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0)
  return { cpuNanos: busyMs * 1e6, memoryBytes: totalmem() - freemem() }
}
