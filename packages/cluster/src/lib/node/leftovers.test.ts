import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Clock } from '@fairlead/kube/controller'

import { removeRest } from './leftovers.ts'

/** Waits take no time; how many there were is counted. */
function createWaits(): { clock: Clock; waits: number[] } {
  const waits: number[] = []
  const schedule = (delayMs: number, callback: () => void): (() => void) => {
    waits.push(delayMs)
    queueMicrotask(callback)
    return () => {}
  }
  return { waits, clock: { now: () => 0, schedule } }
}

/** Containers, and how often they cannot be removed. */
function createRuntime(busy: Record<string, number>): Parameters<typeof removeRest>[0]['runtime'] {
  const left = new Map(Object.entries(busy))
  return {
    list: async () => [...left.keys()],
    async delete(id) {
      const times = left.get(id) ?? 0
      if (times === 0) left.delete(id)
      else left.set(id, times - 1)
      if (times > 0) throw new Error(`EBUSY: ${id}`)
    },
  }
}

describe('removeRest', () => {
  it('tries those again that are in use yet, without holding up the others', async () => {
    const { clock, waits } = createWaits()
    const runtime = createRuntime({ one: 2, two: 0 })
    await removeRest({ runtime, clock, onError: assert.ifError })
    assert.deepEqual(await runtime.list(), [])
    assert.equal(waits.length, 2)
  })

  it('gives up after a few times, and says why', async () => {
    const errors: unknown[] = []
    const { clock, waits } = createWaits()
    await removeRest({ runtime: createRuntime({ one: 99 }), clock, onError: (error) => errors.push(error) })
    assert.deepEqual(errors.map(String), ['Error: EBUSY: one'])
    assert.equal(waits.length, 4)
  })
})
