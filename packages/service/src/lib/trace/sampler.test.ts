import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { randomHex } from './ids.ts'
import { readLimits } from './limits.ts'
import { createSampler, readSampler } from './sampler.ts'
import type { SpanRecord } from './span.ts'
import { createTracer } from './tracer.ts'

const id = '0af7651916cd43dd8448eb211c80319c'

describe('createSampler', () => {
  for (const { name, root, ofSampled, ofUnsampled } of [
    { name: 'always_on', root: true, ofSampled: true, ofUnsampled: true },
    { name: 'always_off', root: false, ofSampled: false, ofUnsampled: false },
    { name: 'parentbased_always_on', root: true, ofSampled: true, ofUnsampled: false },
    { name: 'parentbased_always_off', root: false, ofSampled: true, ofUnsampled: false },
  ] as const) {
    it(`decides by ${name}`, () => {
      const sampler = createSampler(name)
      assert.deepEqual([sampler(id, undefined), sampler(id, true), sampler(id, false)], [root, ofSampled, ofUnsampled])
    })
  }

  it('keeps the given part of traces, a larger ratio all that a smaller one keeps', () => {
    const [tenth, half] = [createSampler('traceidratio', 0.1), createSampler('parentbased_traceidratio', 0.5)]
    const ids = Array.from({ length: 20_000 }, () => randomHex(16))
    const kept = ids.filter((one) => tenth(one, undefined))
    assert.ok(Math.abs(kept.length - 2000) < 250, `kept ${kept.length}`)
    assert.ok(kept.every((one) => half(one, undefined)))
    assert.equal(createSampler('traceidratio', 0)(id, true), false)
    assert.equal(createSampler('traceidratio', 1)('f'.repeat(32), false), true)
  })
})

describe('readSampler', () => {
  it('follows the caller by default', () => {
    assert.equal(readSampler({})(id, false), false)
    assert.equal(readSampler({})(id, undefined), true)
  })

  for (const env of [
    { OTEL_TRACES_SAMPLER: 'sometimes' },
    { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '2' },
  ]) {
    it(`refuses ${JSON.stringify(env)}`, () =>
      assert.throws(() => readSampler(env), { code: 'FAIRLEAD_SERVICE_SETTING' }))
  }
})

describe('span limits', () => {
  it('drop and count what is beyond', () => {
    const spans: SpanRecord[] = []
    const limits = readLimits({
      OTEL_ATTRIBUTE_COUNT_LIMIT: '2',
      OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: '3',
      OTEL_SPAN_EVENT_COUNT_LIMIT: '1',
      OTEL_SPAN_LINK_COUNT_LIMIT: '0',
    })
    const tracer = createTracer({ limits, sink: { add: (record) => void spans.push(record) } })
    const made = tracer.startSpan('s', { attributes: { a: 'long', b: ['long'], c: 1 } })
    made.setAttribute('a', 'other').addEvent('1').addEvent('2')
    made.addLink({ context: { traceId: id, spanId: id.slice(16) } })
    made.end()
    made.setAttribute('a', 'late')
    const [record] = spans
    assert.deepEqual(record?.attributes, ['a', 'oth', 'b', ['lon']])
    assert.deepEqual([record?.droppedAttributes, record?.droppedEvents, record?.droppedLinks], [1, 1, 1])
  })
})
