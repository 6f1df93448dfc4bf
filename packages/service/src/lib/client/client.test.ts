import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createLogger } from '../log/logger.ts'
import { problem } from '../http/problem.ts'
import { service } from '../service/definition.ts'
import { start } from '../service/start.ts'
import type { App } from '../service/start.ts'
import { runInScope } from '../trace/current.ts'
import { client } from './client.ts'

describe('client', () => {
  const backend = service({
    name: 'backend',
    http: (router) =>
      router
        .get('/echo', ({ node, query }) => ({ headers: node.request.headers, query: Object.fromEntries(query) }))
        .post('/echo', async ({ request }) => ({ method: request.method, body: await request.json() }))
        .get('/empty', () => undefined)
        .get('/text', () => 'no JSON')
        .get('/missing', () => {
          throw problem(404, 'not here')
        })
        .get('/never', () => new Promise(() => {}))
        .get('/large', () => 'x'.repeat(2000)),
  })
  let app: App

  before(async () => {
    app = await start(backend, { host: '127.0.0.1', port: 0, log: createLogger({ level: 'silent' }), env: {} })
  })
  after(() => app.stop({ signal: AbortSignal.abort() }))

  it('sends JSON and query, and the current trace', async () => {
    const http = client(app.url)
    assert.deepEqual(await http.json('/echo', { body: { a: 1 } }), { method: 'POST', body: { a: 1 } })
    const trace = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), isSampled: true }
    const seen = await runInScope({ requestId: 'r1', trace }, () =>
      http.json('/echo', { query: { a: 1, b: undefined } }),
    )
    assert.partialDeepStrictEqual(seen, {
      headers: { 'x-request-id': 'r1', traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` },
      query: { a: '1' },
    })
    assert.equal(await http.json('/empty'), undefined)
  })

  it('keeps the path of its base address', async () => {
    const seen: string[] = []
    const http = client('http://x/api/v1', {
      fetch: async (url) => {
        seen.push(url.href)
        return new Response('1')
      },
    })
    await http.json('/things')
    assert.deepEqual(seen, ['http://x/api/v1/things'])
  })

  const failures: readonly { path: string; expected: object }[] = [
    { path: '/missing', expected: { reason: 'status', status: 404, detail: 'not here' } },
    { path: '/text', expected: { reason: 'invalid' } },
    { path: '/large', expected: { reason: 'invalid' } },
    { path: '/never', expected: { reason: 'timeout' } },
  ]
  for (const { path, expected } of failures) {
    it(`says what was wrong with ${path}`, async () => {
      const call = client(app.url, { timeoutMs: path === '/never' ? 50 : 5000, bodyLimitBytes: 1000 }).json(path)
      await assert.rejects(call, { code: 'FAIRLEAD_SERVICE_CALL', ...expected })
    })
  }

  it('says when nobody is there, and when our own caller gave up', async () => {
    await assert.rejects(client('http://127.0.0.1:1').json('/'), { reason: 'unreachable' })
    const controller = new AbortController()
    const call = client(app.url).json('/never', { signal: controller.signal })
    controller.abort()
    await assert.rejects(call, { reason: 'aborted' })
  })

  it('checks the answer against a schema', async () => {
    const schema = { '~standard': { validate: () => ({ issues: [{ message: 'no price' }] }) } }
    await assert.rejects(client(app.url).json('/echo', { schema }), { reason: 'invalid', message: /no price/ })
  })
})
