import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createMetrics } from '../metrics/metrics.ts'
import { createManualClock } from '../resilience/clock.ts'
import type { ManualClock } from '../resilience/clock.ts'
import { createBalancer } from './balancer.ts'
import type { BalancerOptions, EndpointBalancer } from './balancer.ts'
import type { Endpoint } from './endpoint.ts'
import { createManualSource, createRandom, endpoints } from './source.fixture.ts'
import type { ManualSource } from './source.fixture.ts'

interface Bench extends Disposable {
  readonly source: ManualSource
  readonly clock: ManualClock
  readonly balancer: EndpointBalancer
}

async function open(found: readonly Endpoint[], options: BalancerOptions = {}): Promise<Bench> {
  const source = createManualSource()
  const clock = createManualClock(1000)
  const balancer = createBalancer(source, { clock, random: createRandom(7), name: 'orders', ...options })
  const ready = balancer.ready()
  source.snapshot(found)
  await ready
  return { source, clock, balancer, [Symbol.dispose]: () => balancer[Symbol.dispose]() }
}

type Answer = { readonly ms: number; readonly status?: number | undefined }

/** Calls at a steady rate, each under way for as long as `answer` says. */
async function simulate(
  { balancer, clock }: Bench,
  calls: number,
  everyMs: number,
  answer: (url: string) => Answer,
): Promise<Map<string, number>> {
  const seen = new Map<string, number>()
  for (let call = 0; call < calls; call += 1) {
    const picked = await balancer.pick()
    seen.set(picked.url, (seen.get(picked.url) ?? 0) + 1)
    const { ms, status = 200 } = answer(picked.url)
    clock.setTimeout(() => picked.done(status >= 500 ? 'failure' : 'success', ms, status), ms)
    await clock.advance(everyMs)
  }
  await clock.advance(1000)
  return seen
}

const shareOf = (seen: ReadonlyMap<string, number>, host: string): number => {
  const total = [...seen.values()].reduce((sum, count) => sum + count, 0)
  return (seen.get(`http://${host}:80`) ?? 0) / total
}

describe('createBalancer strategies', () => {
  for (const strategy of ['p2c', 'least-request', 'round-robin', 'weighted'] as const) {
    it(`${strategy} gives equal endpoints about the same`, async () => {
      using bench = await open(endpoints(5), { strategy })
      const seen = await simulate(bench, 4000, 1, () => ({ ms: 8 }))
      for (const [url, count] of seen) assert.ok(Math.abs(count - 800) < 160, `${url} got ${count} of 4000`)
      assert.equal(seen.size, 5)
    })
  }

  it('round-robin gives each exactly its turn', async () => {
    using bench = await open(endpoints(4), { strategy: 'round-robin' })
    const seen = await simulate(bench, 400, 1, () => ({ ms: 1 }))
    assert.deepEqual([...seen.values()], [100, 100, 100, 100])
  })

  it('weighted gives each its share, evenly spread', async () => {
    using bench = await open(
      endpoints(3, (index) => ({ weight: [5, 3, 2][index] })),
      { strategy: 'weighted' },
    )
    const seen = await simulate(bench, 1000, 1, () => ({ ms: 1 }))
    for (const [index, share] of [0.5, 0.3, 0.2].entries())
      assert.ok(Math.abs(shareOf(seen, `10.0.0.${index + 1}`) - share) < 0.02, JSON.stringify([...seen]))
  })

  it('p2c gives a slow endpoint a small share, and finds out when it is quick again', async () => {
    using bench = await open(endpoints(4), { strategy: 'p2c', tauMs: 1000 })
    const slow = (url: string): Answer => ({ ms: url.includes('0.0.1:') ? 200 : 10 })
    const seen = await simulate(bench, 3000, 2, slow)
    const share = shareOf(seen, '10.0.0.1')
    assert.ok(share < 0.08 && share > 0, `the slow one got ${share}`)
    const after = await simulate(bench, 4000, 2, () => ({ ms: 10 }))
    assert.ok(shareOf(after, '10.0.0.1') > 0.15, `it got ${shareOf(after, '10.0.0.1')} when it was quick again`)
  })

  it('least-request gives an endpoint that hangs little more than what it holds', async () => {
    using bench = await open(endpoints(4), { strategy: 'least-request' })
    const seen = await simulate(bench, 1000, 1, (url) => ({ ms: url.includes('0.0.1:') ? 900 : 2 }))
    assert.ok(shareOf(seen, '10.0.0.1') < 0.02, JSON.stringify([...seen]))
  })

  it('p2c does not take an endpoint that fails at once for a quick one', async () => {
    using bench = await open(endpoints(4), { strategy: 'p2c', outlier: false })
    const seen = await simulate(bench, 2000, 2, (url) => (url.includes('0.0.1:') ? { ms: 1, status: 503 } : { ms: 20 }))
    assert.ok(shareOf(seen, '10.0.0.1') < 0.1, `it got ${shareOf(seen, '10.0.0.1')}`)
  })

  it('gives a new endpoint a share that grows', async () => {
    for (const strategy of ['p2c', 'round-robin'] as const) {
      using bench = await open(endpoints(4), { strategy, slowStartMs: 10_000 })
      await simulate(bench, 400, 1, () => ({ ms: 5 }))
      bench.source.snapshot(endpoints(5))
      const shares: number[] = []
      for (let step = 0; step < 4; step += 1)
        shares.push(shareOf(await simulate(bench, 1000, 2, () => ({ ms: 5 })), '10.0.0.5'))
      await bench.clock.advance(5000)
      shares.push(shareOf(await simulate(bench, 1000, 2, () => ({ ms: 5 })), '10.0.0.5'))
      const text = `${strategy}: ${shares.join(' ')}`
      assert.ok((shares[0] ?? 1) < 0.07, text)
      assert.ok((shares[1] ?? 0) > (shares[0] ?? 1) && (shares[3] ?? 0) > (shares[1] ?? 1), text)
      assert.ok(Math.abs((shares[4] ?? 0) - 0.2) < 0.04, text)
    }
  })
})

describe('createBalancer outlier detection', () => {
  it('ejects an endpoint after failures in a row, lets it come back, and longer away the second time', async () => {
    using bench = await open(endpoints(4), { strategy: 'round-robin', slowStartMs: 0, outlier: { intervalMs: 1e9 } })
    const bad = (url: string): Answer => (url.includes('0.0.1:') ? { ms: 5, status: 500 } : { ms: 5 })
    const isEjected = (): boolean | undefined => bench.balancer.endpoints()[0]?.isEjected
    await simulate(bench, 200, 10, bad)
    assert.equal(isEjected(), true)
    assert.equal(shareOf(await simulate(bench, 200, 10, bad), '10.0.0.1'), 0)
    await bench.clock.advance(30_000)
    assert.equal(isEjected(), false)
    const again = await simulate(bench, 200, 10, bad)
    assert.ok((again.get('http://10.0.0.1:80') ?? 0) >= 5)
    assert.equal(isEjected(), true)
    await bench.clock.advance(35_000)
    assert.equal(isEjected(), true)
    await bench.clock.advance(30_000)
    const well = await simulate(bench, 1000, 5, () => ({ ms: 5 }))
    assert.ok(shareOf(well, '10.0.0.1') > 0.15, String(shareOf(well, '10.0.0.1')))
    assert.equal(bench.balancer.counts.ejections, 2)
  })

  it('compares success rates', async () => {
    using bench = await open(endpoints(10), {
      strategy: 'round-robin',
      outlier: { intervalMs: 2000, consecutiveFailures: 0, consecutiveGatewayFailures: 0 },
    })
    let call = 0
    await simulate(bench, 3000, 1, (url) => ({ ms: 1, status: url.includes('0.0.3:') && (call += 1) % 2 ? 500 : 200 }))
    const ejected = bench.balancer.endpoints().filter(({ isEjected }) => isEjected)
    assert.deepEqual(
      ejected.map(({ url }) => url),
      ['http://10.0.0.3:80'],
    )
  })

  it('ejects no more than it may, and uses all when too few are left', async () => {
    const rules = { intervalMs: 1e9, consecutiveFailures: 1 }
    using bench = await open(endpoints(4), { strategy: 'round-robin', outlier: { ...rules, maxEjectionPercent: 50 } })
    await simulate(bench, 40, 1, () => ({ ms: 0, status: 500 }))
    assert.equal(bench.balancer.health().ejected, 2)
    using panic = await open(endpoints(4), { strategy: 'round-robin', outlier: { ...rules, maxEjectionPercent: 100 } })
    await simulate(panic, 3, 1, () => ({ ms: 0, status: 500 }))
    assert.deepEqual(panic.balancer.health(), { status: 'degraded', known: 4, used: 4, ejected: 3 })
    assert.equal((await simulate(panic, 40, 1, () => ({ ms: 0 }))).size, 4)
  })

  it('does not count calls that say nothing of the endpoint', async () => {
    using bench = await open(endpoints(1), { outlier: { consecutiveFailures: 1 } })
    const picked = await bench.balancer.pick()
    picked.done('ignored', 1)
    picked.done('failure', 1)
    assert.equal(bench.balancer.health().ejected, 0)
    assert.equal(bench.balancer.endpoints()[0]?.pending, 0)
  })

  it('asks the source again when an endpoint does not answer', async () => {
    using bench = await open(endpoints(2))
    ;(await bench.balancer.pick()).done('failure', 1, 500)
    assert.equal(bench.source.refreshes, 0)
    ;(await bench.balancer.pick()).done('failure', 1)
    assert.equal(bench.source.refreshes, 1)
  })
})

describe('createBalancer selection', () => {
  const used = ({ balancer }: Bench): string[] =>
    balancer.endpoints().flatMap(({ url, isUsed }) => (isUsed ? url.slice('http://10.0.0.'.length, -3) : []))

  it('prefers its zone while enough of it is there', async () => {
    const zoned = endpoints(4, (index) => ({ zone: index < 2 ? 'a' : 'b' }))
    using bench = await open(zoned, { zone: 'a' })
    assert.deepEqual(used(bench), ['1', '2'])
    bench.source.snapshot(zoned.slice(1))
    assert.deepEqual(used(bench), ['2', '3', '4'])
  })

  it('follows hints where all endpoints have them', async () => {
    const hinted = endpoints(3, (index) => ({ zone: 'x', forZones: [index === 0 ? 'a' : 'b'] }))
    using bench = await open(hinted, { zone: 'a' })
    assert.deepEqual(used(bench), ['1'])
    bench.source.snapshot([...hinted.slice(0, 2), ...endpoints(3).slice(2)])
    assert.deepEqual(used(bench), ['1', '2', '3'])
  })

  it('uses the best priority, and the next when all of it is ejected', async () => {
    using bench = await open(
      endpoints(4, (index) => ({ priority: index < 1 ? 0 : 10 })),
      { outlier: { consecutiveFailures: 1 } },
    )
    assert.deepEqual(used(bench), ['1'])
    ;(await bench.balancer.pick()).done('failure', 1)
    assert.deepEqual(used(bench), ['2', '3', '4'])
  })

  it('uses terminating endpoints only when there are no others', async () => {
    const all = endpoints(2, (index) => ({ isTerminating: index === 0 }))
    using bench = await open(all)
    assert.deepEqual(used(bench), ['2'])
    bench.source.snapshot(all.slice(0, 1))
    assert.deepEqual(used(bench), ['1'])
  })

  it('keeps its subset when others come and go', async () => {
    const many = Array.from({ length: 200 }, (_, index) => ({ host: `10.1.0.${index}`, port: 80 }))
    using bench = await open(many, { subsetSize: 20 })
    const subset = (): Set<string> =>
      new Set(bench.balancer.endpoints().flatMap(({ url, isUsed }) => (isUsed ? [url] : [])))
    const before = subset()
    assert.equal(before.size, 20)
    bench.source.snapshot(many.slice(10))
    const gone = many.slice(0, 10).filter(({ host }) => before.has(`http://${host}:80`)).length
    assert.equal([...subset()].filter((url) => before.has(url)).length, 20 - gone)
    using other = await open(many, { subsetSize: 20 })
    const theirs = other.balancer.endpoints().flatMap(({ url, isUsed }) => (isUsed ? [url] : []))
    assert.ok(theirs.filter((url) => before.has(url)).length < 12, 'another process has another subset')
  })

  it('gives a retry another endpoint', async () => {
    using bench = await open(endpoints(3))
    for (let round = 0; round < 200; round += 1) {
      const tried: string[] = []
      for (let attempt = 0; attempt < 3; attempt += 1) tried.push((await bench.balancer.pick(tried)).url)
      assert.equal(new Set(tried).size, 3)
      assert.ok((await bench.balancer.pick(tried)).url)
    }
  })
})

describe('createBalancer life', () => {
  it('follows its source from the first pick, and waits for its first answer', async () => {
    const source = createManualSource()
    using balancer = createBalancer(source)
    assert.equal(source.observers.size, 0)
    const picking = Promise.resolve(balancer.pick())
    await Promise.resolve()
    source.snapshot(endpoints(1))
    assert.equal((await picking).url, 'http://10.0.0.1:80')
    balancer[Symbol.dispose]()
    assert.equal(source.observers.size, 0)
    await assert.rejects(async () => await balancer.pick(), { code: 'FAIRLEAD_SERVICE_NO_ENDPOINTS' })
  })

  it('does not wait for ever', async () => {
    const clock = createManualClock()
    using balancer = createBalancer(createManualSource(), { clock, waitMs: 100 })
    const picking = assert.rejects(async () => await balancer.pick(), {
      message: /manual gave no answer within 100 ms/,
    })
    await clock.advance(101)
    await picking
  })

  it('fails at once when nothing was found yet and looking fails, and keeps what was found before', async () => {
    const source = createManualSource()
    using balancer = createBalancer(source, { name: 'orders' })
    const picking = assert.rejects(async () => await balancer.pick(), {
      code: 'FAIRLEAD_SERVICE_NO_ENDPOINTS',
      message: 'Cannot pick an endpoint of "orders": no answer',
    })
    await Promise.resolve()
    source.error(new Error('no answer'))
    await picking
    assert.equal(balancer.health().status, 'down')
    source.snapshot(endpoints(2))
    assert.equal(balancer.health().status, 'up')
    source.error(new Error('again'))
    assert.ok((await balancer.pick()).url)
    assert.deepEqual(balancer.health(), { status: 'degraded', known: 2, used: 2, ejected: 0, error: 'again' })
  })

  it('has no endpoint when the source says so', async () => {
    using bench = await open([])
    await assert.rejects(async () => await bench.balancer.pick(), { message: /none is known to be ready/ })
    assert.equal(bench.balancer.health().status, 'down')
  })

  it('shows itself in metrics until it is closed', async () => {
    const metrics = createMetrics()
    using bench = await open(endpoints(3), { metrics, outlier: { consecutiveFailures: 1 } })
    ;(await bench.balancer.pick()).done('failure', 1)
    const text = metrics.render()
    for (const line of [
      'discovery_endpoints{service="orders",state="known"} 3',
      'discovery_endpoints{service="orders",state="ejected"} 1',
      'discovery_picks_total{service="orders"} 1',
      'discovery_events_total{service="orders",event="ejection"} 1',
      'discovery_up{service="orders"} 1',
    ])
      assert.ok(text.includes(line), `${line} in ${text}`)
  })

  it('refuses options that are none', () => {
    for (const options of [{ strategy: 'best' as 'p2c' }, { tauMs: 0 }, { outlier: { intervalMs: -1 } }])
      assert.throws(() => createBalancer(createManualSource(), options), { code: 'FAIRLEAD_SERVICE_POLICY' })
  })
})
