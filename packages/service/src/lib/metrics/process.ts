import { readdirSync, readFileSync } from 'node:fs'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import type { Metrics } from './metrics.ts'

/**
 * Adds what every Prometheus client tells about its process (`process_*`), and what is peculiar to Node (`nodejs_*`).
 * Returns a function that ends the event-loop measurement.
 */
export function addProcessMetrics(metrics: Metrics): () => void {
  const start = metrics.gauge('process_start_time_seconds', {
    help: 'Start time of the process since the Unix epoch in seconds.',
  })
  start.set(Math.round(performance.timeOrigin) / 1000)
  const version = metrics.gauge('nodejs_version_info', { help: 'The Node.js version.', labels: ['version'] })
  version.labels({ version: process.version }).set(1)
  addResourceMetrics(metrics)
  addHeapMetrics(metrics)
  return addEventLoopMetrics(metrics)
}

function addResourceMetrics(metrics: Metrics): void {
  const cpu = metrics.counter('process_cpu_seconds_total', { help: 'Total user and system CPU time spent in seconds.' })
  const memory = metrics.gauge('process_resident_memory_bytes', { help: 'Resident memory size in bytes.' })
  const openFiles = metrics.gauge('process_open_fds', { help: 'Number of open file descriptors.' })
  const maxFiles = metrics.gauge('process_max_fds', { help: 'Maximum number of open file descriptors.' })
  let counted = 0
  metrics.onCollect(() => {
    const { user, system } = process.cpuUsage()
    const seconds = (user + system) / 1e6
    cpu.inc(Math.max(0, seconds - counted))
    counted = Math.max(counted, seconds)
    memory.set(process.memoryUsage.rss())
    openFiles.set(countOpenFiles())
    maxFiles.set(readMaxFiles())
  })
}

function addHeapMetrics(metrics: Metrics): void {
  const used = metrics.gauge('nodejs_heap_used_bytes', { help: 'Used size of the JavaScript heap in bytes.' })
  const size = metrics.gauge('nodejs_heap_size_bytes', { help: 'Committed size of the JavaScript heap in bytes.' })
  const limit = metrics.gauge('nodejs_heap_limit_bytes', { help: 'Size at which V8 gives up, in bytes.' })
  const external = metrics.gauge('nodejs_external_memory_bytes', {
    help: 'Memory of buffers and other objects outside the heap in bytes.',
  })
  metrics.onCollect(() => {
    const heap = getHeapStatistics()
    used.set(heap.used_heap_size)
    size.set(heap.total_heap_size)
    limit.set(heap.heap_size_limit)
    external.set(heap.external_memory)
  })
}

function addEventLoopMetrics(metrics: Metrics): () => void {
  const delays = [50, 90, 99].map((percentile) => {
    const help = `Percentile ${percentile} of the event loop's delay since the last scrape in seconds.`
    return { percentile, gauge: metrics.gauge(`nodejs_eventloop_delay_p${percentile}_seconds`, { help }) }
  })
  const utilization = metrics.gauge('nodejs_eventloop_utilization_ratio', {
    help: 'Share of time the event loop was busy since the last scrape.',
  })
  const monitor = monitorEventLoopDelay({ resolution: 20 })
  monitor.enable()
  let last = performance.eventLoopUtilization()
  metrics.onCollect(() => {
    for (const { percentile, gauge } of delays) {
      // The monitor counts its own 20 ms period as delay.
      const nanoseconds = Math.max(0, monitor.percentile(percentile) - 20e6)
      gauge.set(monitor.count === 0 ? 0 : nanoseconds / 1e9)
    }
    monitor.reset()
    const now = performance.eventLoopUtilization()
    utilization.set(performance.eventLoopUtilization(now, last).utilization)
    last = now
  })
  return () => void monitor.disable()
}

function countOpenFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return Number.NaN
  }
}

function readMaxFiles(): number {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    return limit === undefined ? Number.NaN : Number(limit)
  } catch {
    return Number.NaN
  }
}
