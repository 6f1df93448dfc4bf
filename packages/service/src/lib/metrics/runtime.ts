import { constants, monitorEventLoopDelay, performance, PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8'
import type { Metrics } from './metrics.ts'

/** How often the event loop's delay is looked at; a timer that is this late is on time. */
const resolutionMs = 20

/**
 * Adds what is peculiar to Node (`nodejs_*`), under the names that the Prometheus client for Node gave it. Returns what
 * takes it away and ends the measurements.
 */
export function addNodeMetrics(metrics: Metrics): () => void {
  const [major = '', minor = '', patch = ''] = process.versions.node.split('.')
  metrics.info('nodejs_version_info', 'The version of Node.', { version: process.version, major, minor, patch })
  const ends = [
    () => metrics.remove('nodejs_version_info'),
    ...addHeapMetrics(metrics),
    ...addEventLoopDelay(metrics),
    ...addEventLoopUtilization(metrics),
    addGarbageCollection(metrics),
    metrics.observable('nodejs_active_resources', {
      help: 'Resources that keep the event loop alive, by their type.',
      labels: ['type'],
      read: () =>
        Map.groupBy(process.getActiveResourcesInfo(), (type) => type)
          .entries()
          .map(([type, resources]) => [{ type }, resources.length] as const),
    }),
  ]
  return () => {
    for (const end of ends) end()
  }
}

function addHeapMetrics(metrics: Metrics): (() => void)[] {
  const gauge = (name: string, help: string, read: () => number): (() => void) =>
    metrics.observable(name, { help, read })
  const bySpace = (
    name: string,
    help: string,
    read: (space: ReturnType<typeof getHeapSpaceStatistics>[number]) => number,
  ): (() => void) =>
    metrics.observable(name, {
      help,
      labels: ['space'],
      read: () =>
        getHeapSpaceStatistics().map(
          (space) => [{ space: space.space_name.replace(/_space$/, '') }, read(space)] as const,
        ),
    })
  return [
    gauge(
      'nodejs_heap_size_used_bytes',
      'Used size of the JavaScript heap in bytes.',
      () => getHeapStatistics().used_heap_size,
    ),
    gauge(
      'nodejs_heap_size_total_bytes',
      'Committed size of the JavaScript heap in bytes.',
      () => getHeapStatistics().total_heap_size,
    ),
    gauge(
      'nodejs_heap_size_limit_bytes',
      'Size at which V8 gives up, in bytes.',
      () => getHeapStatistics().heap_size_limit,
    ),
    gauge(
      'nodejs_external_memory_bytes',
      'Memory that JavaScript objects hold outside the heap in bytes.',
      () => getHeapStatistics().external_memory,
    ),
    gauge(
      'nodejs_array_buffers_bytes',
      'Memory of Buffers and other ArrayBuffers in bytes.',
      () => process.memoryUsage().arrayBuffers,
    ),
    bySpace(
      'nodejs_heap_space_size_used_bytes',
      'Used size of a space of the heap in bytes.',
      (space) => space.space_used_size,
    ),
    bySpace(
      'nodejs_heap_space_size_total_bytes',
      'Committed size of a space of the heap in bytes.',
      (space) => space.space_size,
    ),
    bySpace(
      'nodejs_heap_space_size_available_bytes',
      'Free size of a space of the heap in bytes.',
      (space) => space.space_available_size,
    ),
  ]
}

/** Seconds by which the event loop was late, over the time since the last collection that was at least a second ago. */
function addEventLoopDelay(metrics: Metrics): (() => void)[] {
  const monitor = monitorEventLoopDelay({ resolution: resolutionMs })
  monitor.enable()
  // The monitor counts its own period as delay.
  const seconds = (nanoseconds: number): number => Math.max(0, nanoseconds - resolutionMs * 1e6) / 1e9
  const read = (): Record<string, number> =>
    monitor.count === 0
      ? { min: 0, max: 0, mean: 0, stddev: 0, p50: 0, p90: 0, p99: 0 }
      : {
          min: seconds(monitor.min),
          max: seconds(monitor.max),
          mean: seconds(monitor.mean),
          stddev: monitor.stddev / 1e9,
          p50: seconds(monitor.percentile(50)),
          p90: seconds(monitor.percentile(90)),
          p99: seconds(monitor.percentile(99)),
        }
  let values = read()
  const ends = [
    metrics.onCollect(
      everySecond(() => {
        values = read()
        monitor.reset()
      }),
    ),
    () => void monitor.disable(),
  ]
  for (const name of Object.keys(values)) {
    const what = name.startsWith('p') ? `Percentile ${name.slice(1)}` : `The ${name}`
    ends.push(
      metrics.observable(`nodejs_eventloop_lag_${name}_seconds`, {
        help: `${what} of the event loop's delay since the last scrape in seconds.`,
        read: () => values[name],
      }),
    )
  }
  return ends
}

function addEventLoopUtilization(metrics: Metrics): (() => void)[] {
  let last = performance.eventLoopUtilization()
  let utilization = last.utilization
  return [
    metrics.onCollect(
      everySecond(() => {
        const now = performance.eventLoopUtilization()
        utilization = performance.eventLoopUtilization(now, last).utilization
        last = now
      }),
    ),
    metrics.observable('nodejs_eventloop_utilization_ratio', {
      help: 'Share of time the event loop was busy since the last scrape.',
      otel: { name: 'nodejs.eventloop.utilization', unit: '1' },
      read: () => utilization,
    }),
    metrics.observable('nodejs_eventloop_time_seconds_total', {
      kind: 'counter',
      help: 'Time the event loop spent in a state in seconds.',
      labels: ['state'],
      otel: { name: 'nodejs.eventloop.time', unit: 's', attributes: { state: 'nodejs.eventloop.state' } },
      read: () => {
        const { active, idle } = performance.eventLoopUtilization()
        return [[{ state: 'active' }, active / 1000] as const, [{ state: 'idle' }, idle / 1000] as const]
      },
    }),
  ]
}

/** Two readers (a scrape and an export) at the same time both get the same window, not one of them an empty one. */
function everySecond(work: () => void): () => void {
  let lastAt = performance.now()
  return () => {
    const now = performance.now()
    if (now - lastAt < 1000) return
    lastAt = now
    work()
  }
}

function addGarbageCollection(metrics: Metrics): () => void {
  const duration = metrics.histogram('nodejs_gc_duration_seconds', {
    help: 'Duration of garbage collections in seconds, by kind.',
    labels: ['kind'],
    buckets: [0.001, 0.01, 0.1, 1, 2, 5],
    otel: { name: 'v8js.gc.duration', unit: 's', attributes: { kind: 'v8js.gc.type' } },
  })
  const kinds = new Map([
    [constants.NODE_PERFORMANCE_GC_MAJOR, duration.labels({ kind: 'major' })],
    [constants.NODE_PERFORMANCE_GC_MINOR, duration.labels({ kind: 'minor' })],
    [constants.NODE_PERFORMANCE_GC_INCREMENTAL, duration.labels({ kind: 'incremental' })],
    [constants.NODE_PERFORMANCE_GC_WEAKCB, duration.labels({ kind: 'weakcb' })],
  ])
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) kinds.get(gcKind(entry))?.observe(entry.duration / 1000)
  })
  observer.observe({ entryTypes: ['gc'] })
  return () => {
    observer.disconnect()
    metrics.remove('nodejs_gc_duration_seconds')
  }
}

/** Entries of garbage collections carry it in `detail`, which the types know only of other entries. */
function gcKind(entry: object): number {
  const { detail } = entry as { readonly detail?: { readonly kind?: number } }
  return detail?.kind ?? 0
}
