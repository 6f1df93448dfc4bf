import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { resource } from '../lifecycle/resource.ts'
import { createLogger } from '../log/logger.ts'
import { parseExposition } from '../metrics/exposition.fixture.ts'
import { service } from './definition.ts'
import { start } from './start.ts'

const log = createLogger({ level: 'silent' })
const options = { host: '127.0.0.1', port: 0, log, env: {} }

describe('service', () => {
  it('refuses a definition that cannot work', () => {
    const code = 'FAIRLEAD_SERVICE_DEFINITION'
    assert.throws(() => service({ name: 'My Service', fetch: () => 1 }), { code })
    assert.throws(() => service({ name: 'x' }), { code })
    assert.throws(() => service({ name: 'x', use: { log: resource(() => 1) }, fetch: () => 1 }), {
      code,
      message: /called "log"/,
    })
  })
})

describe('start', () => {
  it('hands resources to handlers and checks, by their names', async () => {
    const numbers = resource(() => [1, 2, 3], { health: (list) => list.length > 0 })
    await using app = await start(
      service({
        name: 'sums',
        version: '1.2.3',
        use: { numbers, sum: resource({ numbers }, (needs) => needs.numbers.reduce((a, b) => a + b)) },
        http: (router) => router.get('/sum', ({ sum }) => sum),
        fetch: (_request, { numbers: list }) => list,
        checks: { big: { check: ({ sum }) => sum > 100, critical: false } },
      }),
      { ...options, env: { ENVIRONMENT: 'test' } },
    )
    assert.equal(await (await fetch(`${app.url}/sum`)).json(), 6)
    assert.deepEqual(await (await fetch(`${app.url}/else`)).json(), [1, 2, 3])
    assert.partialDeepStrictEqual(await (await fetch(`${app.url}/health`)).json(), {
      status: 'DEGRADED',
      service: 'sums',
      version: '1.2.3',
      environment: 'test',
      components: { numbers: { status: 'UP' }, big: { status: 'DOWN', critical: false } },
    })
    assert.deepEqual(app.use.numbers, [1, 2, 3])
  })

  it('answers health while it starts, and 503 to everything else', async () => {
    const [entered, slow] = [Promise.withResolvers<void>(), Promise.withResolvers<number>()]
    const waiting = resource(() => {
      entered.resolve()
      return slow.promise
    })
    const port = await freePort()
    const starting = start(service({ name: 'slow', use: { waiting }, fetch: () => 'up' }), { ...options, port })
    await entered.promise
    const status = async (path: string): Promise<number> => (await fetch(`http://127.0.0.1:${port}${path}`)).status
    const before = await Promise.all(['/health/live', '/health/ready', '/health/startup', '/'].map(status))
    slow.resolve(1)
    await using _ = await starting
    assert.deepEqual(before, [200, 503, 503, 503])
    assert.deepEqual(await Promise.all(['/health/ready', '/health/startup', '/'].map(status)), [200, 200, 200])
  })

  it('counts requests by method, route template and status, and not the probes', async () => {
    await using app = await start(
      service({
        name: 'counted',
        http: (router) =>
          router.get('/items/:id', ({ params }) => params.id).post('/fail', () => Promise.reject(new Error('x'))),
      }),
      options,
    )
    for (const path of ['/items/1', '/items/2', '/health/live', '/nowhere/1', '/nowhere/2', '/metrics'])
      await (await fetch(app.url + path)).text()
    await fetch(`${app.url}/fail`, { method: 'POST' })
    await fetch(`${app.url}/items/1`, { method: 'PURGE' })
    const response = await fetch(`${app.url}/metrics`)
    assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
    const families = parseExposition(await response.text())
    const counts = families
      .find(({ name }) => name === 'http_requests_total')
      ?.samples.map(({ labels, value }) => [labels['method'], labels['route'], labels['status'], value])
    assert.deepEqual(counts, [
      ['GET', '/items/:id', '200', 2],
      ['GET', 'unmatched', '404', 2],
      ['POST', '/fail', '500', 1],
      ['_OTHER', '/items/:id', '405', 1],
    ])
    assert.ok(families.some(({ name, type }) => name === 'http_request_duration_seconds' && type === 'histogram'))
    assert.ok(families.some(({ name }) => name === 'http_active_connections'))
  })

  it('moves health and metrics to the admin port', async () => {
    await using app = await start(
      service({ name: 'split', admin: { port: 0 }, http: (router) => router.get('/', () => 'x') }),
      options,
    )
    assert.notEqual(app.adminUrl, app.url)
    for (const path of ['/health/ready', '/metrics']) {
      assert.equal((await fetch(app.adminUrl + path)).status, 200)
      assert.equal((await fetch(app.url + path)).status, 404)
    }
    // Its own index, not the service's route.
    assert.match(await (await fetch(app.adminUrl)).text(), /GET \/health\/ready/)
    assert.equal((await fetch(`${app.adminUrl}/none`)).status, 404)
  })

  it('answers errors with a page of its own, if it has one', async () => {
    await using app = await start(
      service({
        name: 'own',
        http: (router) => router.get('/', () => Promise.reject(new Error('x'))),
        onError: (error) => (error instanceof Error ? `sorry: ${error.name}` : undefined),
      }),
      options,
    )
    assert.equal(await (await fetch(app.url)).text(), 'sorry: Error')
    assert.equal(await (await fetch(`${app.url}/none`)).text(), 'sorry: HttpError')
  })

  it('says that the port is taken, and leaves nothing running', async () => {
    await using first = await start(service({ name: 'one', fetch: () => 1 }), options)
    let started = false
    const second = service({ name: 'two', use: { db: resource(() => (started = true)) }, fetch: () => 1 })
    await assert.rejects(start(second, { ...options, port: first.port }), {
      code: 'FAIRLEAD_SERVICE_LISTEN',
      message: `Cannot listen on "127.0.0.1:${first.port}": another process is listening there`,
    })
    assert.equal(started, false)
  })

  it('closes the port again when a resource does not start', async () => {
    const port = await freePort()
    const broken = service({
      name: 'broken',
      use: { db: resource(() => Promise.reject(new Error('refused'))) },
      fetch: () => 1,
    })
    await assert.rejects(start(broken, { ...options, port }), { code: 'FAIRLEAD_SERVICE_START' })
    await using _ = await start(service({ name: 'next', fetch: () => 1 }), { ...options, port })
  })

  for (const env of [
    { PORT: 'http' },
    { PORT: '70000' },
    { PORT: '-1' },
    { LOG_LEVEL: 'loud' },
    { LOG_FORMAT: 'xml' },
  ]) {
    it(`refuses ${JSON.stringify(env)}`, async () => {
      await assert.rejects(start(service({ name: 'x', fetch: () => 1 }), { log, env }), {
        code: 'FAIRLEAD_SERVICE_SETTING',
      })
    })
  }
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
