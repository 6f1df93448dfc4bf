import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'

import { limitCgroup, settingsOfV1, settingsOfV2 } from './cgroup.ts'

const limits = { cpuShares: 512, cpuLimit: 0.5, memoryBytes: 1 << 20 }

describe('settings of control groups', () => {
  it('are those of version 1', () => {
    const files = Object.fromEntries(settingsOfV1(limits).map(({ file, value }) => [file, value]))
    assert.deepEqual(files, {
      'cpu.shares': '512',
      'cpu.cfs_period_us': '100000',
      'cpu.cfs_quota_us': '50000',
      'memory.limit_in_bytes': '1048576',
      'pids.max': 'max',
    })
  })

  it('are those of version 2', () => {
    const files = Object.fromEntries(settingsOfV2(limits).map(({ file, value }) => [file, value]))
    assert.deepEqual(files, {
      'cpu.weight': '20',
      'cpu.max': '50000 100000',
      'memory.max': '1048576',
      'pids.max': 'max',
    })
  })

  it('take limits away that are left out', () => {
    const values = (settings: ReturnType<typeof settingsOfV1>): string[] => settings.map(({ value }) => value)
    assert.deepEqual(values(settingsOfV1({})), ['100000', '-1', '-1', 'max'])
    assert.deepEqual(values(settingsOfV2({})), ['max 100000', 'max', 'max'])
  })
})

describe('limitCgroup', () => {
  it('hands controllers down in version 2, and leaves files alone that the kernel has not', async () => {
    const root = await mkdtemp(join(tmpdir(), 'fairlead-cgroup-'))
    try {
      const file = join(root, 'a/b/cpu.weight')
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, '100')
      await limitCgroup('/a/b', 'v2', limits, root)
      assert.equal(await readFile(file, 'utf8'), '20')
      // The last of three: a file of the kernel takes them one by one.
      assert.equal(await readFile(join(root, 'a/cgroup.subtree_control'), 'utf8'), '+pids')
      await assert.rejects(readFile(join(root, 'a/b/memory.max')))
    } finally {
      await rm(root, { recursive: true, force: true })
    }
  })

  it('leaves a new group as the kernel makes it where nothing limits it', async () => {
    const root = await mkdtemp(join(tmpdir(), 'fairlead-cgroup-'))
    try {
      await mkdir(join(root, 'pids'), { recursive: true })
      await limitCgroup('/new', 'v1', {}, root)
      // Made by hand: the kernel makes its files with the folder.
      await writeFile(join(root, 'pids/new/pids.max'), '7')
      await limitCgroup('/new', 'v1', {}, root)
      assert.equal(await readFile(join(root, 'pids/new/pids.max'), 'utf8'), 'max')
    } finally {
      await rm(root, { recursive: true, force: true })
    }
  })
})
