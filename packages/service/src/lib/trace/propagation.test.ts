import assert from 'node:assert/strict'
import type { IncomingHttpHeaders } from 'node:http'
import { createServer, request } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { currentBaggage, propagationHeaders, runInScope, withBaggage } from './current.ts'
import { parseBaggage, renderBaggage } from './baggage.ts'
import { createPropagation, readPropagators } from './propagation.ts'
import type { PropagatorName } from './propagation.ts'
import { createTracer } from './tracer.ts'
import { parseTraceparent } from './traceparent.ts'

const id = '12345678901234567890123456789012'
const parent = '1234567890123456'
const valid = `00-${id}-${parent}-00`

// The cases of the W3C's own test suite (w3c/trace-context, test/test.py at the level "strict", of specification level 2), with
// the names it gives them: headers as lines, sent over a socket, and what the service's own call has to carry.
interface W3cCase {
  readonly name: string
  readonly lines: readonly (readonly [string, string])[]
  /** Whether the trace goes on. */
  readonly continues: boolean
  readonly state?: string | undefined
}
const traceparent = (name: string, value: string, continues: boolean, header = 'traceparent'): W3cCase => ({
  name,
  lines: [[header, value]],
  continues,
})
const tracestate = (name: string, lines: readonly string[], state: string | undefined): W3cCase => ({
  name,
  lines: [['traceparent', valid], ...lines.map((line) => ['tracestate', line] as const)],
  continues: true,
  state,
})
const keyCharacters = 'abcdefghijklmnopqrstuvwxyz0123456789_-*/'
const printable = String.fromCharCode(...Array.from({ length: 0x7f - 0x20 }, (_, index) => 0x20 + index))
const value = printable.replaceAll(/[,=]/g, '')
const members = Array.from({ length: 33 }, (_, index) => `bar${String(index + 1).padStart(2, '0')}=${index + 1}`)

const w3cCases: readonly W3cCase[] = [
  { name: 'both_traceparent_and_tracestate_missing', lines: [], continues: false },
  traceparent('traceparent_included_tracestate_missing', `00-${id}-${parent}-01`, true),
  {
    name: 'traceparent_duplicated',
    lines: [
      ['traceparent', `00-12345678901234567890123456789011-${parent}-01`],
      ['traceparent', `00-${id}-${parent}-01`],
    ],
    continues: false,
  },
  traceparent('traceparent_header_name: trace-parent', valid, false, 'trace-parent'),
  traceparent('traceparent_header_name: trace.parent', valid, false, 'trace.parent'),
  traceparent('traceparent_header_name_valid_casing: TraceParent', valid, true, 'TraceParent'),
  traceparent('traceparent_header_name_valid_casing: TrAcEpArEnT', valid, true, 'TrAcEpArEnT'),
  traceparent('traceparent_header_name_valid_casing: TRACEPARENT', valid, true, 'TRACEPARENT'),
  traceparent('traceparent_version_0x00: a point behind', `00-${id}-${parent}-01.`, false),
  traceparent('traceparent_version_0x00: more behind', `00-${id}-${parent}-01-what-the-future-will-be-like`, false),
  traceparent('traceparent_version_0xcc', `cc-${id}-${parent}-01`, true),
  traceparent('traceparent_version_0xcc: more behind', `cc-${id}-${parent}-01-what-the-future-will-be-like`, true),
  traceparent('traceparent_version_0xcc: no dash', `cc-${id}-${parent}-01.what-the-future-will-be-like`, false),
  traceparent('traceparent_version_0xff', `ff-${id}-${parent}-01`, false),
  traceparent('traceparent_version_illegal_characters: .0', `.0-${id}-${parent}-01`, false),
  traceparent('traceparent_version_illegal_characters: 0.', `0.-${id}-${parent}-01`, false),
  traceparent('traceparent_version_too_long: 000', `000-${id}-${parent}-01`, false),
  traceparent('traceparent_version_too_long: 0000', `0000-${id}-${parent}-01`, false),
  traceparent('traceparent_version_too_short', `0-${id}-${parent}-01`, false),
  traceparent('traceparent_trace_id_all_zero', `00-${'0'.repeat(32)}-${parent}-01`, false),
  traceparent(
    'traceparent_trace_id_illegal_characters: first',
    `00-.2345678901234567890123456789012-${parent}-01`,
    false,
  ),
  traceparent(
    'traceparent_trace_id_illegal_characters: last',
    `00-1234567890123456789012345678901.-${parent}-01`,
    false,
  ),
  traceparent('traceparent_trace_id_too_long', `00-123456789012345678901234567890123-${parent}-01`, false),
  traceparent('traceparent_trace_id_too_short', `00-1234567890123456789012345678901-${parent}-01`, false),
  traceparent('traceparent_parent_id_all_zero', `00-${id}-0000000000000000-01`, false),
  traceparent('traceparent_parent_id_illegal_characters: first', `00-${id}-.234567890123456-01`, false),
  traceparent('traceparent_parent_id_illegal_characters: last', `00-${id}-123456789012345.-01`, false),
  traceparent('traceparent_parent_id_too_long', `00-${id}-12345678901234567-01`, false),
  traceparent('traceparent_parent_id_too_short', `00-${id}-123456789012345-01`, false),
  traceparent('traceparent_trace_flags_illegal_characters: .0', `00-${id}-${parent}-.0`, false),
  traceparent('traceparent_trace_flags_illegal_characters: 0.', `00-${id}-${parent}-0.`, false),
  traceparent('traceparent_trace_flags_too_long', `00-${id}-${parent}-001`, false),
  traceparent('traceparent_trace_flags_too_short', `00-${id}-${parent}-1`, false),
  traceparent('traceparent_ows_handling: space in front', ` 00-${id}-${parent}-01`, true),
  traceparent('traceparent_ows_handling: tab in front', `\t00-${id}-${parent}-01`, true),
  traceparent('traceparent_ows_handling: space behind', `00-${id}-${parent}-01 `, true),
  traceparent('traceparent_ows_handling: tab behind', `00-${id}-${parent}-01\t`, true),
  traceparent('traceparent_ows_handling: both', `\t 00-${id}-${parent}-01 \t`, true),
  { name: 'tracestate_included_traceparent_missing', lines: [['tracestate', 'foo=1']], continues: false },
  tracestate('tracestate_included_traceparent_included', ['foo=1,bar=2'], 'foo=1,bar=2'),
  {
    name: 'tracestate_header_name',
    lines: [
      ['traceparent', valid],
      ['trace-state', 'foo=1'],
    ],
    continues: true,
  },
  {
    name: 'tracestate_header_name',
    lines: [
      ['traceparent', valid],
      ['trace.state', 'foo=1'],
    ],
    continues: true,
  },
  {
    name: 'tracestate_header_name_valid_casing',
    lines: [
      ['traceparent', valid],
      ['TrAcEsTaTe', 'foo=1'],
    ],
    continues: true,
    state: 'foo=1',
  },
  tracestate('tracestate_empty_header: alone', [''], undefined),
  tracestate('tracestate_empty_header: behind', ['foo=1', ''], 'foo=1'),
  tracestate('tracestate_empty_header: in front', ['', 'foo=1'], 'foo=1'),
  tracestate(
    'tracestate_multiple_headers_different_keys',
    ['foo=1,bar=2', 'rojo=1,congo=2', 'baz=3'],
    'foo=1,bar=2,rojo=1,congo=2,baz=3',
  ),
  tracestate('tracestate_duplicated_keys: same value', ['foo=1,foo=1'], 'foo=1,foo=1'),
  tracestate('tracestate_duplicated_keys: other value', ['foo=1,foo=2'], 'foo=1,foo=2'),
  tracestate('tracestate_duplicated_keys: other line', ['foo=1', 'foo=2'], 'foo=1,foo=2'),
  tracestate('tracestate_all_allowed_characters', [`${keyCharacters}=${value}`], `${keyCharacters}=${value}`),
  tracestate(
    'tracestate_all_allowed_characters: with vendor',
    [`${keyCharacters}@a-z0-9_-*/=${value}`],
    `${keyCharacters}@a-z0-9_-*/=${value}`,
  ),
  tracestate('tracestate_ows_handling: space and tab', ['foo=1 \t , \t bar=2, \t baz=3'], 'foo=1,bar=2,baz=3'),
  tracestate('tracestate_ows_handling: tab and space', ['foo=1\t \t,\t \tbar=2,\t \tbaz=3'], 'foo=1,bar=2,baz=3'),
  tracestate('tracestate_ows_handling: space in front', [' foo=1'], 'foo=1'),
  tracestate('tracestate_ows_handling: tab in front', ['\tfoo=1'], 'foo=1'),
  tracestate('tracestate_ows_handling: space behind', ['foo=1 '], 'foo=1'),
  tracestate('tracestate_ows_handling: tab behind', ['foo=1\t'], 'foo=1'),
  tracestate('tracestate_ows_handling: both', ['\t foo=1 \t'], 'foo=1'),
  tracestate('tracestate_key_illegal_characters: space', ['foo =1'], undefined),
  tracestate('tracestate_key_illegal_characters: upper case', ['FOO=1'], undefined),
  tracestate('tracestate_key_illegal_characters: point', ['foo.bar=1'], undefined),
  tracestate('tracestate_key_illegal_vendor_format: at the end', ['foo@=1,bar=2'], 'foo@=1,bar=2'),
  tracestate('tracestate_key_illegal_vendor_format: in front', ['@foo=1,bar=2'], undefined),
  tracestate('tracestate_key_illegal_vendor_format: two', ['foo@@bar=1,bar=2'], 'foo@@bar=1,bar=2'),
  tracestate('tracestate_key_illegal_vendor_format: apart', ['foo@bar@baz=1,bar=2'], 'foo@bar@baz=1,bar=2'),
  tracestate('tracestate_member_count_limit: 32', [members.slice(0, 32).join(',')], members.slice(0, 32).join(',')),
  tracestate('tracestate_member_count_limit: 33', [members.join(',')], undefined),
  tracestate('tracestate_key_length_limit: 256', ['foo=1', `${'z'.repeat(256)}=1`], `foo=1,${'z'.repeat(256)}=1`),
  tracestate('tracestate_key_length_limit: 257', ['foo=1', `${'z'.repeat(257)}=1`], undefined),
  tracestate(
    'tracestate_key_length_limit: with vendor',
    ['foo=1', `${'t'.repeat(241)}@${'v'.repeat(14)}=1`],
    `foo=1,${'t'.repeat(241)}@${'v'.repeat(14)}=1`,
  ),
  tracestate(
    'tracestate_key_length_limit: long tenant',
    ['foo=1', `${'t'.repeat(242)}@v=1`],
    `foo=1,${'t'.repeat(242)}@v=1`,
  ),
  tracestate(
    'tracestate_key_length_limit: long vendor',
    ['foo=1', `t@${'v'.repeat(15)}=1`],
    `foo=1,t@${'v'.repeat(15)}=1`,
  ),
  tracestate('tracestate_value_illegal_characters: equals', ['foo=bar=baz'], undefined),
  tracestate('tracestate_value_illegal_characters: empty', ['foo=,bar=3'], undefined),
]

describe('W3C Trace Context, by the cases of its test suite', () => {
  for (const { name, lines, continues, state } of w3cCases) {
    it(name, async () => {
      const headers = await sendAndCall(lines)
      const sent = parseTraceparent(headers['traceparent'] ?? '')
      assert.ok(sent, `sent ${headers['traceparent']}`)
      assert.equal(sent.traceId === id, continues)
      assert.notEqual(sent.traceId, '12345678901234567890123456789011')
      assert.notEqual(sent.spanId, parent)
      assert.equal(headers['tracestate'], state)
    })
  }

  it('propagates_random_flag', async () => {
    const headers = await sendAndCall([['traceparent', `00-${id}-${parent}-02`]])
    assert.match(headers['traceparent'] ?? '', /-02$/)
  })

  it('multiple_requests_with_valid_traceparent: same trace, other parents', async () => {
    const tracer = createTracer()
    const traces = [1, 2, 3].map(() => tracer.join({ traceparent: `00-${id}-${parent}-01` }))
    assert.deepEqual([...new Set(traces.map(({ traceId }) => traceId))], [id])
    assert.equal(new Set(traces.map(({ spanId }) => spanId)).size, 3)
  })
})

// Values of the B3 specification (openzipkin/b3-propagation, README) and of the cases that OpenTelemetry's propagators share.
const b3Trace = '80f198ee56343ba864fe8b2a57d3eff7'
const b3Span = 'e457b5a2e4d86bd1'
const b3Parent = '05e3ac9a4f6e3b90'
const joined = (isSampled: boolean | undefined, traceId = b3Trace): object => ({ traceId, spanId: b3Span, isSampled })
const b3Cases: readonly { name: string; headers: IncomingHttpHeaders; expected: object | undefined }[] = [
  { name: 'single: with parent', headers: { b3: `${b3Trace}-${b3Span}-1-${b3Parent}` }, expected: joined(true) },
  { name: 'single: sampled', headers: { b3: `${b3Trace}-${b3Span}-1` }, expected: joined(true) },
  { name: 'single: not sampled', headers: { b3: `${b3Trace}-${b3Span}-0` }, expected: joined(false) },
  { name: 'single: debug', headers: { b3: `${b3Trace}-${b3Span}-d` }, expected: joined(true) },
  { name: 'single: deferred', headers: { b3: `${b3Trace}-${b3Span}` }, expected: joined(undefined) },
  { name: 'single: deny', headers: { b3: '0' }, expected: { isSampled: false } },
  { name: 'single: debug without ids', headers: { b3: 'd' }, expected: { isSampled: true } },
  { name: 'single: upper case', headers: { b3: `${b3Trace.toUpperCase()}-${b3Span}-1` }, expected: joined(true) },
  {
    name: 'single: 64 bits',
    headers: { b3: `${b3Trace.slice(16)}-${b3Span}-1` },
    expected: joined(true, b3Trace.slice(16).padStart(32, '0')),
  },
  { name: 'single: nonsense', headers: { b3: 'nonsense' }, expected: undefined },
  { name: 'single: an unknown decision', headers: { b3: `${b3Trace}-${b3Span}-x` }, expected: undefined },
  { name: 'single: trace id of zeros', headers: { b3: `${'0'.repeat(32)}-${b3Span}-1` }, expected: undefined },
  { name: 'single: span id of zeros', headers: { b3: `${b3Trace}-${'0'.repeat(16)}-1` }, expected: undefined },
  { name: 'single: short span id', headers: { b3: `${b3Trace}-${b3Span.slice(1)}-1` }, expected: undefined },
  { name: 'single: too many parts', headers: { b3: `${b3Trace}-${b3Span}-1-${b3Parent}-1` }, expected: undefined },
  { name: 'single: a parent that is none', headers: { b3: `${b3Trace}-${b3Span}-1-x` }, expected: undefined },
  {
    name: 'multi: with parent',
    headers: { 'x-b3-traceid': b3Trace, 'x-b3-spanid': b3Span, 'x-b3-parentspanid': b3Parent, 'x-b3-sampled': '1' },
    expected: joined(true),
  },
  {
    name: 'multi: not sampled',
    headers: { 'x-b3-traceid': b3Trace, 'x-b3-spanid': b3Span, 'x-b3-sampled': '0' },
    expected: joined(false),
  },
  {
    name: 'multi: sampled as old senders write it',
    headers: { 'x-b3-traceid': b3Trace, 'x-b3-spanid': b3Span, 'x-b3-sampled': 'true' },
    expected: joined(true),
  },
  {
    name: 'multi: debug wins',
    headers: { 'x-b3-traceid': b3Trace, 'x-b3-spanid': b3Span, 'x-b3-sampled': '0', 'x-b3-flags': '1' },
    expected: joined(true),
  },
  {
    name: 'multi: deferred',
    headers: { 'x-b3-traceid': b3Trace, 'x-b3-spanid': b3Span },
    expected: joined(undefined),
  },
  { name: 'multi: deny', headers: { 'x-b3-sampled': '0' }, expected: { isSampled: false } },
  { name: 'multi: span id missing', headers: { 'x-b3-traceid': b3Trace, 'x-b3-sampled': '1' }, expected: undefined },
  { name: 'multi: trace id missing', headers: { 'x-b3-spanid': b3Span, 'x-b3-sampled': '1' }, expected: undefined },
  {
    name: 'multi: trace id that is none',
    headers: { 'x-b3-traceid': 'invalid!', 'x-b3-spanid': b3Span, 'x-b3-sampled': '1' },
    expected: undefined,
  },
  {
    name: 'the single header wins',
    headers: { b3: `${b3Trace}-${b3Span}-1`, 'x-b3-traceid': '0'.repeat(31) + '1', 'x-b3-spanid': b3Parent },
    expected: joined(true),
  },
  {
    name: 'the others count when the single one is not valid',
    headers: { b3: 'nonsense', 'x-b3-traceid': b3Trace, 'x-b3-spanid': b3Span, 'x-b3-sampled': '1' },
    expected: joined(true),
  },
  { name: 'nothing', headers: {}, expected: undefined },
]

describe('B3 propagation', () => {
  const b3 = createPropagation(['b3'])
  for (const { name, headers, expected } of b3Cases) {
    it(`reads ${name}`, () => assert.deepEqual(b3.extract(headers), expected))
  }

  it('writes the single header, with the parent', () => {
    const tracer = createTracer({ propagation: createPropagation(['b3']) })
    const trace = tracer.join({ b3: `${b3Trace}-${b3Span}-1` })
    const headers: Record<string, string> = {}
    tracer.propagation.inject(trace, headers)
    assert.deepEqual(headers, { b3: `${b3Trace}-${trace.spanId}-1-${b3Span}` })
  })

  it('writes the headers of many', () => {
    const tracer = createTracer({ propagation: createPropagation(['b3multi']) })
    const trace = tracer.join({ b3: `${b3Trace}-${b3Span}-0` })
    const headers: Record<string, string> = {}
    tracer.propagation.inject(trace, headers)
    assert.deepEqual(headers, { 'x-b3-traceid': b3Trace, 'x-b3-spanid': trace.spanId, 'x-b3-sampled': '0' })
  })

  it('decides itself when the caller defers, and begins an unsampled trace when it denies', () => {
    const tracer = createTracer({ propagation: createPropagation(['b3']), sampler: (_id, given) => given ?? true })
    assert.equal(tracer.join({ b3: `${b3Trace}-${b3Span}` }).isSampled, true)
    const denied = tracer.join({ b3: '0' })
    assert.equal(denied.isSampled, false)
    assert.equal(denied.parentSpanId, undefined)
  })

  it('does not hand on the headers of the caller beside its own', () => {
    const tracer = createTracer({ propagation: createPropagation(['b3']) })
    const incoming = { 'x-b3-traceid': b3Trace, 'x-b3-spanid': b3Span, 'x-b3-sampled': '1' }
    const trace = tracer.join(incoming)
    const headers = runInScope({ requestId: 'r1', trace, incoming }, propagationHeaders)
    assert.deepEqual(headers, { b3: `${b3Trace}-${trace.spanId}-1-${b3Span}`, 'x-request-id': 'r1' })
  })
})

describe('createPropagation', () => {
  it('takes the first format that says something', () => {
    const both: IncomingHttpHeaders = { traceparent: `00-${id}-${parent}-01`, b3: `${b3Trace}-${b3Span}-1` }
    const traceIdBy = (names: readonly PropagatorName[]): unknown => {
      const found = createPropagation(names).extract(both)
      return found !== undefined && 'traceId' in found ? found.traceId : undefined
    }
    assert.equal(traceIdBy(['tracecontext', 'b3']), id)
    assert.equal(traceIdBy(['b3', 'tracecontext']), b3Trace)
    assert.equal(traceIdBy(['baggage']), undefined)
  })

  it('names its fields', () => {
    assert.deepEqual(createPropagation(['tracecontext', 'baggage']).fields, ['traceparent', 'tracestate', 'baggage'])
  })
})

describe('readPropagators', () => {
  for (const { given, expected } of [
    { given: undefined, expected: ['tracecontext', 'baggage'] },
    { given: 'b3, tracecontext', expected: ['b3', 'tracecontext'] },
    { given: 'b3multi,b3multi', expected: ['b3multi'] },
    { given: 'none', expected: [] },
  ]) {
    it(`reads ${given}`, () => assert.deepEqual(readPropagators({ OTEL_PROPAGATORS: given }), expected))
  }

  it('refuses what it does not know', () => {
    assert.throws(() => readPropagators({ OTEL_PROPAGATORS: 'jaeger' }), { code: 'FAIRLEAD_SERVICE_SETTING' })
  })
})

describe('parseBaggage', () => {
  for (const { name, header, expected } of [
    // W3C Baggage, section 3.3.1 and its examples.
    {
      name: 'entries',
      header: 'userId=alice,serverNode=DF%2028,isProduction=false',
      expected: { userId: ['alice'], serverNode: ['DF 28'], isProduction: ['false'] },
    },
    {
      name: 'space around',
      header: ' key1 = value1 , key2 = value2 ',
      expected: { key1: ['value1'], key2: ['value2'] },
    },
    {
      name: 'properties',
      header: 'key1=value1;property1;property2, key3=value3; propertyKey=propertyValue',
      expected: { key1: ['value1', 'property1;property2'], key3: ['value3', 'propertyKey=propertyValue'] },
    },
    {
      name: 'a value with equals signs',
      header: 'SomeKey=SomeValue=equals',
      expected: { SomeKey: ['SomeValue=equals'] },
    },
    { name: 'a percent sign that encodes nothing', header: 'a=1%,b=2', expected: { b: ['2'] } },
    { name: 'no equals sign', header: 'a,b=2', expected: { b: ['2'] } },
    { name: 'no key', header: '=1,b=2', expected: { b: ['2'] } },
    { name: 'an empty value', header: 'a=', expected: { a: [''] } },
    { name: 'a quote in a value', header: 'a="1",b=2', expected: { b: ['2'] } },
    { name: 'nothing', header: '', expected: {} },
  ]) {
    it(`reads ${name}`, () => {
      const entries = [...parseBaggage(header)].map(([key, entry]) => [
        key,
        entry.metadata === undefined ? [entry.value] : [entry.value, entry.metadata],
      ])
      assert.deepEqual(Object.fromEntries(entries), expected)
    })
  }

  it('stops at 180 entries and at 8192 bytes', () => {
    const many = Array.from({ length: 200 }, (_, index) => `k${index}=v`).join(',')
    assert.equal(parseBaggage(many).size, 180)
    const long = ['a=1', `b=${'x'.repeat(8000)}`, `c=${'y'.repeat(300)}`].join(',')
    assert.deepEqual([...parseBaggage(long).keys()], ['a', 'b'])
  })

  it('renders what it reads', () => {
    const baggage = new Map([
      ['key', { value: 'ä, "b"; c', metadata: 'p=1' }],
      ['bad key', { value: 'x' }],
    ])
    assert.equal(renderBaggage(baggage), 'key=%C3%A4%2C%20%22b%22%3B%20c;p=1')
    assert.deepEqual([...parseBaggage(renderBaggage(baggage))], [['key', { value: 'ä, "b"; c', metadata: 'p=1' }]])
  })
})

describe('baggage of a request', () => {
  const trace = createTracer().join({})

  it('goes on to calls as it came, and with what the service adds', () => {
    const scope = { requestId: 'r1', trace, incoming: { baggage: 'tenant=acme' } }
    runInScope(scope, () => {
      assert.equal(propagationHeaders()['baggage'], 'tenant=acme')
      assert.equal(currentBaggage().get('tenant')?.value, 'acme')
      withBaggage({ plan: 'gold', tenant: undefined }, () => {
        assert.equal(propagationHeaders()['baggage'], 'plan=gold')
        assert.deepEqual([...currentBaggage().keys()], ['plan'])
      })
      assert.deepEqual([...currentBaggage().keys()], ['tenant'])
    })
  })

  it('is cut where it is too long to be handed on', () => {
    const long = Array.from({ length: 300 }, (_, index) => `k${index}=v`).join(',')
    runInScope({ requestId: 'r1', trace, incoming: { baggage: long } }, () =>
      assert.equal(propagationHeaders()['baggage']?.split(',').length, 180),
    )
  })

  it('does nothing outside of one', () => {
    assert.equal(currentBaggage().size, 0)
    assert.equal(
      withBaggage({ a: '1' }, () => 2),
      2,
    )
  })
})

/** What a service that was sent `lines` tells the service it calls. */
async function sendAndCall(lines: readonly (readonly [string, string])[]): Promise<Record<string, string>> {
  const tracer = createTracer()
  const server = createServer((message, response) => {
    const scope = { requestId: 'r1', trace: tracer.join(message.headers), incoming: message.headers }
    response.end(JSON.stringify(runInScope(scope, propagationHeaders)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const { port } = server.address() as AddressInfo
    const outgoing = request({
      port,
      host: '127.0.0.1',
      headers: [['host', 'localhost'], ...lines].flat(),
      agent: false,
    })
    outgoing.end()
    const [response] = await once(outgoing, 'response')
    return JSON.parse(await text(response)) as Record<string, string>
  } finally {
    server.close()
  }
}
