import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, describe, it } from 'node:test'

import { parsePs, parseStat, readCgroupUsage, readProcesses } from './read-usage.ts'
import { renderResourceMetrics, renderSummary } from './render-usage.ts'
import { nanoCoresOf, UsageMeter } from './usage-meter.ts'
import type { MeteredContainer } from './usage-meter.ts'

const root = mkdtempSync(join(tmpdir(), 'usage-'))
after(() => rmSync(root, { recursive: true }))

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

describe('readCgroupUsage', () => {
  it('reads version 2, without what was only read from files long ago', async () => {
    write('two/cpu.stat', 'usage_usec 1500\nuser_usec 1000\n')
    write('two/memory.current', '5000\n')
    write('two/memory.stat', 'anon 3000\ninactive_file 1000\n')
    assert.deepEqual(await readCgroupUsage('two', root), { cpuNanos: 1_500_000, memoryBytes: 4000 })
  })

  it('reads version 1', async () => {
    write('cpuacct/one/cpuacct.usage', '1500000\n')
    write('memory/one/memory.usage_in_bytes', '5000\n')
    write('memory/one/memory.stat', 'inactive_file 1\ntotal_inactive_file 1000\n')
    assert.deepEqual(await readCgroupUsage('one', root), { cpuNanos: 1_500_000, memoryBytes: 4000 })
  })

  it('knows nothing of a group that is not there', async () => {
    assert.equal(await readCgroupUsage('none', root), undefined)
  })
})

describe('parseStat', () => {
  it('is not misled by the name of the program', () => {
    const text = '42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 99 1000 5 18446744073709551615'
    assert.deepEqual(parseStat(text), { pid: 42, parentPid: 7, cpuNanos: 1e9, memoryBytes: 5 * 4096 })
  })
})

describe('parsePs', () => {
  it('reads what macOS and Linux print', () => {
    const text = '    1     0  12:34.56  10240\n   42     1 1:02:03.00    512\n   43     1 2-01:00:05  1\nnonsense\n'
    assert.deepEqual(parsePs(text), [
      { pid: 1, parentPid: 0, cpuNanos: 754_560_000_000, memoryBytes: 10_240 * 1024 },
      { pid: 42, parentPid: 1, cpuNanos: 3_723_000_000_000, memoryBytes: 512 * 1024 },
      { pid: 43, parentPid: 1, cpuNanos: 176_405_000_000_000, memoryBytes: 1024 },
    ])
  })

  it('is what processes are read by where there is no /proc', async () => {
    const own = (await readProcesses('/proc', 'darwin')).find(({ pid }) => pid === process.pid)
    assert.equal(own?.parentPid, process.ppid)
    assert.ok(own.memoryBytes > 1e6)
  })
})

const container: MeteredContainer = {
  id: 'c1',
  name: 'app',
  pod: { namespace: 'shop', name: 'web', uid: 'u1' },
  pid: 10,
  startedAt: 1000,
  cgroupPath: 'c1',
}

describe('UsageMeter', () => {
  it('counts from the start of a container first, and then from sample to sample', async () => {
    const used = [2e9, 2.5e9]
    const meter = new UsageMeter({
      readNode: () => ({ cpuNanos: 0, memoryBytes: 1 }),
      readCgroup: async () => ({ cpuNanos: used.shift() ?? 0, memoryBytes: 100 }),
      readProcesses: async () => [],
    })
    await meter.sample([container], 5000)
    assert.deepEqual(meter.readings.containers.map(nanoCoresOf), [5e8])
    await meter.sample([container], 15_000)
    assert.deepEqual(meter.readings.containers.map(nanoCoresOf), [5e7])
    await meter.sample([], 25_000)
    assert.deepEqual(meter.readings.containers, [])
  })

  it('adds up the processes of a container that has no control group', async () => {
    const process = (pid: number, parentPid: number) => ({ pid, parentPid, cpuNanos: 1e9, memoryBytes: 10 })
    const meter = new UsageMeter({
      readNode: () => ({ cpuNanos: 0, memoryBytes: 0 }),
      readCgroup: async () => undefined,
      readProcesses: async () => [process(1, 0), process(10, 1), process(11, 10), process(12, 11), process(20, 1)],
    })
    await meter.sample([container], 2000)
    assert.deepEqual(meter.readings.containers[0]?.latest, { at: 2000, cpuNanos: 3e9, memoryBytes: 30 })
  })
})

describe('what a node tells of usage', () => {
  const reading = {
    earlier: { at: 0, cpuNanos: 0, memoryBytes: 0 },
    latest: { at: 10_000, cpuNanos: 5e9, memoryBytes: 2048 },
  }
  const readings = { node: reading, containers: [{ ...reading, container }] }

  it('is a summary', () => {
    const { node, pods } = renderSummary('n1', readings)
    assert.equal(node.cpu?.usageNanoCores, 5e8)
    assert.deepEqual(pods[0]?.podRef, container.pod)
    assert.equal(pods[0]?.containers[0]?.memory.workingSetBytes, 2048)
  })

  it('is Prometheus text', () => {
    const lines = renderResourceMetrics(readings).split('\n')
    assert.ok(
      lines.includes('container_cpu_usage_seconds_total{container="app",namespace="shop",pod="web"} 5 10000'),
      lines.join('\n'),
    )
    assert.ok(lines.includes('node_memory_working_set_bytes 2048 10000'))
  })
})
