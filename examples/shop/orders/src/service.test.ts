import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { problem, service, start } from '@fairlead/service'
import type { App } from '@fairlead/service'
import { orders } from './service.ts'
import type { Order } from './store.ts'

/** The catalog as orders sees it: one product, and a switch for every way in which it can fail. */
function createCatalogDouble(state: {
  mode: 'up' | 'down' | 'sold-out'
  readonly reserved: Set<string>
  calls: number
}) {
  return service({
    name: 'catalog',
    http: (router) =>
      router.post('/reservations', async ({ request }) => {
        state.calls += 1
        if (state.mode === 'down') throw problem(500)
        if (state.mode === 'sold-out') throw problem(409, 'mug (not enough in stock)')
        const { id, lines } = (await request.json()) as { id: string; lines: { sku: string; quantity: number }[] }
        state.reserved.add(id)
        return { id, lines: lines.map(({ sku, quantity }) => ({ sku, quantity, name: 'Mug', priceCents: 1450 })) }
      }),
  })
}

const customer = { name: 'Ada', email: 'ada@example.org', address: 'Pier 1' }
const order = { customer, lines: [{ sku: 'mug', quantity: 2, priceCents: 1450 }] }

describe('orders', () => {
  const dir = mkdtempSync(join(tmpdir(), 'orders-'))
  const state = { mode: 'up' as 'up' | 'down' | 'sold-out', reserved: new Set<string>(), calls: 0 }
  let catalog: App
  let app: App

  before(async () => {
    const env = { LOG_LEVEL: 'silent' }
    catalog = await start(createCatalogDouble(state), { host: '127.0.0.1', port: 0, env })
    app = await start(orders, { host: '127.0.0.1', port: 0, env: { ...env, DATA_DIR: dir, CATALOG_URL: catalog.url } })
  })
  after(async () => {
    await app.stop()
    await catalog.stop()
    rmSync(dir, { recursive: true })
  })

  const place = (body: unknown, key: string = randomUUID()): Promise<Response> =>
    fetch(`${app.url}/orders`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify(body),
    })

  it('places an order at the prices of the catalog, and finds it again', async () => {
    state.mode = 'up'
    const response = await place(order)
    assert.equal(response.status, 201)
    const placed = (await response.json()) as Order
    assert.equal(placed.totalCents, 2900)
    assert.equal(placed.status, 'confirmed')
    const found = await fetch(app.url + (response.headers.get('location') ?? ''))
    assert.deepEqual(await found.json(), placed)
    const list = (await (await fetch(`${app.url}/orders`)).json()) as { items: Order[] }
    assert.deepEqual(list.items[0], placed)
  })

  it('makes one order of a request that is sent twice', async () => {
    state.mode = 'up'
    const key = randomUUID()
    const answers = await Promise.all([place(order, key), place(order, key)])
    const [first, second] = (await Promise.all(answers.map((answer) => answer.json()))) as Order[]
    assert.deepEqual(first, second)
    assert.equal((await place(order, key)).status, 200)
  })

  it('refuses a key that belongs to another order', async () => {
    state.mode = 'up'
    const key = randomUUID()
    await place(order, key)
    assert.equal((await place({ ...order, lines: [{ sku: 'mug', quantity: 3 }] }, key)).status, 422)
  })

  it('passes on why the catalog refuses, the second time too', async () => {
    state.mode = 'sold-out'
    const key = randomUUID()
    const first = await place(order, key)
    assert.equal(first.status, 409)
    assert.equal(((await first.json()) as { detail: string }).detail, 'mug (not enough in stock)')
    assert.equal((await place(order, key)).status, 409)
  })

  it('goes on with the same reservation when the catalog is back', async () => {
    state.mode = 'down'
    const key = randomUUID()
    assert.equal((await place(order, key)).status, 503)
    state.mode = 'up'
    const response = await place(order, key)
    assert.equal(response.status, 201)
    assert.ok(state.reserved.has(((await response.json()) as Order).id))
  })

  it('is degraded but ready while the catalog is down', async () => {
    const { status } = await app.health()
    assert.equal(status, 'UP')
    assert.equal((await fetch(`${app.url}/health/ready`)).status, 200)
  })

  const invalid = [
    { name: 'no lines', body: { ...order, lines: [] } },
    { name: 'half a mug', body: { ...order, lines: [{ sku: 'mug', quantity: 0.5 }] } },
    { name: 'a product twice', body: { ...order, lines: [...order.lines, ...order.lines] } },
    { name: 'no address to write to', body: { ...order, customer: { ...customer, email: 'ada' } } },
    { name: 'nothing at all', body: null },
  ]
  for (const { name, body } of invalid) {
    it(`answers 422 to an order with ${name}, without asking the catalog`, async () => {
      const { calls } = state
      assert.equal((await place(body)).status, 422)
      assert.equal(state.calls, calls)
    })
  }
})
