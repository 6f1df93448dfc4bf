import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createMetrics } from '../metrics/metrics.ts'
import type { Attempt } from './attempt.ts'
import { createManualClock } from './clock.ts'
import { createLoadShedder } from './load-shedder.ts'
import { pipeline, standardPipeline } from './pipeline.ts'

const never = (): Promise<never> => new Promise(() => {})
const busy = (): Error => Object.assign(new Error('busy'), { status: 503 })
const sharp = { jitter: 'none', baseDelayMs: 100 } as const

describe('pipeline', () => {
  it('ends a try that takes too long, and tells the work by its signal', async () => {
    const clock = createManualClock()
    const policies = pipeline({ attemptTimeoutMs: 200, clock })
    let signal: AbortSignal | undefined
    const call = policies.execute((attempt) => {
      ;({ signal } = attempt)
      assert.equal(attempt.deadline, 200)
      return never()
    })
    const ended = assert.rejects(call, { code: 'FAIRLEAD_SERVICE_TIMEOUT', scope: 'attempt' })
    await clock.advance(199)
    assert.equal(signal?.aborted, false)
    await clock.advance(11)
    await ended
    assert.equal(signal?.aborted, true)
    assert.equal(policies.counts.timeouts, 1)
  })

  it('tries again after growing waits, and throws the last error', async () => {
    const clock = createManualClock()
    const policies = pipeline({ retry: { ...sharp, retries: 2 }, clock })
    const at: number[] = []
    const call = policies.execute(({ number }) => {
      at.push(clock.now())
      throw Object.assign(new Error(`try ${number}`), { status: 500 })
    })
    const ended = assert.rejects(call, { message: 'try 3' })
    await clock.advance(1000)
    await ended
    assert.deepEqual(at, [0, 100, 300])
    assert.equal(policies.counts.retries, 2)
  })

  it('does not begin a wait that the total timeout would end', async () => {
    const clock = createManualClock()
    const policies = pipeline({ totalTimeoutMs: 250, retry: sharp, clock })
    let tries = 0
    const call = policies.execute(() => {
      tries += 1
      throw busy()
    })
    const ended = assert.rejects(call, { message: 'busy' })
    await clock.advance(100)
    await ended
    assert.equal(tries, 2)
  })

  it('bounds tries and waits by the total timeout, which is not retried', async () => {
    const clock = createManualClock()
    const policies = pipeline({ totalTimeoutMs: 1000, attemptTimeoutMs: 600, retry: sharp, clock })
    const starts: number[] = []
    const ended = assert.rejects(
      policies.execute(({ deadline }) => {
        starts.push(deadline)
        return never()
      }),
      { code: 'FAIRLEAD_SERVICE_TIMEOUT', scope: 'total' },
    )
    await clock.advance(1100)
    await ended
    assert.deepEqual(starts, [600, 1000])
  })

  it('keeps within the deadline of its caller, and does not begin after it', async () => {
    const clock = createManualClock(5000)
    const policies = pipeline({ attemptTimeoutMs: 1000, clock })
    assert.equal(await policies.execute((attempt) => attempt.remainingMs, { deadline: 5300 }), 300)
    await assert.rejects(
      policies.execute(() => 1, { deadline: 5000 }),
      { scope: 'total' },
    )
  })

  it('retries only idempotent calls, and none when somebody else retries', async () => {
    const clock = createManualClock()
    const policies = standardPipeline({ clock, retry: sharp })
    let tries = 0
    const work = (): never => {
      tries += 1
      throw busy()
    }
    await assert.rejects(policies.execute(work), { message: 'busy' })
    await assert.rejects(policies.execute(work, { idempotent: true, isSingle: true }), { message: 'busy' })
    assert.equal(tries, 2)
    const ended = assert.rejects(policies.execute(work, { idempotent: true }), { message: 'busy' })
    await clock.advance(1000)
    await ended
    assert.equal(tries, 6)
  })

  it('gives the reason of the last try when the breaker opens between two', async () => {
    const clock = createManualClock()
    const policies = pipeline({ retry: sharp, breaker: { readyToTrip: { consecutiveFailures: 2 } }, clock })
    const ended = assert.rejects(
      policies.execute(() => {
        throw busy()
      }),
      (error: Error) =>
        error.name === 'BreakerOpenError' && error.cause instanceof Error && error.cause.message === 'busy',
    )
    await clock.advance(1000)
    await ended
    assert.equal(policies.health().status, 'degraded')
  })

  it('aborts with the signal of its caller, which is no failure of the called side', async () => {
    const policies = pipeline({ breaker: { readyToTrip: { consecutiveFailures: 1 } }, retry: {} })
    const controller = new AbortController()
    let seen: AbortSignal | undefined
    const call = policies.execute(
      ({ signal }) => {
        seen = signal
        return never()
      },
      { signal: controller.signal },
    )
    controller.abort(new Error('enough'))
    await assert.rejects(call, { message: 'enough' })
    assert.equal(seen?.aborted, true)
    assert.equal(policies.breaker?.state, 'closed')
    await assert.rejects(
      policies.execute(() => 1, { signal: controller.signal }),
      { message: 'enough' },
    )
  })

  it('gives places back after every end', async () => {
    const policies = pipeline({ bulkhead: { maxConcurrent: 2 }, concurrency: {} })
    await assert.rejects(
      policies.execute(() => {
        throw busy()
      }),
    )
    await policies.execute(() => 1)
    assert.deepEqual([policies.bulkhead?.active, policies.concurrency?.active], [0, 0])
    const first = Promise.withResolvers<void>()
    const calls = [policies.execute(() => first.promise), policies.execute(() => first.promise)]
    await assert.rejects(
      policies.execute(() => 1),
      { code: 'FAIRLEAD_SERVICE_BULKHEAD_FULL' },
    )
    first.resolve()
    await Promise.all(calls)
    assert.equal(policies.counts.rejected, 1)
  })

  it('gives another value in place of an error', async () => {
    const policies = pipeline({ fallback: (error) => `not ${(error as Error).message}` })
    assert.equal(
      await policies.execute<string>(() => {
        throw busy()
      }),
      'not busy',
    )
    assert.equal(policies.counts.fallbacks, 1)
  })

  it('refuses by rate and by load before anything is done', async () => {
    const clock = createManualClock()
    const limited = pipeline({ rateLimit: { limit: 1 }, clock })
    await limited.execute(() => 1)
    await assert.rejects(
      limited.execute(() => 1),
      { code: 'FAIRLEAD_SERVICE_RATE_LIMITED', retryAfterMs: 1000 },
    )
  })
})

describe('hedging', () => {
  const hedge = { afterMs: 50, budget: { minPerSecond: 10 } }

  it('starts another try beside a slow one; the first result wins and the other is aborted', async () => {
    const clock = createManualClock()
    const policies = pipeline({ hedge, clock })
    const attempts: Attempt[] = []
    const results = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
    const signals: AbortSignal[] = []
    const call = policies.execute((attempt) => {
      attempts.push(attempt)
      signals.push(attempt.signal)
      return results[attempts.length - 1]?.promise ?? 'none'
    })
    await clock.advance(49)
    assert.equal(attempts.length, 1)
    await clock.advance(11)
    assert.equal(attempts.length, 2)
    results[1]?.resolve('second')
    assert.equal(await call, 'second')
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [true, false],
    )
    assert.equal(policies.counts.hedges, 1)
  })

  it('does not for calls that are not idempotent, nor without a budget', async () => {
    const clock = createManualClock()
    const policies = pipeline({ hedge: { afterMs: 50, budget: { minPerSecond: 0 } }, attemptTimeoutMs: 500, clock })
    let tries = 0
    const work = (): Promise<never> => {
      tries += 1
      return never()
    }
    const ended = [policies.execute(work, { idempotent: false }), policies.execute(work)].map((call) =>
      assert.rejects(call),
    )
    await clock.advance(600)
    await Promise.all(ended)
    assert.equal(tries, 2)
  })

  it('fails when all tries have, and waits for the last of them', async () => {
    const clock = createManualClock()
    const policies = pipeline({ hedge, clock })
    const results = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
    let tries = 0
    const call = policies.execute(() => results[tries++]?.promise ?? 'none')
    await clock.advance(60)
    results[0]?.reject(new Error('first'))
    await clock.advance(1)
    results[1]?.reject(new Error('second'))
    await assert.rejects(call, { message: 'second' })
  })

  it('ends the first try by its own time and waits for the one beside it', async () => {
    const clock = createManualClock()
    const policies = pipeline({ hedge, attemptTimeoutMs: 100, clock })
    const second = Promise.withResolvers<string>()
    const aborted: boolean[] = []
    let tries = 0
    const call = policies.execute((attempt) => {
      const index = tries++
      aborted[index] = false
      attempt.onAbort(() => (aborted[index] = true))
      return index === 0 ? never() : second.promise
    })
    await clock.advance(120)
    assert.deepEqual(aborted, [true, false])
    second.resolve('second')
    assert.equal(await call, 'second')
    assert.deepEqual(aborted, [true, false])
  })

  it('does not abort the try that has won, and ends the one beside it', async () => {
    const clock = createManualClock()
    const policies = pipeline({ hedge, clock })
    const first = Promise.withResolvers<string>()
    const reasons: unknown[] = []
    let tries = 0
    const call = policies.execute((attempt) => {
      const index = tries++
      attempt.onAbort((reason) => (reasons[index] = reason))
      return index === 0 ? first.promise : never()
    })
    await clock.advance(60)
    first.resolve('first')
    assert.equal(await call, 'first')
    assert.equal(reasons[0], undefined)
    assert.match(String(reasons[1]), /Another try was quicker/)
  })

  it('ends all tries when the caller gives up', async () => {
    const clock = createManualClock()
    const policies = pipeline({ hedge, clock })
    const caller = new AbortController()
    const reasons: unknown[] = []
    let tries = 0
    const call = policies.execute(
      (attempt) => {
        const index = tries++
        attempt.onAbort((reason) => (reasons[index] = reason))
        return never()
      },
      { signal: caller.signal },
    )
    await clock.advance(60)
    caller.abort(new Error('gone'))
    await assert.rejects(call, { message: 'gone' })
    assert.deepEqual(reasons.map(String), ['Error: gone', 'Error: gone'])
  })

  it('learns when to from the tries there were', async () => {
    const clock = createManualClock()
    const policies = pipeline({ hedge: { budget: { minPerSecond: 10, burst: 10 } }, clock })
    const take = (ms: number): Promise<void> => new Promise((resolve) => void clock.setTimeout(resolve, ms))
    for (let index = 0; index < 20; index += 1) {
      const call = policies.execute(() => take(index === 19 ? 300 : 100))
      await clock.advance(300)
      await call
    }
    assert.equal(policies.counts.hedges, 0)
    let tries = 0
    const call = policies.execute(() => ((tries += 1) === 1 ? never() : 'second'))
    await clock.advance(111)
    assert.equal(await call, 'second')
  })
})

describe('standardPipeline', () => {
  it('opens for 5 s when a tenth of at least 100 calls failed', async () => {
    const clock = createManualClock()
    const policies = standardPipeline({ clock })
    const call = (isBad: boolean): Promise<unknown> =>
      policies
        .execute(() => {
          if (isBad) throw busy()
        })
        .catch(() => {})
    for (let index = 0; index < 99; index += 1) await call(index < 9)
    assert.equal(policies.breaker?.state, 'closed')
    await call(true)
    assert.equal(policies.breaker?.state, 'open')
    await clock.advance(5001)
    await call(false)
    assert.equal(policies.breaker?.state, 'closed')
  })

  it('shows what it did in metrics', async () => {
    const metrics = createMetrics()
    const clock = createManualClock()
    const policies = standardPipeline({ name: 'stock', metrics, clock, retry: sharp })
    const other = standardPipeline({ name: 'other', metrics, clock })
    let tries = 0
    const call = policies.execute(
      () => {
        if ((tries += 1) < 2) throw busy()
      },
      { idempotent: true },
    )
    await clock.advance(200)
    await call
    await other.execute(() => 1)
    metrics.render()
    await other.execute(() => 1)
    const text = metrics.render()
    for (const line of [
      'resilience_calls_total{pipeline="stock",outcome="success"} 1',
      'resilience_calls_total{pipeline="other",outcome="success"} 2',
      'resilience_events_total{pipeline="stock",event="retry"} 1',
      'resilience_breaker_state{pipeline="stock"} 0',
      'resilience_bulkhead_active{pipeline="stock"} 0',
    ])
      assert.ok(text.includes(`${line}\n`), `${line} in\n${text}`)
  })
})

describe('createLoadShedder', () => {
  it('sheds beyond what is bearable, by priority, while CPU is short, and for a second after', async () => {
    const clock = createManualClock()
    let used = 0
    using shedder = createLoadShedder({ cpus: 2, clock, cpuMs: () => used })
    // 10 calls of 50 ms at a time: 200 per second.
    for (let round = 0; round < 20; round += 1) {
      const calls = Array.from({ length: 10 }, () => shedder.begin())
      await clock.advance(50)
      for (const call of calls) shedder.end(call)
    }
    const calls = Array.from({ length: 40 }, () => shedder.begin())
    for (let index = 0; index < 30; index += 1) shedder.end(shedder.begin())
    assert.equal(shedder.shouldShed(), false, 'there is enough CPU')
    for (let round = 0; round < 12; round += 1) {
      used += 2 * 250
      await clock.advance(250)
    }
    assert.ok(shedder.cpu > 0.95)
    assert.equal(shedder.shouldShed(), true)
    assert.equal(shedder.shouldShed(1), false)
    await assert.rejects(
      shedder.execute(() => 1),
      { code: 'FAIRLEAD_SERVICE_SHED' },
    )
    assert.equal(shedder.health().status, 'degraded')
    await clock.advance(750)
    assert.equal(shedder.shouldShed(), true, 'still cooling off')
    await clock.advance(1500)
    assert.equal(shedder.shouldShed(), false)
    for (const call of calls) shedder.end(call)
  })

  it('sees an event loop that is late', async () => {
    const clock = createManualClock()
    using shedder = createLoadShedder({ clock, cpuMs: () => 0 })
    for (let round = 0; round < 4; round += 1) {
      clock.skip(600)
      await clock.advance(1)
    }
    assert.ok(shedder.delayMs > 100, String(shedder.delayMs))
    assert.equal(shedder.isOverloaded, true)
  })
})
