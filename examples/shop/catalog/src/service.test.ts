import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { start } from '@fairlead/service'
import type { App } from '@fairlead/service'
import { catalog } from './service.ts'
import type { Product } from './store.ts'

interface Page {
  readonly items: readonly Product[]
  readonly total: number
  readonly page: number
}

describe('catalog', () => {
  const dir = mkdtempSync(join(tmpdir(), 'catalog-'))
  const env = { DATA_DIR: dir, LOG_LEVEL: 'silent' }
  let app: App

  before(async () => {
    app = await start(catalog, { host: '127.0.0.1', port: 0, env })
  })
  after(async () => {
    await app.stop()
    rmSync(dir, { recursive: true })
  })

  const get = async <T>(path: string): Promise<T> => (await (await fetch(app.url + path)).json()) as T
  const reserve = (id: string, sku: string, quantity: number, priceCents?: number): Promise<Response> =>
    fetch(`${app.url}/reservations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ id, lines: [{ sku, quantity, priceCents }] }),
    })

  it('lists products by pages', async () => {
    const first = await get<Page>('/products?pageSize=10')
    const third = await get<Page>('/products?pageSize=10&page=3')
    assert.equal(first.items.length, 10)
    assert.equal(first.total, 24)
    assert.equal(third.items.length, 4)
    assert.ok(third.items.every(({ sku }) => !first.items.some((other) => other.sku === sku)))
  })

  it('searches names and descriptions, and takes the wildcards of SQL for plain characters', async () => {
    assert.deepEqual(
      (await get<Page>('/products?search=LANTERN')).items.map(({ sku }) => sku),
      ['lantern-brass', 'lantern-deck'],
    )
    assert.equal((await get<Page>('/products?search=%25')).total, 0)
    assert.equal((await get<Page>(`/products?search=${encodeURIComponent("'; DROP TABLE products; --")}`)).total, 0)
  })

  it('filters by category and by list of products', async () => {
    assert.equal((await get<Page>('/products?category=Light')).total, 4)
    assert.equal((await get<Page>('/products?sku=mug-enamel&sku=bell-ship&sku=none')).total, 2)
  })

  it('answers 404 for a product that is not there, and 400 for a page that cannot be', async () => {
    assert.equal((await fetch(`${app.url}/products/none`)).status, 404)
    const response = await fetch(`${app.url}/products?page=0`)
    assert.equal(response.status, 400)
    assert.equal(response.headers.get('content-type'), 'application/problem+json')
  })

  it('takes a reservation out of stock once, however often it is asked', async () => {
    const before = await get<Product>('/products/mug-enamel')
    const id = randomUUID()
    assert.equal((await reserve(id, 'mug-enamel', 3)).status, 201)
    const again = await reserve(id, 'mug-enamel', 3)
    assert.equal(again.status, 200)
    assert.deepEqual(((await again.json()) as { lines: unknown }).lines, [
      { sku: 'mug-enamel', quantity: 3, name: 'Enamel mug', priceCents: 1450 },
    ])
    assert.equal((await get<Product>('/products/mug-enamel')).stock, before.stock - 3)
  })

  it('refuses more than there is, and takes nothing', async () => {
    const response = await reserve(randomUUID(), 'bell-ship', 6)
    assert.equal(response.status, 409)
    assert.deepEqual(((await response.json()) as { obstacles: unknown }).obstacles, [
      { sku: 'bell-ship', reason: 'out-of-stock', wanted: 6, available: 5 },
    ])
    assert.equal((await get<Product>('/products/bell-ship')).stock, 5)
    assert.equal((await reserve('not-a-uuid', 'bell-ship', 1)).status, 422)
  })

  it('refuses a price that is no longer the price', async () => {
    assert.equal((await reserve(randomUUID(), 'bell-ship', 1, 1)).status, 409)
    assert.equal((await reserve(randomUUID(), 'bell-ship', 1, 11_900)).status, 201)
  })

  it('keeps the stock when it is started again', async () => {
    const { stock } = await get<Product>('/products/cap-wool')
    await reserve(randomUUID(), 'cap-wool', 2)
    await app.stop()
    app = await start(catalog, { host: '127.0.0.1', port: 0, env })
    assert.equal((await get<Product>('/products/cap-wool')).stock, stock - 2)
  })
})
