import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createManualClock } from './clock.ts'
import { createKeyedRateLimiter } from './keyed-rate-limit.ts'

describe('createKeyedRateLimiter', () => {
  it('permits a burst and the rate to each key, and says what is left', async () => {
    const clock = createManualClock(1000)
    const limiter = createKeyedRateLimiter({ limit: 10, burst: 2, clock })
    assert.deepEqual(limiter.take('a'), { waitMs: 0, remaining: 1, resetMs: 100 })
    assert.deepEqual(limiter.take('a'), { waitMs: 0, remaining: 0, resetMs: 200 })
    assert.deepEqual(limiter.take('a'), { waitMs: 100, remaining: 0, resetMs: 200 })
    assert.equal(limiter.take('b').waitMs, 0)
    await clock.advance(100)
    assert.equal(limiter.take('a').waitMs, 0)
    await clock.advance(10_000)
    assert.deepEqual(limiter.take('a'), { waitMs: 0, remaining: 1, resetMs: 100 })
  })

  it('remembers no more keys than it may, the latest ones', () => {
    const limiter = createKeyedRateLimiter({ limit: 1, maxKeys: 3, clock: createManualClock() })
    for (const key of ['a', 'b', 'c']) assert.equal(limiter.take(key).waitMs, 0)
    assert.equal(limiter.take('a').waitMs, 1000)
    for (let index = 0; index < 2; index += 1) limiter.take(`made up ${index}`)
    assert.equal(limiter.size, 3)
    assert.equal(limiter.take('a').waitMs, 1000)
    assert.equal(limiter.take('b').waitMs, 0)
  })

  for (const wrong of [{ limit: 0 }, { limit: 1, burst: 0 }, { limit: 1, maxKeys: 0 }, { limit: 1, periodMs: -1 }]) {
    it(`refuses ${JSON.stringify(wrong)}`, () =>
      assert.throws(() => createKeyedRateLimiter(wrong), { code: 'FAIRLEAD_SERVICE_POLICY' }))
  }
})
