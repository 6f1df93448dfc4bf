import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fastify from 'fastify'
import { serveHandler } from '../http/serve.fixture.ts'
import { currentScope } from '../trace/current.ts'
import { fastifyApp } from './fastify.ts'

function createOrders() {
  const app = fastify()
  app.get('/orders/:id', (request) => ({ id: request.id, scope: currentScope()?.requestId }))
  app.get('/crash', () => {
    throw new Error('the password is hunter2')
  })
  app.post('/typed', { schema: { body: { type: 'object', required: ['a'] } } }, () => 'x')
  app.register(
    async (inner) => {
      inner.addHook('onRequest', async (request) => {
        if (request.headers.authorization === undefined) throw Object.assign(new Error('No key'), { statusCode: 401 })
      })
      inner.get('/keys/:key', () => ({ ok: true }))
    },
    { prefix: '/inner' },
  )
  return app
}

describe('fastifyApp', () => {
  it('serves routes with their template, in the scope of the request', async () => {
    await using server = await serveHandler({ app: fastifyApp(createOrders()) })
    const over = server.next()
    const response = await fetch(`${server.url}/orders/7?x=1`, { headers: { 'x-request-id': 'abc' } })
    assert.deepEqual(await response.json(), { id: 'abc', scope: 'abc' })
    assert.equal(response.headers.get('x-request-id'), 'abc')
    assert.partialDeepStrictEqual(await over, { route: '/orders/:id', status: 200, requestId: 'abc' })
  })

  it('knows the route of requests that a hook refuses, and that this is no fault', async () => {
    await using server = await serveHandler({ app: fastifyApp(createOrders()) })
    const over = server.next()
    const response = await fetch(`${server.url}/inner/keys/1`)
    assert.equal(response.status, 401)
    assert.partialDeepStrictEqual(await response.json(), { status: 401, detail: 'No key' })
    assert.deepEqual(await over.then(({ route, error }) => [route, error]), ['/inner/keys/:key', undefined])
  })

  it('answers problem details to errors, of which telemetry hears and the caller does not', async () => {
    await using server = await serveHandler({ app: fastifyApp(createOrders()) })
    const over = server.next()
    const response = await fetch(`${server.url}/crash`)
    const text = await response.text()
    assert.equal(response.headers.get('content-type'), 'application/problem+json')
    assert.equal(response.status, 500)
    assert.ok(!text.includes('hunter2'))
    assert.match(String((await over).error), /hunter2/)
    const refused = await fetch(`${server.url}/typed`, {
      method: 'POST',
      body: '{}',
      headers: { 'content-type': 'application/json' },
    })
    assert.partialDeepStrictEqual(await refused.json(), { status: 400, title: 'Bad Request' })
  })

  it('answers problem details to what is not there', async () => {
    await using server = await serveHandler({ app: fastifyApp(createOrders()) })
    const over = server.next()
    const response = await fetch(`${server.url}/nowhere`)
    assert.partialDeepStrictEqual(await response.json(), { status: 404, type: 'about:blank' })
    assert.equal((await over).route, 'unmatched')
  })

  it('leaves answers to errors to an application that has its own', async () => {
    const app = createOrders()
    app.setErrorHandler((_error, _request, reply) => reply.code(418).send('mine'))
    app.setNotFoundHandler((_request, reply) => reply.code(404).send('mine'))
    await using server = await serveHandler({ app: fastifyApp(app) })
    assert.equal(await (await fetch(`${server.url}/crash`)).text(), 'mine')
    assert.equal(await (await fetch(`${server.url}/nowhere`)).text(), 'mine')
  })

  it('finds the route of an application that was ready before', async () => {
    const app = createOrders()
    await app.ready()
    await using server = await serveHandler({ app: fastifyApp(app) })
    const over = server.next()
    await (await fetch(`${server.url}/orders/7`)).text()
    assert.equal((await over).route, '/orders/:id')
  })

  it('starts and closes the application', async () => {
    const events: string[] = []
    const app = createOrders()
    app.addHook('onReady', async () => void events.push('ready'))
    app.addHook('onClose', async () => void events.push('closed'))
    {
      await using server = await serveHandler({ app: fastifyApp(app, { start: () => events.push('start') }) })
      await (await fetch(`${server.url}/orders/7`)).text()
    }
    assert.deepEqual(events, ['start', 'ready', 'closed'])
  })
})
