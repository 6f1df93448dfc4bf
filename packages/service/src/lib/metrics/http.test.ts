import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { addRequestMetrics, addServerMetrics } from './http.ts'
import { createMetrics } from './metrics.ts'

const trace = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', isSampled: true }

describe('addRequestMetrics', () => {
  it('counts by method, route template and status', () => {
    const metrics = createMetrics()
    const measure = addRequestMetrics(metrics)
    for (const status of [200, 200, 404, 200]) measure({ method: 'GET', route: '/a/:id', status, durationMs: 20 })
    measure({ method: 'BREW', route: '/a/:id', status: 200, durationMs: 20 })
    measure({ method: 'SPILL', route: '/a/:id', status: 200, durationMs: 20 })
    const text = metrics.render()
    assert.match(text, /^http_requests_total{method="GET",route="\/a\/:id",status="200"} 3$/m)
    assert.match(text, /^http_requests_total{method="GET",route="\/a\/:id",status="404"} 1$/m)
    assert.match(text, /^http_requests_total{method="_OTHER",route="\/a\/:id",status="200"} 2$/m)
    assert.match(
      text,
      /^http_request_duration_seconds_bucket{method="GET",route="\/a\/:id",status="200",le="0.025"} 3$/m,
    )
  })

  it('measures bodies where their size is known', () => {
    const metrics = createMetrics()
    const measure = addRequestMetrics(metrics)
    const request = { method: 'POST', route: '/a', status: 201, durationMs: 1 }
    measure({ ...request, headers: { 'content-length': '500' }, responseBytes: 20 })
    measure({ ...request, headers: { 'content-length': 'many' } })
    const text = metrics.render()
    assert.match(text, /^http_request_size_bytes_sum{method="POST",route="\/a",status="201"} 500$/m)
    assert.match(text, /^http_request_size_bytes_count{.*} 1$/m)
    assert.match(text, /^http_response_size_bytes_sum{.*} 20$/m)
  })

  it('remembers a trace per bucket, and only sampled ones', () => {
    const metrics = createMetrics()
    const measure = addRequestMetrics(metrics)
    measure({ method: 'GET', route: '/a', status: 200, durationMs: 1, trace })
    measure({ method: 'GET', route: '/a', status: 200, durationMs: 3000, trace: { ...trace, isSampled: false } })
    const duration = metrics.collect().find(({ name }) => name === 'http_request_duration_seconds')
    assert.equal(duration?.otel?.name, 'http.server.request.duration')
    const [series] = duration.series
    const exemplars = series && 'exemplars' in series ? series.exemplars.filter((exemplar) => exemplar) : []
    assert.deepEqual(
      exemplars.map((exemplar) => [exemplar?.traceId, exemplar?.value]),
      [[trace.traceId, 0.001]],
    )
  })

  it('holds on to no more routes than the cap, whatever they are called', () => {
    const metrics = createMetrics()
    const measure = addRequestMetrics(metrics)
    for (let id = 0; id < 3000; id++) measure({ method: 'GET', route: `/${id}`, status: 200, durationMs: 1 })
    const total = metrics.collect().find(({ name }) => name === 'http_requests_total')
    assert.equal(total?.series.length, 1001)
    assert.match(metrics.render(), /^fairlead_metrics_overflows_total{metric="http_requests_total"} 2000$/m)
  })
})

describe('addServerMetrics', () => {
  it('shows what the server says at that moment', () => {
    const metrics = createMetrics()
    const server = { connections: 3, requests: 1 }
    const end = addServerMetrics(metrics, server)
    server.connections = 4
    assert.match(metrics.render(), /^http_active_connections 4$(.|\n)*^http_requests_in_flight 1$/m)
    end()
    assert.equal(metrics.render(), '')
  })
})
