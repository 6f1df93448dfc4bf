import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createBulkhead } from './bulkhead.ts'
import { createManualClock } from './clock.ts'

const full = { code: 'FAIRLEAD_SERVICE_BULKHEAD_FULL' }

describe('createBulkhead', () => {
  for (const { order, served } of [
    { order: 'fifo', served: ['b', 'c'] },
    { order: 'lifo', served: ['c', 'b'] },
  ] as const) {
    it(`serves those who wait ${order}`, async () => {
      const clock = createManualClock()
      const bulkhead = createBulkhead({ maxConcurrent: 1, maxQueue: 2, order, clock })
      const seen: string[] = []
      const first = Promise.withResolvers<void>()
      const calls = [
        bulkhead.execute(() => first.promise),
        bulkhead.execute(() => void seen.push('b')),
        bulkhead.execute(() => void seen.push('c')),
      ]
      assert.deepEqual([bulkhead.active, bulkhead.queued], [1, 2])
      assert.equal(bulkhead.health().status, 'degraded')
      first.resolve()
      await Promise.all(calls)
      assert.deepEqual(seen, served)
      assert.deepEqual([bulkhead.active, bulkhead.queued], [0, 0])
    })
  }

  it('refuses the newest call when a FIFO queue is full, and drops the oldest of a LIFO one', async () => {
    for (const order of ['fifo', 'lifo'] as const) {
      const bulkhead = createBulkhead({ maxConcurrent: 1, maxQueue: 1, order })
      assert.ok(bulkhead.tryEnter())
      const [older, newer] = [bulkhead.enter(), bulkhead.enter()]
      const [lost, kept] = order === 'fifo' ? [newer, older] : [older, newer]
      await assert.rejects(lost, full)
      bulkhead.leave()
      await kept
    }
  })

  it('gives no place to one who has stopped waiting', async () => {
    const clock = createManualClock()
    const bulkhead = createBulkhead({ maxConcurrent: 1, maxQueue: 5, clock })
    assert.ok(bulkhead.tryEnter())
    const controller = new AbortController()
    const late = assert.rejects(bulkhead.enter({ deadline: 50 }), { code: 'FAIRLEAD_SERVICE_TIMEOUT' })
    const aborted = assert.rejects(bulkhead.enter({ signal: controller.signal }), { name: 'AbortError' })
    const patient = bulkhead.enter()
    await clock.advance(60)
    await late
    controller.abort()
    // Its caller has not heard of the abort yet, as that takes a turn.
    bulkhead.leave()
    await patient
    await aborted
    assert.deepEqual([bulkhead.active, bulkhead.queued], [1, 0])
  })
})
