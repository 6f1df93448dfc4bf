// What the outside can do to a whole service in a process of its own.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openFake } from '../secrets/fake.fixture.ts'
import { Running } from './running.fixture.ts'

const program = new URL('everything.fixture.ts', import.meta.url).pathname
const exhausted = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9', STOP_TIMEOUT_MS: '2000' }

describe('a service with everything on', { timeout: 600_000 }, () => {
  it('refuses what is malformed, too large, too much or too slow, says so, and serves the next', async () => {
    await using running = new Running(program, [], exhausted)
    const { port, adminUrl } = await readyOf(running)
    const post = (body: string, headers = ''): string =>
      `POST /items HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`
    const good = post('{"name":"a","count":1}')
    const cases: readonly { readonly name: string; readonly sent: string; readonly expected: number }[] = [
      { name: 'half a document', sent: post('{"name":'), expected: 400 },
      { name: 'no document at all', sent: post('name=a'), expected: 400 },
      { name: 'the wrong kinds', sent: post('{"name":1,"count":"x"}'), expected: 422 },
      { name: 'another type', sent: good.replace('application/json', 'application/x-thing'), expected: 415 },
      {
        name: 'a body over the limit',
        sent: post(JSON.stringify({ name: 'x'.repeat(20_000), count: 1 })),
        expected: 413,
      },
      {
        name: 'a body over the limit that does not say so',
        sent: `POST /items HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${'1000\r\n'.concat('x'.repeat(4096), '\r\n').repeat(4)}0\r\n\r\n`,
        expected: 413,
      },
      { name: 'two lengths', sent: good.replace('\r\n\r\n', '\r\nContent-Length: 3\r\n\r\n'), expected: 400 },
      {
        name: 'a flood of headers',
        sent: post('{}', 'x-flood: abcdefghijklmnop\r\n'.repeat(2000)),
        expected: 431,
      },
      { name: 'one long header', sent: post('{}', `x-long: ${'a'.repeat(20_000)}\r\n`), expected: 431 },
      { name: 'no HTTP', sent: '\u0016\u0003\u0001 hello \r\n\r\n', expected: 400 },
      { name: 'headers that never end', sent: 'GET / HTTP/1.1\r\nHost: x\r\nx-slow: ', expected: 408 },
      { name: 'a body that never ends', sent: good.slice(0, -5), expected: 408 },
    ]
    for (const { name, sent, expected } of cases) assert.equal(await statusOf(port, sent), expected, name)
    // Many at once, each a byte now and then.
    const slow = Array.from({ length: 200 }, () => statusOf(port, 'GET / HTTP/1.1\r\nx-slow: ', { byteEveryMs: 100 }))
    assert.equal(await statusOf(port, good), 200)
    assert.deepEqual(new Set(await Promise.all(slow)), new Set([408]))

    assert.equal(await statusOf(port, good), 200)
    assert.equal((await fetch(`${adminUrl}/health/ready`)).status, 200)
    const metrics = await (await fetch(`${adminUrl}/metrics`)).text()
    for (const reason of ['bad-request', 'headers-too-large', 'timeout'])
      assert.match(metrics, new RegExp(`^http_requests_refused_total\\{reason="${reason}"\\} [1-9]`, 'm'))
    const counted = [...metrics.matchAll(/^http_requests_total\{.*route="\/items",status="(\d+)"\} (\d+)$/gm)]
    const counts = Object.fromEntries(counted.map(([, status, count]) => [status, Number(count)]))
    assert.deepEqual(counts, { 200: 2, 400: 2, 408: 1, 413: 2, 415: 1, 422: 1 })
    // Also the one that is refused by its length, before anything else is done with it.
    assert.doesNotMatch(metrics, /route="unmatched",status="413"/)
    running.process.kill('SIGTERM')
    assert.equal(await running.exitCode(), 0)
  })

  it('begins a trace of its own where the caller’s is none', async () => {
    await using running = new Running(program, [], {
      ...exhausted,
      OTEL_PROPAGATORS: 'tracecontext,baggage,b3,b3multi',
    })
    const { url } = await readyOf(running)
    const zero = '0'.repeat(32)
    const headers: readonly Record<string, string>[] = [
      { traceparent: `00-${zero}-b7ad6b7169203331-01` },
      { traceparent: '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01' },
      { traceparent: 'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
      { traceparent: '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01' },
      { traceparent: 'x'.repeat(4000) },
      { b3: `${zero}-e457b5a2e4d86bd1-1` },
      { b3: '80f198ee56343ba864fe8b2a57d3eff7' },
      { b3: 'not-a-trace-at-all' },
      { 'x-b3-traceid': 'xyz', 'x-b3-spanid': 'e457b5a2e4d86bd1' },
      { traceparent: '', tracestate: '=,'.repeat(500), baggage: '=;=,'.repeat(1000) },
    ]
    for (const [index, given] of headers.entries()) {
      const answer = await fetch(`${url}/db`, { headers: { ...given, 'x-request-id': `bad-${index}` } })
      assert.equal(answer.status, 200, JSON.stringify(given).slice(0, 80))
    }
    const lines = await eventually(() => {
      const found = running.lines.filter(({ request_id: id }) => String(id).startsWith('bad-'))
      return found.length === headers.length ? found : undefined
    })
    for (const { trace_id: id } of lines) {
      assert.match(String(id), /^(?!0+$)[0-9a-f]{32}$/)
      assert.ok(!headers.some((given) => Object.values(given).some((text) => text.toLowerCase().includes(String(id)))))
    }
    assert.equal(new Set(lines.map(({ trace_id: id }) => id)).size, lines.length)
  })

  it('does not start with a configuration of which every value is wrong, and names them all at once', async () => {
    await using running = new Running(program, [], {
      ...exhausted,
      ALL_NAME: 'x'.repeat(30),
      ALL_WORKERS: 'two',
      ALL_IS_OPEN: 'perhaps',
      ALL_TIMEOUT: '5 fortnights',
      ALL_UPLOAD: 'much',
      ALL_PEER__PORT: '99999',
      ALL_PEER__URL: 'ftp://user:hunter2@peer',
      ALL_MODE: 'reckless',
      ALL_TAGS: '["a"',
    })
    assert.equal(await running.exitCode(), 1)
    const fatal = running.lines.find(({ level }) => level === 'fatal')
    const text = JSON.stringify(fatal)
    for (const key of ['name', 'workers', 'isOpen', 'timeout', 'upload', 'peer.port', 'peer.url', 'mode', 'tags'])
      assert.ok(text.includes(`${key} `), `${key}: ${text}`)
    assert.match(text, /FAIRLEAD_SERVICE_CONFIG/)
    assert.doesNotMatch(text, /hunter2/)
  })

  it('does not start without its secrets, and goes on with those it has', async () => {
    let isDown = true
    await using vault = await openFake(({ url }) => {
      if (isDown) return { status: 503, body: { errors: ['Vault is sealed'] } }
      const data = { data: { password: 's3cret' }, metadata: { version: 1 } }
      return { body: url.pathname.includes('/data/') ? { data } : { data: { ttl: 0, renewable: false } } }
    })
    const env = { ...exhausted, VAULT_ADDR: vault.url, VAULT_TOKEN: 'root-token' }
    {
      await using running = new Running(program, [], env)
      assert.equal(await running.exitCode(), 1)
      const text = JSON.stringify(running.lines)
      assert.match(text, /FAIRLEAD_SERVICE_SECRET_UNAVAILABLE/)
      assert.match(text, /vault:\/\/secret\/db/)
      assert.doesNotMatch(text, /root-token/)
    }
    isDown = false
    await using running = new Running(program, [], env)
    const { url, adminUrl } = await readyOf(running)
    assert.deepEqual(await (await fetch(`${url}/db`)).json(), { length: 6 })
    isDown = true
    const health = async (): Promise<{ status: string }> =>
      (await (await fetch(`${adminUrl}/health`)).json()) as { status: string }
    await eventually(async () => {
      assert.equal((await fetch(`${url}/db`)).status, 200)
      return (await health()).status === 'DEGRADED'
    })
    assert.deepEqual(await (await fetch(`${url}/db`)).json(), { length: 6 })
    assert.equal((await fetch(`${adminUrl}/health/ready`)).status, 200)
    isDown = false
    await eventually(async () => (await health()).status === 'UP')
    assert.doesNotMatch(JSON.stringify(running.lines), /s3cret|root-token/)
  })

  it('serves on while the disk its log goes to is full', { skip: !existsSync('/dev/full') }, async () => {
    const full = openSync('/dev/full', 'w')
    // Nobody can read the port it chose.
    const port = await freePort()
    await using running = new Running(program, [], { ...exhausted, PORT: String(port), LOG_LEVEL: 'debug' }, full)
    closeSync(full)
    const url = `http://127.0.0.1:${port}`
    await eventually(async () => (await fetch(`${url}/db`)).ok)
    for (let request = 0; request < 50; request += 1) assert.equal((await fetch(`${url}/db`)).status, 200)
    running.process.kill('SIGTERM')
    assert.equal(await running.exitCode(), 0)
  })
})

async function readyOf(
  running: Running,
): Promise<{ readonly url: string; readonly port: number; readonly adminUrl: string }> {
  const { url, port, admin_url: adminUrl } = await running.see('service ready')
  return { url: String(url), port: Number(port), adminUrl: String(adminUrl) }
}

/** The status of the answer to what is sent as it is. */
async function statusOf(port: number, sent: string, { byteEveryMs }: { byteEveryMs?: number } = {}): Promise<number> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.on('data', (chunk) => (text += chunk.toString('latin1')))
  socket.on('error', () => {})
  const closed = once(socket, 'close')
  socket.write(
    sent.includes('Transfer-Encoding') || sent.startsWith('POST')
      ? sent.replace('Host: x', 'Host: x\r\nConnection: close')
      : sent,
  )
  const timer = byteEveryMs === undefined ? undefined : setInterval(() => socket.write('x'), byteEveryMs)
  await closed
  clearInterval(timer)
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1])
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function eventually<T>(probe: () => T | Promise<T>): Promise<NonNullable<T>> {
  const until = performance.now() + 30_000
  for (;;) {
    const found = await Promise.resolve()
      .then(probe)
      .catch((error: unknown) => {
        if (performance.now() > until) throw error
      })
    if (found) return found
    if (performance.now() > until) throw new Error('Waited in vain')
    await sleep(20)
  }
}
