import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Readable } from 'node:stream'
import { describe, it } from 'node:test'
import { createMetrics } from '../metrics/metrics.ts'
import { pipeline } from '../resilience/pipeline.ts'
import { runInScope } from '../trace/current.ts'
import type { Balancer } from './balancer.ts'
import { parseRetryAfter } from './call-error.ts'
import { client } from './client.ts'
import type { ClientOptions } from './client.ts'
import { pathOf } from './message.ts'

interface Backend extends AsyncDisposable {
  readonly url: string
  readonly server: Server
  readonly sockets: ReadonlySet<Socket>
  readonly requests: IncomingMessage[]
}

async function serve(
  answer: (request: IncomingMessage, response: ServerResponse, count: number) => void,
): Promise<Backend> {
  const requests: IncomingMessage[] = []
  const sockets = new Set<Socket>()
  const listener: RequestListener = (request, response) => {
    requests.push(request)
    answer(request, response, requests.length)
    request.resume()
  }
  const server = createServer(listener)
  server.on('connection', (socket) => sockets.add(socket))
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    server,
    sockets,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const quick: ClientOptions = { preset: { retry: { baseDelayMs: 1, random: () => 0 } } }
const trace = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), isSampled: true }

describe('client policies', () => {
  it('repeats idempotent calls and no others', async () => {
    await using backend = await serve((_, response, count) => {
      response.statusCode = count < 3 ? 503 : 200
      response.end('{"ok":true}')
    })
    using http = client(backend.url, quick)
    assert.deepEqual(await http.get('/a'), { ok: true })
    assert.equal(backend.requests.length, 3)
    backend.requests.length = 0
    await assert.rejects(http.post('/a', { body: {} }), { reason: 'status', status: 503 })
    assert.equal(backend.requests.length, 1)
    backend.requests.length = 0
    assert.deepEqual(await http.post('/a', { body: {}, headers: { 'idempotency-key': 'k1' } }), { ok: true })
    backend.requests.length = 0
    assert.deepEqual(await http.post('/a', { body: {}, idempotent: true }), { ok: true })
    assert.equal(backend.requests.length, 3)
  })

  it('leaves retrying to the mesh', async () => {
    await using backend = await serve((_, response) => {
      response.statusCode = 503
      response.end()
    })
    using http = client(backend.url, quick)
    const incoming = { 'x-envoy-attempt-count': '1' }
    await runInScope({ requestId: 'r', trace, incoming }, () => assert.rejects(http.get('/a'), { status: 503 }))
    assert.equal(backend.requests.length, 1)
  })

  it('opens its breaker, and says so in the reason', async () => {
    await using backend = await serve((_, response) => {
      response.statusCode = 500
      response.end()
    })
    const preset = { retry: { retries: 0 }, breaker: { readyToTrip: { consecutiveFailures: 2 }, maxRequests: 1 } }
    using http = client(backend.url, { preset })
    await assert.rejects(http.get('/a'), { reason: 'status' })
    await assert.rejects(http.get('/a'), { reason: 'status' })
    await assert.rejects(
      http.get('/a'),
      (error: { reason: string; retryAfterMs: number; cause: Error }) =>
        error.reason === 'open' && error.cause.name === 'BreakerOpenError' && error.retryAfterMs > 0,
    )
    assert.equal(http.health().status, 'degraded')
    assert.equal(backend.requests.length, 2)
  })

  it('does not take answers 4xx, nor a caller that gave up, for failures of the service', async () => {
    await using backend = await serve((request, response) => {
      if (request.url === '/slow') return
      response.statusCode = 404
      response.end()
    })
    using http = client(backend.url, { preset: { breaker: { readyToTrip: { consecutiveFailures: 1 } } } })
    await assert.rejects(http.get('/a'), { status: 404 })
    const controller = new AbortController()
    const call = assert.rejects(http.get('/slow', { signal: controller.signal }), { reason: 'aborted' })
    await once(() => backend.requests.length === 2)
    controller.abort()
    await call
    assert.equal(http.policies.breaker?.state, 'closed')
  })

  it('ends within the deadline of the request it is made for, and hands on what is left', async () => {
    await using backend = await serve((request, response) => {
      if (request.url === '/never') return
      response.end(JSON.stringify(request.headers))
    })
    using http = client(backend.url, { timeoutMs: 3_600_000 })
    const scope = { requestId: 'r', trace, startedAt: performance.now(), mesh: { headers: ['x-canary'] } }
    const incoming = { 'grpc-timeout': '2000S', 'x-canary': 'a', authorization: 'secret' }
    const seen = await runInScope({ ...scope, incoming }, () => http.get<Record<string, string>>('/headers'))
    const left = Number(seen['x-envoy-expected-rq-timeout-ms'])
    assert.ok(left > 0 && left <= 2_000_000, String(left))
    assert.deepEqual([seen['x-canary'], seen['authorization'], seen['x-request-id']], ['a', undefined, 'r'])

    const startedAt = performance.now()
    await runInScope({ ...scope, startedAt, incoming: { 'grpc-timeout': '50m' } }, () =>
      assert.rejects(http.get('/never'), { reason: 'timeout' }),
    )
    assert.ok(performance.now() - startedAt < 60_000)
    const before = backend.requests.length
    await runInScope({ ...scope, startedAt: startedAt - 5000, incoming: { 'grpc-timeout': '50m' } }, () =>
      assert.rejects(http.get('/never'), { reason: 'timeout' }),
    )
    assert.equal(backend.requests.length, before, 'nothing is sent when there is no time')
  })

  it('takes other policies for a call', async () => {
    await using backend = await serve((_, response) => {
      response.statusCode = 503
      response.end()
    })
    using http = client(backend.url, quick)
    await assert.rejects(http.get('/a', { policies: pipeline({}) }), { status: 503 })
    assert.equal(backend.requests.length, 1)
  })

  it('asks its balancer for each try, and tells it how that went', async () => {
    await using bad = await serve((_, response) => {
      response.statusCode = 502
      response.end()
    })
    await using good = await serve((_, response) => response.end('"good"'))
    const told: string[] = []
    const urls = [bad.url, good.url]
    const balancer: Balancer = {
      pick() {
        const url = urls.shift() ?? good.url
        return { url, done: (outcome) => void told.push(`${url === bad.url ? 'bad' : 'good'} ${outcome}`) }
      },
    }
    using http = client(balancer, { ...quick, name: 'stock' })
    assert.equal(await http.get('/a'), 'good')
    assert.deepEqual(told, ['bad failure', 'good success'])
  })

  it('counts each try in metrics', async () => {
    await using backend = await serve((_, response, count) => {
      response.statusCode = count < 2 ? 503 : 200
      response.end('1')
    })
    const metrics = createMetrics()
    using http = client(backend.url, { ...quick, name: 'stock', metrics })
    using other = client('http://127.0.0.1:1', { preset: 'plain', name: 'other', metrics })
    await http.get('/a')
    await assert.rejects(other.get('/a'), { reason: 'unreachable' })
    const text = metrics.render()
    for (const label of [
      'service="stock",method="GET",status="503"',
      'service="stock",method="GET",status="200"',
      'service="other",method="GET",status="error"',
    ])
      assert.ok(text.includes(`service_call_duration_seconds_count{${label}} 1`), text)
    assert.ok(text.includes('resilience_events_total{pipeline="stock",event="retry"} 1'))
  })
})

describe('client connections', () => {
  it('uses one connection for calls one after the other', async () => {
    await using backend = await serve((_, response) => response.end('1'))
    using http = client(backend.url)
    for (let index = 0; index < 10; index += 1) await http.get('/a')
    assert.equal(backend.sockets.size, 1)
  })

  for (const { method, isRepeated } of [
    { method: 'GET', isRepeated: true },
    { method: 'POST', isRepeated: false },
  ]) {
    it(`${isRepeated ? 'repeats' : 'does not repeat'} ${method} when a kept connection was closed`, async () => {
      await using backend = await serve((request, response, count) => {
        // The second request comes on a kept connection, which is reset under it.
        if (count === 2) request.socket.resetAndDestroy()
        else response.end('1')
      })
      using http = client(backend.url, { preset: 'plain' })
      await http.json('/a', { method })
      const second = http.json('/a', { method })
      if (isRepeated) assert.equal(await second, 1)
      else await assert.rejects(second, { reason: 'unreachable' })
      assert.equal(backend.requests.length, isRepeated ? 3 : 2)
    })
  }

  it('takes a new connection after a freeze', async (test) => {
    await using backend = await serve((_, response) => response.end('1'))
    test.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
    using http = client(backend.url, { preset: 'plain' })
    await http.post('/a', { body: 1 })
    await once(() => backend.sockets.size === 1)
    test.mock.timers.setTime(1_000_000 + 4001)
    await http.post('/a', { body: 1 })
    assert.equal(backend.sockets.size, 2)
  })

  it('is seen by diagnostics_channel', async () => {
    await using backend = await serve((_, response) => response.end('1'))
    const seen: string[] = []
    const onStart = (message: unknown): void => {
      const { request } = message as { request: { path: string; setHeader(name: string, value: string): void } }
      request.setHeader('x-added', 'yes')
      seen.push(request.path)
    }
    subscribe('http.client.request.created', onStart)
    try {
      using http = client(backend.url)
      await http.get('/a')
    } finally {
      unsubscribe('http.client.request.created', onStart)
    }
    assert.deepEqual(seen, ['/a'])
    assert.equal(backend.requests[0]?.headers['x-added'], 'yes')
  })
})

describe('client answers', () => {
  it('gives the whole problem, and when to come back', async () => {
    await using backend = await serve((_, response) => {
      response.writeHead(429, { 'retry-after': '120', 'content-type': 'application/problem+json' })
      response.end('{"title":"Too Many","detail":"slow down","limit":5}')
    })
    using http = client(backend.url)
    await assert.rejects(http.get('/a'), {
      status: 429,
      detail: 'slow down',
      problem: { title: 'Too Many', detail: 'slow down', limit: 5 },
      retryAfterMs: 120_000,
    })
    assert.equal(backend.requests.length, 1, 'two minutes are not waited for')
  })

  it('checks the body before it is sent', async () => {
    await using backend = await serve((_, response) => response.end('1'))
    using http = client(backend.url)
    const bodySchema = { '~standard': { validate: () => ({ issues: [{ message: 'no sku' }] }) } }
    await assert.rejects(http.post('/a', { body: {}, bodySchema }), {
      reason: 'invalid',
      message: /body to send.*no sku/,
    })
    assert.equal(backend.requests.length, 0)
  })

  it('streams', async () => {
    await using backend = await serve((request, response) => {
      if (request.url === '/missing') response.statusCode = 404
      response.write('one ')
      response.end('two')
    })
    using http = client(backend.url)
    const { status, body } = await http.stream('/a')
    const chunks = await body.toArray()
    assert.deepEqual([status, Buffer.concat(chunks).toString()], [200, 'one two'])
    await assert.rejects(http.stream('/missing'), { status: 404 })
  })

  it('ends a stream in which nothing comes', async () => {
    await using backend = await serve((_, response) => void response.write('one'))
    // Long enough for the head of the answer, on a busy machine too.
    using http = client(backend.url, { timeoutMs: 1500 })
    const { body } = await http.stream('/a')
    await assert.rejects(body.toArray(), { message: /Nothing came for 1500 ms/ })
  })

  it('says when an answer breaks off, and repeats it', async () => {
    await using backend = await serve((request, response, count) => {
      if (count > 1) return void response.end('[1]')
      response.writeHead(200, { 'content-length': '100' })
      response.write('[1')
      setImmediate(() => request.socket.destroy())
    })
    using http = client(backend.url, quick)
    assert.deepEqual(await http.get('/a'), [1])
    assert.equal(backend.requests.length, 2)
  })

  it('follows redirects within the origin when told to, and never to another', async () => {
    await using backend = await serve((request, response) => {
      if (request.url === '/end') return void response.end(JSON.stringify(request.method))
      const location = request.url === '/away' ? 'http://127.0.0.2:1/end' : '/end'
      response.writeHead(request.url === '/kept' ? 307 : 303, { location }).end()
    })
    using http = client(backend.url, { maxRedirects: 3 })
    assert.equal(await http.post('/moved', { body: { a: 1 } }), 'GET')
    assert.equal(await http.post('/kept', { body: { a: 1 } }), 'POST')
    await assert.rejects(http.get('/away'), { status: 303 })
    using strict = client(backend.url)
    await assert.rejects(strict.get('/moved'), { status: 303 })
  })
})

describe('client.fetch', () => {
  it('answers as fetch does, errors of the service included, after the policies had their say', async () => {
    await using backend = await serve((request, response) => {
      response.statusCode = request.url === '/bad' ? 500 : 200
      response.setHeader('set-cookie', ['a=1', 'b=2'])
      if (request.method === 'POST') request.pipe(response)
      else response.end('{"a":1}')
    })
    using http = client(`${backend.url}/`, quick)
    const response = await http.fetch('/a?b=c', { headers: { authorization: 'Bearer x' } })
    assert.deepEqual([response.status, response.url, await response.json()], [200, `${backend.url}/a?b=c`, { a: 1 }])
    assert.deepEqual(response.headers.getSetCookie(), ['a=1', 'b=2'])
    assert.equal(backend.requests[0]?.headers.authorization, 'Bearer x')

    const posted = await http.fetch(new Request(`${backend.url}/echo`, { method: 'POST', body: 'hello' }))
    assert.equal(await posted.text(), 'hello')

    backend.requests.length = 0
    const bad = await http.fetch('/bad')
    assert.deepEqual([bad.status, await bad.text(), backend.requests.length], [500, '{"a":1}', 4])
    await assert.rejects(http.fetch('http://127.0.0.2/a'), { reason: 'invalid' })
  })

  it('aborts with the reason of its signal, also in the middle of a body', async () => {
    await using backend = await serve((_, response) => void response.write('one'))
    using http = client(backend.url)
    const controller = new AbortController()
    const response = await http.fetch('/a', { signal: controller.signal })
    controller.abort(new Error('enough'))
    await assert.rejects(response.text(), { message: 'enough' })
    await assert.rejects(http.fetch('/a', { signal: controller.signal }), { message: 'enough' })
  })

  it('refuses a body that is too large to be kept', async () => {
    await using backend = await serve((_, response) => response.end('1'))
    using http = client(backend.url, { bodyLimitBytes: 10 })
    const body = Readable.toWeb(Readable.from([Buffer.alloc(20)])) as ReadableStream
    const call = http.fetch('/a', { method: 'POST', body, duplex: 'half' })
    await assert.rejects(call, { reason: 'invalid' })
  })
})

describe('pathOf', () => {
  for (const { path, expected } of [
    { path: '/a/b', expected: '/api/a/b' },
    { path: '//evil.example/a', expected: '/api/evil.example/a' },
    { path: 'http://evil.example/a', expected: '/api/http://evil.example/a' },
    { path: '/ä b?c=d e#f', expected: '/api/%C3%A4%20b?c=d%20e' },
    { path: '/a\r\nx: y', expected: '/api/ax:%20y' },
  ]) {
    it(`keeps ${JSON.stringify(path)} below the base`, () => assert.equal(pathOf('/api/', path, undefined), expected))
  }

  it('adds the query to one that is there', () =>
    assert.equal(pathOf('/', '/a?b=1', { c: '&', d: undefined, e: 2 }), '/a?b=1&c=%26&e=2'))
})

describe('parseRetryAfter', () => {
  for (const { text, expected } of [
    { text: '5', expected: 5000 },
    { text: 'Thu, 01 Jan 1970 00:01:00 GMT', expected: 30_000 },
    { text: 'Thu, 01 Jan 1970 00:00:01 GMT', expected: 0 },
    { text: 'soon', expected: undefined },
  ]) {
    it(`reads "${text}"`, () => assert.equal(parseRetryAfter(text, 30_000), expected))
  }
})

async function once(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve))
}
