import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { codeOf } from '../errors.ts'
import { createManualClock } from '../resilience/clock.ts'
import { registerInConsul } from './consul-registration.ts'
import { createConsulSource, nextIndex } from './consul.ts'
import type { ConsulSourceOptions } from './consul.ts'
import { startFakeConsul } from './consul.fixture.ts'
import type { FakeConsul } from './consul.fixture.ts'
import type { Endpoint } from './endpoint.ts'
import { eventually } from './source.fixture.ts'

interface Heard extends Disposable {
  readonly snapshots: (readonly Endpoint[])[]
  readonly errors: Error[]
}

function listen(consul: FakeConsul, options: ConsulSourceOptions = {}, tags: readonly string[] = []): Heard {
  const heard = { snapshots: [] as (readonly Endpoint[])[], errors: [] as Error[] }
  const query = { tags, datacenter: undefined, namespace: undefined }
  const source = createConsulSource(
    { service: 'orders', query },
    { address: consul.url, env: {}, minRefreshMs: 0, ...options },
  )
  const subscription = source.subscribe({
    snapshot: (endpoints) => void heard.snapshots.push(endpoints),
    error: (error) => void heard.errors.push(error as Error),
  })
  return { ...heard, [Symbol.dispose]: () => subscription.close() }
}

const indexesOf = ({ queries }: FakeConsul): (string | null)[] =>
  queries.map((query) => new URL(query, 'http://x').searchParams.get('index'))

describe('createConsulSource', () => {
  it('is told of changes by blocking queries', async () => {
    await using consul = await startFakeConsul()
    consul.set(
      [
        { Address: '10.0.0.1', Port: 80 },
        { Address: '', Port: 81, Meta: { zone: 'a' } },
      ],
      20,
    )
    using heard = listen(consul)
    await eventually('a waiting query', () => consul.queries.length === 2)
    const node = { scheme: 'http', weight: 1 }
    assert.deepEqual(heard.snapshots, [
      [
        { ...node, host: '10.0.0.1', port: 80, zone: undefined },
        { ...node, host: '10.9.9.9', port: 81, zone: 'a' },
      ],
    ])
    assert.deepEqual(indexesOf(consul), [null, '20'])
    assert.match(consul.queries[1] ?? '', /passing=1.*wait=60s/)
    consul.wake()
    await eventually('another query', () => consul.queries.length === 3)
    consul.set([{ Address: '10.0.0.1', Port: 80, Weights: { Passing: 7, Warning: 1 } }])
    await eventually('a change', () => heard.snapshots.length === 2)
    assert.equal(heard.snapshots[1]?.[0]?.weight, 7)
  })

  it('begins anew when the index goes back', async () => {
    await using consul = await startFakeConsul()
    consul.set([{ Address: '10.0.0.1', Port: 80 }], 100)
    using heard = listen(consul)
    await eventually('a waiting query', () => consul.queries.length === 2)
    consul.set([{ Address: '10.0.0.2', Port: 80 }], 5)
    await eventually('a query that waits again', () => consul.queries.length === 4)
    assert.deepEqual(indexesOf(consul), [null, '100', null, '5'])
    assert.equal(heard.snapshots.length, 2)
  })

  for (const { before, header, expected } of [
    { before: 0, header: '7', expected: 7 },
    { before: 7, header: '7', expected: 7 },
    { before: 7, header: '6', expected: 0 },
    { before: 0, header: '0', expected: 1 },
    { before: 7, header: undefined, expected: 0 },
    { before: 0, header: 'x', expected: 1 },
  ])
    it(`waits after ${before} and ${header} for ${expected}`, () => assert.equal(nextIndex(before, header), expected))

  it('keeps what it has while Consul fails, and asks anew afterwards', async () => {
    await using consul = await startFakeConsul()
    consul.set([{ Address: '10.0.0.1', Port: 80 }])
    const clock = createManualClock()
    using heard = listen(consul, { clock })
    await eventually('a snapshot', () => heard.snapshots.length === 1)
    await clock.advance(1)
    await eventually('a waiting query', () => consul.queries.length === 2)
    consul.wake()
    await eventually('an answer', async () => {
      consul.failing = 500
      await clock.advance(1)
      return heard.errors.length === 1
    })
    assert.match(heard.errors[0]?.message ?? '', /Consul answered 500: No cluster leader/)
    consul.failing = undefined
    const before = consul.queries.length
    await clock.advance(30_000)
    await eventually('queries', () => consul.queries.length > before)
    assert.equal(indexesOf(consul)[before], null)
    assert.equal(heard.snapshots.length, 1)
  })

  it('sends its token and tags, and says when they do not do', async () => {
    await using consul = await startFakeConsul()
    consul.token = 'planted-acl-token'
    consul.set([
      { Address: '10.0.0.1', Port: 80, Tags: ['v2', 'eu'] },
      { Address: '10.0.0.2', Port: 80, Tags: ['v1'] },
    ])
    using heard = listen(consul, { token: 'planted-acl-token' }, ['v2', 'eu'])
    using stranger = listen(consul, { token: 'planted-wrong' })
    await eventually('a snapshot', () => heard.snapshots.length === 1 && stranger.errors.length === 1)
    assert.deepEqual(
      heard.snapshots[0]?.map(({ host }) => host),
      ['10.0.0.1'],
    )
    assert.equal(codeOf(stranger.errors[0]), 'FAIRLEAD_SERVICE_DISCOVERY')
    assert.match(stranger.errors[0]?.message ?? '', /Consul answered 403/)
    assert.doesNotMatch(stranger.errors[0]?.message ?? '', /planted/)
  })

  it('leaves no query behind when it is closed', async () => {
    await using consul = await startFakeConsul()
    const heard = listen(consul)
    await eventually('a waiting query', () => consul.queries.length === 2)
    heard[Symbol.dispose]()
    consul.wake()
    assert.equal(consul.queries.length, 2)
    assert.deepEqual(heard.errors, [])
  })
})

describe('registerInConsul', () => {
  it('registers with a TTL check, keeps it alive, is told again after a restart, and deregisters', async () => {
    await using consul = await startFakeConsul()
    const clock = createManualClock()
    let isWell = true
    await using registration = await registerInConsul({
      name: 'orders',
      port: 8080,
      host: '10.0.0.1',
      id: 'orders-1',
      tags: ['v2'],
      address: consul.url,
      env: {},
      clock,
      check: { kind: 'ttl', isWell: () => isWell },
    })
    assert.partialDeepStrictEqual(consul.registered.get('orders-1'), {
      status: 'passing',
      definition: { Name: 'orders', Address: '10.0.0.1', Port: 8080, Tags: ['v2'], Check: { TTL: '15s' } },
    })
    isWell = false
    await clock.advance(5001)
    await eventually('a critical check', () => consul.registered.get('orders-1')?.status === 'critical')
    isWell = true
    consul.registered.clear()
    await eventually('a new registration', async () => {
      await clock.advance(5001)
      return consul.registered.get('orders-1')?.status === 'passing'
    })
    consul.failing = 500
    await eventually('a failure', async () => {
      await clock.advance(5001)
      return registration.health().status === 'degraded'
    })
    consul.failing = undefined
    await eventually('a recovery', async () => {
      await clock.advance(5001)
      return registration.health().status === 'up'
    })
    await Promise.all([registration.deregister(), registration.deregister()])
    assert.equal(consul.registered.size, 0)
    await clock.advance(20_000)
    assert.equal(consul.registered.size, 0)
  })

  it('registers an HTTP check, and again when the agent forgot it', async () => {
    await using consul = await startFakeConsul()
    const clock = createManualClock()
    const check = { kind: 'http', path: '/readyz' } as const
    const common = { name: 'orders', port: 80, host: 'fd00::1', id: 'o', address: consul.url, env: {} }
    await using registration = await registerInConsul({ ...common, clock, check })
    assert.partialDeepStrictEqual(consul.registered.get('o')?.definition, {
      Check: { HTTP: 'http://[fd00::1]:80/readyz', Interval: '10s', DeregisterCriticalServiceAfter: '60s' },
    })
    consul.registered.clear()
    await eventually('a new registration', async () => {
      await clock.advance(10_001)
      return consul.registered.has('o')
    })
    assert.equal(registration.id, 'o')
  })

  it('says when it may not, or when no agent is there', async () => {
    await using consul = await startFakeConsul()
    consul.token = 'planted-acl-token'
    const options = { name: 'orders', port: 80, env: {} }
    await assert.rejects(registerInConsul({ ...options, address: consul.url }), {
      code: 'FAIRLEAD_SERVICE_REGISTRATION',
      message: /Consul answered 403/,
    })
    await assert.rejects(registerInConsul({ ...options, address: 'http://127.0.0.1:1' }), {
      code: 'FAIRLEAD_SERVICE_REGISTRATION',
      message: /127\.0\.0\.1:1 cannot be reached \(ECONNREFUSED\)/,
    })
  })
})
