import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, it } from 'node:test'
import { currentScope } from '../trace/current.ts'
import type { ServedRequest } from './handler.ts'
import { serveHandler } from './serve.fixture.ts'

describe('an exchange', () => {
  it('is the scope of what runs on its behalf, and afterwards the account of it', async () => {
    const span = { name: 'mine' }
    let account: Partial<ServedRequest> = {}
    await using server = await serveHandler({
      trace: (headers) => ({ traceId: String(headers['x-trace']), spanId: 's', isSampled: true }),
      onServed({ headers, startTime, scheme, protocolVersion, span: noted, durationMs, trace, path, method }) {
        account = { headers, startTime, scheme, protocolVersion, span: noted, durationMs, trace, path, method }
      },
      http: (router) =>
        router.get('/here', async () => {
          await Promise.resolve()
          const scope = currentScope()
          if (scope !== undefined) scope.span = span
          return {
            id: scope?.requestId,
            trace: scope?.trace.traceId,
            x: scope?.incoming?.['x-a'],
            at: scope?.startedAt,
          }
        }),
    })
    const before = Date.now()
    const over = server.next()
    const response = await fetch(`${server.url}/here?x=1`, {
      headers: { 'x-a': 'b', 'x-trace': 't', 'x-request-id': 'i' },
    })
    const { at, ...seen } = (await response.json()) as { at: number }
    assert.deepEqual(seen, { id: 'i', trace: 't', x: 'b' })
    assert.ok(at > 0 && at <= performance.now())
    await over
    assert.partialDeepStrictEqual(account, { method: 'GET', path: '/here', scheme: 'http', protocolVersion: '1.1' })
    assert.equal(account.span, span)
    assert.equal(account.headers?.['x-a'], 'b')
    assert.equal(account.trace?.traceId, 't')
    assert.ok((account.startTime ?? 0) >= before - 2 && (account.startTime ?? 0) <= Date.now() + 2)
    assert.ok((account.durationMs ?? -1) >= 0 && (account.durationMs ?? Infinity) < 10_000)
  })

  it('has the status 499 when the caller left before the answer, and tells the handler', async () => {
    const entered = Promise.withResolvers<void>()
    const aborted = Promise.withResolvers<void>()
    await using server = await serveHandler({
      http: (router) =>
        router.get('/slow', async ({ signal }) => {
          signal.addEventListener('abort', () => aborted.resolve())
          entered.resolve()
          await aborted.promise
        }),
    })
    const over = server.next()
    const socket = connect(server.port, '127.0.0.1')
    socket.write('GET /slow HTTP/1.1\r\nhost: x\r\n\r\n')
    await entered.promise
    socket.destroy()
    await aborted.promise
    assert.partialDeepStrictEqual(await over, { route: '/slow', status: 499 })
  })

  it('finds the path of a request that names its origin, as proxies are sent', async () => {
    await using server = await serveHandler({ http: (router) => router.get('/a/:b', ({ params }) => params.b) })
    const socket = connect(server.port, '127.0.0.1')
    socket.write(`GET http://elsewhere/a/b?c HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)
    const [first] = (await once(socket, 'data')) as [Buffer]
    assert.match(String(first), /^HTTP\/1\.1 200 [^]*\r\n\r\nb$/)
  })

  it('writes the request id once, whoever writes the answer', async () => {
    await using server = await serveHandler({
      http: (router) =>
        router
          .get('/kit', () => 'x')
          .get('/looked', ({ node }) => node.request.httpVersion)
          .get('/self', ({ node }) => void node.response.writeHead(201).end('y')),
    })
    for (const [path, status] of [
      ['/kit', 200],
      ['/looked', 200],
      ['/self', 201],
    ] as const) {
      const response = await fetch(server.url + path, { headers: { 'x-request-id': 'one' } })
      assert.deepEqual([response.status, response.headers.get('x-request-id')], [status, 'one'])
    }
  })

  it('lets resources have the names of its own members', async () => {
    await using server = await serveHandler({
      uses: { path: 'mine', status: 'mine too', method: 3 },
      http: (router) => router.get('/a', (context) => pick(context as unknown as Record<string, unknown>)),
    })
    const over = server.next()
    assert.deepEqual(await (await fetch(`${server.url}/a`)).json(), { path: 'mine', status: 'mine too', method: 3 })
    assert.partialDeepStrictEqual(await over, { route: '/a', status: 200, method: 'GET' })
  })

  it('makes ids that differ', async () => {
    const ids = new Set<string>()
    await using server = await serveHandler({ http: (router) => router.get('/', ({ requestId }) => requestId) })
    for (let count = 0; count < 50; count++) ids.add(await (await fetch(server.url)).text())
    assert.equal(ids.size, 50)
  })
})

function pick({ path, status, method }: Record<string, unknown>): object {
  return { path, status, method }
}
