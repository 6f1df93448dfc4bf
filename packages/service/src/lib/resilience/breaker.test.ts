import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createBreaker } from './breaker.ts'
import type { Breaker, BreakerChange, BreakerCounts, BreakerOptions, BreakerState, BreakerTicket } from './breaker.ts'
import { createManualClock } from './clock.ts'
import type { ManualClock } from './clock.ts'
import { createThrottle } from './throttle.ts'

const open = { code: 'FAIRLEAD_SERVICE_BREAKER_OPEN' }
const tooMany = { code: 'FAIRLEAD_SERVICE_TOO_MANY_REQUESTS' }

async function succeed(breaker: Breaker): Promise<void> {
  await breaker.execute(() => 'fine')
}

async function fail(breaker: Breaker): Promise<void> {
  const error = new Error('fail')
  await assert.rejects(
    breaker.execute(() => {
      throw error
    }),
    error,
  )
}

async function times(count: number, act: (breaker: Breaker) => Promise<void>, breaker: Breaker): Promise<void> {
  for (let index = 0; index < count; index += 1) await act(breaker)
}

function numbers(counts: BreakerCounts): readonly number[] {
  return [
    counts.requests,
    counts.totalSuccesses,
    counts.totalFailures,
    counts.consecutiveSuccesses,
    counts.consecutiveFailures,
  ]
}

describe('createBreaker', () => {
  it('behaves as the breaker of the chapters: MaxRequests 3, Interval 1 min, Timeout 30 s, 60% of at least 3', async () => {
    const clock = createManualClock()
    const changes: BreakerChange[] = []
    const breaker = createBreaker({
      name: 'API',
      maxRequests: 3,
      intervalMs: 60_000,
      timeoutMs: 30_000,
      readyToTrip: (counts) => counts.requests >= 3 && counts.totalFailures / counts.requests >= 0.6,
      onStateChange: (change) => changes.push(change),
      clock,
    })
    await times(2, fail, breaker)
    assert.equal(breaker.state, 'closed', 'two are not enough')
    await succeed(breaker)
    await fail(breaker)
    assert.equal(breaker.state, 'open', '3 of 4')
    await assert.rejects(succeed(breaker), open)

    await clock.advance(30_000)
    await assert.rejects(succeed(breaker), open)
    await clock.advance(0.001)
    const pending = [1, 2, 3].map(() => Promise.withResolvers<void>())
    const probes = pending.map(({ promise }) => breaker.execute(() => promise))
    await assert.rejects(succeed(breaker), tooMany)
    pending.forEach(({ resolve }) => resolve())
    await Promise.all(probes)
    assert.equal(breaker.state, 'closed')
    assert.deepEqual(changes, [
      { name: 'API', from: 'closed', to: 'open' },
      { name: 'API', from: 'open', to: 'half-open' },
      { name: 'API', from: 'half-open', to: 'closed' },
    ])

    await times(2, fail, breaker)
    await clock.advance(60_001)
    await fail(breaker)
    assert.equal(breaker.state, 'closed', 'the interval has forgotten the two')
    assert.deepEqual(numbers(breaker.counts), [1, 0, 1, 0, 1])
  })

  it('has the defaults of gobreaker: more than 5 failures in a row, 60 s, one probe', async () => {
    const clock = createManualClock()
    const breaker = createBreaker({ clock })
    await times(5, fail, breaker)
    await succeed(breaker)
    await fail(breaker)
    assert.deepEqual(numbers(breaker.counts), [7, 1, 6, 0, 1])
    await times(5, fail, breaker)
    assert.equal(breaker.state, 'open')
    assert.deepEqual(numbers(breaker.counts), [0, 0, 0, 0, 0])
    await clock.advance(59_000)
    assert.equal(breaker.state, 'open')
    await clock.advance(1001)
    assert.equal(breaker.state, 'half-open')
    await fail(breaker)
    assert.equal(breaker.state, 'open')
    await clock.advance(60_001)
    await succeed(breaker)
    assert.equal(breaker.state, 'closed')
  })

  it('ignores results of a generation that is over', async () => {
    const clock = createManualClock()
    const breaker = createBreaker({ intervalMs: 1000, readyToTrip: { consecutiveFailures: 1 }, clock })
    const slow = breaker.enter()
    await clock.advance(1001)
    breaker.leave(slow, 'failure')
    assert.equal(breaker.state, 'closed')
    assert.deepEqual(numbers(breaker.counts), [0, 0, 0, 0, 0])

    const before = breaker.enter()
    await fail(breaker)
    assert.equal(breaker.state, 'open')
    await clock.advance(60_001)
    assert.equal(breaker.state, 'half-open')
    breaker.leave(before, 'success')
    assert.equal(breaker.state, 'half-open', 'a success from before it opened does not close it')
  })

  it('counts neither way what is excluded, and gives its place among the probes back', async () => {
    const clock = createManualClock()
    const isExcluded = (error: unknown): boolean => error instanceof Error && error.message === 'fail'
    const breaker = createBreaker({ readyToTrip: { consecutiveFailures: 1 }, isExcluded, clock })
    await times(3, fail, breaker)
    assert.equal(breaker.counts.totalExclusions, 3)
    breaker.leave(breaker.enter(), 'failure')
    await clock.advance(60_001)
    const probe = breaker.enter()
    assert.throws(() => breaker.enter(), tooMany)
    breaker.leave(probe, 'excluded')
    await succeed(breaker)
    assert.equal(breaker.state, 'closed')
  })

  it('says when an open breaker will try again, and that it is degraded', async () => {
    const clock = createManualClock()
    const breaker = createBreaker({ readyToTrip: { consecutiveFailures: 1 }, timeoutMs: 500, clock })
    await fail(breaker)
    await clock.advance(200)
    await assert.rejects(succeed(breaker), { ...open, retryAfterMs: 300 })
    assert.partialDeepStrictEqual(breaker.health(), { status: 'degraded', state: 'open' })
  })

  for (const options of [
    { maxRequests: 0 },
    { timeoutMs: -1 },
    { intervalMs: Number.NaN },
  ] satisfies BreakerOptions[]) {
    it(`refuses ${JSON.stringify(options)}`, () =>
      assert.throws(() => createBreaker(options), { code: 'FAIRLEAD_SERVICE_POLICY' }))
  }

  // Random sequences against the plainest reading of the rules: every call ever made is kept, and counts are taken anew.
  for (const [index, options] of (
    [
      { maxRequests: 3, intervalMs: 60_000, timeoutMs: 30_000, readyToTrip: { failureRatio: 0.6, minimumRequests: 3 } },
      { maxRequests: 1, timeoutMs: 5000, readyToTrip: { consecutiveFailures: 6 } },
      {
        maxRequests: 5,
        intervalMs: 10_000,
        bucketMs: 1000,
        timeoutMs: 2000,
        readyToTrip: { failureRatio: 0.5, minimumRequests: 10 },
      },
      {
        maxRequests: 2,
        intervalMs: 2500,
        bucketMs: 1000,
        timeoutMs: 700,
        readyToTrip: { failureRatio: 0.3, minimumRequests: 4 },
      },
    ] satisfies BreakerOptions[]
  ).entries()) {
    it(`agrees with its model over random calls, settings ${index}`, async () => {
      for (let seed = 1; seed <= 25; seed += 1) await compare(options, seed * 7919 + index)
    })
  }
})

async function compare(options: BreakerOptions, seed: number): Promise<void> {
  const random = generator(seed)
  const clock = createManualClock(random() * 1000)
  const breaker = createBreaker({ ...options, clock })
  const model = new Model(options, clock)
  const pending: { readonly ours: BreakerTicket; readonly theirs: ModelCall }[] = []
  for (let step = 0; step < 400; step += 1) {
    const draw = random()
    if (draw < 0.5) {
      const theirs = model.enter()
      let ours: BreakerTicket | string
      try {
        ours = breaker.enter()
      } catch (error) {
        ours = (error as { code: string }).code
      }
      if (typeof theirs === 'string' || typeof ours === 'string')
        assert.equal(ours, theirs, `seed ${seed} step ${step}`)
      else pending.push({ ours, theirs })
    } else if (draw < 0.92) {
      const [call] = pending.splice(Math.floor(random() * pending.length), 1)
      if (call === undefined) continue
      const kind = random()
      const result = kind < 0.45 ? 'failure' : kind < 0.93 ? 'success' : 'excluded'
      breaker.leave(call.ours, result)
      model.leave(call.theirs, result)
    } else clock.skip(random() ** 3 * 40_000)
    const expected = model.counts()
    assert.equal(breaker.state, model.state, `seed ${seed} step ${step}`)
    const { consecutiveSuccesses: _, consecutiveFailures: __, ...counts } = breaker.counts
    assert.deepEqual(counts, expected, `seed ${seed} step ${step}`)
  }
}

interface ModelCall {
  readonly generation: number
  readonly at: number
  result?: 'success' | 'failure' | 'excluded'
  order?: number
}

class Model {
  state: BreakerState = 'closed'
  #generation = 0
  #since: number
  #calls: ModelCall[] = []
  #finished = 0
  readonly #options: BreakerOptions
  readonly #clock: ManualClock

  constructor(options: BreakerOptions, clock: ManualClock) {
    this.#options = options
    this.#clock = clock
    this.#since = clock.now()
  }

  enter(): ModelCall | string {
    this.#look()
    if (this.state === 'open') return open.code
    const { requests, totalExclusions } = this.counts()
    if (this.state === 'half-open' && requests - totalExclusions >= (this.#options.maxRequests ?? 1))
      return tooMany.code
    const call = { generation: this.#generation, at: this.#clock.now() }
    this.#calls.push(call)
    return call
  }

  leave(call: ModelCall, result: 'success' | 'failure' | 'excluded'): void {
    this.#look()
    if (call.generation !== this.#generation || !this.#isInWindow(call)) return
    call.result = result
    call.order = this.#finished += 1
    if (this.state === 'half-open') {
      if (result === 'failure') this.#change('open')
      else if (this.#row('success') >= (this.#options.maxRequests ?? 1)) this.#change('closed')
    } else if (result === 'failure' && this.#isTripped()) this.#change('open')
  }

  counts(): { requests: number; totalSuccesses: number; totalFailures: number; totalExclusions: number } {
    this.#look()
    const calls = this.#calls.filter((call) => this.#isInWindow(call))
    const ended = (result: string): number => calls.filter((call) => call.result === result).length
    return {
      requests: calls.length,
      totalSuccesses: ended('success'),
      totalFailures: ended('failure'),
      totalExclusions: ended('excluded'),
    }
  }

  #isTripped(): boolean {
    const trip = this.#options.readyToTrip
    assert.ok(typeof trip === 'object')
    const { requests, totalFailures } = this.counts()
    if (trip.consecutiveFailures !== undefined && this.#row('failure') >= trip.consecutiveFailures) return true
    return requests >= (trip.minimumRequests ?? 1) && totalFailures / requests >= (trip.failureRatio ?? 2)
  }

  /** Results of a kind since the last of the other. */
  #row(result: 'success' | 'failure'): number {
    const results = this.#calls
      .filter((call) => call.order !== undefined && call.result !== 'excluded')
      .toSorted((a, b) => (a.order ?? 0) - (b.order ?? 0))
    return results.length - 1 - results.findLastIndex((call) => call.result !== result)
  }

  #isInWindow(call: ModelCall): boolean {
    const { intervalMs = 0, bucketMs = 0 } = this.#options
    if (bucketMs === 0 || this.state !== 'closed') return true
    const bucketOf = (at: number): number => Math.floor((at - this.#since) / bucketMs)
    return bucketOf(this.#clock.now()) - bucketOf(call.at) < Math.ceil(intervalMs / bucketMs)
  }

  #look(): void {
    const { intervalMs = 0, bucketMs = 0, timeoutMs = 60_000 } = this.#options
    const elapsed = this.#clock.now() - this.#since
    if (this.state === 'closed' && intervalMs > 0 && bucketMs === 0 && elapsed > intervalMs) this.#change('closed')
    if (this.state === 'open' && elapsed > timeoutMs) this.#change('half-open')
  }

  #change(state: BreakerState): void {
    this.state = state
    this.#generation += 1
    this.#since = this.#clock.now()
    this.#calls = []
  }
}

describe('createThrottle', () => {
  it('refuses the share that the SRE book says, and none while calls succeed', async () => {
    const clock = createManualClock()
    const throttle = createThrottle({ multiplier: 2, protection: 0, clock, random: () => 0.5 })
    for (let index = 0; index < 100; index += 1) throttle.leave(throttle.enter(), 'success')
    assert.equal(throttle.state, 'closed')
    let refused = 0
    for (let index = 0; index < 400; index += 1) {
      try {
        throttle.leave(throttle.enter(), 'failure')
      } catch {
        refused += 1
      }
    }
    // (requests - 2 * 100) / (requests + 1) passes one half at 402 requests, which 302 failures make: a draw of 0.5 refuses the rest.
    assert.equal(refused, 98)
    await clock.advance(10_001)
    assert.equal(throttle.state, 'closed', 'the window has forgotten')
  })

  it('settles where the accepted calls times the multiplier are what is asked for', () => {
    const random = generator(42)
    const throttle = createThrottle({ multiplier: 2, clock: createManualClock(), random })
    let sent = 0
    for (let index = 0; index < 50_000; index += 1) {
      try {
        const ticket = throttle.enter()
        sent += 1
        throttle.leave(ticket, random() < 0.25 ? 'success' : 'failure')
      } catch {
        // Refused.
      }
    }
    // Of N asked for, s N are sent and a s N accepted; s = 1 - (N - K a s N) / N, so 1 = K a: below that share s tends to 0.
    assert.ok(sent < 5000, `${sent} of 50,000 were sent at an acceptance of 0.25, where K a is 0.5`)
  })
})

/** Mulberry32: the same numbers for the same seed. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
