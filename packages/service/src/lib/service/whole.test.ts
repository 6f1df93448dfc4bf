import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { trace } from '@opentelemetry/api'
import { WebSocketServer } from 'ws'
import type { HostedApp } from '../http/hosted.ts'
import { acceptWebSockets } from '../http/websocket.ts'
import { resource } from '../lifecycle/resource.ts'
import { createLogger } from '../log/logger.ts'
import { registerOpenTelemetry } from '../otel/register.ts'
import { startHttpReceiver } from '../otlp/receiver.fixture.ts'
import { client } from '../client/client.ts'
import type { StandardSchema } from '../http/schema.ts'
import { service } from './definition.ts'
import { start } from './start.ts'

const passing: StandardSchema = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) },
}
const log = createLogger({ level: 'silent' })
const options = { host: '127.0.0.1', port: 0, log, env: {} }

describe('a service with everything on', () => {
  it('serves TLS, and new connections with a renewed certificate', async () => {
    using certificates = makeCertificates('first', 'second')
    const { first, second } = certificates
    await using app = await start(service({ name: 'tls', tls: first, fetch: () => 'hello' }), options)
    assert.match(app.url, /^https:/)
    assert.equal(await getOverTls(`${app.url}/`, first.cert), 'hello')
    assert.equal(await getOverTls(`${app.url}/health/ready`, first.cert), '{"status":"UP","state":"ready"}')
    app.renewTls(second)
    assert.equal(await getOverTls(`${app.url}/`, second.cert), 'hello')
    await assert.rejects(getOverTls(`${app.url}/`, first.cert))
  })

  it('hands WebSocket connections on with the resources, and says goodbye to them when it stops', async () => {
    const chat = service({
      name: 'chat',
      use: { greeting: resource(() => 'ahoy') },
      fetch: () => 'pages',
      upgrade: ({ greeting }) =>
        acceptWebSockets(new WebSocketServer({ noServer: true }), (socket) => socket.send(greeting)),
    })
    const app = await start(chat, options)
    const socket = new WebSocket(app.url.replace('http', 'ws'))
    const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener('close', resolve))
    const [{ data }] = (await once(socket, 'message')) as [MessageEvent]
    await app.stop()
    assert.equal(data, 'ahoy')
    assert.deepEqual([(await closed).code, (await closed).wasClean], [1012, true])
  })

  it('refuses with 503 what it cannot serve, and goes on answering probes', async () => {
    const [entered, slow] = [Promise.withResolvers<void>(), Promise.withResolvers<string>()]
    const fetchSlowly = async (): Promise<string> => {
      entered.resolve()
      return await slow.promise
    }
    const busy = service({ name: 'busy', overload: { concurrency: 1, shed: false }, fetch: fetchSlowly })
    await using app = await start(busy, options)
    const first = fetch(app.url)
    await entered.promise
    const refused = await fetch(app.url)
    assert.equal(refused.status, 503)
    assert.equal(refused.headers.get('retry-after'), '1')
    assert.equal(refused.headers.get('content-type'), 'application/problem+json')
    assert.equal((await fetch(`${app.url}/health/live`)).status, 200)
    assert.match(app.metrics.render(), /^http_requests_rejected_total\{reason="limit"[^}]*\} 1$/m)
    assert.match(app.metrics.render(), /^http_requests_total\{method="GET",route="unmatched",status="503"\} 1$/m)
    slow.resolve('done')
    assert.equal(await (await first).text(), 'done')
    assert.equal(await (await fetch(app.url)).text(), 'done')
  })

  it('answers 429 to who asks too often, each by its own key, and tells everybody what is left', async () => {
    const limited = service({
      name: 'limited',
      rateLimit: { limit: 2, periodMs: 60_000, key: { header: 'x-api-key' } },
      http: (router) => router.get('/things/:id', () => 'thing'),
    })
    await using app = await start(limited, options)
    const get = (key?: string): Promise<Response> =>
      fetch(`${app.url}/things/1`, { headers: key === undefined ? {} : { 'x-api-key': key } })
    const first = await get('a')
    assert.equal(first.headers.get('ratelimit-policy'), '"default";q=2;w=60')
    assert.equal(first.headers.get('ratelimit'), '"default";r=1;t=30')
    assert.equal(await first.text(), 'thing')
    assert.equal((await get('a')).status, 200)
    const refused = await get('a')
    assert.equal(refused.status, 429)
    assert.match(refused.headers.get('retry-after') ?? '', /^(29|30)$/)
    assert.match(refused.headers.get('ratelimit') ?? '', /^"default";r=0;t=(59|60)$/)
    assert.equal(((await refused.json()) as { status: number }).status, 429)
    assert.equal((await get('b')).status, 200)
    // Without a key it is the address, so that leaving it out is no way around.
    assert.deepEqual([(await get()).status, (await get()).status, (await get()).status], [200, 200, 429])
    assert.equal((await fetch(`${app.url}/health/live`)).status, 200)
    assert.match(app.metrics.render(), /^http_requests_total\{method="GET",route="\/things\/:id",status="429"\} 2$/m)
  })

  it('counts the bodies it sends, and refuses too large ones under their route', async () => {
    const sized = service({
      name: 'sized',
      bodyLimitBytes: 10,
      http: (router) =>
        router
          .get('/text', () => 'twelve bytes')
          .get('/stream', () => new Response(new Blob(['x'.repeat(5000)]).stream()))
          .post('/orders/:id', { body: passing }, () => undefined),
    })
    await using app = await start(sized, options)
    for (const path of ['/text', '/stream']) await (await fetch(app.url + path)).text()
    await fetch(`${app.url}/text`, { method: 'HEAD' })
    assert.equal((await fetch(`${app.url}/orders/1`, { method: 'POST', body: 'x'.repeat(11) })).status, 413)
    const isCounted = (): boolean => app.metrics.render().includes('route="/orders/:id",status="413"')
    while (!isCounted()) await nextTurn()
    const text = app.metrics.render()
    assert.match(text, /^http_response_size_bytes_sum\{method="GET",route="\/text",status="200"\} 12$/m)
    assert.match(text, /^http_response_size_bytes_sum\{method="HEAD",route="\/text",status="200"\} 0$/m)
    assert.match(text, /^http_response_size_bytes_sum\{method="GET",route="\/stream",status="200"\} 5000$/m)
    assert.match(text, /^http_requests_total\{method="POST",route="\/orders\/:id",status="413"\} 1$/m)
  })

  it('stops at once where the collector has been away', async () => {
    const lines: string[] = []
    const noting = createLogger({ format: 'json', sink: { write: (line) => void lines.push(line), flush() {} } })
    // Nobody listens on port 1.
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', OTEL_BSP_SCHEDULE_DELAY: '10' }
    const long = { ...env, TELEMETRY_FLUSH_TIMEOUT_MS: '60000' }
    const app = await start(service({ name: 'alone', fetch: () => 1 }), { ...options, log: noting, env: long })
    while (!lines.some((line) => line.includes('telemetry cannot be delivered'))) {
      await fetch(app.url)
      await nextTurn()
    }
    const startedAt = performance.now()
    await app.stop()
    const elapsed = performance.now() - startedAt
    assert.ok(elapsed < 30_000, `${elapsed} ms`)
  })

  it('stops soon where the collector does not answer', async () => {
    await using silent = await startHttpReceiver(() => true)
    const patient = { OTEL_EXPORTER_OTLP_TIMEOUT: '600000', OTEL_BSP_EXPORT_TIMEOUT: '600000' }
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: silent.url, TELEMETRY_FLUSH_TIMEOUT_MS: '150', ...patient }
    const app = await start(service({ name: 'mute', fetch: () => 1 }), { ...options, env })
    await fetch(app.url)
    const startedAt = performance.now()
    await app.stop()
    const elapsed = performance.now() - startedAt
    assert.ok(elapsed < 60_000, `${elapsed} ms`)
  })

  it('calls a service over HTTPS with the authority that it is given, and nobody else', async () => {
    using certificates = makeCertificates('server', 'other')
    const { server, other } = certificates
    await using app = await start(service({ name: 'tls', tls: server, fetch: () => ({ secure: true }) }), options)
    const trusting = (ca?: string) =>
      client(app.url, { preset: 'plain', connections: { tls: { ca, servername: 'localhost' } } })
    using good = trusting(server.cert)
    using bad = trusting(other.cert)
    using none = trusting()
    assert.deepEqual(await good.json('/'), { secure: true })
    for (const stranger of [bad, none])
      await assert.rejects(stranger.json('/'), { code: 'FAIRLEAD_SERVICE_CALL', message: /certificate/ })
  })

  it('stops in this order, with the admin port to the last, and tells of a hook that fails', async () => {
    const events: string[] = []
    const lines: string[] = []
    const note =
      (event: string): (() => void) =>
      () =>
        void events.push(event)
    const application: HostedApp = {
      kind: 'test',
      drain: note('app draining'),
      stop: note('app stopped'),
      handle: (_request, response) => void response.end('x'),
    }
    let admin = ''
    const isAdminUp = (): Promise<boolean> => fetch(`${admin}/health/live`).then(({ ok }) => ok)
    await using collector = await startHttpReceiver((_request, response) => {
      // Answered before the exporter is done: the flush is under way.
      void (async () => {
        events.push(`spans sent, admin ${(await isAdminUp().catch(() => false)) ? 'up' : 'gone'}`)
        response.end()
      })()
      return true
    })
    const app = await start(
      service({
        name: 'order',
        admin: { port: 0, host: '127.0.0.1' },
        use: { db: resource(() => 1, { stop: note('resource stopped') }) },
        app: application,
        onDraining: {
          queue: async () => {
            events.push(`hook, ready ${(await fetch(`${admin}/health/ready`)).status}`)
          },
          lease: () => Promise.reject(new Error('the lease is gone')),
        },
      }),
      {
        ...options,
        log: createLogger({ level: 'warn', sink: { write: (line) => void lines.push(line), flush() {} } }),
        env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_METRICS_EXPORTER: 'none' },
      },
    )
    admin = app.adminUrl
    await (await fetch(app.url)).text()
    await app.stop()
    assert.deepEqual(events, [
      'hook, ready 200',
      'app draining',
      'app stopped',
      'resource stopped',
      'spans sent, admin up',
    ])
    assert.match(lines.join(''), /"msg":"not done before the drain".*"hook":"lease".*the lease is gone/)
    await assert.rejects(isAdminUp())
  })

  it('registers itself with OpenTelemetry for as long as it runs', async () => {
    const api = (): boolean => trace.getTracer('test').startSpan('x').spanContext().traceId !== '0'.repeat(32)
    const app = await start(
      service({ name: 'otel', fetch: () => 1, telemetry: { api: registerOpenTelemetry } }),
      options,
    )
    assert.equal(api(), true)
    await app.stop()
    assert.equal(api(), false)
    // And again, which a registration left behind would refuse.
    await using _ = await start(
      service({ name: 'otel', fetch: () => 1, telemetry: { api: registerOpenTelemetry } }),
      options,
    )
  })

  it('sends its spans although undoing a registration fails', async () => {
    await using collector = await startHttpReceiver()
    const api = () => (): never => {
      throw new Error('cannot be undone')
    }
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_METRICS_EXPORTER: 'none' }
    const app = await start(service({ name: 'otel', fetch: () => 1, telemetry: { api } }), { ...options, env })
    await fetch(app.url)
    await assert.rejects(app.stop(), /cannot be undone/)
    assert.equal(collector.spans.length, 1)
  })

  it('shares a process with another: metrics, health and spans of each are its own', async () => {
    await using collector = await startHttpReceiver()
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_METRICS_EXPORTER: 'none' }
    const back = await start(service({ name: 'back', http: (r) => r.get('/b', () => 'b') }), { ...options, env })
    const front = await start(
      service({
        name: 'front',
        http: (r) => r.get('/f', async () => await (await fetch(`${back.url}/b`)).text()),
        checks: { broken: { check: () => false, critical: false } },
      }),
      { ...options, env },
    )
    assert.equal(await (await fetch(`${front.url}/f`)).text(), 'b')
    assert.deepEqual([(await front.health()).status, (await back.health()).status], ['DEGRADED', 'UP'])
    await front.stop()
    assert.equal(await (await fetch(`${back.url}/b`)).text(), 'b')
    await back.stop()
    assert.match(front.metrics.render(), /http_requests_total\{[^}]*route="\/f"[^}]*\} 1/)
    assert.doesNotMatch(front.metrics.render(), /route="\/b"/)
    const served = (name: string): (string | undefined)[] =>
      collector.received
        .flatMap(({ request: { resourceSpans = [] } }) => resourceSpans)
        .filter(({ resource: { attributes } }) => attributes.some(({ value }) => value['stringValue'] === name))
        .flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans.map((span) => span.name)))
        .toSorted()
    assert.deepEqual(served('front'), ['GET', 'GET /f'])
    assert.deepEqual(served('back'), ['GET /b', 'GET /b'])
  })

  it('does not start when it is told to stop meanwhile, whatever it was doing', async () => {
    const stopping = new AbortController()
    const last = resource(() => stopping.abort(new Error('enough')))
    await assert.rejects(
      start(service({ name: 'x', use: { last }, fetch: () => 1 }), { ...options, signal: stopping.signal }),
    )
  })
})

function getOverTls(url: string, ca: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const call = request(url, { ca, agent: false, servername: 'localhost' }, (response: IncomingMessage) => {
    let text = ''
    response.on('data', (chunk) => (text += String(chunk)))
    response.on('end', () => resolve(text))
  })
  call.on('error', reject).end()
  return promise
}

function makeCertificates<Name extends string>(
  ...names: readonly Name[]
): Record<Name, { readonly cert: string; readonly key: string }> & Disposable {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-tls-'))
  const made = names.map((name) => {
    const [cert, key] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)]
    const kind = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost'
    const words = [...kind.split(' '), '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert]
    const { status, stderr } = spawnSync('openssl', words, { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    return [name, { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }]
  })
  return { ...Object.fromEntries(made), [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
}
