import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createManualClock } from './clock.ts'
import { createConcurrencyLimiter } from './concurrency.ts'
import { createAimd, createGradient2, createVegas, createWindow } from './limit.ts'
import type { ConcurrencyEstimate } from './limit.ts'

describe('createVegas', () => {
  // The cases of VegasLimitTest in Netflix' concurrency-limits: settings, samples [rtt ms, in flight], limit after each.
  const halve = (limit: number): number => limit / 2
  for (const { name, options, samples } of [
    {
      name: 'increases by beta while nothing queues',
      options: { alpha: 3, beta: 6, initialLimit: 10, maxLimit: 20 },
      samples: [
        [10, 10, 10],
        [10, 11, 16],
      ],
    },
    {
      name: 'decreases when more than beta queue',
      options: { alpha: 3, beta: 6, initialLimit: 10, maxLimit: 20 },
      samples: [
        [10, 10, 10],
        [50, 11, 9],
      ],
    },
    {
      name: 'stays between alpha and beta',
      options: { alpha: 3, beta: 6, initialLimit: 10, maxLimit: 20 },
      samples: [
        [10, 10, 10],
        [14, 14, 10],
      ],
    },
    {
      name: 'takes larger steps at a large limit',
      options: { initialLimit: 10_000, maxLimit: 20_000 },
      samples: [
        [10_000, 5000, 10_000],
        [10_000, 6000, 10_024],
      ],
    },
    {
      name: 'decreases as told',
      options: { decrease: halve, initialLimit: 100, maxLimit: 200 },
      samples: [
        [10, 100, 100],
        [20, 100, 50],
        [20, 100, 25],
      ],
    },
    {
      name: 'decreases smoothed',
      options: { decrease: halve, smoothing: 0.5, initialLimit: 100, maxLimit: 200 },
      samples: [
        [10, 100, 100],
        [20, 100, 75],
        [20, 100, 56],
      ],
    },
  ] as const) {
    it(name, () => {
      const limit = createVegas({ ...options, random: () => 1 })
      for (const [rtt, inflight, expected] of samples) {
        limit.sample(rtt, inflight, false)
        assert.equal(limit.limit, expected)
      }
    })
  }

  it('decreases on a drop, and does not drift up while it is not used', () => {
    const limit = createVegas({ initialLimit: 50, random: () => 1 })
    limit.sample(10, 50, false)
    limit.sample(10, 50, true)
    assert.equal(limit.limit, 49)
    limit.sample(10, 20, false)
    assert.equal(limit.limit, 49)
  })
})

describe('createAimd', () => {
  it('adds one for what went well and takes a tenth for what did not', () => {
    const limit = createAimd({ initialLimit: 100 })
    limit.sample(1, 60, false)
    assert.equal(limit.limit, 101)
    limit.sample(1, 10, false)
    assert.equal(limit.limit, 101)
    limit.sample(1, 60, true)
    assert.equal(limit.limit, 90)
    limit.sample(5001, 60, false)
    assert.equal(limit.limit, 81)
  })
})

describe('createGradient2', () => {
  it('grows by queueSize times smoothing while calls take as long as ever', () => {
    const limit = createGradient2({ initialLimit: 20 })
    for (let index = 0; index < 10; index += 1) limit.sample(10, 100, false)
    assert.equal(limit.limit, 28)
    for (let index = 0; index < 1000; index += 1) limit.sample(10, 300, false)
    assert.equal(limit.limit, 200)
  })

  it('never takes more than half of a smoothed step back, and not below its least', () => {
    const limit = createGradient2({ initialLimit: 100, minLimit: 20 })
    for (let index = 0; index < 20; index += 1) limit.sample(10, 10, false)
    limit.sample(1000, 100, false)
    // The long average is 10 + 990 * 2/601 = 13.3; 1.5 times that to 1000 is less than one half: 100 * (0.8 + 0.2 * 0.5) + 0.8.
    assert.equal(limit.limit, 90)
    for (let index = 0; index < 50; index += 1) limit.sample(1000 * 2 ** index, 100, false)
    assert.equal(limit.limit, 20)
  })

  it('does not move while it is not used', () => {
    const limit = createGradient2({ initialLimit: 50, minLimit: 10 })
    for (let index = 0; index < 100; index += 1) limit.sample(10 + index, 24, false)
    assert.equal(limit.limit, 50)
  })
})

/**
 * A service of `servers` places where a call takes `workMs` and waits for a place otherwise, under more demand than it has places
 * for. Returns the limit, and the mean time of calls, at the end of `seconds`.
 */
function simulate(
  estimate: ConcurrencyEstimate,
  service: { servers: (second: number) => number; workMs: number; demandPerMs: number },
  seconds: number,
): { readonly limit: number; readonly latencyMs: number; readonly throughput: number } {
  const window = createWindow(estimate, { windowMs: 100 })
  const queue: { readonly at: number; readonly inflight: number }[] = []
  let running: { readonly doneAt: number; readonly at: number; readonly inflight: number }[] = []
  let inflight = 0
  let arrivals = 0
  let timesMs = 0
  let done = 0
  for (let now = 0; now < seconds * 1000; now += 1) {
    const isLast = now >= (seconds - 5) * 1000
    for (arrivals += service.demandPerMs; arrivals >= 1; arrivals -= 1) {
      if (inflight >= estimate.limit) continue
      inflight += 1
      queue.push({ at: now, inflight })
    }
    running = running.filter((call) => {
      if (call.doneAt > now) return true
      inflight -= 1
      window.sample(now - call.at, call.inflight, false, now)
      if (isLast) {
        timesMs += now - call.at
        done += 1
      }
      return false
    })
    while (running.length < service.servers(now / 1000)) {
      const call = queue.shift()
      if (call === undefined) break
      running.push({ ...call, doneAt: now + service.workMs })
    }
  }
  return { limit: estimate.limit, latencyMs: timesMs / done, throughput: done / 5 }
}

describe('limits, by simulation', () => {
  // 20 places of 20 ms are 1000 calls per second; 3000 are asked for. Without a limit the queue would grow for ever.
  const overload = { servers: () => 20, workMs: 20, demandPerMs: 3 }

  it('vegas serves all the service can at little more than the time of the work', () => {
    const seen = simulate(createVegas({ random: () => 0.5 }), overload, 60)
    assert.ok(seen.throughput >= 950, JSON.stringify(seen))
    assert.ok(seen.limit >= 20 && seen.limit <= 40, JSON.stringify(seen))
    assert.ok(seen.latencyMs <= 40, JSON.stringify(seen))
  })

  it('gradient2 serves all the service can within its tolerance of latency', () => {
    const seen = simulate(createGradient2({ minLimit: 5 }), overload, 60)
    assert.ok(seen.throughput >= 950, JSON.stringify(seen))
    assert.ok(seen.limit < 200, JSON.stringify(seen))
  })

  for (const { name, create } of [
    { name: 'vegas', create: () => createVegas({ random: () => 0.5 }) },
    { name: 'gradient2', create: () => createGradient2({ minLimit: 5 }) },
  ]) {
    it(`${name} shrinks when the service loses half of its places, and recovers with it`, () => {
      const before = simulate(create(), overload, 30)
      const during = simulate(create(), { ...overload, servers: (second) => (second < 30 ? 20 : 10) }, 45)
      const later = simulate(
        create(),
        { ...overload, servers: (second) => (second >= 30 && second < 45 ? 10 : 20) },
        90,
      )
      assert.ok(during.limit < before.limit, `${during.limit} of ${before.limit}`)
      assert.ok(during.throughput >= 475, JSON.stringify(during))
      assert.ok(later.throughput >= 950, JSON.stringify(later))
    })

    it(`${name} lets all through that a service with room is asked for`, () => {
      const seen = simulate(create(), { servers: () => 1000, workMs: 20, demandPerMs: 2 }, 30)
      assert.ok(seen.throughput >= 1950, JSON.stringify(seen))
      assert.equal(Math.round(seen.latencyMs), 20)
    })
  }
})

describe('createConcurrencyLimiter', () => {
  const fixed = (limit: number): ConcurrencyEstimate => ({ limit, sample() {} })

  it('keeps its share for a partition when the limit is reached', () => {
    const limiter = createConcurrencyLimiter({ algorithm: fixed(10), partitions: { live: 0.9, batch: 0.1 } })
    const batch = Array.from({ length: 10 }, () => limiter.tryEnter('batch'))
    assert.ok(
      batch.every((permit) => permit !== undefined),
      'there is room, so batch may have it',
    )
    assert.equal(limiter.tryEnter('batch'), undefined)
    assert.equal(limiter.tryEnter('unknown'), undefined)
    const live = Array.from({ length: 10 }, () => limiter.tryEnter('live'))
    assert.equal(live.filter((permit) => permit !== undefined).length, 9)
    batch[0]?.release()
    batch[0]?.release()
    assert.equal(limiter.active, 18)
  })

  it('samples what it measures, drops included and ignored calls not', async () => {
    const clock = createManualClock()
    const samples: (readonly [number, number, boolean])[] = []
    const algorithm: ConcurrencyEstimate = {
      limit: 5,
      sample: (rtt, inflight, isDropped) => void samples.push([rtt, inflight, isDropped]),
    }
    const limiter = createConcurrencyLimiter({ algorithm, window: false, clock })
    const [first, second, third] = [limiter.tryEnter(), limiter.tryEnter(), limiter.tryEnter()]
    await clock.advance(30)
    first?.release('ignored')
    second?.release('dropped')
    third?.release()
    assert.deepEqual(samples, [
      [30, 2, true],
      [30, 3, false],
    ])
  })

  it('hands windows on, and none with too few samples', () => {
    const samples: (readonly [number, number, boolean])[] = []
    const window = createWindow({ limit: 1, sample: (...sample) => void samples.push(sample) }, { minSamples: 3 })
    window.sample(10, 1, false, 10)
    assert.deepEqual(samples, [], 'one is too few')
    for (const rtt of [10, 20, 0.05, 30]) window.sample(rtt, rtt, rtt === 20, 900)
    window.sample(40, 2, false, 1011)
    assert.deepEqual(samples, [[25, 30, true]])
  })

  it('refuses shares above the whole', () => {
    assert.throws(() => createConcurrencyLimiter({ partitions: { a: 0.7, b: 0.4 } }), {
      code: 'FAIRLEAD_SERVICE_POLICY',
    })
    assert.throws(() => createGradient2({ minLimit: 50, maxLimit: 20 }), { code: 'FAIRLEAD_SERVICE_POLICY' })
  })
})
