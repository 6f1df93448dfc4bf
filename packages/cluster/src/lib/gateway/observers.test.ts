import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { openObservers } from './observers.ts'
import { ask, clusterOf, forward, openPlaneBench } from './plane/testing.ts'

const { createServer } = process.getBuiltinModule('node:http')
const traceId = '0af7651916cd43dd8448eb211c80319c'
const traceparent = `00-${traceId}-b7ad6b7169203331-01`

interface Line {
  readonly [name: string]: unknown
}

void describe('openObservers', () => {
  let dir = ''
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'fairlead-observers-'))))
  afterEach(() => rmSync(dir, { recursive: true }))

  it('writes a line per request, without what a query may hold', async () => {
    const accessLog = join(dir, 'access.log')
    const observers = await openObservers({ accessLog, onError: (error) => assert.ifError(error) })
    const bench = openPlaneBench({ observers })
    const endpoint = await bench.serve((_, response) => response.end('fine'))
    const port = await bench.route([forward('a', { path: '/cart' })], [clusterOf('a', [endpoint])])
    const headers = { host: 'shop.example.com', 'user-agent': 'test', traceparent }
    await ask({ port, path: '/cart?token=secret', headers })
    await ask({ port, path: '/other' })
    const odd = connect(port, '127.0.0.1')
    odd.write('GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n')
    await text(odd)
    await bench[Symbol.asyncDispose]()
    await observers.close()
    const written = readFileSync(accessLog, 'utf8')
    assert.ok(!written.includes('secret'))
    assert.equal(statSync(accessLog).mode & 0o777, 0o600)
    const lines = written
      .trim()
      .split('\n')
      .map((line): Line => JSON.parse(line))
    assert.deepEqual(
      lines.map(({ status }) => status),
      [200, 404, 400],
    )
    const { time, durationMs, ...first } = lines[0] ?? {}
    assert.match(String(time), /^\d{4}-.*Z$/)
    assert.ok(Number(durationMs) > 0)
    assert.deepEqual(first, {
      source: '127.0.0.1',
      method: 'GET',
      scheme: 'http',
      authority: 'shop.example.com',
      path: '/cart',
      protocol: 'HTTP/1.1',
      status: 200,
      route: 'test',
      cluster: 'a',
      endpoint: endpoint.address,
      userAgent: 'test',
      traceparent,
    })
  })

  it('sends a span per request that is part of the trace of client and endpoint', async () => {
    const received = Promise.withResolvers<string>()
    const collector = createServer((incoming, response) => {
      void text(incoming).then((body) => received.resolve(body))
      response.setHeader('content-type', 'application/json').end('{}')
    }).listen(0, '127.0.0.1')
    await once(collector, 'listening')
    const { port: collectorPort } = collector.address() as AddressInfo
    const telemetry = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collectorPort}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_SERVICE_NAME: 'somebody',
    }
    const observers = await openObservers({ telemetry, onError: (error) => assert.ifError(error) })
    const bench = openPlaneBench({ observers })
    const endpoint = await bench.serve(({ headers }, response) => response.end(headers['traceparent']))
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
    const { body } = await ask({ port, path: '/cart', headers: { traceparent } })
    assert.match(body, new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`))
    assert.notEqual(body, traceparent)
    await bench[Symbol.asyncDispose]()
    await observers.close()
    const sent = await received.promise
    collector.close()
    const { resourceSpans } = JSON.parse(sent)
    const [{ resource, scopeSpans }] = resourceSpans
    const name = resource.attributes.find(({ key }: { key: string }) => key === 'service.name')
    assert.equal(name.value.stringValue, 'fairlead-gateway')
    const [span] = scopeSpans[0].spans
    assert.equal(span.traceId, traceId)
    assert.equal(span.parentSpanId, 'b7ad6b7169203331')
    assert.equal(body.slice(36, 52), span.spanId)
    assert.equal(span.name, 'GET test')
  })

  it('passes traces on as they come where nothing is sent', async () => {
    const observers = await openObservers({ telemetry: { OTEL_SERVICE_NAME: 'somebody' } })
    await using bench = openPlaneBench({ observers })
    const endpoint = await bench.serve(({ headers }, response) => response.end(headers['traceparent']))
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
    assert.equal((await ask({ port, headers: { traceparent } })).body, traceparent)
  })

  it('serves without a log that cannot be opened, and says so', async () => {
    const errors: unknown[] = []
    const observers = await openObservers({
      accessLog: join(dir, 'no', 'access.log'),
      onError: (error) => errors.push(error),
    })
    await using bench = openPlaneBench({ observers })
    const endpoint = await bench.serve((_, response) => response.end('fine'))
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
    assert.equal((await ask({ port })).status, 200)
    assert.equal(errors.length, 1)
  })
})
