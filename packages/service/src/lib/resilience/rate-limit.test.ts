import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createManualClock } from './clock.ts'
import { createRateLimiter } from './rate-limit.ts'

for (const algorithm of ['gcra', 'token-bucket'] as const) {
  describe(`createRateLimiter, ${algorithm}`, () => {
    it('permits a burst, then the rate, and says when the next one may come', async () => {
      const clock = createManualClock(1000)
      const limiter = createRateLimiter({ limit: 10, burst: 3, algorithm, clock })
      assert.equal(limiter.available, 3)
      assert.deepEqual([limiter.take(), limiter.take(), limiter.take()], [0, 0, 0])
      assert.equal(limiter.take(), 100)
      await clock.advance(40)
      assert.equal(Math.round(limiter.take()), 60)
      await clock.advance(60)
      assert.equal(limiter.take(), 0)
      assert.equal(limiter.available, 0)
      await clock.advance(10_000)
      assert.equal(limiter.available, 3)
      assert.equal(limiter.take(3), 0)
    })

    it('never permits more than the burst and the rate together', () => {
      let seed = 1
      const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647
      const clock = createManualClock()
      const limiter = createRateLimiter({ limit: 50, periodMs: 1000, burst: 7, algorithm, clock })
      const permitted: number[] = []
      for (let step = 0; step < 20_000; step += 1) {
        clock.skip(random() < 0.02 ? random() * 300 : random() * 4)
        if (limiter.take() === 0) permitted.push(clock.now())
      }
      // In any span of time: burst and one per 20 ms.
      for (const [index, at] of permitted.entries()) {
        const first = permitted[Math.max(0, index - 99)] ?? 0
        const count = Math.min(index, 99) + 1
        assert.ok(count <= 7 + (at - first) / 20 + 1e-6, `${count} within ${at - first} ms`)
      }
      assert.ok(permitted.length > (clock.now() / 20) * 0.7)
    })

    it('throws with the time to wait', async () => {
      const clock = createManualClock()
      const limiter = createRateLimiter({ limit: 1, algorithm, clock })
      assert.equal(await limiter.execute(() => 'ok'), 'ok')
      await assert.rejects(
        limiter.execute(() => 'ok'),
        { code: 'FAIRLEAD_SERVICE_RATE_LIMITED', retryAfterMs: 1000 },
      )
    })
  })
}

describe('createRateLimiter', () => {
  it('refuses a rate of nothing', () =>
    assert.throws(() => createRateLimiter({ limit: 0 }), { code: 'FAIRLEAD_SERVICE_POLICY' }))
})
