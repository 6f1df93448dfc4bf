import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { decideLease, observeLease, releaseLease, renderLease } from './lease.ts'

const held = (holderIdentity: string, renewTime = 'one') => ({
  lease: { spec: { holderIdentity, renewTime, leaseDurationSeconds: 15 } },
  at: 1000,
})

describe('decideLease', () => {
  for (const [name, observed, now, expected] of [
    ['creates what is not there', undefined, 0, 'create'],
    ['renews its own', held('me'), 1000, 'renew'],
    ['renews its own, however late', held('me'), 99_000, 'renew'],
    ['waits for a holder that may be alive', held('other'), 15_999, 'wait'],
    ['takes over from one that was silent for the whole lease', held('other'), 16_000, 'take'],
    ['takes what was given back', held(''), 1000, 'take'],
  ] as const) {
    it(name, () => assert.equal(decideLease(observed, 'me', now), expected))
  }
})

describe('observeLease', () => {
  it('counts from the first sight of each renewal, by our own clock', () => {
    const [seen, again, renewed] = [held('other'), held('other').lease, held('other', 'two').lease]
    assert.equal(observeLease(seen, again, 9000).at, 1000)
    assert.equal(observeLease(seen, renewed, 9000).at, 9000)
    assert.equal(observeLease(undefined, again, 9000).at, 9000)
  })
})

describe('renderLease', () => {
  it('counts changes of the holder, keeps the time of its own acquisition, and lets go', () => {
    const first = renderLease(undefined, 'me', 15_000, 0)
    assert.deepEqual(first, {
      holderIdentity: 'me',
      leaseDurationSeconds: 15,
      acquireTime: '1970-01-01T00:00:00.000000Z',
      renewTime: '1970-01-01T00:00:00.000000Z',
      leaseTransitions: 0,
    })
    const renewed = renderLease(first, 'me', 15_000, 2500)
    assert.deepEqual(renewed, { ...first, renewTime: '1970-01-01T00:00:02.500000Z' })
    const taken = renderLease(renewed, 'other', 15_000, 5000)
    assert.deepEqual([taken.leaseTransitions, taken.acquireTime], [1, '1970-01-01T00:00:05.000000Z'])
    assert.equal(releaseLease(taken, 6000).holderIdentity, '')
  })
})
