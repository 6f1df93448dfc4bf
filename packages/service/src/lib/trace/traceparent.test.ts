import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { currentScope, propagationHeaders, runInScope } from './current.ts'
import { joinTrace, parseTraceparent, renderTraceparent } from './traceparent.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const spanId = 'b7ad6b7169203331'

describe('parseTraceparent', () => {
  for (const { name, text, expected } of [
    { name: 'a sampled one', text: `00-${traceId}-${spanId}-01`, expected: { traceId, spanId, isSampled: true } },
    {
      name: 'one that is not sampled',
      text: `00-${traceId}-${spanId}-00`,
      expected: { traceId, spanId, isSampled: false },
    },
    {
      name: 'the random flag',
      text: `00-${traceId}-${spanId}-03`,
      expected: { traceId, spanId, isSampled: true, isRandom: true },
    },
    { name: 'unknown flags', text: `00-${traceId}-${spanId}-f9`, expected: { traceId, spanId, isSampled: true } },
    {
      name: 'a later version with more to it',
      text: `cc-${traceId}-${spanId}-01-what-is-this`,
      expected: { traceId, spanId, isSampled: true },
    },
    { name: 'version 00 with more to it', text: `00-${traceId}-${spanId}-01-what`, expected: undefined },
    { name: 'the forbidden version', text: `ff-${traceId}-${spanId}-01`, expected: undefined },
    { name: 'upper case', text: `00-${traceId.toUpperCase()}-${spanId}-01`, expected: undefined },
    { name: 'a trace id of zeros', text: `00-${'0'.repeat(32)}-${spanId}-01`, expected: undefined },
    { name: 'a span id of zeros', text: `00-${traceId}-${'0'.repeat(16)}-01`, expected: undefined },
    { name: 'something short', text: `00-${traceId}-${spanId}`, expected: undefined },
    { name: 'nothing', text: '', expected: undefined },
  ]) {
    it(`reads ${name}`, () => assert.deepEqual(parseTraceparent(text), expected))
  }
})

describe('joinTrace', () => {
  it('continues the trace of the caller as a span of its own', () => {
    const trace = joinTrace(`00-${traceId}-${spanId}-01`, 'vendor=1')
    assert.equal(trace.traceId, traceId)
    assert.equal(trace.parentSpanId, spanId)
    assert.notEqual(trace.spanId, spanId)
    assert.equal(trace.state, 'vendor=1')
  })

  it('starts a trace when there is none, or none that is valid', () => {
    const trace = joinTrace('nonsense', 'vendor=1')
    assert.deepEqual(parseTraceparent(renderTraceparent(trace)), {
      traceId: trace.traceId,
      spanId: trace.spanId,
      isSampled: true,
    })
    assert.equal(trace.parentSpanId, undefined)
    assert.equal(trace.state, undefined)
  })

  it('drops a tracestate that is too long', () => {
    assert.equal(joinTrace(`00-${traceId}-${spanId}-01`, 'x'.repeat(513)).state, undefined)
  })
})

describe('propagationHeaders', () => {
  it('names the current request in everything it starts, and is empty outside of one', async () => {
    assert.deepEqual(propagationHeaders(), {})
    const trace = { traceId, spanId, isSampled: true, state: 'a=b' }
    await runInScope({ requestId: 'r1', trace }, async () => {
      await Promise.resolve()
      assert.equal(currentScope()?.requestId, 'r1')
      assert.deepEqual(propagationHeaders(), {
        traceparent: `00-${traceId}-${spanId}-01`,
        'x-request-id': 'r1',
        tracestate: 'a=b',
      })
    })
  })
})
