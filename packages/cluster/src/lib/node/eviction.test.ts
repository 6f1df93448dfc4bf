import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { findOverfull, pressureConditions, pressureOf, rankForEviction } from './eviction.ts'

const GI = 2 ** 30
const plenty = { memoryBytes: GI, diskBytes: 10 * GI, diskTotalBytes: 20 * GI }

describe('pressureOf', () => {
  const cases: readonly { name: string; left: Partial<typeof plenty>; memory: boolean; disk: boolean }[] = [
    { name: 'finds none where there is plenty', left: {}, memory: false, disk: false },
    { name: 'finds that of memory', left: { memoryBytes: 99 * 2 ** 20 }, memory: true, disk: false },
    { name: 'finds that of a disk with less than a gibibyte', left: { diskBytes: GI - 1 }, memory: false, disk: true },
    {
      name: 'is content with a tenth of a small disk',
      left: { diskBytes: GI / 4, diskTotalBytes: 2 * GI },
      memory: false,
      disk: false,
    },
  ]
  for (const { name, left, memory, disk } of cases) {
    it(name, () => assert.deepEqual(pressureOf({ ...plenty, ...left }), { memory, disk }))
  }
})

describe('pressureConditions', () => {
  it('has the reasons of kubelets', () => {
    assert.deepEqual(
      pressureConditions({ memory: true, disk: false }).map(({ status, reason }) => `${status} ${reason}`),
      ['True KubeletHasInsufficientMemory', 'False KubeletHasNoDiskPressure'],
    )
  })
})

describe('rankForEviction', () => {
  const pod = (name: string, memory: string, priority = 0): Pod => ({
    metadata: { name },
    spec: { priority, containers: [{ name: 'main', resources: { requests: { memory } } }] },
  })

  it('takes who uses more than it asked for, then the less important, then who is furthest beyond', () => {
    const ranked = rankForEviction([
      { pod: pod('modest', '1Gi'), memoryBytes: GI / 2 },
      { pod: pod('important', '0', 1000), memoryBytes: 9 * GI },
      { pod: pod('critical', '0', 2_000_000_000), memoryBytes: 9 * GI },
      { pod: pod('little', '0'), memoryBytes: GI },
      { pod: pod('much', '1Gi'), memoryBytes: 3 * GI },
    ])
    assert.deepEqual(
      ranked.map((use) => use.pod.metadata?.name),
      ['much', 'little', 'important', 'modest'],
    )
  })
})

describe('findOverfull', () => {
  it('names the volume that has grown beyond its limit', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-evict-'))
    try {
      await mkdir(join(dir, 'scratch/below'), { recursive: true })
      await writeFile(join(dir, 'scratch/below/file'), Buffer.alloc(64 * 1024, 1))
      const pod = (sizeLimit: string, medium?: string): Pod => ({
        spec: {
          containers: [],
          volumes: [{ name: 'scratch', emptyDir: { sizeLimit, ...(medium ? { medium } : {}) } }],
        },
      })
      const says = 'Usage of EmptyDir volume "scratch" exceeds the limit "32Ki". '
      assert.equal(await findOverfull(pod('32Ki'), dir), says)
      assert.equal(await findOverfull(pod('1Mi'), dir), undefined)
      assert.equal(await findOverfull(pod('32Ki', 'Memory'), dir), undefined)
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  })
})
