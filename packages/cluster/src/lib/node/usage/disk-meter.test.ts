import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { DiskMeter } from './disk-meter.ts'

const pod = (uid: string): Parameters<DiskMeter['measure']>[0][number] => ({
  uid,
  containers: [{ name: 'main', rootfs: `/${uid}/upper`, logs: `/${uid}/logs` }],
  volumes: [{ name: 'scratch', path: `/${uid}/scratch` }],
})

describe('DiskMeter', () => {
  it('adds up what belongs together, and takes what is not there for nothing', async () => {
    const sizes = new Map([
      ['/a/upper', 1],
      ['/a/logs', 2],
      ['/b/scratch', 4],
    ])
    const meter = new DiskMeter(
      () => 0,
      async () => sizes,
    )
    await meter.measure([pod('a'), pod('b')])
    assert.deepEqual(meter.useOf('a')?.containers, new Map([['main', 3]]))
    assert.equal(meter.useOf('b')?.totalBytes, 4)
  })

  it('spends a tenth of the time at most, unless there is no time to lose', async () => {
    let [now, times] = [0, 0]
    const meter = new DiskMeter(
      () => now,
      async () => {
        times += 1
        now += 1000
        return new Map()
      },
    )
    await meter.measure([pod('a')])
    now += 9999
    await meter.measure([pod('a')])
    assert.equal(times, 1)
    await meter.measure([pod('a')], { isUrgent: true })
    assert.equal(times, 2)
    now += 10_000
    await meter.measure([pod('a')])
    assert.equal(times, 3)
  })

  it('forgets pods that are gone', async () => {
    const meter = new DiskMeter(
      () => 0,
      async () => new Map(),
    )
    await meter.measure([pod('a')])
    await meter.measure([pod('b')])
    assert.equal(meter.useOf('a'), undefined)
  })
})
