import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { problem, reply, service, start } from '@fairlead/service'
import type { App } from '@fairlead/service'
import { web } from './service.ts'

const mug = {
  sku: 'mug',
  name: 'Mug <of the "sea">',
  description: 'Holds & warms',
  category: 'Galley',
  picture: 'mug',
  priceCents: 1450,
  stock: 3,
}

/** The two services behind the pages, and what they were asked. */
function createBackend(state: { isDown: boolean; refusal: string | undefined; readonly keys: unknown[] }) {
  const order = {
    id: '0b2f',
    status: 'confirmed',
    customer: { name: 'Ada', email: 'a@b', address: 'Pier' },
    totalCents: 1450,
    createdAt: '2026-01-02T03:04:05Z',
  }
  const lines = [{ sku: 'mug', name: mug.name, quantity: 1, priceCents: 1450 }]
  const whenUp = <T>(answer: T): T => {
    if (state.isDown) throw problem(503)
    return answer
  }
  return service({
    name: 'backend',
    http: (router) =>
      router
        .get('/products', () => whenUp({ items: [mug], total: 1, page: 1, pageSize: 12 }))
        .get('/categories', () => whenUp({ items: ['Galley'] }))
        .get('/products/:sku', ({ params }) => {
          if (params.sku !== 'mug') throw problem(404)
          return whenUp(mug)
        })
        .get('/orders/:id', () => ({ ...order, lines }))
        .post('/orders', ({ node }) => {
          if (state.refusal !== undefined) throw problem(409, state.refusal)
          state.keys.push(node.request.headers['idempotency-key'])
          return reply({ ...order, lines }, { status: 201 })
        }),
  })
}

describe('web', () => {
  const state = { isDown: false, refusal: undefined as string | undefined, keys: [] as unknown[] }
  let backend: App
  let app: App

  before(async () => {
    const env = { LOG_LEVEL: 'silent' }
    backend = await start(createBackend(state), { host: '127.0.0.1', port: 0, env })
    app = await start(web, {
      host: '127.0.0.1',
      port: 0,
      env: { ...env, CATALOG_URL: backend.url, ORDERS_URL: backend.url },
    })
  })
  after(async () => {
    await app.stop()
    await backend.stop()
  })

  const get = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(app.url + path, { headers })
  const post = (path: string, form: Record<string, string>, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(app.url + path, { method: 'POST', body: new URLSearchParams(form), headers, redirect: 'manual' })

  it('lists products, escaped', async () => {
    const response = await get('/')
    const text = await response.text()
    assert.equal(response.status, 200)
    assert.match(response.headers.get('content-security-policy') ?? '', /default-src 'none'/)
    assert.ok(text.includes('Mug &lt;of the &quot;sea&quot;&gt;'))
    assert.ok(text.includes('€14.50'))
    assert.ok(!text.includes('<of'))
  })

  it('does not repeat a search into the page unescaped', async () => {
    const text = await (await get('/?search=%22%3E%3Cscript%3Ealert(1)%3C/script%3E')).text()
    assert.ok(!text.includes('<script>alert'))
  })

  it('serves the assets that its pages name, to be kept for good', async () => {
    const text = await (await get('/')).text()
    const urls = [...text.matchAll(/(?:href|src)="(\/assets\/[^"#]+)/g)].map(([, url]) => url ?? '')
    assert.ok(urls.length >= 4)
    for (const url of new Set(urls)) {
      const response = await get(url)
      assert.equal(response.status, 200, url)
      assert.match(response.headers.get('cache-control') ?? '', /immutable/)
    }
    assert.equal((await get('/assets/..%2fservice.ts')).status, 404)
  })

  it('keeps the cart in a cookie', async () => {
    const added = await post('/cart', { sku: 'mug', add: '2' }, { cookie: 'cart=mug~1' })
    assert.equal(added.status, 303)
    assert.match(added.headers.get('set-cookie') ?? '', /^cart=mug~3; .*HttpOnly; SameSite=Lax/)
    const text = await (await get('/cart', { cookie: 'cart=mug~3' })).text()
    assert.ok(text.includes('€43.50'))
    const removed = await post('/cart', { sku: 'mug', quantity: '0' }, { cookie: 'cart=mug~3' })
    assert.match(removed.headers.get('set-cookie') ?? '', /^cart=; .*Max-Age=0/)
  })

  it('shows an empty cart for a cookie that is not one of ours', async () => {
    assert.ok((await (await get('/cart', { cookie: 'cart=%3Cscript%3E~99999' })).text()).includes('Your cart is empty'))
  })

  const key = '6f6c0d6c-7a0e-4d8e-9d51-6cf54ad9a6f5'
  const form = { key, line: 'mug~1~1450', name: 'Ada', email: 'ada@example.org', address: 'Pier 1' }

  it('orders under the key of the form, and empties the cart', async () => {
    const response = await post('/orders', form, { cookie: 'cart=mug~1' })
    assert.equal(response.status, 303)
    assert.equal(response.headers.get('location'), '/orders/0b2f?new')
    assert.match(response.headers.get('set-cookie') ?? '', /^cart=;/)
    assert.deepEqual(state.keys, [key])
    assert.ok((await (await get('/orders/0b2f?new')).text()).includes('Thank you, Ada'))
  })

  it('says why an order was refused, and keeps what was typed', async () => {
    state.refusal = 'mug (not enough in stock)'
    const response = await post('/orders', form, { cookie: 'cart=mug~1' })
    state.refusal = undefined
    const text = await response.text()
    assert.equal(response.status, 409)
    assert.ok(text.includes('not enough in stock'))
    assert.ok(text.includes('value="ada@example.org"'))
    assert.ok(!text.includes(key), 'the next order has another key')
  })

  it('takes no form of another site', async () => {
    assert.equal((await post('/orders', form, { 'sec-fetch-site': 'cross-site' })).status, 403)
  })

  it('shows a page of its own when the catalog is down', async () => {
    state.isDown = true
    const response = await get('/')
    state.isDown = false
    assert.equal(response.status, 503)
    assert.equal(response.headers.get('retry-after'), '2')
    assert.match(await response.text(), /<h1>Becalmed<\/h1>/)
  })

  it('shows a page for what is not there', async () => {
    for (const path of ['/nowhere', '/products/none']) {
      const response = await get(path)
      assert.equal(response.status, 404)
      assert.match(await response.text(), /<h1>Off the chart<\/h1>/)
    }
  })
})
