import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { judgePressure, nothingWatched, pressureConditions, pressureEvents } from './pressure.ts'
import type { Observations, Threshold } from './thresholds.ts'

const hard: Threshold = { signal: 'nodefs.available', least: { quantity: 100 }, reclaim: { quantity: 50 } }
const soft: Threshold = { signal: 'memory.available', least: { quantity: 100 }, graceMs: 1000 }
const thresholds = [hard, soft]

function see(disk: number, memory: number): Observations {
  return new Map([
    ['nodefs.available', { available: disk, capacity: 1000 }],
    ['memory.available', { available: memory, capacity: 1000 }],
  ])
}

describe('judgePressure', () => {
  const options = { transitionMs: 5000, now: 0 }

  it('finds nothing to do where there is plenty', () => {
    const { pressure, due } = judgePressure(nothingWatched, thresholds, see(500, 500), options)
    assert.deepEqual({ pressure, due }, { pressure: { memory: false, disk: false }, due: [] })
  })

  it('acts at once for a hard threshold, after its grace for a soft one, memory first', () => {
    const first = judgePressure(nothingWatched, thresholds, see(10, 10), options)
    assert.deepEqual(first.pressure, { memory: true, disk: true })
    assert.deepEqual(first.due, [hard])
    const second = judgePressure(first.watched, thresholds, see(10, 10), { ...options, now: 1000 })
    assert.deepEqual(second.due, [soft, hard])
  })

  it('begins to count anew when there was enough in between', () => {
    const first = judgePressure(nothingWatched, thresholds, see(500, 10), options)
    const second = judgePressure(first.watched, thresholds, see(500, 500), { ...options, now: 900 })
    assert.deepEqual(judgePressure(second.watched, thresholds, see(500, 10), { ...options, now: 1800 }).due, [])
  })

  it('goes on until as much is won back as was wanted', () => {
    const first = judgePressure(nothingWatched, thresholds, see(10, 500), options)
    const second = judgePressure(first.watched, thresholds, see(120, 500), { ...options, now: 10 })
    assert.deepEqual(second.due, [hard])
    assert.deepEqual(judgePressure(second.watched, thresholds, see(150, 500), { ...options, now: 20 }).due, [])
  })

  it('calls the node short for a while after it was', () => {
    const first = judgePressure(nothingWatched, thresholds, see(10, 500), options)
    const second = judgePressure(first.watched, thresholds, see(500, 500), { ...options, now: 4999 })
    assert.equal(second.pressure.disk, true)
    assert.equal(
      judgePressure(second.watched, thresholds, see(500, 500), { ...options, now: 5000 }).pressure.disk,
      false,
    )
  })
})

describe('pressureConditions', () => {
  it('has the reasons of kubelets', () => {
    assert.deepEqual(
      pressureConditions({ memory: true, disk: false }).map(({ status, reason }) => `${status} ${reason}`),
      ['True KubeletHasInsufficientMemory', 'False KubeletHasNoDiskPressure', 'False KubeletHasSufficientPID'],
    )
  })
})

describe('pressureEvents', () => {
  it('tells what has changed', () => {
    const [calm, short] = [
      { memory: false, disk: false },
      { memory: false, disk: true },
    ]
    assert.deepEqual(pressureEvents(calm, calm), [])
    assert.deepEqual(pressureEvents(calm, short), ['NodeHasDiskPressure'])
    assert.deepEqual(pressureEvents(short, calm), ['NodeHasNoDiskPressure'])
  })
})
