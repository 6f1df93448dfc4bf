import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { createLogger } from '../log/logger.ts'
import { service } from '../service/definition.ts'
import { start } from '../service/start.ts'
import type { App } from '../service/start.ts'
import { HttpError, problem } from './problem.ts'
import { html, redirect, reply } from './reply.ts'
import type { StandardSchema } from './schema.ts'

/** A schema of no particular library: an object with a whole number under `key`. */
function numberAt<const Key extends string>(key: Key): StandardSchema<{ [K in Key]: number }> {
  return {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate(value) {
        const found = Number((value as Record<string, unknown> | null)?.[key] ?? Number.NaN)
        if (!Number.isInteger(found)) return { issues: [{ message: 'not a whole number', path: [key] }] }
        return { value: { [key]: found } as { [K in Key]: number } }
      },
    },
  }
}

describe('createHandler', () => {
  const lines: Record<string, unknown>[] = []
  const log = createLogger({
    sink: { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>), flush: () => {} },
  })
  const testService = service({
    name: 'test',
    bodyLimitBytes: 1000,
    http: (router) =>
      router
        .get('/json', () => ({ a: 1 }))
        .get('/text', () => 'grüß')
        .get('/bytes', () => new Uint8Array([1, 2, 3]))
        .get('/nothing', () => undefined)
        .get('/null', () => null)
        .get('/page', () => html('<p>'))
        .get('/away', () => redirect('/json'))
        .get('/made', () =>
          reply({ id: 1 }, { status: 201, headers: { location: '/made/1', 'set-cookie': ['a=1', 'b=2'] } }),
        )
        .get(
          '/response',
          () =>
            new Response('web', {
              status: 202,
              headers: [
                ['set-cookie', 'a=1'],
                ['set-cookie', 'b=2'],
                ['x-a', 'y'],
              ],
            }),
        )
        .get(
          '/stream',
          () => new Response(ReadableStream.from([new TextEncoder().encode('one '), new TextEncoder().encode('two')])),
        )
        .get('/dependent', () => Promise.reject(new HttpError(503, 'later', { cause: new Error('the lamp is out') })))
        .get('/broken-stream', () => new Response(breakingStream()))
        .get('/circular', () => circular())
        .get('/crash', () => {
          throw new Error('the password is hunter2')
        })
        .get('/reject', async () => await Promise.reject(new Error('the password is hunter2')))
        .get('/teapot', () => {
          throw problem(418, 'short and stout', { handle: 'here' })
        })
        .get('/typed/:id', { params: numberAt('id'), query: numberAt('page') }, ({ params, query }) => [
          params.id + 1,
          query.page + 1,
        ])
        .post('/typed', { body: numberAt('n') }, ({ body }) => ({ twice: body.n * 2 }))
        .post('/text', async ({ request }) => `${request.headers.get('x-a') ?? ''} ${await request.text()}`)
        .post('/json', async ({ request }) => await request.json())
        .post('/form', async ({ request }) => (await request.formData()).get('name'))
        .post('/clone', async ({ request }) => (await request.clone().text()) + String(request instanceof Request))
        .post('/ignore', () => 'not read'),
    fetch: (request) => {
      const { pathname } = new URL(request.url)
      return pathname === '/web' ? new Response(request.method) : new Response('nowhere', { status: 404 })
    },
  })
  let app: App

  before(async () => {
    app = await start(testService, { host: '127.0.0.1', port: 0, log, env: {} })
  })
  after(() => app.stop())

  const get = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(app.url + path, { redirect: 'manual', ...init })
  const post = (path: string, body: string, type = 'application/json'): Promise<Response> =>
    get(path, { method: 'POST', body, headers: { 'content-type': type, 'x-a': 'b' } })

  const answers: readonly { path: string; status: number; type: string | null; text: string }[] = [
    { path: '/json', status: 200, type: 'application/json; charset=utf-8', text: '{"a":1}' },
    { path: '/text', status: 200, type: 'text/plain; charset=utf-8', text: 'grüß' },
    { path: '/bytes', status: 200, type: 'application/octet-stream', text: '\u0001\u0002\u0003' },
    { path: '/nothing', status: 204, type: null, text: '' },
    { path: '/null', status: 200, type: 'application/json; charset=utf-8', text: 'null' },
    { path: '/page', status: 200, type: 'text/html; charset=utf-8', text: '<p>' },
    { path: '/away', status: 303, type: null, text: '' },
    { path: '/made', status: 201, type: 'application/json; charset=utf-8', text: '{"id":1}' },
    { path: '/response', status: 202, type: 'text/plain;charset=UTF-8', text: 'web' },
    { path: '/stream', status: 200, type: null, text: 'one two' },
    { path: '/web', status: 200, type: 'text/plain;charset=UTF-8', text: 'GET' },
    { path: '/typed/1?page=2', status: 200, type: 'application/json; charset=utf-8', text: '[2,3]' },
  ]
  for (const { path, status, type, text } of answers) {
    it(`answers ${path}`, async () => {
      const response = await get(path)
      assert.deepEqual(
        { status: response.status, type: response.headers.get('content-type'), text: await response.text() },
        { status, type, text },
      )
    })
  }

  it('keeps several cookies apart', async () => {
    assert.deepEqual((await get('/made')).headers.getSetCookie(), ['a=1', 'b=2'])
    assert.deepEqual((await get('/response')).headers.getSetCookie(), ['a=1', 'b=2'])
  })

  it('answers HEAD without a body', async () => {
    for (const path of ['/json', '/response', '/stream']) {
      const response = await get(path, { method: 'HEAD' })
      assert.equal(await response.text(), '')
    }
  })

  it('reads bodies in every way', async () => {
    assert.equal(await (await post('/text', 'grüß')).text(), 'b grüß')
    assert.deepEqual(await (await post('/json', '{"a":[1]}')).json(), { a: [1] })
    assert.equal(await (await post('/form', 'name=Ada+L', 'application/x-www-form-urlencoded')).text(), 'Ada L')
    assert.equal(await (await post('/clone', 'twin')).text(), 'twintrue')
    assert.equal(await (await post('/ignore', 'x'.repeat(900))).text(), 'not read')
  })

  it('validates JSON and form bodies by the same schema', async () => {
    assert.deepEqual(await (await post('/typed', '{"n":21}')).json(), { twice: 42 })
    assert.deepEqual(await (await post('/typed', 'n=21', 'application/x-www-form-urlencoded')).json(), { twice: 42 })
  })

  const problems: readonly {
    name: string
    path: string
    body?: string
    type?: string
    status: number
    expected: object
  }[] = [
    {
      name: 'an HttpError',
      path: '/teapot',
      status: 418,
      expected: { detail: 'short and stout', handle: 'here', title: "I'm a Teapot" },
    },
    {
      name: 'a wrong parameter',
      path: '/typed/x?page=1',
      status: 400,
      expected: { errors: [{ in: 'params', pointer: '/id', detail: 'not a whole number' }] },
    },
    {
      name: 'a wrong query',
      path: '/typed/1',
      status: 400,
      expected: { errors: [{ in: 'query', pointer: '/page', detail: 'not a whole number' }] },
    },
    {
      name: 'a wrong body',
      path: '/typed',
      body: '{}',
      status: 422,
      expected: { errors: [{ in: 'body', pointer: '/n', detail: 'not a whole number' }] },
    },
    {
      name: 'a body that is not JSON',
      path: '/typed',
      body: '{"n":',
      status: 400,
      expected: { detail: 'The request body is not valid JSON' },
    },
    { name: 'a body of another type', path: '/typed', body: 'n', type: 'text/plain', status: 415, expected: {} },
    {
      name: 'a body that is too large',
      path: '/json',
      body: 'x'.repeat(1001),
      status: 413,
      expected: { limitBytes: 1000 },
    },
    { name: 'an answer that cannot be written', path: '/circular', status: 500, expected: {} },
  ]
  for (const { name, path, body, type, status, expected } of problems) {
    it(`answers problem details to ${name}`, async () => {
      const response = await (body === undefined ? get(path) : post(path, body, type))
      assert.equal(response.status, status)
      assert.equal(response.headers.get('content-type'), 'application/problem+json')
      assert.partialDeepStrictEqual(await response.json(), { type: 'about:blank', status, ...expected })
    })
  }

  for (const path of ['/crash', '/reject']) {
    it(`tells the log about ${path}, and the caller nothing but the request id`, async () => {
      lines.length = 0
      const response = await get(path)
      const text = await response.text()
      assert.equal(response.status, 500)
      assert.ok(!text.includes('hunter2'))
      const { requestId } = JSON.parse(text) as { requestId: string }
      const line = lines.find((candidate) => candidate['request_id'] === requestId)
      assert.equal(line?.['level'], 'error')
      assert.partialDeepStrictEqual(line, { route: path, status: 500, err: { message: 'the password is hunter2' } })
    })
  }

  it('tells the log the cause of an answer of 5xx, and the caller what it may know', async () => {
    lines.length = 0
    const response = await get('/dependent')
    assert.partialDeepStrictEqual(await response.json(), { status: 503, detail: 'later' })
    assert.partialDeepStrictEqual(
      lines.find(({ route }) => route === '/dependent'),
      { status: 503, err: { message: 'the lamp is out' } },
    )
  })

  it('breaks the connection when a stream breaks, so that half an answer does not look whole', async () => {
    await assert.rejects(async () => await (await get('/broken-stream')).text())
  })

  it('answers 413 to a body without a length, while it is still being sent', async () => {
    const socket = connect(app.port, '127.0.0.1')
    socket.write('POST /json HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n')
    for (let sent = 0; sent < 40; sent++) socket.write(`400\r\n${'x'.repeat(1024)}\r\n`)
    const [first] = (await once(socket, 'data')) as [Buffer]
    assert.match(String(first), /^HTTP\/1\.1 413 /)
    socket.destroy()
  })

  it('takes the id of the caller when it is plain, and makes one when it is not', async () => {
    assert.equal((await get('/json', { headers: { 'x-request-id': 'abc-1' } })).headers.get('x-request-id'), 'abc-1')
    assert.match(
      (await get('/json', { headers: { 'x-request-id': 'a"b' } })).headers.get('x-request-id') ?? '',
      /^[0-9a-f-]{36}$/,
    )
  })

  it('joins the trace of the caller', async () => {
    lines.length = 0
    await get('/json', { headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' } })
    assert.equal(lines.at(-1)?.['trace_id'], '0af7651916cd43dd8448eb211c80319c')
  })

  it('gives up on clients that never finish their headers, or their body', async () => {
    const hasty = service({
      name: 'hasty',
      limits: { headersTimeoutMs: 300, requestTimeoutMs: 600 },
      http: (router) => router.post('/json', async ({ request }) => await request.text()),
    })
    await using own = await start(hasty, { host: '127.0.0.1', port: 0, log, env: {} })
    for (const [name, text] of [
      ['headers', 'GET /json HTTP/1.1\r\nhost: x\r\nx-slow: '],
      ['body', 'POST /json HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{'],
    ] as const) {
      const socket = connect(own.port, '127.0.0.1')
      socket.write(text)
      let received = ''
      socket.on('data', (chunk) => (received += String(chunk)))
      await once(socket, 'close')
      assert.match(received, /^HTTP\/1\.1 (408|400) /, name)
    }
  })

  it('refuses a flood of headers', async () => {
    const socket = connect(app.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(`GET /json HTTP/1.1\r\nhost: x\r\n${'x-flood: 1234567890\r\n'.repeat(2000)}\r\n`)
    const [first] = (await once(socket, 'data')) as [Buffer]
    assert.match(String(first), /^HTTP\/1\.1 431 /)
    socket.destroy()
  })

  it('answers OPTIONS and 405 with what is allowed', async () => {
    const strict = await start(service({ name: 'strict', http: (router) => router.get('/a', () => 'a') }), {
      host: '127.0.0.1',
      port: 0,
      log,
      env: {},
    })
    const options = await fetch(`${strict.url}/a`, { method: 'OPTIONS' })
    assert.deepEqual([options.status, options.headers.get('allow')], [204, 'GET, HEAD, OPTIONS'])
    const refused = await fetch(`${strict.url}/a`, { method: 'DELETE' })
    assert.deepEqual([refused.status, refused.headers.get('allow')], [405, 'GET, HEAD, OPTIONS'])
    assert.equal((await fetch(`${strict.url}/b`)).status, 404)
    await strict.stop()
  })
})

function circular(): unknown {
  const value: Record<string, unknown> = {}
  value['self'] = value
  return value
}

function breakingStream(): ReadableStream<Uint8Array> {
  let count = 0
  return new ReadableStream({
    pull(controller) {
      count += 1
      if (count > 2) controller.error(new Error('broken'))
      else controller.enqueue(new TextEncoder().encode('part'))
    },
  })
}
