import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import grpc from '@grpc/grpc-js'
import { createLogger } from '../log/logger.ts'
import type { Logger } from '../log/logger.ts'
import { createMetrics } from '../metrics/metrics.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { currentSpan, span } from '../trace/tracer.ts'
import { RecordedSpan, spanKind } from '../trace/span.ts'
import type { SpanRecord } from '../trace/span.ts'
import { defaultLimits } from '../trace/limits.ts'
import { runInScope } from '../trace/current.ts'
import { ProtobufWriter } from './protobuf.ts'
import { detectResource, sdkVersion } from './resource.ts'
import { readOtlpTarget } from './settings.ts'
import { createSpanExporter, readBatchSettings } from './span-exporter.ts'
import { JsonSpanBatch, ProtobufSpanBatch } from './spans.ts'
import { startTelemetry } from './telemetry.ts'
import { attributesOf, decode, startGrpcReceiver, startHttpReceiver, TraceRequest } from './receiver.fixture.ts'
import type { OtlpRequest, OtlpSpan, Receiver } from './receiver.fixture.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const spanId = 'b7ad6b7169203331'

describe('encoding of spans', () => {
  it('decodes with the official messages to what the JSON encoding says, whatever the spans hold', () => {
    const random = createRandom(7)
    for (let round = 0; round < 60; round += 1) {
      const spans = Array.from({ length: 1 + random(6) }, () => randomSpan(random))
      const [binary, json] = [new ProtobufSpanBatch(), new JsonSpanBatch()]
      for (const record of spans) {
        binary.add(record)
        json.add(record)
      }
      const resource = ['service.name', 'orders', 'process.pid', 12]
      const decoded = decode(TraceRequest, binary.finish(resource))
      const expected = JSON.parse(json.finish(resource).toString('utf8')) as OtlpRequest
      assert.deepEqual(normal(decoded), normal(expected))
    }
  })

  for (const { name, value, expected } of [
    { name: 'text', value: 'text', expected: { stringValue: 'text' } },
    { name: 'long text', value: 'ä'.repeat(300), expected: { stringValue: 'ä'.repeat(300) } },
    {
      name: 'text of 24 characters that are three bytes each',
      value: '漢'.repeat(24),
      expected: { stringValue: '漢'.repeat(24) },
    },
    { name: 'a lone surrogate', value: 'a\ud800b', expected: { stringValue: 'a\ufffdb' } },
    { name: 'an empty text', value: '', expected: { stringValue: '' } },
    { name: 'zero', value: 0, expected: { intValue: '0' } },
    { name: 'a negative number', value: -3, expected: { intValue: '-3' } },
    { name: 'the largest whole number', value: Number.MAX_SAFE_INTEGER, expected: { intValue: '9007199254740991' } },
    { name: 'the smallest whole number', value: Number.MIN_SAFE_INTEGER, expected: { intValue: '-9007199254740991' } },
    { name: 'a fraction', value: 0.1, expected: { doubleValue: 0.1 } },
    { name: 'a number beyond', value: 1e300, expected: { doubleValue: 1e300 } },
    { name: 'infinity', value: -Infinity, expected: { doubleValue: '-Infinity' } },
    { name: 'true', value: true, expected: { boolValue: true } },
    { name: 'false', value: false, expected: { boolValue: false } },
    {
      name: 'a list',
      value: ['a', 1, true],
      expected: { arrayValue: { values: [{ stringValue: 'a' }, { intValue: '1' }, { boolValue: true }] } },
    },
    {
      name: 'an object',
      value: { a: { b: 1 } },
      expected: {
        kvlistValue: {
          values: [{ key: 'a', value: { kvlistValue: { values: [{ key: 'b', value: { intValue: '1' } }] } } }],
        },
      },
    },
    { name: 'bytes', value: new Uint8Array([1, 2]), expected: { bytesValue: '0102' } },
    { name: 'a big number', value: 12n, expected: { stringValue: '12' } },
  ]) {
    it(`writes ${name}`, () => {
      const record = createSpan('s')
      record.attributes.push('key', value)
      const batch = new ProtobufSpanBatch()
      batch.add(record)
      const decoded = decode(TraceRequest, batch.finish([])).resourceSpans?.[0]?.scopeSpans[0]?.spans[0]
      assert.deepEqual(decoded?.attributes?.[0]?.value, expected)
    })
  }

  it('keeps nanoseconds', () => {
    for (const [timeMs, nanos] of [
      [1_795_000_000_123.25, '1795000000123250000'],
      [1_795_000_000_123, '1795000000123000000'],
      [0, '0'],
    ] as const) {
      const writer = new ProtobufWriter()
      writer.nanos(timeMs)
      assert.equal(String(writer.view().readBigUInt64LE()), nanos)
    }
  })

  it('leaves nothing behind of a span that cannot be written', () => {
    const batch = new ProtobufSpanBatch()
    const bad = createSpan('bad')
    const thrower = {
      get value(): string {
        throw new Error('no')
      },
    }
    bad.attributes.push('key', thrower)
    assert.throws(() => batch.add(bad), /no/)
    batch.add(createSpan('good'))
    const spans = decode(TraceRequest, batch.finish([])).resourceSpans?.[0]?.scopeSpans[0]?.spans
    assert.deepEqual(
      spans?.map(({ name }) => name),
      ['good'],
    )
  })
})

const ways = [
  { protocol: 'http/protobuf', compression: 'none', start: () => startHttpReceiver() },
  { protocol: 'http/protobuf', compression: 'gzip', start: () => startHttpReceiver() },
  { protocol: 'http/json', compression: 'none', start: () => startHttpReceiver() },
  { protocol: 'http/json', compression: 'gzip', start: () => startHttpReceiver() },
  { protocol: 'grpc', compression: 'none', start: () => startGrpcReceiver() },
  { protocol: 'grpc', compression: 'gzip', start: () => startGrpcReceiver() },
]

describe('startTelemetry', () => {
  for (const { protocol, compression, start } of ways) {
    it(`sends spans and metrics by ${protocol} with compression ${compression}`, async () => {
      await using receiver = await start()
      const metrics = createMetrics()
      metrics
        .counter('sold_total', { help: 'Sold.', labels: ['sku'] })
        .labels({ sku: 'mug' })
        .inc(3)
      const duration = metrics.histogram('work_seconds', { help: 'Work.', buckets: [0.1, 1] })
      duration.observe(0.5, { traceId, spanId, isSampled: true })
      const env = {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
        OTEL_EXPORTER_OTLP_COMPRESSION: compression,
        OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=acme%20inc',
        OTEL_RESOURCE_ATTRIBUTES: 'team=shop',
      }
      const telemetry = startTelemetry({ env, name: 'orders', version: '1.2.3', metrics })
      telemetry.onServed(
        servedRequest(telemetry.join({ traceparent: `00-${traceId}-${spanId}-01`, tracestate: 'a=b' })),
      )
      await telemetry.stop()

      const { headers, path, request } = receiver.received.find((one) => one.request.resourceSpans) ?? assert.fail()
      assert.equal(headers['x-tenant'], 'acme inc')
      if (protocol !== 'grpc') assert.equal(path, '/v1/traces')
      const resource = attributesOf(request.resourceSpans?.[0]?.resource.attributes)
      assert.equal(resource['service.name'], 'orders')
      assert.equal(resource['service.version'], '1.2.3')
      assert.equal(resource['team'], 'shop')
      const served = receiver.spans[0] ?? assert.fail()
      assert.equal(served.name, 'GET /orders/:id')
      assert.equal(served.kind, 2)
      assert.equal(served.traceId, traceId)
      assert.equal(served.parentSpanId, spanId)
      assert.equal(served.traceState, 'a=b')
      assert.equal(served.flags, 0x301)
      assert.deepEqual(attributesOf(served.attributes), {
        'http.request.method': 'GET',
        'http.route': '/orders/:id',
        'http.response.status_code': '500',
        'url.scheme': 'http',
        'server.address': 'orders.example',
        'server.port': '8080',
        'network.protocol.version': '1.1',
        'url.path': '/orders/7',
        'client.address': '203.0.113.9',
        'user_agent.original': 'curl/8',
        'error.type': 'TypeError',
      })
      assert.equal(served.status?.code, 2)
      assert.equal(served.events?.[0]?.name, 'exception')
      assert.equal(attributesOf(served.events?.[0]?.attributes)['exception.message'], 'no stock')
      checkMetrics(receiver)
    })
  }

  it('records a span that the service has asked for, with what it has said', async () => {
    const spans: SpanRecord[] = []
    const telemetry = startTelemetry({ env: {}, onSpan: (record) => spans.push(record) })
    const scope = { requestId: 'r1', trace: telemetry.join({}), incoming: {}, span: undefined as unknown }
    runInScope(scope, () => currentSpan()?.setAttribute('order.id', 7).setAttribute('http.route', '/better'))
    telemetry.onServed({ ...servedRequest(scope.trace), span: scope.span, status: 200, error: undefined })
    await telemetry.stop()
    const attributes = Object.fromEntries(pairs(spans[0]?.attributes ?? []))
    assert.equal(attributes['order.id'], 7)
    assert.equal(attributes['http.route'], '/better')
    assert.equal(attributes['http.response.status_code'], 200)
    assert.equal(spans[0]?.trace.spanId, scope.trace.spanId)
  })

  it('records nothing of a trace that is not sampled', async () => {
    const spans: SpanRecord[] = []
    const telemetry = startTelemetry({
      env: { OTEL_TRACES_SAMPLER: 'always_off' },
      onSpan: (record) => spans.push(record),
    })
    const trace = telemetry.join({ traceparent: `00-${traceId}-${spanId}-01` })
    runInScope({ requestId: 'r1', trace }, () => {
      assert.equal(currentSpan()?.isRecording(), false)
      span('inner', (inner) => assert.equal(inner.isRecording(), false))
    })
    telemetry.onServed(servedRequest(trace))
    await telemetry.stop()
    assert.deepEqual(spans, [])
  })

  it('opens nothing when no collector is named', async () => {
    const telemetry = startTelemetry({ env: {}, metrics: createMetrics() })
    telemetry.onServed(servedRequest(telemetry.join({})))
    await telemetry.stop()
  })
})

describe('a collector that answers errors', () => {
  it('is asked again after 503, no sooner than Retry-After says', async () => {
    const asked: number[] = []
    await using receiver = await startHttpReceiver((_request, response, count) => {
      asked.push(performance.now())
      if (count > 1) return false
      response.writeHead(503, { 'retry-after': '1' }).end()
      return true
    })
    const { exporter, log } = createExporter(receiver.url)
    exporter.add(createSpan('a'))
    exporter.add(createSpan('b'))
    await receiver.until(({ spans }) => spans.length === 2)
    await exporter.stop()
    assert.ok((asked[1] ?? 0) - (asked[0] ?? 0) >= 990)
    assert.deepEqual(log.messages(), ['telemetry cannot be delivered', 'telemetry is delivered again'])
  })

  for (const status of [400, 401, 413, 500]) {
    it(`is not asked again after ${status}`, async () => {
      await using receiver = await startHttpReceiver((_request, response, count) => {
        if (count === 1) response.writeHead(status).end('no')
        return count === 1
      })
      const { exporter, log, metrics } = createExporter(receiver.url)
      exporter.add(createSpan('a'))
      exporter.add(createSpan('b'))
      await counted(metrics, 'fairlead_otlp_dropped_total{signal="traces",reason="refused"} 2')
      exporter.add(createSpan('c'))
      await exporter.stop()
      assert.deepEqual(
        receiver.spans.map(({ name }) => name),
        ['c'],
      )
      assert.deepEqual(log.messages(), ['telemetry is refused by the collector', 'telemetry is delivered again'])
    })
  }

  it('is heard when it takes a part only', async () => {
    await using receiver = await startGrpcReceiver(undefined, {
      partialSuccess: { rejectedSpans: 1, errorMessage: 'too old' },
    })
    const { exporter, log, metrics } = createExporter(receiver.url, { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' })
    exporter.add(createSpan('a'))
    exporter.add(createSpan('b'))
    exporter.add(createSpan('c'))
    await exporter.stop()
    assert.match(metrics.render(), /fairlead_otlp_dropped_total\{signal="traces",reason="rejected"\} [12]/)
    assert.equal(log.lines[0]?.['reason'], 'too old')
    assert.deepEqual(log.messages(), ['telemetry is taken in part or with a warning by the collector'])
  })

  for (const { name, code, delay, isAsked } of [
    { name: 'UNAVAILABLE', code: grpc.status.UNAVAILABLE, delay: undefined, isAsked: true },
    { name: 'ABORTED', code: grpc.status.ABORTED, delay: undefined, isAsked: true },
    { name: 'RESOURCE_EXHAUSTED with RetryInfo', code: grpc.status.RESOURCE_EXHAUSTED, delay: 300, isAsked: true },
    { name: 'RESOURCE_EXHAUSTED', code: grpc.status.RESOURCE_EXHAUSTED, delay: undefined, isAsked: false },
    { name: 'INVALID_ARGUMENT', code: grpc.status.INVALID_ARGUMENT, delay: undefined, isAsked: false },
    { name: 'UNAUTHENTICATED', code: grpc.status.UNAUTHENTICATED, delay: undefined, isAsked: false },
  ]) {
    it(`over gRPC is ${isAsked ? '' : 'not '}asked again after ${name}`, async () => {
      const asked: number[] = []
      await using receiver = await startGrpcReceiver((count) => {
        asked.push(performance.now())
        if (count > 1) return undefined
        const metadata = new grpc.Metadata()
        if (delay !== undefined) metadata.set('grpc-status-details-bin', retryInfo(delay))
        return { code, details: 'because ü', metadata }
      })
      const { exporter, log, metrics } = createExporter(receiver.url, { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' })
      exporter.add(createSpan('a'))
      exporter.add(createSpan('b'))
      if (isAsked) await receiver.until(({ spans }) => spans.length === 2)
      else await counted(metrics, 'fairlead_otlp_dropped_total{signal="traces",reason="refused"} 2')
      await exporter.stop()
      assert.match(String(log.lines[0]?.['reason']), /because ü/)
      if (delay !== undefined) assert.ok((asked[1] ?? 0) - (asked[0] ?? 0) >= delay - 5)
    })
  }
})

describe('a collector that is not there', () => {
  /** So long that a busy machine is told from a stop that waits for the collector. */
  const patient = { OTEL_EXPORTER_OTLP_TIMEOUT: '600000', OTEL_BSP_EXPORT_TIMEOUT: '600000' }

  it('costs the service nothing but the spans beyond the queue, one line, and its return another', async () => {
    const port = await freePort()
    const { exporter, log, metrics } = createExporter(`http://127.0.0.1:${port}`, { OTEL_BSP_MAX_QUEUE_SIZE: '10' })
    for (let index = 0; index < 100; index += 1) exporter.add(createSpan(`s${index}`))
    assert.match(metrics.render(), /reason="queue_full"\} 90/)
    await log.until((lines) => lines.length === 1)
    await using receiver = await startHttpReceiver(undefined, port)
    await receiver.until(({ spans }) => spans.length === 10)
    await exporter.stop()
    assert.deepEqual(log.messages(), ['telemetry cannot be delivered', 'telemetry is delivered again'])
    assert.equal(log.lines[1]?.['dropped'], 0)
  })

  it('does not hold up a stop', async () => {
    const { exporter, metrics } = createExporter(`http://127.0.0.1:${await freePort()}`, patient)
    exporter.add(createSpan('a'))
    const before = performance.now()
    await exporter.stop(300)
    assert.ok(performance.now() - before < 60_000)
    assert.match(metrics.render(), /fairlead_otlp_dropped_total\{signal="traces",reason="(stopped|unreachable)"\} 1/)
  })

  for (const protocol of ['http/protobuf', 'grpc']) {
    it(`but takes connections and says nothing, does not hold up a stop either (${protocol})`, async () => {
      const sockets = new Set<{ destroy(): void }>()
      const server = createServer((socket) => void sockets.add(socket.on('error', () => {}))).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const env = { OTEL_EXPORTER_OTLP_PROTOCOL: protocol, ...patient }
      const { exporter, metrics } = createExporter(`http://127.0.0.1:${port}`, env)
      exporter.add(createSpan('a'))
      const before = performance.now()
      await exporter.stop(300)
      assert.ok(performance.now() - before < 60_000)
      assert.match(metrics.render(), /reason="stopped"\} 1/)
      for (const socket of sockets) socket.destroy()
      server.close()
    })

    it(`but is slow, is given up after the timeout (${protocol})`, async () => {
      const sockets = new Set<{ destroy(): void }>()
      const server = createServer((socket) => void sockets.add(socket.on('error', () => {}))).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const env = {
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
        OTEL_EXPORTER_OTLP_TIMEOUT: '50',
        OTEL_BSP_EXPORT_TIMEOUT: '200',
      }
      const { exporter, metrics, log } = createExporter(`http://127.0.0.1:${port}`, env)
      exporter.add(createSpan('a'))
      exporter.add(createSpan('b'))
      await counted(metrics, 'fairlead_otlp_dropped_total{signal="traces",reason="unreachable"} 2')
      assert.equal(log.lines[0]?.['reason'], 'no answer in 50 ms')
      await exporter.stop(100)
      for (const socket of sockets) socket.destroy()
      server.close()
    })
  }
})

describe('readOtlpTarget', () => {
  for (const { name, env, expected } of [
    { name: 'nothing', env: {}, expected: undefined },
    {
      name: 'a base',
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318/otlp/' },
      expected: 'http://c:4318/otlp/v1/traces',
    },
    {
      name: "the signal's own",
      env: { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c:4318/my/path' },
      expected: 'http://c:4318/my/path',
    },
    {
      name: 'gRPC without a scheme',
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'c:4317', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      expected: 'http://c:4317/',
    },
    { name: 'the exporter alone', env: { OTEL_TRACES_EXPORTER: 'otlp' }, expected: 'http://localhost:4318/v1/traces' },
    {
      name: 'a signal that is off',
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_TRACES_EXPORTER: 'none' },
      expected: undefined,
    },
    {
      name: 'everything off',
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_SDK_DISABLED: 'true' },
      expected: undefined,
    },
  ]) {
    it(`reads ${name}`, () => assert.equal(readOtlpTarget(env, 'traces')?.url.href, expected))
  }

  for (const { name, value } of [
    { name: 'OTEL_EXPORTER_OTLP_PROTOCOL', value: 'tcp' },
    { name: 'OTEL_EXPORTER_OTLP_ENDPOINT', value: 'ftp://c' },
    { name: 'OTEL_EXPORTER_OTLP_TIMEOUT', value: '10s' },
    { name: 'OTEL_EXPORTER_OTLP_COMPRESSION', value: 'br' },
    { name: 'OTEL_TRACES_EXPORTER', value: 'zipkin' },
  ]) {
    it(`refuses ${name}=${value}`, () => {
      const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', [name]: value }
      assert.throws(() => readOtlpTarget(env, 'traces'), { code: 'FAIRLEAD_SERVICE_SETTING' })
    })
  }

  it('does not show the headers it refuses', () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_EXPORTER_OTLP_HEADERS: 'Authorization: Bearer s3cret' }
    assert.throws(
      () => readOtlpTarget(env, 'traces'),
      (error: Error) => !error.message.includes('s3cret'),
    )
  })

  it('names a certificate that cannot be read', () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'https://c', OTEL_EXPORTER_OTLP_CERTIFICATE: '/none/ca.pem' }
    assert.throws(() => readOtlpTarget(env, 'traces'), { code: 'FAIRLEAD_SERVICE_OTLP_CERTIFICATE' })
  })
})

describe('detectResource', () => {
  const id = 'a'.repeat(64)
  const mount = `1 2 0:1 /var/lib/docker/containers/${id}/hostname /etc/hostname rw - ext4 /dev/sda rw`
  const detect = (files: Record<string, string>, env = {}): Record<string, unknown> =>
    Object.fromEntries(pairs(detectResource(env, { readProc: (path) => files[path] })))

  for (const { name, files } of [
    { name: 'version 1', files: { '/proc/self/cgroup': `12:memory:/docker/${id}\n` } },
    { name: 'a systemd scope', files: { '/proc/self/cgroup': `0::/kubepods.slice/cri-containerd-${id}.scope\n` } },
    { name: 'version 2 with a namespace', files: { '/proc/self/cgroup': '0::/\n', '/proc/self/mountinfo': mount } },
  ]) {
    it(`finds the container in a cgroup of ${name}`, () => assert.equal(detect(files)['container.id'], id))
  }

  it('knows Kubernetes by the downward API', () => {
    const env = {
      KUBERNETES_SERVICE_HOST: '10.0.0.1',
      HOSTNAME: 'orders-1',
      POD_NAMESPACE: 'shop',
      NODE_NAME: 'n1',
      POD_UID: 'u1',
    }
    const resource = detect({}, env)
    assert.equal(resource['k8s.pod.name'], 'orders-1')
    assert.equal(resource['k8s.namespace.name'], 'shop')
    assert.equal(resource['k8s.node.name'], 'n1')
    assert.equal(resource['service.instance.id'], 'u1')
    assert.equal(resource['container.id'], undefined)
  })

  it('lets the environment win, and ignores what is written wrongly', () => {
    const env = {
      OTEL_RESOURCE_ATTRIBUTES: 'service.name=a,deployment.environment.name=prod%20eu,=x,y,bad=%',
      OTEL_SERVICE_NAME: 'b',
    }
    const resource = detect({}, env)
    assert.equal(resource['service.name'], 'b')
    assert.equal(resource['deployment.environment.name'], 'prod eu')
  })

  it('tells the version of this package', () => {
    const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
      version: string
    }
    assert.equal(sdkVersion, manifest.version)
  })
})

interface TestLog {
  readonly logger: Logger
  readonly lines: Record<string, unknown>[]
  messages(): unknown[]
  until(isEnough: (lines: Record<string, unknown>[]) => boolean): Promise<void>
}

function createLog(): TestLog {
  const lines: Record<string, unknown>[] = []
  let wake = Promise.withResolvers<void>()
  const write = (line: string): void => {
    lines.push(JSON.parse(line) as Record<string, unknown>)
    wake.resolve()
    wake = Promise.withResolvers()
  }
  return {
    logger: createLogger({ sink: { write, flush() {} } }),
    lines,
    messages: () => lines.map((line) => line['msg']),
    async until(isEnough) {
      while (!isEnough(lines)) await wake.promise
    },
  }
}

function createExporter(endpoint: string, more: Record<string, string> = {}) {
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '2', ...more }
  const target = readOtlpTarget(env, 'traces') ?? assert.fail()
  const [log, metrics] = [createLog(), createMetrics()]
  const batch = readBatchSettings({ OTEL_BSP_SCHEDULE_DELAY: '20', ...env })
  const exporter = createSpanExporter({ target, resource: [], batch, log: log.logger, metrics, backoff: () => 20 })
  return { exporter, log, metrics }
}

async function counted(metrics: Metrics, line: string): Promise<void> {
  while (!metrics.render().includes(line)) await new Promise(setImmediate)
}

function createSpan(name: string): RecordedSpan {
  const owner = { scope: { name: 'test' }, limits: defaultLimits, sink: { add() {} } }
  const record = new RecordedSpan(
    name,
    spanKind.internal,
    { traceId, spanId, isSampled: true },
    1_795_000_000_000,
    owner,
  )
  record.endMs = 1_795_000_000_001
  return record
}

function servedRequest(trace: ReturnType<ReturnType<typeof startTelemetry>['join']>) {
  return {
    method: 'GET',
    route: '/orders/:id',
    path: '/orders/7',
    status: 500,
    durationMs: 12.5,
    trace,
    error: new TypeError('no stock'),
    headers: { host: 'orders.example:8080', 'user-agent': 'curl/8', 'x-forwarded-for': '203.0.113.9, 10.0.0.1' },
    span: undefined as unknown,
    scheme: 'http',
    protocolVersion: '1.1',
  }
}

function checkMetrics(receiver: Receiver): void {
  const sold = receiver.metrics.find(({ name }) => name === 'sold') ?? assert.fail()
  assert.equal(sold.sum?.['isMonotonic'], true)
  assert.equal(sold.sum?.['aggregationTemporality'], 2)
  assert.equal(sold.sum?.dataPoints[0]?.['asDouble'], 3)
  const work = receiver.metrics.find(({ name }) => name === 'work_seconds') ?? assert.fail()
  assert.equal(work.unit, 's')
  const point = work.histogram?.dataPoints[0] ?? assert.fail()
  assert.deepEqual(point['bucketCounts'], ['0', '1', '0'])
  assert.deepEqual(point['explicitBounds'], [0.1, 1])
  assert.equal(point['count'], '1')
  assert.equal(point['sum'], 0.5)
  assert.equal((point['exemplars'] as { traceId: string }[])[0]?.traceId, traceId)
}

/** A google.rpc.Status with a google.rpc.RetryInfo. */
function retryInfo(delayMs: number): Buffer {
  const writer = new ProtobufWriter()
  writer.tag(1, 0)
  writer.varint(8)
  const detail = writer.begin(3)
  writer.tag(1, 2)
  writer.string('type.googleapis.com/google.rpc.RetryInfo')
  const value = writer.begin(2)
  const delay = writer.begin(1)
  writer.tag(2, 0)
  writer.varint(delayMs * 1e6)
  writer.end(delay)
  writer.end(value)
  writer.end(detail)
  return writer.copy()
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

function pairs(list: readonly unknown[]): [string, unknown][] {
  return list.flatMap((key, index): [string, unknown][] => (index % 2 === 0 ? [[String(key), list[index + 1]]] : []))
}

/** A small generator, so that a failure can be had again. */
function createRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return Math.floor((state / 2 ** 31) * below)
  }
}

function randomSpan(random: (below: number) => number): RecordedSpan {
  const hex = (length: number): string => Array.from({ length }, () => '0123456789abcdef'[random(16)]).join('')
  const text = (): string =>
    Array.from({ length: random(90) }, () => 'aZ9 ä漢😀"\\\n'[random(9)])
      .join('')
      .toWellFormed()
  const values = (): unknown =>
    [
      text(),
      random(1e6),
      -random(1e6),
      random(2) === 0,
      random(1000) / 7,
      [text(), random(9)],
      { a: text(), b: [1.5] },
    ][random(7)]
  const attributes = (count: number): Record<string, unknown> =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`key.${index}.${random(40)}`, values()]))
  const trace = {
    traceId: hex(32),
    spanId: hex(16),
    isSampled: true,
    ...(random(2) ? { parentSpanId: hex(16) } : {}),
    ...(random(2) ? { state: 'a=1,b=2' } : {}),
  }
  const owner = {
    scope: { name: `scope-${random(3)}`, version: '1' },
    limits: { ...defaultLimits, attributes: 5, events: 2 },
    sink: { add() {} },
    isParentRemote: random(2) === 0,
  }
  const record = new RecordedSpan(text(), 1 + random(5), trace, 1_795_000_000_000 + random(1e6) / 8, owner)
  record.setAttributes(attributes(random(9)))
  for (let index = random(5); index > 0; index -= 1) record.addEvent(text(), attributes(random(3)))
  for (let index = random(3); index > 0; index -= 1)
    record.addLink({ context: { traceId: hex(32), spanId: hex(16), traceFlags: 1 }, attributes: attributes(random(3)) })
  if (random(2)) record.setStatus({ code: 1 + random(2), message: text() })
  record.endMs = record.startMs + random(1e6) / 16
  return record
}

/** Without what only one encoding writes: empty lists. Spans of a scope in their order, scopes in theirs. */
function normal(request: OtlpRequest): unknown {
  const strip = (span: OtlpSpan): unknown =>
    JSON.parse(
      JSON.stringify(span, (key, value: unknown) => {
        if (Array.isArray(value) && value.length === 0 && key !== 'values') return undefined
        return value
      }),
    )
  return request.resourceSpans?.map(({ resource, scopeSpans }) => ({
    resource,
    scopes: scopeSpans.map(({ scope, spans }) => ({ scope, spans: spans.map(strip) })),
  }))
}
