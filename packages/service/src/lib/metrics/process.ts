import { readdirSync, readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import type { Metrics } from './metrics.ts'

/** Adds what every Prometheus client tells about its process (`process_*`). Returns what takes it away. */
export function addProcessMetrics(metrics: Metrics): () => void {
  const startedAt = Math.round(performance.timeOrigin) / 1000
  const maxFiles = readMaxFiles()
  const add = (name: string, help: string, read: () => number | undefined): (() => void) =>
    metrics.observable(name, { help, kind: name.endsWith('_total') ? 'counter' : 'gauge', read })
  const ends = [
    add('process_cpu_user_seconds_total', 'User CPU time spent in seconds.', () => process.cpuUsage().user / 1e6),
    add('process_cpu_system_seconds_total', 'System CPU time spent in seconds.', () => process.cpuUsage().system / 1e6),
    add('process_cpu_seconds_total', 'User and system CPU time spent in seconds.', () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    }),
    add('process_start_time_seconds', 'Start time of the process since the Unix epoch in seconds.', () => startedAt),
    add('process_uptime_seconds', 'Time since the process was started in seconds.', () => process.uptime()),
    add('process_resident_memory_bytes', 'Resident memory size in bytes.', () => process.memoryUsage.rss()),
    add('process_virtual_memory_bytes', 'Virtual memory size in bytes.', () => readStatus('VmSize')),
    add('process_heap_bytes', 'Size of the data segment in bytes.', () => readStatus('VmData')),
    add('process_open_fds', 'Open file descriptors.', countOpenFiles),
    add('process_max_fds', 'Open file descriptors that are allowed.', () => maxFiles),
  ]
  return () => {
    for (const end of ends) end()
  }
}

/** In kB in the file; undefined where there is no such file, that is outside of Linux. */
function readStatus(field: string): number | undefined {
  const text = readOr('/proc/self/status')
  const size = text && new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]
  return size ? Number(size) * 1024 : undefined
}

function countOpenFiles(): number | undefined {
  try {
    // One of them is the folder that is being read.
    return readdirSync('/proc/self/fd').length - 1
  } catch {
    return undefined
  }
}

function readMaxFiles(): number | undefined {
  const limit = /^Max open files\s+(\d+)/m.exec(readOr('/proc/self/limits') ?? '')?.[1]
  return limit === undefined ? undefined : Number(limit)
}

function readOr(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
