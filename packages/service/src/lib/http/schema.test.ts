import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type } from 'arktype'
import * as v from 'valibot'
import { z } from 'zod'
import { reply } from './reply.ts'
import { serveHandler } from './serve.fixture.ts'
import type { TestServer } from './serve.fixture.ts'

const libraries = [
  {
    name: 'zod',
    params: z.object({ id: z.coerce.number().int() }),
    query: z.object({ tag: z.array(z.string()).optional(), page: z.coerce.number().default(1) }),
    headers: z.object({ 'x-tenant': z.string() }),
    body: z.object({ items: z.array(z.object({ 'a/b': z.number() })).min(1), name: z.string() }),
  },
  {
    name: 'valibot',
    params: v.object({ id: v.pipe(v.string(), v.toNumber(), v.integer()) }),
    query: v.object({
      tag: v.optional(v.array(v.string())),
      page: v.optional(v.pipe(v.string(), v.transform(Number)), '1'),
    }),
    headers: v.object({ 'x-tenant': v.string() }),
    body: v.object({ items: v.pipe(v.array(v.object({ 'a/b': v.number() })), v.minLength(1)), name: v.string() }),
  },
  {
    name: 'arktype',
    params: type({ id: 'string.integer.parse' }),
    query: type({ 'tag?': 'string[]', page: type('string.numeric.parse').default('1') }),
    headers: type({ 'x-tenant': 'string' }),
    body: type({ items: type({ 'a/b': 'number' }).array().atLeastLength(1), name: 'string' }),
  },
] as const

for (const { name, params, query, headers, body } of libraries) {
  describe(`routes with schemas of ${name}`, () => {
    let server: TestServer
    before(async () => {
      server = await serveHandler({
        http: (router) =>
          router.post('/things/:id', { params, query, headers, body }, (context) => ({
            id: context.params.id,
            page: context.query.page,
            tag: context.query.tag,
            tenant: context.headers['x-tenant'],
            name: context.body.name,
          })),
      })
    })
    after(() => server[Symbol.asyncDispose]())

    const post = (path: string, content: unknown, init: Record<string, string> = {}): Promise<Response> =>
      fetch(server.url + path, {
        method: 'POST',
        body: JSON.stringify(content),
        headers: { 'content-type': 'application/json', ...init },
      })

    it('gives handlers what the schemas return', async () => {
      const response = await post('/things/7?tag=a&tag=b', { items: [{ 'a/b': 1 }], name: 'x' }, { 'x-tenant': 'acme' })
      assert.deepEqual(await response.json(), { id: 7, page: 1, tag: ['a', 'b'], tenant: 'acme', name: 'x' })
    })

    it('tells of everything that is wrong at once, with pointers', async () => {
      const response = await post('/things/seven', { items: [{ 'a/b': 'x' }] })
      assert.equal(response.status, 400)
      const problem = (await response.json()) as {
        detail: string
        errors: { in: string; pointer: string; detail: string }[]
      }
      assert.equal(problem.detail, 'The path, headers, body of the request are not as expected')
      assert.deepEqual(problem.errors.map((error) => `${error.in} ${error.pointer}`).toSorted(), [
        'body /items/0/a~1b',
        'body /name',
        'headers /x-tenant',
        'params /id',
      ])
      assert.ok(problem.errors.every(({ detail }) => detail.length > 0))
    })

    it('answers 422 when only the body is wrong', async () => {
      const response = await post('/things/7', {}, { 'x-tenant': 'acme' })
      assert.equal(response.status, 422)
    })
  })
}

describe('response schemas', () => {
  const http: Parameters<typeof serveHandler>[0]['http'] = (router) =>
    router
      .get('/one', { response: z.object({ id: z.number() }) }, ({ request }) => ({
        id: request.url.endsWith('?wrong') ? 'x' : 1,
      }))
      .get('/dated', { response: z.object({ at: z.iso.datetime() }) }, () => ({ at: new Date(0) }))
      .get(
        '/table',
        { response: { 200: z.object({ id: z.number() }), 404: z.object({ why: z.string() }) } },
        ({ request }) => reply(request.url.endsWith('?wrong') ? {} : { why: 'gone' }, { status: 404 }),
      )
      .get('/web', { response: z.object({ id: z.number() }) }, () => new Response('anything'))

  it('let through what is as described', async () => {
    await using server = await serveHandler({ http, checkResponses: true })
    assert.deepEqual(await (await fetch(`${server.url}/one`)).json(), { id: 1 })
    assert.equal((await fetch(`${server.url}/table`)).status, 404)
    assert.equal((await fetch(`${server.url}/dated`)).status, 200)
    assert.equal(await (await fetch(`${server.url}/web`)).text(), 'anything')
  })

  it('make a 500 of what is not, and the log says where', async () => {
    await using server = await serveHandler({ http, checkResponses: true })
    const over = server.next()
    assert.equal((await fetch(`${server.url}/one?wrong`)).status, 500)
    const { error } = await over
    assert.equal((error as { code?: string }).code, 'FAIRLEAD_SERVICE_ANSWER')
    assert.match(String(error), /Cannot answer "GET \/one" with status 200: \/id: /)
    assert.equal((await fetch(`${server.url}/table?wrong`)).status, 500)
  })

  it('are not asked in production', async () => {
    await using server = await serveHandler({ http, checkResponses: false })
    assert.deepEqual(await (await fetch(`${server.url}/one?wrong`)).json(), { id: 'x' })
  })
})

describe('hostile bodies and queries', () => {
  let server: TestServer
  before(async () => {
    server = await serveHandler({
      http: (router) =>
        router
          .post('/', { body: z.unknown() }, ({ body }) => ({ type: typeof body }))
          .get('/', { query: z.record(z.string(), z.unknown()) }, ({ query }) => query),
    })
  })
  after(() => server[Symbol.asyncDispose]())

  const rows: readonly { name: string; body: string | Uint8Array; type?: string; status: number; detail?: RegExp }[] = [
    { name: 'no body', body: '', status: 200 },
    { name: 'JSON that is cut off', body: '{"a":', status: 400, detail: /not valid JSON/ },
    {
      name: 'JSON that is not UTF-8',
      body: new Uint8Array([0x22, 0xff, 0x22]),
      status: 400,
      detail: /not valid UTF-8/,
    },
    {
      name: 'another character set',
      body: '{}',
      type: 'application/json; charset=utf-16',
      status: 415,
      detail: /utf-16/,
    },
    { name: 'the character set in quotes', body: '{}', type: 'application/json; charset="UTF-8"', status: 200 },
    { name: 'a type of its own that is JSON', body: '{}', type: 'application/vnd.x+json', status: 200 },
    { name: 'multipart', body: '--x', type: 'multipart/form-data; boundary=x', status: 415, detail: /multipart/ },
    { name: 'JSON as deep as allowed', body: '['.repeat(256) + ']'.repeat(256), status: 200 },
    { name: 'JSON that is too deep', body: '['.repeat(257) + ']'.repeat(257), status: 400, detail: /256 levels/ },
    { name: 'brackets in text', body: JSON.stringify('[{"\\'.repeat(500)), status: 200 },
    { name: 'a prototype', body: '{"a":[{"__proto__":{"b":1}}]}', status: 400, detail: /__proto__/ },
    { name: 'a prototype in escapes', body: String.raw`{"\u005f_proto__":{"b":1}}`, status: 400, detail: /__proto__/ },
    { name: 'the word as a value', body: '{"a":"__proto__"}', status: 200 },
    { name: 'a prototype in a form', body: '__proto__=1', type: 'application/x-www-form-urlencoded', status: 400 },
    {
      name: 'a form of very many fields',
      body: 'a=1&'.repeat(2000),
      type: 'application/x-www-form-urlencoded',
      status: 400,
    },
  ]
  for (const { name, body, type: contentType = 'application/json', status, detail } of rows) {
    it(`answers ${status} to ${name}`, async () => {
      const response = await fetch(server.url, {
        method: 'POST',
        body: typeof body === 'string' ? body : new Uint8Array(body),
        headers: { 'content-type': contentType },
      })
      assert.equal(response.status, status)
      const answer = (await response.json()) as { detail?: string }
      if (detail !== undefined) assert.match(answer.detail ?? '', detail)
    })
  }

  it('keeps a name that stands twice as a list, and nothing of the prototype', async () => {
    const response = await fetch(`${server.url}/?a=1&a=2&constructor=x&b=%zz`)
    assert.deepEqual(await response.json(), { a: ['1', '2'], constructor: 'x', b: '%zz' })
    assert.equal((await fetch(`${server.url}/?__proto__=1`)).status, 400)
  })

  it('reads multipart through the request, up to the limit', async () => {
    await using other = await serveHandler({
      bodyLimitBytes: 2000,
      http: (router) =>
        router.post('/', async ({ request }) => {
          const file = (await request.formData()).get('file')
          return file instanceof File ? `${file.name} ${await file.text()}` : 'none'
        }),
    })
    const send = (text: string): Promise<Response> => {
      const body = new FormData()
      body.set('file', new File([text], 'a.txt'))
      return fetch(other.url, { method: 'POST', body })
    }
    assert.equal(await (await send('hello')).text(), 'a.txt hello')
    assert.equal((await send('x'.repeat(3000))).status, 413)
  })
})
