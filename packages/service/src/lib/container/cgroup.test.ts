import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { openCgroup } from './cgroup.ts'
import type { CgroupLimits } from './cgroup.ts'
import { createTree, trees } from './tree.fixture.ts'

const unlimited: CgroupLimits = {
  version: 2,
  cpuCores: undefined,
  cpusetCount: undefined,
  memoryBytes: undefined,
  memoryHighBytes: undefined,
  swapBytes: undefined,
  pids: undefined,
}

describe('openCgroup', () => {
  const cases: readonly [name: keyof typeof trees, expected: CgroupLimits][] = [
    [
      'dockerV2',
      { ...unlimited, cpuCores: 1.5, cpusetCount: 5, memoryBytes: 512 * 2 ** 20, swapBytes: 256 * 2 ** 20, pids: 100 },
    ],
    [
      'kubernetesBurstableV2',
      { ...unlimited, cpuCores: 0.5, memoryBytes: 256 * 2 ** 20, memoryHighBytes: 200_000_000 },
    ],
    [
      'dockerV1',
      { ...unlimited, version: 1, cpuCores: 0.25, cpusetCount: 1, memoryBytes: 2 ** 27, swapBytes: 2 ** 27 },
    ],
    ['hybrid', { ...unlimited, version: 1, cpuCores: 2, memoryBytes: 200_000_000 }],
    ['moved', { ...unlimited, memoryBytes: 2 ** 27 }],
    ['none', { ...unlimited, version: 0 }],
  ]
  for (const [name, expected] of cases) {
    it(`reads the limits of ${name}`, () => {
      using tree = createTree(trees[name])
      assert.deepEqual(openCgroup({ root: tree.root }).readLimits(), expected)
    })
  }

  it('reads what was used, on version 2', () => {
    using tree = createTree(trees.dockerV2)
    assert.deepEqual(openCgroup({ root: tree.root }).readUsage(), {
      cpuSeconds: 2.5,
      cpuPeriods: 40,
      cpuThrottledPeriods: 7,
      cpuThrottledSeconds: 0.35,
      memoryBytes: 104_857_600,
      memoryWorkingSetBytes: 74_857_600,
      swapBytes: 4096,
      memoryLimitHits: 12,
      oomEvents: 2,
      oomKills: 1,
      pids: 11,
      pressure: [
        { resource: 'cpu', kind: 'some', seconds: 2.5, scope: 'cgroup' },
        { resource: 'cpu', kind: 'full', seconds: 0.5, scope: 'cgroup' },
      ],
    })
  })

  it('reads what was used, on version 1', () => {
    using tree = createTree(trees.dockerV1)
    assert.deepEqual(openCgroup({ root: tree.root }).readUsage(), {
      cpuSeconds: 1.25,
      cpuPeriods: 10,
      cpuThrottledPeriods: 3,
      cpuThrottledSeconds: 0.45,
      memoryBytes: 52_428_800,
      memoryWorkingSetBytes: 40_000_000,
      swapBytes: 1_048_576,
      memoryLimitHits: 5,
      oomEvents: undefined,
      oomKills: 2,
      pids: 9,
      pressure: [{ resource: 'cpu', kind: 'some', seconds: 1, scope: 'machine' }],
    })
  })

  it('reads limits anew each time', () => {
    using tree = createTree(trees.dockerV2)
    const cgroup = openCgroup({ root: tree.root })
    tree.write('sys/fs/cgroup/memory.max', 'max\n')
    assert.equal(cgroup.readLimits().memoryBytes, undefined)
  })

  it(
    'agrees with Node about this machine',
    { skip: process.platform !== 'linux' && 'there are cgroups only on Linux' },
    () => {
      const cgroup = openCgroup()
      const { memoryBytes } = cgroup.readLimits()
      const constrained = process.constrainedMemory()
      // Node looks at the process's own group only, and says 0 or about 2^64 where there is no limit.
      if (memoryBytes !== undefined) assert.ok(constrained === 0 || constrained >= memoryBytes, String(constrained))
      assert.ok(cgroup.version === 0 || cgroup.readUsage().memoryBytes !== 0)
    },
  )
})
