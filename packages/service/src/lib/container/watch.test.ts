import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createLogger } from '../log/logger.ts'
import { createMetrics } from '../metrics/metrics.ts'
import { openCgroup } from './cgroup.ts'
import { addCgroupMetrics } from './metrics.ts'
import { createTree, trees } from './tree.fixture.ts'
import { watchLimits } from './watch.ts'

describe('watchLimits', () => {
  it('says once when a limit changed, and counts it', (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] })
    using tree = createTree(trees.dockerV2)
    const lines: string[] = []
    const metrics = createMetrics()
    const log = createLogger({ format: 'json', sink: { write: (line) => void lines.push(line), flush: () => {} } })
    const end = watchLimits({ log, metrics, cgroup: openCgroup({ root: tree.root }), warningRatio: 100 })
    context.mock.timers.tick(30_000)
    assert.deepEqual(lines, [])
    tree.write('sys/fs/cgroup/memory.max', '1073741824\n')
    context.mock.timers.tick(30_000)
    assert.equal(lines.length, 1)
    const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>
    assert.deepEqual([line['memory_limit_bytes'], line['memory_limit_bytes_before']], [1_073_741_824, 536_870_912])
    assert.match(metrics.render(), /^cgroup_limit_changes_total 1$/m)
    end()
    assert.ok(!metrics.render().includes('cgroup_limit_changes_total'))
  })

  it('says once that the memory is nearly full', (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] })
    // This very process uses more than that.
    using tree = createTree({ ...trees.dockerV2, 'sys/fs/cgroup/memory.max': '16777216\n' })
    const lines: string[] = []
    const log = createLogger({ format: 'json', sink: { write: (line) => void lines.push(line), flush: () => {} } })
    const end = watchLimits({ log, cgroup: openCgroup({ root: tree.root }) })
    context.mock.timers.tick(5000)
    end()
    assert.equal(lines.filter((line) => line.includes('memory nearly full')).length, 1)
  })
})

describe('addCgroupMetrics', () => {
  it('shows what the kernel tells, and nothing else', () => {
    using tree = createTree(trees.kubernetesBurstableV2)
    const metrics = createMetrics()
    const end = addCgroupMetrics(metrics, openCgroup({ root: tree.root }))
    const text = metrics.render()
    assert.match(text, /^cgroup_cpu_limit_cores 0.5$/m)
    assert.match(text, /^cgroup_memory_limit_bytes 268435456$/m)
    assert.doesNotMatch(text, /^cgroup_(pids|memory_usage|cpu_throttled|pressure)\w* /m)
    end()
    assert.equal(metrics.render(), '')
  })

  it('shows throttling, memory kills and pressure', () => {
    using tree = createTree(trees.dockerV2)
    const metrics = createMetrics()
    addCgroupMetrics(metrics, openCgroup({ root: tree.root }))
    const text = metrics.render()
    assert.match(text, /^cgroup_cpu_throttled_periods_total 7$/m)
    assert.match(text, /^cgroup_memory_oom_kills_total 1$/m)
    assert.match(text, /^cgroup_pressure_waiting_seconds_total{resource="cpu",kind="full",scope="cgroup"} 0.5$/m)
  })
})
