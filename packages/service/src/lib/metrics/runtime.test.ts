import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { addRuntimeMetrics } from './all.ts'
import { createMetrics } from './metrics.ts'

describe('addRuntimeMetrics', () => {
  it(
    'has what dashboards for the Prometheus client of Node look for',
    { skip: process.platform !== 'linux' && 'some are known only on Linux' },
    () => {
      const metrics = createMetrics()
      const end = addRuntimeMetrics(metrics)
      const names = new Set(metrics.collect().map(({ name }) => name))
      end()
      // Its default metrics, without those that are deprecated in Node (active handles and requests), that break the rules
      // for names (a gauge called _total) or that double others (the two distributions of the utilisation).
      const expected = [
        'process_cpu_user_seconds_total',
        'process_cpu_system_seconds_total',
        'process_cpu_seconds_total',
        'process_start_time_seconds',
        'process_resident_memory_bytes',
        'process_virtual_memory_bytes',
        'process_heap_bytes',
        'process_open_fds',
        'process_max_fds',
        'nodejs_eventloop_lag_min_seconds',
        'nodejs_eventloop_lag_max_seconds',
        'nodejs_eventloop_lag_mean_seconds',
        'nodejs_eventloop_lag_stddev_seconds',
        'nodejs_eventloop_lag_p50_seconds',
        'nodejs_eventloop_lag_p90_seconds',
        'nodejs_eventloop_lag_p99_seconds',
        'nodejs_active_resources',
        'nodejs_heap_size_total_bytes',
        'nodejs_heap_size_used_bytes',
        'nodejs_external_memory_bytes',
        'nodejs_heap_space_size_total_bytes',
        'nodejs_heap_space_size_used_bytes',
        'nodejs_heap_space_size_available_bytes',
        'nodejs_version_info',
        'nodejs_gc_duration_seconds',
      ]
      assert.deepEqual(
        expected.filter((name) => !names.has(name)),
        [],
      )
    },
  )

  it('measures collections of garbage', async () => {
    const metrics = createMetrics()
    const end = addRuntimeMetrics(metrics)
    const count = (): number => {
      const family = metrics.collect().find(({ name }) => name === 'nodejs_gc_duration_seconds')
      return family?.series.reduce((total, series) => total + ('count' in series ? series.count : 0), 0) ?? 0
    }
    for (let round = 0; round < 500 && count() === 0; round++) {
      Array.from({ length: 100_000 }, (_, index) => ({ index }))
      await sleep(1)
    }
    assert.ok(count() > 0)
    end()
  })

  it('can be added, taken away and added again', () => {
    const metrics = createMetrics()
    addRuntimeMetrics(metrics)()
    addRuntimeMetrics(metrics)()
    assert.equal(metrics.render(), '')
  })
})
