import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { client } from '../client/client.ts'
import { createLogger } from '../log/logger.ts'
import { createMetrics } from '../metrics/metrics.ts'
import { renderText } from '../metrics/text.ts'
import { spanKind } from '../trace/span.ts'
import type { SpanRecord } from '../trace/span.ts'
import { service } from './definition.ts'
import { start } from './start.ts'

describe('a call made by client for a request', () => {
  it('is one CLIENT span, one set of trace headers, and counted once by each metric', async () => {
    const received: string[][] = []
    const other = createServer((request, response) => {
      received.push(request.rawHeaders)
      response.setHeader('content-type', 'application/json')
      response.end('{"ok":true}')
    })
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    using _ = { [Symbol.dispose]: () => void other.close() }

    const spans: SpanRecord[] = []
    const metrics = createMetrics()
    const address = `http://127.0.0.1:${(other.address() as AddressInfo).port}`
    using stock = client(address, { name: 'stock', metrics })
    const shop = service({
      name: 'shop',
      http: (router) => router.get('/', () => stock.get('/count')),
      telemetry: { onSpan: (span) => spans.push(span) },
    })
    await using app = await start(shop, { port: 0, metrics, env: {}, log: createLogger({ level: 'silent' }) })
    assert.equal((await fetch(app.url)).status, 200)
    await app.stop()

    const calls = spans.filter(({ kind, trace }) => kind === spanKind.client && trace.parentSpanId !== undefined)
    const [server] = spans.filter(({ kind }) => kind === spanKind.server)
    const [headers = []] = received
    const parents = headers.filter((_name, index) => headers[index - 1]?.toLowerCase() === 'traceparent')
    assert.equal(calls.length, 1)
    assert.equal(calls[0]?.trace.parentSpanId, server?.trace.spanId)
    assert.deepEqual(parents, [`00-${server?.trace.traceId}-${calls[0]?.trace.spanId}-01`])
    assert.equal(headers.filter((name) => name.toLowerCase() === 'x-request-id').length, 1)

    const text = renderText(metrics.collect())
    assert.match(text, /^service_call_duration_seconds_count\{[^}]*service="stock"[^}]*\} 1$/m)
    assert.match(text, /^http_client_request_duration_seconds_count\{[^}]*\} [12]$/m)
  })
})
