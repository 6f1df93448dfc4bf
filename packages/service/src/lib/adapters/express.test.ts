import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import express from 'express'
import { listenerApp } from '../http/hosted.ts'
import { serveHandler } from '../http/serve.fixture.ts'
import { currentScope } from '../trace/current.ts'
import { expressApp } from './express.ts'

function createOrders() {
  const app = express()
  const items = express.Router({ mergeParams: true })
  items.get('/', (_request, response) => void response.json([]))
  items.get('/items/:item', (request, response) => void response.json(request.params))
  const tenants = express.Router()
  tenants.use('/orders/:order', items)
  const admin = express()
  admin.get('/stats', (_request, response) => void response.json({}))
  app.use(express.json())
  app.get('/orders/:id', (request, response) => {
    response.json({ id: request.params.id, scope: currentScope()?.requestId })
  })
  app.use('/tenants/:tenant', tenants)
  app.use('/admin', admin)
  app.post('/echo', (request, response) => void response.json(request.body))
  app.get('/crash', () => {
    throw new Error('the password is hunter2')
  })
  app.get('/reject', async () => await Promise.reject(Object.assign(new Error('Not yours'), { status: 403 })))
  app.get(/^\/any(thing)?$/, (_request, response) => void response.send('x'))
  return app
}

describe('expressApp', () => {
  it('serves routes with their template, in the scope of the request', async () => {
    await using server = await serveHandler({ app: expressApp(createOrders()) })
    const over = server.next()
    const response = await fetch(`${server.url}/orders/7?x=1`, { headers: { 'x-request-id': 'abc' } })
    assert.deepEqual(await response.json(), { id: '7', scope: 'abc' })
    assert.equal(response.headers.get('x-request-id'), 'abc')
    assert.partialDeepStrictEqual(await over, { route: '/orders/:id', status: 200 })
  })

  for (const [path, route] of [
    ['/tenants/acme/orders/7/items/9', '/tenants/:tenant/orders/:order/items/:item'],
    ['/tenants/acme/orders/7', '/tenants/:tenant/orders/:order'],
    ['/admin/stats', '/admin/stats'],
    ['/anything', String.raw`/^\/any(thing)?$/`],
    ['/nowhere', 'unmatched'],
    ['/tenants/acme/nowhere', 'unmatched'],
  ] as const) {
    it(`calls ${path} ${route}`, async () => {
      await using server = await serveHandler({ app: expressApp(createOrders()) })
      const over = server.next()
      await (await fetch(server.url + path)).text()
      assert.equal((await over).route, route)
    })
  }

  it('answers problem details to what falls through', async () => {
    await using server = await serveHandler({ app: expressApp(createOrders()) })
    const missing = await fetch(`${server.url}/nowhere`)
    assert.partialDeepStrictEqual(await missing.json(), { status: 404, type: 'about:blank' })
    const refused = await fetch(`${server.url}/reject`)
    assert.partialDeepStrictEqual(await refused.json(), { status: 403, detail: 'Not yours' })
    const malformed = await fetch(`${server.url}/echo`, {
      method: 'POST',
      body: '{"a":',
      headers: { 'content-type': 'application/json' },
    })
    assert.partialDeepStrictEqual(await malformed.json(), { status: 400 })
    const over = server.next()
    const crash = await fetch(`${server.url}/crash`)
    assert.equal(crash.status, 500)
    assert.ok(!(await crash.text()).includes('hunter2'))
    const { error, route } = await over
    assert.match(String(error), /hunter2/)
    assert.equal(route, '/crash')
  })

  it('starts and stops what stands behind it', async () => {
    const events: string[] = []
    const options = { start: () => events.push('start'), stop: () => events.push('stop') }
    {
      await using _server = await serveHandler({ app: expressApp(createOrders(), options) })
    }
    assert.deepEqual(events, ['start', 'stop'])
  })
})

describe('listenerApp', () => {
  it('hosts any listener under one route, or those it is told', async () => {
    await using server = await serveHandler({ app: listenerApp((_request, response) => void response.end('plain')) })
    const over = server.next()
    const response = await fetch(`${server.url}/a/b`)
    assert.equal(await response.text(), 'plain')
    assert.match(response.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/)
    assert.partialDeepStrictEqual(await over, { route: '*', status: 200 })
  })

  it('answers problem details when the listener throws', async () => {
    const fail = (): never => {
      throw new Error('escaped')
    }
    await using server = await serveHandler({ app: listenerApp(fail) })
    assert.equal((await fetch(server.url)).status, 500)
    await using other = await serveHandler({ app: listenerApp(async () => await Promise.resolve().then(fail)) })
    assert.equal((await fetch(other.url)).status, 500)
  })

  it('answers no route of its own: those go before it', async () => {
    await using server = await serveHandler({
      http: (router) => router.get('/mine', () => 'kit'),
      app: listenerApp((_request, response) => void response.end('plain')),
    })
    assert.equal(await (await fetch(`${server.url}/mine`)).text(), 'kit')
    assert.equal(await (await fetch(`${server.url}/other`)).text(), 'plain')
  })
})
