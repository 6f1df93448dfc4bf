import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { emptySlot, toKept } from './slot.ts'

const ending = { id: 'a', exitCode: 3, reason: 'Error', startedAt: 1, finishedAt: 2 }

describe('toKept', () => {
  it('keeps how a container ended until the next one is made', () => {
    const slot = emptySlot({ container: { name: 'app' }, role: 'main', restartPolicy: 'Always' })
    Object.assign(slot, { id: 'a', phase: { phase: 'exited', ending } })
    assert.deepEqual(toKept(slot).ending, ending)
    slot.phase = { phase: 'starting', after: { phase: 'exited', ending } }
    assert.deepEqual(toKept(slot).ending, ending)
    Object.assign(slot, { id: 'b', last: ending, phase: { phase: 'starting' } })
    assert.equal(toKept(slot).ending, undefined)
  })
})
