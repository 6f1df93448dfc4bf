import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, get } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { request as undiciRequest } from 'undici'
import { createMetrics } from '../metrics/metrics.ts'
import { startHttpReceiver } from '../otlp/receiver.fixture.ts'
import { startTelemetry } from '../otlp/telemetry.ts'
import { propagationHeaders } from './current.ts'
import { instrumentClients } from './instrument.ts'
import type { SpanRecord } from './span.ts'
import { createTracer, installTracer, span } from './tracer.ts'

const callers = [
  {
    name: 'fetch',
    call: async (url: string, headers: Record<string, string>) => void (await (await fetch(url, { headers })).text()),
  },
  {
    name: 'undici',
    call: async (url: string, headers: Record<string, string>) =>
      void (await (await undiciRequest(url, { headers })).body.text()),
  },
  {
    name: 'node:http',
    call: async (url: string, headers: Record<string, string>) => {
      const request = get(url, { headers, agent: false })
      const [response] = await once(request, 'response')
      response.resume()
      await once(response, 'end')
    },
  },
]

describe('instrumentClients', () => {
  for (const { name, call } of callers) {
    it(`makes a span of a call by ${name}, with headers that name it`, async () => {
      await using peer = await startPeer()
      using observed = observe()
      await span('job', async () => await call(`${peer.url}/a?b=1&sig=secret`, {}))
      const [made, job] = observed.spans
      assert.equal(made?.name, 'GET')
      assert.equal(made?.kind, 3)
      assert.equal(made?.trace.parentSpanId, job?.trace.spanId)
      assert.deepEqual(Object.fromEntries(pairs(made?.attributes ?? [])), {
        'http.request.method': 'GET',
        'server.address': '127.0.0.1',
        'server.port': peer.port,
        'url.full': `${peer.url}/a?b=1&sig=REDACTED`,
        'http.response.status_code': 200,
      })
      assert.equal(peer.seen[0]?.['traceparent'], `00-${made?.trace.traceId}-${made?.trace.spanId}-01`)
      assert.match(
        observed.metrics.render(),
        new RegExp(
          `http_client_request_duration_seconds_count\\{http_request_method="GET",server_address="127.0.0.1",server_port="${peer.port}",http_response_status_code="200",error_type=""\\} 1`,
        ),
      )
    })

    if (name === 'node:http') {
      it('names the span of a call, and not the one around it, where the caller passed the headers on itself', async () => {
        await using peer = await startPeer()
        using observed = observe()
        await span('job', async () => await call(peer.url, propagationHeaders()))
        const [made] = observed.spans
        assert.equal(peer.seen[0]?.['traceparent'], `00-${made?.trace.traceId}-${made?.trace.spanId}-01`)
      })

      it('leaves calls made for the requests of another tracer to that', async () => {
        await using peer = await startPeer()
        using observed = observe()
        const other = createTracer()
        const end = instrumentClients({ tracer: other })
        await span('job', async () => await call(peer.url, {}))
        end()
        assert.equal(observed.spans.length, 2)
      })
    }

    it(`leaves headers alone that a call by ${name} has already`, async () => {
      await using peer = await startPeer()
      using _observed = observe()
      const own = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
      await span('job', async () => await call(peer.url, { traceparent: own, 'x-request-id': 'mine' }))
      assert.equal(peer.seen[0]?.['traceparent'], own)
      assert.equal(peer.seen[0]?.['x-request-id'], 'mine')
      assert.ok(propagationHeaders)
    })

    it(`gives a call by ${name} outside of a request no headers and no span, and measures it`, async () => {
      await using peer = await startPeer()
      using observed = observe()
      await call(peer.url, {})
      assert.equal(peer.seen[0]?.['traceparent'], undefined)
      assert.deepEqual(observed.spans, [])
      assert.match(observed.metrics.render(), /http_client_request_duration_seconds_count\{[^}]*\} 1/)
    })

    it(`says why a call by ${name} failed`, async () => {
      const server = createTcpServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
      await once(server, 'listening')
      using observed = observe()
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
      await span('job', async () => await call(url, {}).catch(() => {}))
      server.close()
      const [made] = observed.spans
      assert.equal(made?.status, 2)
      assert.equal(made?.events[0]?.name, 'exception')
      assert.match(observed.metrics.render(), /error_type="(UND_ERR_SOCKET|ECONNRESET)"\} 1/)
    })

    it(`marks a call by ${name} as failed that was answered 503`, async () => {
      await using peer = await startPeer(503)
      using observed = observe()
      await span('job', async () => await call(peer.url, {}))
      assert.equal(observed.spans[0]?.status, 2)
      assert.equal(new Map(pairs(observed.spans[0]?.attributes ?? [])).get('error.type'), '503')
    })
  }

  it('does not see the calls of the exporter', async () => {
    await using receiver = await startHttpReceiver()
    const telemetry = startTelemetry({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url } })
    const metrics = createMetrics()
    const end = instrumentClients({ metrics })
    await span('job', async () => await telemetry.flush())
    span('second', () => {})
    await telemetry.stop()
    end()
    assert.deepEqual(
      receiver.spans.map(({ name }) => name),
      ['job', 'second'],
    )
    for (const { headers } of receiver.received) assert.equal(headers['traceparent'], undefined)
    assert.doesNotMatch(metrics.render(), /duration_seconds_count/)
  })

  it('ends', async () => {
    await using peer = await startPeer()
    const spans: SpanRecord[] = []
    const uninstall = installTracer(createTracer({ sink: { add: (record) => void spans.push(record) } }))
    instrumentClients()()
    await span('job', async () => await fetch(peer.url))
    uninstall()
    assert.equal(peer.seen[0]?.['traceparent'], undefined)
    assert.deepEqual(
      spans.map(({ name }) => name),
      ['job'],
    )
  })
})

function observe() {
  const spans: SpanRecord[] = []
  const metrics = createMetrics()
  const uninstall = installTracer(createTracer({ sink: { add: (record) => void spans.push(record) } }))
  const end = instrumentClients({ metrics })
  return {
    spans,
    metrics,
    [Symbol.dispose]() {
      end()
      uninstall()
    },
  }
}

async function startPeer(status = 200) {
  const seen: IncomingHttpHeaders[] = []
  const server = createServer((request, response) => {
    seen.push(request.headers)
    response.writeHead(status).end('ok')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    seen,
    port,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function pairs(list: readonly unknown[]): [string, unknown][] {
  return list.flatMap((key, index): [string, unknown][] => (index % 2 === 0 ? [[String(key), list[index + 1]]] : []))
}
