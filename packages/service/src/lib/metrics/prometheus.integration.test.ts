// A real Prometheus reads a real service, in each of the formats it may ask for.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { service } from '../service/definition.ts'
import { start } from '../service/start.ts'
import type { App } from '../service/start.ts'
import { exposeMetrics } from './expose.ts'
import { hasPrometheus, startPrometheus } from './prometheus.fixture.ts'
import type { Prometheus } from './prometheus.fixture.ts'

const skip = !hasPrometheus() && 'prometheus and promtool are not installed (apt-get install prometheus)'
const traceId = '0af7651916cd43dd8448eb211c80319c'
const oddValue = 'a"b\\c\nd é 🚢'
const items = service({
  name: 'items',
  http: (router) =>
    router.get('/items/:id', ({ params }) => ({ id: params.id })).post('/items', () => ({ done: true })),
})

describe('promtool check metrics', { skip }, () => {
  it('finds nothing to say about what a service tells', async () => {
    await using app = await startItems()
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: app.metrics.render(),
      encoding: 'utf8',
    })
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' })
  })
})

describe('Prometheus', { skip }, () => {
  const formats = [
    { name: 'OpenMetrics', features: ['exemplar-storage'], type: 'application/openmetrics-text' },
    {
      name: 'protobuf',
      features: ['exemplar-storage', 'native-histograms'],
      type: 'application/vnd.google.protobuf',
    },
  ]
  for (const { name, features, type } of formats) {
    it(`reads a service in ${name}, exemplars included`, async () => {
      await using app = await startItems()
      const { headers } = await exposeMetrics(app.metrics, { accept: `${accepts(type)},*/*;q=0.1` })
      assert.ok(headers['content-type']?.startsWith(type))
      await using prometheus = await startPrometheus(new URL(app.url).host, features)
      const count = await prometheus.query('http_requests_total{route="/items/:id",status="200",method="GET"}')
      assert.equal(count[0]?.value?.[1], '5')
      for (const metric of [
        'process_resident_memory_bytes',
        'nodejs_eventloop_lag_p99_seconds',
        'http_active_connections',
      ])
        assert.equal((await prometheus.query(metric)).length, 1, metric)
      const info = await prometheus.query('service_info')
      assert.equal(info[0]?.metric['service'], 'items')
      const failures = await prometheus.query('http_requests_total{route="unmatched",status="404"}')
      assert.equal(failures[0]?.value?.[1], '1')

      assert.equal((await prometheus.query('odd_total'))[0]?.metric['value'], oddValue)

      assert.deepEqual(await readExemplars(prometheus), [traceId])
      const { activeTargets } = (await prometheus.get('targets')) as { activeTargets: { lastError: string }[] }
      assert.deepEqual(
        activeTargets.map(({ lastError }) => lastError),
        [''],
      )
    })
  }

  it('gets native histograms when it asks for them', async () => {
    await using app = await startItems()
    await using prometheus = await startPrometheus(new URL(app.url).host, ['native-histograms'])
    const selector = 'http_request_duration_seconds{route="/items/:id",method="GET"}'
    const count = await prometheus.query(`histogram_count(${selector})`)
    assert.equal(count[0]?.value?.[1], '5')
    const median = Number((await prometheus.query(`histogram_quantile(0.5, ${selector})`))[0]?.value?.[1])
    const sum = Number((await prometheus.query(`histogram_sum(${selector})`))[0]?.value?.[1])
    assert.ok(median > 0 && median < sum, `median ${median}, sum ${sum}`)
  })
})

/** Started, and asked five times for an item within a sampled trace, once posted to, and once for what is not there. */
async function startItems(): Promise<App> {
  const app = await start(items, { port: 0, env: { LOG_LEVEL: 'fatal' } })
  const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-01` }
  for (let id = 0; id < 5; id++) await (await fetch(`${app.url}/items/${id}`, { headers })).text()
  await (await fetch(`${app.url}/items`, { method: 'POST', body: 'x'.repeat(2000), headers })).text()
  await (await fetch(`${app.url}/nothing`, { headers })).text()
  app.metrics
    .counter('odd_total', { help: 'Odd "values"\n\\.', labels: ['value'] })
    .labels({ value: oddValue })
    .inc()
  return app
}

async function readExemplars(prometheus: Prometheus): Promise<string[]> {
  const now = Date.now() / 1000
  const parameters = new URLSearchParams({
    // A native histogram is one series; its exemplars stand there.
    query: '{__name__=~"http_request_duration_seconds(_bucket)?"}',
    start: String(now - 600),
    end: String(now + 60),
  })
  const series = (await prometheus.get(`query_exemplars?${parameters.toString()}`)) as {
    exemplars: { labels: Record<string, string> }[]
  }[]
  const found = series.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels['trace_id'] ?? ''))
  return [...new Set(found)]
}

function accepts(type: string): string {
  return type.endsWith('protobuf') ? `${type};proto=io.prometheus.client.MetricFamily;encoding=delimited` : type
}
