import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { client } from '../client/client.ts'
import { createMetrics } from '../metrics/metrics.ts'
import { startFakeDns } from './dns-server.fixture.ts'
import { createDiscovery } from './registry.ts'
import { createManualSource } from './source.fixture.ts'

interface Instance extends AsyncDisposable {
  readonly port: number
  readonly url: string
  readonly hosts: (string | undefined)[]
}

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Instance> {
  const hosts: (string | undefined)[] = []
  const server = createServer((request, response) => {
    hosts.push(request.headers.host)
    answer(request, response)
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    hosts,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const well = (_: IncomingMessage, response: ServerResponse): void => void response.end('"well"')
const preset = { retry: { baseDelayMs: 1, random: () => 0 } }

describe('client with discovery', () => {
  it('calls the instances of an address, under its name', async () => {
    await using dns = await startFakeDns()
    await using instance = await serve(well)
    dns.zone.set('orders.shop', [{ type: 'A', data: '127.0.0.1' }])
    using orders = client(`dns://orders.shop:${instance.port}`, { balance: { dns: { servers: [dns.address] } } })
    assert.equal(orders.health().endpoints, undefined)
    assert.equal(await orders.get('/a'), 'well')
    assert.deepEqual(instance.hosts, [`orders.shop:${instance.port}`])
    assert.partialDeepStrictEqual(orders.health(), { status: 'up', endpoints: { status: 'up', known: 1, used: 1 } })
    assert.equal(orders.name, 'orders.shop')
  })

  it('spreads calls over the instances that discovery knows, with the path and host of its address', async () => {
    await using one = await serve(well)
    await using two = await serve((request, response) => void response.end(JSON.stringify(request.url)))
    const metrics = createMetrics()
    const discovery = createDiscovery({ services: { orders: [one.url, two.url] }, env: {} })
    using orders = client('http://orders/api', { discovery, metrics, balance: 'round-robin' })
    const seen = [await orders.get('/a'), await orders.get('/a'), await orders.get('/a')]
    assert.deepEqual(new Set(seen), new Set(['well', '/api/a']))
    assert.equal(one.hosts[0], 'orders')
    assert.match(metrics.render(), /discovery_picks_total\{service="orders"\} 3/)
  })

  it('sends a retry to another instance', async () => {
    await using bad = await serve((_, response) => {
      response.statusCode = 503
      response.end()
    })
    await using good = await serve(well)
    const discovery = createDiscovery({ services: { orders: [bad.url, good.url] }, env: {} })
    using orders = client('http://orders', { discovery, preset, balance: { strategy: 'round-robin', outlier: false } })
    for (let call = 0; call < 10; call += 1) assert.equal(await orders.get('/a'), 'well')
    assert.ok(bad.hosts.length > 0 && good.hosts.length === 10)
  })

  it('goes round an instance that is gone, and ejects it', async () => {
    await using good = await serve(well)
    const discovery = createDiscovery({ services: { orders: ['http://127.0.0.1:1', good.url] }, env: {} })
    using orders = client('http://orders', { discovery, preset, balance: { outlier: { consecutiveFailures: 1 } } })
    for (let call = 0; call < 10; call += 1) assert.equal(await orders.post('/a', { body: {} }), 'well')
    assert.equal(orders.health().endpoints?.ejected, 1)
  })

  it('says that there is no instance, and is down', async () => {
    const source = createManualSource()
    const discovery = createDiscovery({ services: { orders: source }, env: {} })
    using orders = client('http://orders', { discovery, preset })
    const call = assert.rejects(orders.get('/a'), {
      code: 'FAIRLEAD_SERVICE_CALL',
      reason: 'unreachable',
      message: /none is known to be ready/,
    })
    await new Promise((resolve) => setImmediate(resolve))
    source.snapshot([])
    await call
    assert.equal(orders.health().status, 'down')
    orders[Symbol.dispose]()
    assert.equal(source.observers.size, 0)
  })

  it('takes names it does not know for host names, unless told otherwise', async () => {
    await using instance = await serve(well)
    using plain = client(instance.url, { discovery: createDiscovery({ env: {} }) })
    assert.equal(await plain.get('/a'), 'well')
    const discovery = createDiscovery({ env: {}, otherwise: (name) => (name === 'stock' ? instance.url : undefined) })
    using stock = client('http://stock', { discovery })
    assert.equal(await stock.get('/a'), 'well')
  })

  it('reads FAIRLEAD_DISCOVERY', async () => {
    await using one = await serve(well)
    const env = { FAIRLEAD_DISCOVERY: `orders=${one.url}|${one.url}, stock=k8s://shop/stock:http` }
    using orders = client('http://orders', { discovery: createDiscovery({ env }) })
    assert.equal(await orders.get('/a'), 'well')
    assert.throws(() => createDiscovery({ env: { FAIRLEAD_DISCOVERY: 'orders' } }), { code: 'FAIRLEAD_SERVICE_TARGET' })
  })

  it('refuses an address that is none', () => {
    assert.throws(() => client('etcd://orders'), { code: 'FAIRLEAD_SERVICE_TARGET' })
  })
})
