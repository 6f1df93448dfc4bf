import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { createRequire } from 'node:module'
import { afterEach, beforeEach, describe, it } from 'node:test'
import {
  context,
  createContextKey,
  metrics as metricsApi,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import type { ObservableResult } from '@opentelemetry/api'
import { FastifyOtelInstrumentation } from '@fastify/otel'
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http'
import { IORedisInstrumentation } from '@opentelemetry/instrumentation-ioredis'
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici'
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { createHandler } from '../http/handler.ts'
import { createRouteTable } from '../http/router.ts'
import type { Router } from '../http/router.ts'
import { createLogger } from '../log/logger.ts'
import { createMetrics } from '../metrics/metrics.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { startTelemetry } from '../otlp/telemetry.ts'
import type { Telemetry } from '../otlp/telemetry.ts'
import { startHttpReceiver } from '../otlp/receiver.fixture.ts'
import { currentBaggage, currentScope, propagationHeaders, runInScope, withBaggage } from '../trace/current.ts'
import type { SpanRecord } from '../trace/span.ts'
import { currentSpan, span } from '../trace/tracer.ts'
import { registerOpenTelemetry } from './register.ts'
import { sdkTracing } from './sdk.ts'
import type { SdkTracing } from './sdk.ts'

const load = createRequire(import.meta.url)
const traceId = '0af7651916cd43dd8448eb211c80319c'
const incoming = { traceparent: `00-${traceId}-b7ad6b7169203331-01`, baggage: 'tenant=acme' }

let spans: SpanRecord[] = []
let telemetry: Telemetry
let metrics: Metrics
let undo: () => void

beforeEach(() => {
  spans = []
  metrics = createMetrics()
  telemetry = startTelemetry({ env: {}, metrics, onSpan: (record) => spans.push(record) })
  undo = registerOpenTelemetry({ metrics })
})
afterEach(async () => {
  undo()
  await telemetry.stop()
})

describe('registerOpenTelemetry', () => {
  it('gives a handler the span of its request, whose attributes are exported', async () => {
    await serve(
      (router) =>
        router.get('/orders/:id', () => {
          const active = trace.getActiveSpan()
          active?.setAttribute('order.state', 'open').addEvent('looked up')
          return { spanId: active?.spanContext().spanId, current: currentScope()?.trace.spanId }
        }),
      async (url) => {
        const answer = await (await fetch(`${url}/orders/1`, { headers: incoming })).json()
        assert.deepEqual(answer, { spanId: spans[0]?.trace.spanId, current: spans[0]?.trace.spanId })
      },
    )
    const [served] = spans
    assert.equal(served?.name, 'GET /orders/:id')
    assert.equal(served?.trace.traceId, traceId)
    assert.equal(attribute(served, 'order.state'), 'open')
    assert.equal(attribute(served, 'http.response.status_code'), 200)
    assert.equal(served?.events[0]?.name, 'looked up')
  })

  it('makes spans of the API and ours parts of each other, over awaits', async () => {
    await serve(
      (router) =>
        router.get('/', () =>
          trace.getTracer('lib', '2.0').startActiveSpan('theirs', { kind: SpanKind.CLIENT }, async (outer) => {
            await Promise.resolve()
            assert.equal(currentScope()?.trace.spanId, outer.spanContext().spanId)
            assert.ok(propagationHeaders()['traceparent']?.includes(outer.spanContext().spanId))
            await span('ours', async () => {
              await Promise.resolve()
              trace.getTracer('lib', '2.0').startSpan('inner').end()
            })
            outer.setStatus({ code: SpanStatusCode.ERROR, message: 'no' })
            outer.end()
            return { requestId: currentScope()?.requestId }
          }),
        ),
      async (url) => {
        const response = await fetch(url, { headers: { ...incoming, 'x-request-id': 'r-7' } })
        assert.deepEqual(await response.json(), { requestId: 'r-7' })
      },
    )
    const byName = new Map(spans.map((record) => [record.name, record]))
    const parentOf = (name: string): string | undefined => byName.get(name)?.trace.parentSpanId
    assert.equal(parentOf('inner'), byName.get('ours')?.trace.spanId)
    assert.equal(parentOf('ours'), byName.get('theirs')?.trace.spanId)
    assert.equal(parentOf('theirs'), byName.get('GET /')?.trace.spanId)
    assert.deepEqual(new Set(spans.map((record) => record.trace.traceId)), new Set([traceId]))
    assert.equal(byName.get('theirs')?.kind, 3)
    assert.equal(byName.get('theirs')?.status, 2)
    assert.deepEqual(byName.get('theirs')?.scope, { name: 'lib', version: '2.0' })
  })

  it('keeps values and baggage in contexts, and tells ours of them', () => {
    const key = createContextKey('test')
    const scope = { requestId: 'r1', trace: telemetry.join(incoming), incoming }
    runInScope(scope, () => {
      assert.equal(propagation.getActiveBaggage()?.getEntry('tenant')?.value, 'acme')
      context.with(context.active().setValue(key, 1), () => {
        assert.equal(context.active().getValue(key), 1)
        assert.equal(currentScope()?.requestId, 'r1')
        assert.equal(currentSpan(), trace.getActiveSpan())
      })
      const baggage = propagation.createBaggage({ plan: { value: 'gold' } })
      context.with(propagation.setBaggage(context.active(), baggage), () => {
        assert.equal(currentBaggage().get('plan')?.value, 'gold')
        assert.equal(propagationHeaders()['baggage'], 'plan=gold')
      })
      withBaggage({ plan: 'silver' }, () =>
        assert.equal(propagation.getActiveBaggage()?.getEntry('plan')?.value, 'silver'),
      )
      const outside = context.bind(ROOT_CONTEXT, () => currentScope())
      assert.equal(outside(), undefined)
    })
    assert.equal(context.active(), ROOT_CONTEXT)
  })

  it('binds functions and emitters to a context', () => {
    const key = createContextKey('test')
    const bound = ROOT_CONTEXT.setValue(key, 'bound')
    const emitter = context.bind(bound, new EventEmitter())
    const seen: unknown[] = []
    const listener = (): void => void seen.push(context.active().getValue(key))
    emitter.on('event', listener)
    emitter.emit('event')
    emitter.off('event', listener)
    emitter.emit('event')
    assert.deepEqual(seen, ['bound'])
    assert.equal(context.bind(bound, (_a: number, _b: number) => context.active().getValue(key)).length, 2)
  })

  it('injects into and extracts from carriers', () => {
    const carrier: Record<string, string> = {}
    const extracted = propagation.extract(ROOT_CONTEXT, incoming)
    assert.equal(trace.getSpanContext(extracted)?.traceId, traceId)
    assert.equal(trace.getSpanContext(extracted)?.isRemote, true)
    const started = trace.getTracer('consumer').startSpan('process', { kind: SpanKind.CONSUMER }, extracted)
    propagation.inject(trace.setSpan(extracted, started), carrier)
    started.end()
    assert.equal(carrier['traceparent'], `00-${traceId}-${started.spanContext().spanId}-01`)
    assert.equal(carrier['baggage'], 'tenant=acme')
    assert.equal(spans[0]?.isParentRemote, true)
    assert.deepEqual(propagation.fields(), ['traceparent', 'tracestate', 'baggage'])
  })

  it('is refused while another one is registered, and leaves nothing behind', () => {
    assert.throws(() => registerOpenTelemetry(), { code: 'FAIRLEAD_SERVICE_OTEL_TAKEN' })
    undo()
    assert.equal(trace.getTracer('lib').startSpan('none').isRecording(), false)
    undo = registerOpenTelemetry()
    trace.getTracer('lib').startSpan('again').end()
    assert.equal(spans.at(-1)?.name, 'again')
  })
})

describe('meters of the API', () => {
  it('write into the metrics of the service', async () => {
    const meter = metricsApi.getMeter('lib')
    meter.createCounter('jobs.done', { unit: '{job}', description: 'Jobs done.' }).add(2, { queue: 'a' })
    meter.createCounter('jobs.done').add(1, { queue: 'b', 'job.kind': 'x' })
    meter.createUpDownCounter('jobs.waiting').add(5)
    meter.createUpDownCounter('jobs.waiting').add(-2)
    meter.createGauge('disk.usage', { unit: 'By' }).record(7)
    meter.createHistogram('job.duration', { unit: 's', advice: { explicitBucketBoundaries: [1, 2] } }).record(1.5)
    meter.createObservableGauge('queue.depth').addCallback((result: ObservableResult) => result.observe(4, { q: 'a' }))
    const text = metrics.render()
    for (const line of [
      'jobs_done_total{queue="a"} 2',
      'jobs_done_total{job_kind="x",queue="b"} 1',
      'jobs_waiting 3',
      'disk_usage_bytes 7',
      'job_duration_seconds_bucket{le="2"} 1',
      'job_duration_seconds_sum 1.5',
      'queue_depth{q="a"} 4',
    ]) {
      assert.ok(text.includes(`${line}\n`), `${line} in\n${text}`)
    }
  })

  it('are sent by OTLP under their own names', async () => {
    await using receiver = await startHttpReceiver()
    const meter = metricsApi.getMeter('lib')
    meter.createCounter('jobs.done').add(2, { 'job.kind': 'x' })
    meter.createUpDownCounter('jobs.waiting').add(-2)
    const exporter = startTelemetry({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }, metrics })
    await exporter.stop()
    const done = receiver.metrics.find(({ name }) => name === 'jobs.done')
    assert.equal(done?.sum?.['isMonotonic'], true)
    assert.deepEqual(done?.sum?.dataPoints[0]?.['attributes'], [{ key: 'job.kind', value: { stringValue: 'x' } }])
    const waiting = receiver.metrics.find(({ name }) => name === 'jobs.waiting')
    assert.equal(waiting?.sum?.['isMonotonic'] ?? false, false)
    assert.equal(waiting?.sum?.dataPoints[0]?.['asDouble'], -2)
  })

  it('refuse what does not fit, without failing', () => {
    const meter = metricsApi.getMeter('lib')
    meter.createCounter('a.b').add(1)
    meter.createHistogram('a.b').record(1)
    meter.createCounter('1 bad name').add(1)
    meter.createObservableGauge('bad').addCallback(() => {
      throw new Error('no')
    })
    assert.match(metrics.render(), /a_b_total 1/)
    assert.doesNotMatch(metrics.render(), /bad/)
  })
})

describe('instrumentations of others', () => {
  it('@opentelemetry/instrumentation-http: client spans in the trace of the request', async () => {
    const instrumentation = new HttpInstrumentation({ disableIncomingRequestInstrumentation: true })
    instrumentation.enable()
    const http = load('node:http') as typeof import('node:http')
    const seen: unknown[] = []
    const peer = createServer((request, response) => {
      seen.push(request.headers['traceparent'])
      response.end('ok')
    }).listen(0, '127.0.0.1')
    await once(peer, 'listening')
    const { port } = peer.address() as AddressInfo
    await serve(
      (router) =>
        router.get('/', async () => {
          const [response] = await once(http.get({ port, host: '127.0.0.1', agent: false }), 'response')
          response.resume()
          await once(response, 'end')
          return 'ok'
        }),
      async (url) => assert.equal((await fetch(url, { headers: incoming })).status, 200),
    )
    instrumentation.disable()
    peer.close()
    const call = spans.find(({ scope }) => scope.name === '@opentelemetry/instrumentation-http')
    const served = spans.find(({ name }) => name === 'GET /')
    assert.equal(call?.trace.parentSpanId, served?.trace.spanId)
    assert.equal(call?.kind, 3)
    assert.equal(attribute(call, 'http.response.status_code'), 200)
    assert.deepEqual(seen, [`00-${traceId}-${call?.trace.spanId}-01`])
  })

  it('@opentelemetry/instrumentation-undici: client spans and its histogram', async () => {
    const instrumentation = new UndiciInstrumentation()
    instrumentation.enable()
    const peer = createServer((_request, response) => response.end('ok')).listen(0, '127.0.0.1')
    await once(peer, 'listening')
    const { port } = peer.address() as AddressInfo
    await span('job', async () => await (await fetch(`http://127.0.0.1:${port}/x`)).text())
    instrumentation.disable()
    peer.closeAllConnections()
    peer.close()
    const call = spans.find(({ scope }) => scope.name === '@opentelemetry/instrumentation-undici')
    assert.equal(call?.trace.parentSpanId, spans.find(({ name }) => name === 'job')?.trace.spanId)
    assert.match(metrics.render(), /http_client_request_duration_seconds_count\{[^}]*http_response_status_code="200"/)
  })

  it('@opentelemetry/instrumentation-ioredis: spans of commands', async () => {
    const instrumentation = new IORedisInstrumentation()
    instrumentation.enable()
    const redis = createTcpServer((socket) => {
      socket.on('error', () => {})
      // RESP: an array of bulk strings is a command; every one is answered with OK.
      socket.on('data', (data) => {
        for (const _ of data.toString().matchAll(/^\*\d+\r$/gm)) socket.write('+OK\r\n')
      })
    }).listen(0, '127.0.0.1')
    await once(redis, 'listening')
    const { Redis } = load('ioredis') as typeof import('ioredis')
    const client = new Redis({
      port: (redis.address() as AddressInfo).port,
      host: '127.0.0.1',
      enableReadyCheck: false,
    })
    await span('job', async () => await client.set('key', 'value'))
    client.disconnect()
    instrumentation.disable()
    redis.close()
    const command = spans.find(({ scope, name }) => scope.name.endsWith('instrumentation-ioredis') && /set/i.test(name))
    assert.equal(command?.trace.parentSpanId, spans.find(({ name }) => name === 'job')?.trace.spanId)
  })

  it('@fastify/otel: spans of hooks and handlers', async () => {
    const { default: fastify } = await import('fastify')
    const app = fastify()
    await app.register(new FastifyOtelInstrumentation().plugin())
    app.get('/hello', () => ({ active: trace.getActiveSpan()?.spanContext().traceId }))
    const response = await app.inject({ url: '/hello', headers: { traceparent: incoming.traceparent } })
    await app.close()
    assert.deepEqual(response.json(), { active: traceId })
    assert.ok(spans.some(({ scope, trace: own }) => scope.name === '@fastify/otel' && own.traceId === traceId))
  })
})

describe('sdkTracing', () => {
  it('has the OpenTelemetry SDK make the spans, of the request and within it', async () => {
    undo()
    const exporter = new InMemorySpanExporter()
    const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] })
    undo = registerOpenTelemetry({ tracerProvider: provider })
    const { join, onServed } = sdkTracing(provider)
    let headers: Record<string, string> = {}
    await serve(
      (router) =>
        router.get('/orders/:id', () => {
          trace.getActiveSpan()?.setAttribute('order.id', 7)
          return trace.getTracer('lib').startActiveSpan('inner', async (inner) => {
            await Promise.resolve()
            headers = propagationHeaders()
            inner.end()
            return { current: currentScope()?.trace.spanId }
          })
        }),
      async (url) => assert.equal((await fetch(`${url}/orders/7`, { headers: incoming })).status, 200),
      { join, onServed },
    )
    const [inner, served] = exporter.getFinishedSpans()
    assert.equal(served?.name, 'GET /orders/:id')
    assert.equal(served?.attributes['order.id'], 7)
    assert.equal(served?.attributes['http.response.status_code'], 200)
    assert.equal(served?.spanContext().traceId, traceId)
    assert.equal(inner?.parentSpanContext?.spanId, served?.spanContext().spanId)
    assert.equal(headers['traceparent'], `00-${traceId}-${inner?.spanContext().spanId}-01`)
    assert.deepEqual(spans, [])
    await provider.shutdown()
  })
})

function attribute(record: SpanRecord | undefined, key: string): unknown {
  const all = [...(record?.common?.list ?? []), ...(record?.attributes ?? [])]
  const index = all.indexOf(key)
  return index === -1 ? undefined : all[index + 1]
}

/** A service with the routes of `add`, as long as `use` runs. */
async function serve(
  add: (router: Router<object>) => unknown,
  use: (url: string) => Promise<void>,
  tracing: SdkTracing = telemetry,
): Promise<void> {
  const table = createRouteTable()
  add(table.router as Router<object>)
  const log = createLogger({ level: 'silent' })
  const ended = Promise.withResolvers<void>()
  const onServed = (served: Parameters<Telemetry['onServed']>[0]): void => {
    tracing.onServed(served)
    ended.resolve()
  }
  const server = createServer(createHandler({ match: table.match, log, trace: tracing.join, onServed }))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    await ended.promise
  } finally {
    server.closeAllConnections()
    server.close()
  }
}
