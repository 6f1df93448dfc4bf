import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Pod, PodSpec } from '@fairlead/kube/types/core-v1'

import { DiskMeter } from '../usage/disk-meter.ts'
import type { PodDiskUse } from '../usage/disk-meter.ts'
import { onDisk } from '../volumes.ts'
import { findOverfull, hasDiskLimits } from './disk-limits.ts'

const KI = 1024
const use = (containers: Record<string, number>, volumes: Record<string, number> = {}): PodDiskUse => ({
  containers: new Map(Object.entries(containers)),
  volumes: new Map(Object.entries(volumes)),
  totalBytes: [...Object.values(containers), ...Object.values(volumes)].reduce((sum, bytes) => sum + bytes, 0),
})
const limited = (name: string, limit?: string): PodSpec['containers'][number] => ({
  name,
  ...(limit === undefined ? {} : { resources: { limits: { 'ephemeral-storage': limit } } }),
})

describe('findOverfull', () => {
  it('names the volume that has grown beyond its limit', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-evict-'))
    try {
      await mkdir(join(dir, 'scratch/below'), { recursive: true })
      await writeFile(join(dir, 'scratch/below/file'), Buffer.alloc(64 * KI, 1))
      const look = async (sizeLimit: string, medium?: string): Promise<string | undefined> => {
        const volumes = [{ name: 'scratch', emptyDir: { sizeLimit, ...(medium ? { medium } : {}) } }]
        const pod: Pod = { spec: { containers: [], volumes } }
        const meter = new DiskMeter(() => 0)
        await meter.measure([{ uid: 'a', containers: [], volumes: onDisk(pod, dir) }])
        return findOverfull(pod, meter.useOf('a') ?? use({}))
      }
      assert.equal(await look('32Ki'), 'Usage of EmptyDir volume "scratch" exceeds the limit "32Ki". ')
      assert.equal(await look('1Mi'), undefined)
      assert.equal(await look('32Ki', 'Memory'), undefined)
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  })

  const both: Pod = { spec: { containers: [limited('one', '10Ki'), limited('two', '20Ki')] } }
  const cases: readonly { name: string; pod: Pod; use: PodDiskUse; why: string | undefined }[] = [
    { name: 'is content within limits', pod: both, use: use({ one: 10 * KI, two: 20 * KI }), why: undefined },
    {
      name: 'names the container that has taken more than it may',
      pod: both,
      use: use({ one: 11 * KI }),
      why: 'Container one exceeded its local ephemeral storage limit "10Ki". ',
    },
    {
      name: 'counts volumes for the pod as a whole',
      pod: both,
      use: use({ one: 10 * KI }, { scratch: 21 * KI }),
      why: 'Pod ephemeral local storage usage exceeds the total limit of containers 30Ki. ',
    },
    {
      name: 'limits all of the pod by the limits there are',
      pod: { spec: { containers: [limited('one', '10Ki'), limited('two')] } },
      use: use({ two: 11 * KI }),
      why: 'Pod ephemeral local storage usage exceeds the total limit of containers 10Ki. ',
    },
  ]
  for (const { name, pod, use: used, why } of cases) it(name, () => assert.equal(findOverfull(pod, used), why))
})

describe('hasDiskLimits', () => {
  it('knows pods that need not be measured', () => {
    assert.equal(hasDiskLimits({ spec: { containers: [limited('one')] } }), false)
    assert.equal(hasDiskLimits({ spec: { containers: [limited('one', '1Gi')] } }), true)
    const volumes = [{ name: 'a', emptyDir: {} }]
    assert.equal(hasDiskLimits({ spec: { containers: [], volumes } }), false)
  })
})
