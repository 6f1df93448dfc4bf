import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createMetrics } from './metrics.ts'
import { addProcessMetrics } from './process.ts'
import { parseExposition } from './exposition.fixture.ts'

describe('createMetrics', () => {
  it('renders counters, gauges and histograms', () => {
    const metrics = createMetrics()
    metrics
      .counter('jobs_total', { help: 'Jobs.', labels: ['kind'] })
      .labels({ kind: 'a' })
      .inc(2)
    metrics.gauge('queue_length', { help: 'Waiting.' }).set(-1.5)
    const sizes = metrics.histogram('size_bytes', { help: 'Sizes.', buckets: [1, 10] })
    for (const size of [0.5, 1, 5, 50]) sizes.observe(size)
    assert.equal(
      metrics.render(),
      [
        '# HELP jobs_total Jobs.',
        '# TYPE jobs_total counter',
        'jobs_total{kind="a"} 2',
        '# HELP queue_length Waiting.',
        '# TYPE queue_length gauge',
        'queue_length -1.5',
        '# HELP size_bytes Sizes.',
        '# TYPE size_bytes histogram',
        'size_bytes_bucket{le="1"} 2',
        'size_bytes_bucket{le="10"} 3',
        'size_bytes_bucket{le="+Inf"} 4',
        'size_bytes_sum 56.5',
        'size_bytes_count 4',
        '',
      ].join('\n'),
    )
  })

  it('escapes what would break the format', () => {
    const metrics = createMetrics()
    const value = 'a"b\\c\nd'
    metrics
      .counter('odd_total', { help: 'One\nline \\ two.', labels: ['value'] })
      .labels({ value })
      .inc()
    const [family] = parseExposition(metrics.render())
    assert.equal(family?.help, 'One\nline \\ two.')
    assert.deepEqual(family.samples[0]?.labels, { value })
  })

  it('counts series beyond the cap together', () => {
    const metrics = createMetrics()
    const hits = metrics.counter('hits_total', { help: 'Hits.', labels: ['path'], maxSeries: 3 })
    for (let path = 0; path < 100; path++) hits.labels({ path }).inc()
    const samples = parseExposition(metrics.render())[0]?.samples ?? []
    assert.equal(samples.length, 4)
    assert.equal(samples.find(({ labels }) => labels['path'] === '__overflow__')?.value, 97)
  })

  it('shows a metric without labels before anything happened', () => {
    const metrics = createMetrics()
    metrics.counter('errors_total', { help: 'Errors.' })
    assert.ok(metrics.render().includes('errors_total 0\n'))
  })

  it('refuses names and values that Prometheus would', () => {
    const metrics = createMetrics()
    const code = 'FAIRLEAD_SERVICE_METRIC'
    assert.throws(() => metrics.counter('jobs', { help: '' }), { code })
    assert.throws(() => metrics.gauge('a-b', { help: '' }), { code })
    assert.throws(() => metrics.gauge('a', { help: '', labels: ['__name__'] }), { code })
    assert.throws(() => metrics.histogram('h', { help: '', buckets: [2, 1] }), { code })
    const total = metrics.counter('a_total', { help: '' })
    assert.throws(() => metrics.counter('a_total', { help: '' }), { code })
    assert.throws(() => total.inc(-1), { code })
  })

  it('tells about the process', () => {
    const metrics = createMetrics()
    const end = addProcessMetrics(metrics)
    const families = parseExposition(metrics.render())
    end()
    const value = (name: string): number =>
      families.find((family) => family.name === name)?.samples[0]?.value ?? Number.NaN
    assert.ok(value('process_resident_memory_bytes') > 1e6)
    assert.ok(value('process_cpu_seconds_total') > 0)
    assert.ok(Math.abs(value('process_start_time_seconds') - Date.now() / 1000) < 3600)
    assert.ok(value('nodejs_heap_used_bytes') > 1e6)
  })
})
