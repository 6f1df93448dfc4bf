import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Hono } from 'hono'
import { recordError } from '../http/hosted.ts'
import { serveHandler } from '../http/serve.fixture.ts'
import { currentScope } from '../trace/current.ts'
import { honoApp } from './hono.ts'
import type { HonoBindings } from './hono.ts'

function createOrders() {
  const app = new Hono<{ Bindings: HonoBindings }>()
  app.use('*', async (_context, next) => await next())
  app.get('/orders/:id', (context) =>
    context.json({ id: context.req.param('id'), scope: currentScope()?.requestId, given: context.env.scope.requestId }),
  )
  app.post('/orders', async (context) => context.json(await context.req.json(), 201))
  app.get('/crash', () => {
    throw new Error('the password is hunter2')
  })
  app.get(
    '/stream',
    () => new Response(ReadableStream.from([new TextEncoder().encode('one '), new TextEncoder().encode('two')])),
  )
  app.route(
    '/inner',
    new Hono().get('/keys/:key', (context) => context.text('x')),
  )
  app.onError((error, context) => {
    recordError(error)
    return context.text('broken', 500)
  })
  return app
}

describe('honoApp', () => {
  it('serves routes with their template, in the scope of the request', async () => {
    await using server = await serveHandler({ app: honoApp(createOrders()) })
    const over = server.next()
    const response = await fetch(`${server.url}/orders/7?x=1`, { headers: { 'x-request-id': 'abc' } })
    assert.deepEqual(await response.json(), { id: '7', scope: 'abc', given: 'abc' })
    assert.equal(response.headers.get('x-request-id'), 'abc')
    assert.partialDeepStrictEqual(await over, { route: '/orders/:id', status: 200 })
  })

  for (const { name, path, init, status, text, route } of [
    {
      name: 'bodies',
      path: '/orders',
      init: { method: 'POST', body: '{"a":1}' },
      status: 201,
      text: '{"a":1}',
      route: '/orders',
    },
    { name: 'HEAD', path: '/orders/7', init: { method: 'HEAD' }, status: 200, text: '', route: '/orders/:id' },
    { name: 'streams', path: '/stream', init: {}, status: 200, text: 'one two', route: '/stream' },
    { name: 'inner applications', path: '/inner/keys/3', init: {}, status: 200, text: 'x', route: '/inner/keys/:key' },
    { name: 'what is not there', path: '/nowhere', init: {}, status: 404, text: '404 Not Found', route: 'unmatched' },
  ]) {
    it(`serves ${name}`, async () => {
      await using server = await serveHandler({ app: honoApp(createOrders()) })
      const over = server.next()
      const response = await fetch(server.url + path, init)
      assert.deepEqual([response.status, await response.text()], [status, text])
      assert.equal((await over).route, route)
    })
  }

  it('tells telemetry of the errors that are recorded', async () => {
    await using server = await serveHandler({ app: honoApp(createOrders()) })
    const over = server.next()
    assert.equal(await (await fetch(`${server.url}/crash`)).text(), 'broken')
    assert.match(String((await over).error), /hunter2/)
  })

  it('refuses bodies above the limit of the service', async () => {
    const app = new Hono().post('/', async (context) => context.text(await context.req.text()))
    await using server = await serveHandler({ app: honoApp(app, { bodyLimitBytes: 10 }) })
    const response = await fetch(server.url, { method: 'POST', body: 'x'.repeat(11) })
    assert.equal(response.status, 413)
  })
})
