import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { codeOf } from '../errors.ts'
import { createManualClock } from '../resilience/clock.ts'
import { startFakeDns } from './dns-server.fixture.ts'
import type { FakeDns, FakeRecord } from './dns-server.fixture.ts'
import { candidatesOf, createDnsSource, createSrvSource, parseSearch } from './dns.ts'
import type { DnsOptions } from './dns.ts'
import type { Endpoint } from './endpoint.ts'
import { eventually } from './source.fixture.ts'
import type { EndpointSource } from './source.ts'

interface Heard extends Disposable {
  readonly snapshots: Endpoint[][]
  readonly errors: Error[]
  refresh(): void
}

function listen(source: EndpointSource): Heard {
  const snapshots: Endpoint[][] = []
  const errors: Error[] = []
  const subscription = source.subscribe({
    snapshot: (endpoints) => void snapshots.push([...endpoints]),
    error: (error) => void errors.push(error as Error),
  })
  return {
    snapshots,
    errors,
    refresh: () => subscription.refresh?.(),
    [Symbol.dispose]: () => subscription.close(),
  }
}

const a = (...addresses: string[]): FakeRecord[] => addresses.map((data) => ({ type: 'A', data, ttl: 10 }))
const hostsOf = (endpoints: readonly Endpoint[] | undefined): string[] =>
  (endpoints ?? []).map(({ host, port }) => `${host} ${port}`).toSorted()

describe('createDnsSource', () => {
  const target = { host: 'orders.shop', port: 8080 }
  const optionsOf = (dns: FakeDns, more: DnsOptions = {}): DnsOptions => ({
    servers: [dns.address],
    random: () => 0,
    timeoutMs: 30_000,
    ...more,
  })

  it('looks again when the TTL is over, and tells changes', async () => {
    await using dns = await startFakeDns()
    const clock = createManualClock()
    dns.zone.set('orders.shop', a('10.0.0.1', '10.0.0.2'))
    using heard = listen(createDnsSource(target, optionsOf(dns, { clock })))
    await eventually('a first snapshot', () => heard.snapshots.length === 1)
    assert.deepEqual(hostsOf(heard.snapshots[0]), ['10.0.0.1 8080', '10.0.0.2 8080'])
    assert.equal(heard.snapshots[0]?.[0]?.authority, 'orders.shop:8080')
    const asked = dns.questions.length
    await clock.advance(9999)
    assert.equal(dns.questions.length, asked)
    dns.zone.set('orders.shop', a('10.0.0.2', '10.0.0.3'))
    await clock.advance(2)
    await eventually('a second snapshot', () => heard.snapshots.length === 2)
    assert.deepEqual(hostsOf(heard.snapshots[1]), ['10.0.0.2 8080', '10.0.0.3 8080'])
    const again = dns.questions.length
    await clock.advance(10_000)
    await eventually('a further question', () => dns.questions.length > again)
    assert.equal(heard.snapshots.length, 2, 'what has not changed is not told')
  })

  it('keeps quiet about errors in snapshots, and recovers', async () => {
    await using dns = await startFakeDns()
    const clock = createManualClock()
    dns.zone.set('orders.shop', a('10.0.0.1'))
    using heard = listen(createDnsSource(target, optionsOf(dns, { clock })))
    await eventually('a snapshot', () => heard.snapshots.length === 1)
    dns.mode = 'fail'
    await clock.advance(10_001)
    await eventually('an error', () => heard.errors.length === 1)
    assert.equal(codeOf(heard.errors[0]), 'FAIRLEAD_SERVICE_DISCOVERY')
    dns.zone.delete('orders.shop')
    dns.mode = 'answer'
    await clock.advance(600)
    await eventually('another error', () => heard.errors.length === 2)
    assert.match(heard.errors[1]?.message ?? '', /DNS knows no such name \(ENOTFOUND\)/)
    dns.zone.set('orders.shop', a('10.0.0.9'))
    await clock.advance(1100)
    await eventually('a new snapshot', () => heard.snapshots.length === 2)
    assert.deepEqual(hostsOf(heard.snapshots[1]), ['10.0.0.9 8080'])
  })

  it('takes IPv6 where there is no IPv4, or when told to', async () => {
    await using dns = await startFakeDns()
    dns.zone.set('orders.shop', [{ type: 'AAAA', data: 'fd00::1' }])
    using heard = listen(createDnsSource(target, optionsOf(dns)))
    await eventually('a snapshot', () => heard.snapshots.length === 1)
    assert.deepEqual(hostsOf(heard.snapshots[0]), ['fd00::1 8080'])
    dns.zone.set('orders.shop', [...a('10.0.0.1'), { type: 'AAAA', data: 'fd00::1' }])
    using both = listen(createDnsSource(target, optionsOf(dns)))
    using six = listen(createDnsSource(target, optionsOf(dns, { family: 6 })))
    await eventually('snapshots', () => both.snapshots.length === 1 && six.snapshots.length === 1)
    assert.deepEqual([hostsOf(both.snapshots[0]), hostsOf(six.snapshots[0])], [['10.0.0.1 8080'], ['fd00::1 8080']])
  })

  it('gives up a name server that says nothing', async () => {
    await using dns = await startFakeDns()
    dns.mode = 'drop'
    using heard = listen(createDnsSource(target, optionsOf(dns, { timeoutMs: 100 })))
    await eventually('an error', () => heard.errors.length > 0)
    assert.match(heard.errors[0]?.message ?? '', /did not answer as it should \(ETIMEOUT\)/)
  })

  it('looks again when asked to, not more often than agreed', async () => {
    await using dns = await startFakeDns()
    const clock = createManualClock()
    dns.zone.set('orders.shop', a('10.0.0.1'))
    using heard = listen(createDnsSource(target, optionsOf(dns, { clock, minRefreshMs: 2000 })))
    await eventually('a snapshot', () => heard.snapshots.length === 1)
    dns.zone.set('orders.shop', a('10.0.0.2'))
    const asked = dns.questions.length
    heard.refresh()
    heard.refresh()
    await clock.advance(1000)
    assert.equal(dns.questions.length, asked)
    await clock.advance(1001)
    await eventually('a second snapshot', () => heard.snapshots.length === 2)
  })

  it('asks nothing more when it is closed', async () => {
    await using dns = await startFakeDns()
    const clock = createManualClock()
    dns.zone.set('orders.shop', a('10.0.0.1'))
    const heard = listen(createDnsSource(target, optionsOf(dns, { clock })))
    await eventually('a snapshot', () => heard.snapshots.length === 1)
    const asked = dns.questions.length
    heard[Symbol.dispose]()
    await clock.advance(60_000)
    assert.equal(dns.questions.length, asked)
  })

  it('goes through the search list', async () => {
    await using dns = await startFakeDns()
    dns.zone.set('orders.shop.svc.cluster.local', a('10.0.0.1'))
    const search = { domains: ['shop.svc.cluster.local', 'svc.cluster.local'], ndots: 5 }
    using heard = listen(createDnsSource(target, optionsOf(dns, { search })))
    await eventually('a snapshot', () => heard.snapshots.length === 1)
    assert.ok(dns.questions.includes('A orders.shop.shop.svc.cluster.local'))
  })

  it('takes an IP address as it is', async () => {
    using literal = listen(createDnsSource({ host: '127.0.0.1', port: 1 }))
    assert.deepEqual(hostsOf(literal.snapshots[0]), ['127.0.0.1 1'])
  })
})

describe('createSrvSource', () => {
  it('gives host, port, priority and weight of each target', async () => {
    await using dns = await startFakeDns()
    dns.zone.set('_http._tcp.orders.svc', [
      { type: 'SRV', data: '0 3 8001 one.svc' },
      { type: 'SRV', data: '0 0 8002 two.svc' },
      { type: 'SRV', data: '10 1 8003 none.svc' },
    ])
    dns.zone.set('one.svc', a('10.0.0.1'))
    dns.zone.set('two.svc', a('10.0.0.2'))
    const source = createSrvSource({ name: '_http._tcp.orders.svc', scheme: 'https' }, { servers: [dns.address] })
    using heard = listen(source)
    await eventually('a snapshot', () => heard.snapshots.length === 1)
    const common = { scheme: 'https', priority: 0 }
    assert.deepEqual(
      heard.snapshots[0]?.toSorted((x, y) => x.port - y.port),
      [
        { ...common, host: '10.0.0.1', port: 8001, weight: 3, authority: 'one.svc:8001' },
        { ...common, host: '10.0.0.2', port: 8002, weight: 0.01, authority: 'two.svc:8002' },
      ],
    )
  })

  it('has no endpoint when the record says that there is none', async () => {
    await using dns = await startFakeDns()
    dns.zone.set('_http._tcp.orders.svc', [{ type: 'SRV', data: '0 0 0 .' }])
    using heard = listen(createSrvSource({ name: '_http._tcp.orders.svc' }, { servers: [dns.address] }))
    await eventually('a snapshot', () => heard.snapshots.length === 1)
    assert.deepEqual(heard.snapshots[0], [])
  })
})

describe('resolv.conf', () => {
  it('is read', () => {
    const text = 'nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local\noptions ndots:5 timeout:1\n'
    assert.deepEqual(parseSearch(text), { domains: ['shop.svc.cluster.local', 'svc.cluster.local'], ndots: 5 })
  })

  const search = { domains: ['a', 'b'], ndots: 2 }
  for (const { name, expected } of [
    { name: 'orders', expected: ['orders.a', 'orders.b', 'orders'] },
    { name: 'orders.shop.svc', expected: ['orders.shop.svc', 'orders.shop.svc.a', 'orders.shop.svc.b'] },
    { name: 'orders.', expected: ['orders'] },
  ])
    it(`makes names of ${name}`, () => assert.deepEqual(candidatesOf(name, search), expected))
})
