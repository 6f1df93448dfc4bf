import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { createLogger } from '../log/logger.ts'
import type { Logger } from '../log/logger.ts'
import { Secret } from '../secrets/secret.ts'
import { refuse } from './access.ts'
import { createDebug } from './endpoints.ts'
import type { Debug, DebugOptions } from './endpoints.ts'

const local = { peer: '127.0.0.1', headers: { host: '127.0.0.1:9000' } }

describe('refuse', () => {
  const token = 't0ken-of-the-test'
  for (const { name, caller, expected } of [
    { name: 'a process of the same machine', caller: local, expected: undefined },
    { name: 'one that calls by IPv6', caller: { peer: '::1', headers: { host: '[::1]:9000' } }, expected: undefined },
    { name: 'IPv4 within IPv6', caller: { peer: '::ffff:127.0.0.1', headers: local.headers }, expected: undefined },
    { name: 'another machine', caller: { peer: '10.0.0.7', headers: local.headers }, expected: 401 },
    { name: 'nobody known', caller: { peer: undefined, headers: local.headers }, expected: 401 },
    {
      name: 'another machine with the token',
      caller: { peer: '10.0.0.7', headers: { host: 'pod.example', authorization: `Bearer ${token}` } },
      expected: undefined,
    },
    {
      name: 'a wrong token, even from here',
      caller: { peer: '127.0.0.1', headers: { ...local.headers, authorization: 'Bearer wrong' } },
      expected: 401,
    },
    {
      name: 'a token of another scheme',
      caller: { peer: '127.0.0.1', headers: { ...local.headers, authorization: `Basic ${token}` } },
      expected: 401,
    },
    {
      name: 'a Host that was rebound to here',
      caller: { peer: '127.0.0.1', headers: { host: 'evil.example:9000' } },
      expected: 403,
    },
    {
      name: 'a Host that begins like here',
      caller: { peer: '127.0.0.1', headers: { host: '127.0.0.1.evil.example' } },
      expected: 403,
    },
    { name: 'no Host', caller: { peer: '127.0.0.1', headers: {} }, expected: 403 },
    {
      name: 'a page of another site',
      caller: { peer: '127.0.0.1', headers: { ...local.headers, origin: 'https://evil.example' } },
      expected: 403,
    },
    {
      name: 'a page without an origin',
      caller: { peer: '127.0.0.1', headers: { ...local.headers, origin: 'null' } },
      expected: 403,
    },
    {
      name: 'a page of another port',
      caller: { peer: '127.0.0.1', headers: { ...local.headers, 'sec-fetch-site': 'same-site' } },
      expected: 403,
    },
    {
      name: 'a page of another site that knows the token',
      caller: {
        peer: '127.0.0.1',
        headers: { ...local.headers, origin: 'https://evil.example', authorization: `Bearer ${token}` },
      },
      expected: 403,
    },
    {
      name: 'a proxy on this machine',
      caller: { peer: '127.0.0.1', headers: { ...local.headers, 'x-forwarded-for': '10.0.0.7' } },
      expected: 401,
    },
    { name: 'the sidecar of a mesh', caller: { peer: '127.0.0.6', headers: local.headers }, expected: 401 },
  ])
    it(`${expected === undefined ? 'lets in' : `answers ${expected} to`} ${name}`, () =>
      assert.equal(refuse(caller, token)?.status, expected))

  it('asks for no token where none is set', () =>
    assert.equal(refuse({ peer: '10.0.0.7', headers: { authorization: 'Bearer undefined' } }, undefined)?.status, 401))
})

describe('createDebug', () => {
  it('shows and changes log levels, and takes them back', async () => {
    await using host = await mount()
    const db = host.log.named('db')
    const pool = db.named('pool')
    assert.equal(pool.isEnabled('debug'), false)
    const answer = await host.call('PUT', '/debug/log-levels', '{"db":"debug"}')
    assert.deepEqual(answer.json(), {
      configured: { root: 'info', db: 'debug' },
      effective: { root: 'info', db: 'debug', 'db.pool': 'debug' },
    })
    assert.equal(pool.isEnabled('debug'), true)
    await host.call('PUT', '/debug/log-levels', '{"db":null,"root":"warn"}')
    assert.deepEqual((await host.call('GET', '/debug/log-levels')).json(), {
      configured: { root: 'warn' },
      effective: { root: 'warn', db: 'warn', 'db.pool': 'warn' },
    })
  })

  for (const body of [
    '',
    '[]',
    '7',
    '{"db":"loud"}',
    '{"a b":"info"}',
    '{"ok":"warn","db":3}',
    `{"x":"${'y'.repeat(70_000)}"}`,
  ])
    it(`changes nothing for ${JSON.stringify(body.slice(0, 30))}`, async () => {
      await using host = await mount()
      const { status } = await host.call('PUT', '/debug/log-levels', body)
      assert.ok(status === 400 || status === 413, String(status))
      assert.deepEqual(host.log.levels.configured, { root: 'info' })
    })

  it('shows the configuration without its secrets', async () => {
    await using host = await mount({
      config: () => ({
        db: { value: 'postgres://app:hunter2@db/orders', origin: 'env' },
        password: { value: 'hunter2' },
        key: new Secret('hunter2'),
      }),
    })
    const { text } = await host.call('GET', '/debug/config')
    assert.doesNotMatch(text, /hunter2/)
    assert.deepEqual(JSON.parse(text), {
      db: { value: 'postgres://app:[redacted]@db/orders', origin: 'env' },
      password: '[redacted]',
      key: '[redacted]',
    })
  })

  it('describes handles, and reports without environment and arguments', async () => {
    await using host = await mount()
    const handles = (await host.call('GET', '/debug/handles')).json() as {
      counts: Record<string, number>
      handles: unknown[]
    }
    assert.ok((handles.counts['TCPServerWrap'] ?? 0) >= 1)
    assert.ok(handles.handles.length > 0)
    process.env['DEBUG_TEST_VALUE'] = 'hunter2-in-environment'
    try {
      const { text } = await host.call('GET', '/debug/report')
      const report = JSON.parse(text) as Record<string, unknown>
      assert.ok('javascriptHeap' in report)
      assert.equal('environmentVariables' in report, false)
      assert.doesNotMatch(text, /hunter2/)
    } finally {
      delete process.env['DEBUG_TEST_VALUE']
    }
  })

  it('records a CPU profile, one at a time, and ends it when the service stops', async () => {
    await using host = await mount()
    const first = host.call('POST', '/debug/cpu-profile?seconds=30')
    await host.until(async () => (await host.call('POST', '/debug/cpu-profile?seconds=30')).status === 409)
    host.debug.stop()
    const { status, text } = await first
    assert.equal(status, 200)
    assert.ok('nodes' in (JSON.parse(text) as object))
    assert.equal((await host.call('GET', '/debug/handles')).status, 503)
  })

  for (const seconds of ['0', '-1', '61', 'x', 'Infinity'])
    it(`refuses a profile of ${seconds} seconds`, async () => {
      await using host = await mount()
      assert.equal((await host.call('POST', `/debug/cpu-profile?seconds=${seconds}`)).status, 400)
    })

  it('says how to get a garbage collection where there is none', async () => {
    await using host = await mount()
    const { status, text } = await host.call('POST', '/debug/gc')
    if (globalThis.gc === undefined) assert.match(text, /--expose-gc/)
    assert.equal(status, globalThis.gc === undefined ? 501 : 200)
  })

  it('answers other methods and paths, and leaves those of others alone', async () => {
    await using host = await mount()
    assert.equal((await host.call('GET', '/debug/cpu-profile')).status, 405)
    assert.equal((await host.call('GET', '/debug/none')).status, 404)
    assert.equal((await host.call('GET', '/debugger')).status, 418)
  })

  it('lets nobody in whom it should not, and says so', async () => {
    await using host = await mount()
    assert.equal((await host.call('GET', '/debug/handles', undefined, { host: 'evil.example' })).status, 403)
    assert.ok(host.lines.some((line) => line.includes('debug request refused')))
  })
})

interface Answer {
  readonly status: number
  readonly text: string
  json(): unknown
}

interface Host extends AsyncDisposable {
  readonly debug: Debug
  readonly log: Logger
  readonly lines: readonly string[]
  call(method: string, path: string, body?: string, headers?: Record<string, string>): Promise<Answer>
  until(condition: () => Promise<boolean>): Promise<void>
}

async function mount(options: Partial<DebugOptions> = {}): Promise<Host> {
  const lines: string[] = []
  const log = createLogger({ sink: { write: (line) => void lines.push(line), flush() {} } })
  const debug = createDebug({ log, ...options })
  const server = createServer((request, response) => {
    if (!debug.handle(request, response)) response.writeHead(418).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const call: Host['call'] = (method, path, body, headers = {}) => {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const call = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      let text = ''
      response.on('data', (chunk) => (text += String(chunk)))
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text, json: () => JSON.parse(text) as unknown }),
      )
    })
    call.on('error', reject)
    call.end(body)
    return promise
  }
  return {
    debug,
    log,
    lines,
    call,
    async until(condition) {
      const deadline = performance.now() + 30_000
      while (!(await condition())) assert.ok(performance.now() < deadline, 'the condition did not come true in 30 s')
    },
    async [Symbol.asyncDispose]() {
      debug.stop()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
