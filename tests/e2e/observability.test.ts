// What the runtime kit tells of services on a cluster is what was done to them: metrics, traces, logs and health are compared
// with a load that was counted, by a real Prometheus and by the official messages of OTLP.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { startPrometheus } from '../../packages/service/src/lib/metrics/prometheus.fixture.ts'
import {
  attributesOf,
  startGrpcReceiver,
  startHttpReceiver,
} from '../../packages/service/src/lib/otlp/receiver.fixture.ts'
import type { OtlpSpan, Receiver } from '../../packages/service/src/lib/otlp/receiver.fixture.ts'
import { createKubectl, eventually, freePort, Home, missing, repository, type Kubectl } from './support/machine.ts'

const names = ['catalog', 'orders', 'web', 'guest-book'] as const
type Name = (typeof names)[number]

/** Numbers of SpanKind in OTLP, as they are called. */
const kinds: Readonly<Record<number, string>> = { 1: 'internal', 2: 'server', 3: 'client' }

const w3c = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }
const b3 = { traceId: '80f198ee56343ba864fe8b2a57d3eff7', spanId: 'e457b5a2e4d86bd1' }

describe('what services on the kit tell of themselves', { skip: missing(['kubectl', 'prometheus']) }, () => {
  const scratch = mkdtempSync(join(tmpdir(), 'fairlead-observed-'))
  let home: Home
  let kubectl: Kubectl
  let receivers: { readonly http: Receiver; readonly grpc: Receiver }
  let urls: Readonly<Record<Name, string>>
  /** What was sent to each service, or by one to another: requests by method, route and status. */
  const sent = new Map<Name, Map<string, number>>(names.map((name) => [name, new Map()]))

  before(async () => {
    receivers = { http: await startHttpReceiver(), grpc: await startGrpcReceiver() }
    writeFileSync(join(scratch, 'fairlead.config.json'), JSON.stringify(await defineObserved()))
    home = new Home()
    // As processes: they run for every user, and reach the collector at its address on this machine.
    await home.fairleadOk(['cluster', 'start', '--runtime', 'process'])
    await home.fairleadOk(['up', scratch])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    urls = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await urlOf(name)])))
    await sendLoad()
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
    await receivers.http[Symbol.asyncDispose]()
    await receivers.grpc[Symbol.asyncDispose]()
    rmSync(scratch, { recursive: true })
  })

  it('counts requests by method, route template and status', async () => {
    for (const name of names) assert.deepEqual(await countedBy(name), Object.fromEntries(sent.get(name) ?? []), name)
  })

  it('says the same to a real Prometheus', async () => {
    await using prometheus = await startPrometheus(Object.values(urls).map((url) => new URL(url).host))
    for (const name of names) {
      const instance = new URL(urls[name]).host
      const expected = Object.fromEntries(sent.get(name) ?? [])
      const result = await prometheus.query(
        `sum by (method, route, status) (http_requests_total{instance="${instance}"})`,
        (found) => found.length >= Object.keys(expected).length,
      )
      const counts = result.map(({ metric, value }) => [
        `${metric['method']} ${metric['route']} ${metric['status']}`,
        Number(value?.[1]),
      ])
      assert.deepEqual(Object.fromEntries(counts), expected, name)
      const total = Object.values(expected).reduce((sum, count) => sum + count, 0)
      const [measured] = await prometheus.query(`sum(http_request_duration_seconds_count{instance="${instance}"})`)
      assert.equal(Number(measured?.value?.[1]), total, name)
    }
    const [up] = await prometheus.query('sum(up)')
    assert.equal(up?.value?.[1], '4')
  })

  it('sends one server span per request, over HTTP and over gRPC', async () => {
    for (const name of names) {
      const expected = Object.fromEntries(sent.get(name) ?? [])
      const total = Object.values(expected).reduce((sum, count) => sum + count, 0)
      const spans = await eventually(`${total} server spans of ${name}`, () => {
        const found = spansOf(name).filter(({ kind }) => kind === 2)
        return found.length >= total ? found : undefined
      })
      const counts: Record<string, number> = {}
      for (const { attributes } of spans) {
        const found = attributesOf(attributes)
        const words = ['http.request.method', 'http.route', 'http.response.status_code'].map((key) =>
          key in found ? String(found[key]) : 'unmatched',
        )
        const route = words.join(' ')
        counts[route] = (counts[route] ?? 0) + 1
      }
      assert.deepEqual(counts, expected, name)
    }
    const [orders] = receivers.grpc.received
    assert.equal(orders?.path, '/opentelemetry.proto.collector.trace.v1.TraceService/Export')
  })

  it('makes one trace of an order that goes through three services, a part of the caller’s', async () => {
    const tree = await treeOf(w3c, 7)
    assert.deepEqual(tree, [
      'web server POST /orders',
      '  web client POST',
      '    orders server POST /orders',
      '      orders internal place order',
      '        orders client POST',
      '          catalog server POST /reservations',
      '            catalog internal reserve stock',
    ])
  })

  it('makes one trace of a page, a part of a caller’s that speaks B3', async () => {
    const tree = await treeOf(b3, 6)
    assert.deepEqual(tree, [
      'web server GET /',
      '  web client GET',
      '    catalog server GET /categories',
      '  web client GET',
      '    catalog server GET /products',
      '  web internal render products',
    ])
  })

  it('writes the ids of trace and request on every line of an order, in each service', async () => {
    const expected: Readonly<Partial<Record<Name, readonly string[]>>> = {
      web: ['request served'],
      orders: ['order placed', 'request served'],
      catalog: ['stock reserved', 'request served'],
    }
    for (const [name, messages] of Object.entries(expected)) {
      const lines = (await linesOf(name)).filter((line) => line['trace_id'] === w3c.traceId)
      assert.deepEqual(
        lines.map(({ msg }) => msg),
        messages,
        name,
      )
      for (const line of lines) assert.equal(line['request_id'], 'order-of-ada', name)
    }
    const placed = (await linesOf('orders')).find(({ msg }) => msg === 'order placed')
    assert.equal(placed?.['logger'], 'desk')
  })

  it('tells the health of each, with its components', async () => {
    const expected: Readonly<Record<Name, readonly string[]>> = {
      catalog: ['config', 'products'],
      orders: ['config', 'stock', 'store'],
      web: ['catalog', 'config', 'orders'],
      'guest-book': [],
    }
    for (const name of names) {
      const report = await healthOf(name)
      assert.equal(report.status, 'UP', name)
      assert.equal(report.service, name)
      assert.deepEqual(Object.keys(report.components).toSorted(), expected[name], name)
    }
  })

  it('opens the circuit breaker of orders while the catalog is gone, and closes it when it is back', async () => {
    await kubectl('scale deployment catalog --replicas=0')
    await eventually('the catalog is gone', async () => (await podsOf('catalog')).length === 0)
    await eventually('an open breaker', async () => {
      await Promise.all(Array.from({ length: 40 }, () => placeOrder(randomUUID())))
      return (await breakerStateOf('orders')) === 2
    })
    const refused = await placeOrder(randomUUID())
    assert.equal(refused.status, 503)
    assert.equal(refused.headers.get('content-type'), 'application/problem+json')
    assert.equal(refused.headers.get('retry-after'), '5')

    const report = await eventually('the health to tell of it', async () => {
      const found = await healthOf('orders')
      return found.components['stock']?.status === 'DOWN' &&
        /circuit breaker/.test(found.components['stock'].error ?? '')
        ? found
        : undefined
    })
    // Those there are can be looked at: it stays ready.
    assert.equal(report.status, 'DEGRADED')
    assert.equal((await fetch(`${urls.orders}/health/ready`)).status, 200)
    assert.equal((await fetch(`${urls.orders}/orders`)).status, 200)

    const errors = (await linesOf('orders')).flatMap((line) => causesOf(line['err']))
    const call = errors.find(({ code, message = '' }) => code === 'FAIRLEAD_SERVICE_CALL' && /breaker/.test(message))
    assert.match(call?.message ?? '', /^Cannot call "POST http:\/\/catalog\/reservations": /)
    assert.ok(
      (await metricsOf('orders')).some(
        ({ name, labels }) => name === 'resilience_calls_total' && labels.includes('outcome="rejected"'),
      ),
    )

    await kubectl('scale deployment catalog --replicas=1')
    await kubectl('rollout status deployment/catalog --timeout=180s')
    await eventually('an order goes through', async () => (await placeOrder(randomUUID())).status === 201)
    assert.equal(await breakerStateOf('orders'), 0)
    await eventually('orders is up', async () => (await healthOf('orders')).status === 'UP')
  })

  /** The services of the examples, told to send their spans to the receivers. */
  async function defineObserved(): Promise<object> {
    const common = {
      OTEL_METRICS_EXPORTER: 'none',
      OTEL_BSP_SCHEDULE_DELAY: '100',
      OTEL_PROPAGATORS: 'tracecontext,baggage,b3',
    }
    const http = { ...common, OTEL_EXPORTER_OTLP_ENDPOINT: receivers.http.url }
    const grpc = { ...common, OTEL_EXPORTER_OTLP_ENDPOINT: receivers.grpc.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }
    const shop = (name: string): string => join(repository, 'examples', 'shop', name)
    const data = { volumes: { '/data': 'ephemeral' } }
    return {
      name: 'observed',
      services: {
        catalog: { dir: shop('catalog'), ...data, env: { ...http, DATA_DIR: '/data' } },
        orders: { dir: shop('orders'), ...data, env: { ...grpc, DATA_DIR: '/data' } },
        web: { dir: shop('web'), public: await freePort(), env: http },
        'guest-book': { dir: join(repository, 'examples', 'legacy-on-kit'), env: grpc },
      },
    }
  }

  /** Requests whose numbers are known; each is told to {@link sent} by hand, from what the services are meant to do. */
  async function sendLoad(): Promise<void> {
    const count = (name: Name, route: string, times: number): void => {
      const counts = sent.get(name)
      counts?.set(route, (counts.get(route) ?? 0) + times)
    }
    const request = async (name: Name, path: string, status: number, init: RequestInit = {}): Promise<Response> => {
      const response = await fetch(urls[name] + path, {
        redirect: 'manual',
        signal: AbortSignal.timeout(30_000),
        ...init,
      })
      assert.equal(response.status, status, `${path}: ${await response.clone().text()}`)
      return response
    }
    const many = (times: number, ...given: Parameters<typeof request>): Promise<unknown> =>
      Promise.all(Array.from({ length: times }, () => request(...given)))

    await many(20, 'web', '/', 200)
    await request('web', '/', 200, { headers: { b3: `${b3.traceId}-${b3.spanId}-1` } })
    count('web', 'GET / 200', 21)
    count('catalog', 'GET /products 200', 21)
    count('catalog', 'GET /categories 200', 21)
    await many(10, 'web', '/products/mug-enamel', 200)
    await many(5, 'web', '/products/none', 404)
    count('web', 'GET /products/:sku 200', 10)
    count('web', 'GET /products/:sku 404', 5)
    count('catalog', 'GET /products/:sku 200', 10)
    count('catalog', 'GET /products/:sku 404', 5)
    await many(4, 'web', '/nowhere/at/all', 404)
    count('web', 'GET unmatched 404', 4)
    await many(6, 'web', '/orders', 200)
    count('web', 'GET /orders 200', 6)
    count('orders', 'GET /orders 200', 6)
    await many(2, 'web', '/cart', 403, {
      method: 'POST',
      headers: { 'sec-fetch-site': 'cross-site' },
      body: form({ sku: 'mug-enamel' }),
    })
    count('web', 'POST /cart 403', 2)

    for (const key of [randomUUID(), randomUUID()])
      await request('web', '/orders', 303, { method: 'POST', body: orderForm(key) })
    await request('web', '/orders', 303, {
      method: 'POST',
      headers: { traceparent: `00-${w3c.traceId}-${w3c.spanId}-01`, 'x-request-id': 'order-of-ada' },
      body: orderForm(randomUUID()),
    })
    count('web', 'POST /orders 303', 3)
    count('catalog', 'POST /reservations 201', 3)
    count('orders', 'POST /orders 201', 3)

    const refused = JSON.stringify({ customer: {}, lines: [] })
    await many(3, 'orders', '/orders', 422, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: refused,
    })
    count('orders', 'POST /orders 422', 3)
    await request('orders', '/orders', 400, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{',
    })
    count('orders', 'POST /orders 400', 1)

    await many(8, 'guest-book', '/', 200)
    await many(3, 'guest-book', '/nowhere', 404)
    await many(2, 'guest-book', '/entries', 401, { method: 'POST', body: form({ text: 'ahoy' }) })
    await request('guest-book', '/sign-up', 303, {
      method: 'POST',
      body: form({ name: 'ada', password: 'correct horse' }),
    })
    await request('guest-book', '/style.css', 200)
    count('guest-book', 'GET / 200', 8)
    count('guest-book', 'GET unmatched 404', 3)
    count('guest-book', 'POST /entries 401', 2)
    count('guest-book', 'POST /sign-up 303', 1)
    count('guest-book', 'GET unmatched 200', 1)
    // Each has written its account of the last request before it is asked for it.
    await eventually('all requests to be counted', async () => {
      for (const name of names) {
        const counted = Object.values(await countedBy(name)).reduce((sum, found) => sum + found, 0)
        const expected = [...(sent.get(name)?.values() ?? [])].reduce((sum, found) => sum + found, 0)
        if (counted < expected) return false
      }
      return true
    })
  }

  function placeOrder(key: string): Promise<Response> {
    const customer = { name: 'Ada', email: 'ada@example.com', address: '1 Harbour Lane' }
    return fetch(`${urls.orders}/orders`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify({ customer, lines: [{ sku: 'mug-enamel', quantity: 1 }] }),
      signal: AbortSignal.timeout(30_000),
    })
  }

  function spansOf(name: string): readonly OtlpSpan[] {
    return [receivers.http, receivers.grpc]
      .flatMap(({ received }) => received)
      .flatMap(({ request }) => request.resourceSpans ?? [])
      .filter(({ resource }) => attributesOf(resource.attributes)['service.name'] === name)
      .flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans))
  }

  /** The spans of a trace below `parent`, a line each, indented below the span they are a part of. */
  async function treeOf(
    parent: { readonly traceId: string; readonly spanId: string },
    count: number,
  ): Promise<string[]> {
    const spans = await eventually(`${count} spans of the trace ${parent.traceId}`, () => {
      const found = names.flatMap((name) =>
        spansOf(name)
          .filter(({ traceId }) => traceId === parent.traceId)
          .map((span) => ({ ...span, service: name })),
      )
      return found.length >= count ? found : undefined
    })
    assert.equal(spans.length, count)
    const render = (id: string, depth: number): string[] =>
      spans
        .filter(({ parentSpanId }) => parentSpanId === id)
        .map(({ service, kind, name, spanId }) =>
          [`${'  '.repeat(depth)}${service} ${kinds[kind]} ${name}`, ...render(spanId, depth + 1)].join('\n'),
        )
        .toSorted()
    return render(parent.spanId, 0).join('\n').split('\n')
  }

  async function countedBy(name: Name): Promise<Record<string, number>> {
    const counts: Record<string, number> = {}
    for (const { name: family, labels, value } of await metricsOf(name)) {
      const [, method, route, status] = /method="([^"]*)",route="([^"]*)",status="([^"]*)"/.exec(labels) ?? []
      if (family === 'http_requests_total') counts[`${method} ${route} ${status}`] = value
    }
    return counts
  }

  async function breakerStateOf(name: Name): Promise<number | undefined> {
    return (await metricsOf(name)).find(
      ({ name: family, labels }) => family === 'resilience_breaker_state' && labels.includes('pipeline="catalog"'),
    )?.value
  }

  async function metricsOf(name: Name): Promise<{ name: string; labels: string; value: number }[]> {
    const text = await (await fetch(`${urls[name]}/metrics`, { signal: AbortSignal.timeout(30_000) })).text()
    return [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(([, family = '', labels = '', value]) => ({
      name: family,
      labels,
      value: Number(value),
    }))
  }

  async function healthOf(name: Name): Promise<HealthReport> {
    return (await (await fetch(`${urls[name]}/health`, { signal: AbortSignal.timeout(30_000) })).json()) as HealthReport
  }

  async function linesOf(name: string): Promise<Record<string, unknown>[]> {
    const [pod] = await podsOf(name)
    const text = await kubectl(`logs ${pod.metadata.name}`)
    return text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  }

  async function podsOf(name: string): Promise<Json[]> {
    return JSON.parse(await kubectl(`get pods -l app.kubernetes.io/name=${name} -o json`)).items
  }

  async function urlOf(name: string): Promise<string> {
    const [pod] = await podsOf(name)
    return `http://${pod.status.podIP}:${pod.spec.containers[0].ports[0].containerPort}`
  }
})

interface HealthReport {
  readonly status: string
  readonly service: string
  readonly components: Readonly<Record<string, { readonly status: string; readonly error?: string }>>
}

interface LoggedError {
  readonly code?: string
  readonly message?: string
  readonly cause?: unknown
}

/** An error of a log line, and those that led to it. */
function causesOf(error: unknown): LoggedError[] {
  if (typeof error !== 'object' || error === null) return []
  return [error, ...causesOf((error as LoggedError).cause)]
}

function form(fields: Readonly<Record<string, string>>): URLSearchParams {
  return new URLSearchParams(fields)
}

function orderForm(key: string): URLSearchParams {
  const visitor = { name: 'Ada', email: 'ada@example.com', address: '1 Harbour Lane' }
  return form({ key, line: 'mug-enamel~1~1450', ...visitor })
}

// kubectl prints untyped JSON.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any
