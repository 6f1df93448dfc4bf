import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { parseExposition } from './exposition.fixture.ts'
import { exposeMetrics } from './expose.ts'
import { createMetrics } from './metrics.ts'
import type { Metrics } from './metrics.ts'
import { acceptsGzip, chooseFormat } from './negotiate.ts'
import { renderProtobuf } from './protobuf.ts'

const protobuf = 'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited'

describe('chooseFormat', () => {
  const cases: readonly [name: string, accept: string | undefined, expected: string][] = [
    ['nothing', undefined, 'text'],
    ['a browser', 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8', 'text'],
    [
      'Prometheus 2',
      'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
      'openmetrics',
    ],
    [
      'Prometheus 3',
      'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
      'openmetrics',
    ],
    ['a reader of native histograms', `${protobuf},application/openmetrics-text;version=1.0.0;q=0.8`, 'protobuf'],
    ['one that likes text better', 'application/openmetrics-text;q=0.3, text/plain; version="0.0.4"; q=0.7', 'text'],
    ['OpenMetrics of a later version', 'application/openmetrics-text;version=2.0.0,*/*;q=0.1', 'text'],
    ['a protobuf of another message', 'application/vnd.google.protobuf;proto=other;encoding=delimited', 'text'],
    ['a refusal', 'application/openmetrics-text;q=0', 'text'],
    ['a bad weight', 'application/openmetrics-text;q=much', 'text'],
    ['something without end', `${'x/y,'.repeat(100_000)}application/openmetrics-text`, 'text'],
  ]
  for (const [name, accept, expected] of cases)
    it(`answers ${name}`, () => assert.equal(chooseFormat(accept), expected))
})

describe('acceptsGzip', () => {
  const cases: readonly [header: string | undefined, expected: boolean][] = [
    [undefined, false],
    ['gzip', true],
    ['deflate, gzip;q=0.5', true],
    ['gzip;q=0, *', false],
    ['*', true],
    ['identity', false],
  ]
  for (const [header, expected] of cases) it(`reads ${header}`, () => assert.equal(acceptsGzip(header), expected))
})

describe('exposeMetrics', () => {
  it('writes OpenMetrics with units, exemplars and an end', async () => {
    const { headers, body } = await exposeMetrics(createSample(), { accept: 'application/openmetrics-text' })
    assert.equal(headers['content-type'], 'application/openmetrics-text; version=1.0.0; charset=utf-8')
    const text = String(body).replace(/ \d{10}\.\d{3}$/gm, ' TIME')
    assert.equal(
      text,
      [
        '# TYPE jobs counter',
        String.raw`# HELP jobs Jobs \"done\".`,
        'jobs_total{kind="a"} 2 # {trace_id="0af7651916cd43dd8448eb211c80319c",span_id="b7ad6b7169203331"} 2 TIME',
        '# TYPE wait_seconds histogram',
        '# UNIT wait_seconds seconds',
        '# HELP wait_seconds Waits.',
        'wait_seconds_bucket{le="0.5"} 0',
        'wait_seconds_bucket{le="1.0"} 1 # {trace_id="0af7651916cd43dd8448eb211c80319c",span_id="b7ad6b7169203331"} 0.75 TIME',
        'wait_seconds_bucket{le="+Inf"} 2',
        'wait_seconds_count 2',
        'wait_seconds_sum 100.75',
        '# TYPE build info',
        '# HELP build Build.',
        'build_info{version="1"} 1',
        '# EOF',
        '',
      ].join('\n'),
    )
  })

  it('tells when a series began only where that is wanted', async () => {
    const accept = { accept: 'application/openmetrics-text' }
    assert.doesNotMatch(String((await exposeMetrics(createSample(), accept)).body), /_created/)
    const { body } = await exposeMetrics(createSample(), accept, { created: true })
    assert.match(String(body), /^jobs_created{kind="a"} \d{10}/m)
    assert.match(String(body), /^wait_seconds_created \d{10}/m)
    assert.doesNotMatch(String(body), /build_created/)
  })

  it('leaves exemplars out of text, which has none', async () => {
    const { headers, body } = await exposeMetrics(createSample())
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
    assert.equal(parseExposition(String(body)).length, 3)
    assert.doesNotMatch(String(body), /trace_id/)
  })

  it('packs long answers for who can unpack them', async () => {
    const metrics = createMetrics()
    const hits = metrics.counter('hits_total', { help: 'Hits.', labels: ['path'] })
    for (let path = 0; path < 200; path++) hits.labels({ path }).inc()
    const { headers, body } = await exposeMetrics(metrics, { 'accept-encoding': 'gzip, deflate' })
    assert.equal(headers['content-encoding'], 'gzip')
    assert.equal(gunzipSync(body).toString(), metrics.render())
    const plain = await exposeMetrics(createSample(), { 'accept-encoding': 'gzip' })
    assert.equal(plain.headers['content-encoding'], undefined)
  })
})

describe('renderProtobuf', () => {
  it('delimits each family by its length', () => {
    const bytes = renderProtobuf(createSample().collect())
    const names: string[] = []
    for (let at = 0; at < bytes.length;) {
      const low = bytes[at] ?? 0
      const length = low < 128 ? low : (low & 127) + (bytes[at + 1] ?? 0) * 128
      at += low < 128 ? 1 : 2
      // The first field of the message is the name.
      assert.equal(bytes[at], 0x0a)
      names.push(Buffer.from(bytes.subarray(at + 2, at + 2 + (bytes[at + 1] ?? 0))).toString())
      at += length
    }
    assert.deepEqual(names, ['jobs_total', 'wait_seconds', 'build_info'])
  })
})

function createSample(): Metrics {
  const metrics = createMetrics()
  const trace = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', isSampled: true }
  metrics
    .counter('jobs_total', { help: 'Jobs "done".', labels: ['kind'] })
    .labels({ kind: 'a' })
    .inc(2, trace)
  const waits = metrics.histogram('wait_seconds', { help: 'Waits.', buckets: [0.5, 1], native: true })
  waits.observe(0.75, trace)
  waits.observe(100, { ...trace, isSampled: false })
  metrics.info('build_info', 'Build.', { version: '1' })
  return metrics
}
