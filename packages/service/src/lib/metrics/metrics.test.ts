import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createMetrics } from './metrics.ts'
import { addRuntimeMetrics } from './all.ts'
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
    const end = addRuntimeMetrics(metrics)
    const families = parseExposition(metrics.render())
    end()
    const value = (name: string): number =>
      families.find((family) => family.name === name)?.samples[0]?.value ?? Number.NaN
    assert.ok(value('process_resident_memory_bytes') > 1e6)
    assert.ok(value('process_cpu_seconds_total') > 0)
    assert.ok(Math.abs(value('process_start_time_seconds') - Date.now() / 1000) < 3600)
    assert.ok(value('nodejs_heap_size_used_bytes') > 1e6)
  })
})

describe('collect', () => {
  it('gives every series with its labels, buckets and exemplars', () => {
    const metrics = createMetrics()
    const trace = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', isSampled: true }
    metrics
      .counter('jobs_total', { help: 'Jobs.', labels: ['kind'] })
      .labels({ kind: 'a' })
      .inc(2, trace)
    const seconds = metrics.histogram('wait_seconds', { help: 'Waits.', buckets: [1, 10] })
    seconds.observe(5, trace)
    seconds.observe(0.5, { ...trace, isSampled: false })
    const [jobs, waits] = metrics.collect()
    assert.equal(jobs?.unit, undefined)
    assert.deepEqual(jobs?.labelNames, ['kind'])
    const [job] = jobs.series
    assert.ok(job && 'value' in job)
    assert.deepEqual([job.labels, job.value, job.exemplar?.traceId], [{ kind: 'a' }, 2, trace.traceId])
    assert.equal(waits?.unit, 'seconds')
    const [wait] = waits.series
    assert.ok(wait && 'bounds' in wait)
    assert.deepEqual([wait.bounds, wait.counts, wait.count, wait.sum], [[1, 10], [1, 1, 0], 2, 5.5])
    assert.deepEqual(
      wait.exemplars.map((exemplar) => exemplar?.value),
      [undefined, 5, undefined],
    )
  })

  it('reads observables, and leaves out those that have no value', () => {
    const metrics = createMetrics()
    let limit: number | undefined
    const remove = metrics.observable('limit_bytes', { help: 'Limit.', read: () => limit })
    metrics.observable('spaces', {
      help: 'Spaces.',
      labels: ['space'],
      read: () => [[{ space: 'new' }, 1] as const, [{ space: 'old' }, 2] as const],
    })
    assert.deepEqual(
      metrics.collect().map(({ name }) => name),
      ['spaces'],
    )
    limit = 5
    assert.ok(metrics.render().includes('limit_bytes 5\n'))
    remove()
    assert.ok(!metrics.render().includes('limit_bytes'))
    assert.ok(metrics.render().includes('spaces{space="old"} 2\n'))
  })

  it('goes on without a reader that throws, and counts it', () => {
    const metrics = createMetrics()
    metrics.gauge('first', { help: 'First.' })
    metrics.onCollect(() => {
      throw new Error('no')
    })
    assert.match(metrics.render(), /^first 0$(.|\n)*^fairlead_metrics_read_failures_total 1$/m)
  })

  it('counts what the cap folded together', () => {
    const metrics = createMetrics()
    const hits = metrics.counter('hits_total', { help: 'Hits.', labels: ['a', 'b'], maxSeries: 2 })
    for (let b = 0; b < 5; b++) hits.labels({ a: 1, b }).inc()
    assert.match(metrics.render(), /^fairlead_metrics_overflows_total{metric="hits_total"} 3$/m)
  })

  it('keeps values apart that only look alike when joined', () => {
    const metrics = createMetrics()
    const hits = metrics.counter('hits_total', { help: 'Hits.', labels: ['a', 'b'] })
    hits.labels({ a: '1:x', b: '' }).inc()
    hits.labels({ a: '1', b: 'x' }).inc()
    hits.labels({ a: '\ud800', b: '' }).inc()
    hits.labels({ a: '\udbff', b: '' }).inc()
    const series = metrics.collect()[0]?.series ?? []
    assert.deepEqual(
      series.map((entry) => 'value' in entry && entry.value),
      [1, 1, 2],
    )
  })

  it('halves the resolution of a native histogram rather than growing without bound', () => {
    const metrics = createMetrics()
    const seconds = metrics.histogram('wait_seconds', { help: 'Waits.', native: { schema: 8, maxBuckets: 20 } })
    for (let exponent = -10; exponent <= 10; exponent += 0.1) seconds.observe(2 ** exponent)
    seconds.observe(0)
    const [series] = metrics.collect()[0]?.series ?? []
    const native = series && 'bounds' in series ? series.native : undefined
    assert.ok(native && native.schema <= 0 && native.positive.length <= 20, JSON.stringify(native))
    assert.equal(native.zeroCount, 1)
    const total = native.positive.reduce((sum, [, count]) => sum + count, 0)
    assert.equal(total + 1, series && 'bounds' in series && series.count)
  })
})
