import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { propagationHeaders, runInScope } from '../trace/current.ts'
import { currentDeadline, isMeshRetrying } from './current.ts'
import { callerTimeoutMs, parseGrpcTimeout } from './deadline.ts'
import { meshHeaders } from './headers.ts'
import { parseMeshSettings, readMeshSettings } from './settings.ts'

const trace = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), isSampled: true }

describe('meshHeaders', () => {
  it('passes on the headers of every tracing system', () => {
    const incoming = {
      b3: '1-2-1',
      'x-b3-traceid': '1',
      'x-b3-spanid': '2',
      'x-b3-parentspanid': '3',
      'x-b3-sampled': '1',
      'x-b3-flags': '0',
      'x-ot-span-context': 'a;b;c',
      'x-cloud-trace-context': '105445aa7843bc8bf206b12000100000/1;o=1',
      'grpc-trace-bin': 'AAC',
      'x-datadog-trace-id': '1',
      'x-datadog-parent-id': '2',
      'x-datadog-sampling-priority': '1',
      sw8: '1-x',
      baggage: 'a=1,b=2',
    }
    assert.deepEqual(meshHeaders(incoming), incoming)
  })

  it('passes on nothing else, least of all credentials and what belongs to the connection', () => {
    const incoming = {
      authorization: 'Bearer x',
      cookie: 'a=b',
      connection: 'close',
      host: 'x',
      'content-length': '3',
      'x-envoy-attempt-count': '1',
      'x-canary': 'always',
    }
    assert.deepEqual(meshHeaders(incoming), {})
    assert.deepEqual(meshHeaders(incoming, { headers: ['x-canary'] }), { 'x-canary': 'always' })
  })

  it('joins what came more than once', () => {
    assert.deepEqual(meshHeaders({ 'end-user': ['a', 'b'] }, { headers: ['end-user'] }), {
      'end-user': 'a, b',
    })
  })

  it('leaves out what is too long, and cuts baggage to whole members', () => {
    assert.deepEqual(meshHeaders({ sw8: 'x'.repeat(2049), b3: '0' }), { b3: '0' })
    const long = [`a=${'x'.repeat(8000)}`, `b=${'y'.repeat(8000)}`, 'c=1'].join(',')
    assert.deepEqual(meshHeaders({ baggage: long }), { baggage: `a=${'x'.repeat(8000)},c=1` })
    const many = Array.from({ length: 70 }, (_, index) => `k${index}=v`).join(',')
    assert.equal(meshHeaders({ baggage: many })['baggage']?.split(',').length, 64)
    assert.deepEqual(meshHeaders({ baggage: 'x'.repeat(9000) }), {})
  })
})

describe('parseMeshSettings', () => {
  for (const name of [
    'Authorization',
    'cookie',
    'Connection',
    'te',
    'content-length',
    'x-envoy-max-retries',
    'a b',
    '',
  ]) {
    it(`refuses "${name}"`, () =>
      assert.throws(() => parseMeshSettings({ headers: [name] }), { code: 'FAIRLEAD_SERVICE_MESH_HEADER' }))
  }

  it('reads the environment, which the definition outweighs', () => {
    const env = { MESH_HEADERS: ' End-User, x-canary ,', MESH_RETRIES: 'True' }
    assert.deepEqual(readMeshSettings(env), { headers: ['end-user', 'x-canary'], retries: true })
    assert.deepEqual(readMeshSettings(env, { headers: [], retries: 'detect' }), { headers: [], retries: 'detect' })
    assert.deepEqual(readMeshSettings({}), { headers: [], retries: 'detect' })
    assert.throws(() => readMeshSettings({ MESH_RETRIES: 'sometimes' }), { code: 'FAIRLEAD_SERVICE_SETTING' })
  })
})

describe('callerTimeoutMs', () => {
  for (const { text, expected } of [
    { text: '100m', expected: 100 },
    { text: '5S', expected: 5000 },
    { text: '2M', expected: 120_000 },
    { text: '1H', expected: 3_600_000 },
    { text: '2500u', expected: 2.5 },
    { text: '5000000n', expected: 5 },
    { text: '123456789m', expected: undefined },
    { text: '5', expected: undefined },
    { text: '-5S', expected: undefined },
  ]) {
    it(`reads grpc-timeout "${text}"`, () => {
      const seen = parseGrpcTimeout(text)
      if (expected === undefined) assert.equal(seen, undefined)
      else assert.ok(Math.abs((seen ?? NaN) - expected) < 1e-9, String(seen))
    })
  }

  it('takes the shorter one, and ignores what it cannot read', () => {
    assert.equal(callerTimeoutMs({ 'x-envoy-expected-rq-timeout-ms': '250', 'grpc-timeout': '1S' }), 250)
    assert.equal(callerTimeoutMs({ 'x-envoy-expected-rq-timeout-ms': '2500', 'grpc-timeout': '1S' }), 1000)
    for (const text of ['0', '-1', '1e3', 'soon', '']) {
      assert.equal(callerTimeoutMs({ 'x-envoy-expected-rq-timeout-ms': text }), undefined)
    }
  })
})

describe('currentDeadline', () => {
  it('is when the caller stops waiting, and calls made for it say what is left', () => {
    const startedAt = performance.now() - 400
    const incoming = { 'x-envoy-expected-rq-timeout-ms': '1000', 'end-user': 'jason', 'x-b3-traceid': '1' }
    const mesh = parseMeshSettings({ headers: ['End-User'] })
    runInScope({ requestId: 'r', trace, incoming, startedAt, mesh }, () => {
      assert.equal(currentDeadline(), startedAt + 1000)
      const { 'x-envoy-expected-rq-timeout-ms': left, ...headers } = propagationHeaders()
      assert.ok(Number(left) <= 600 && Number(left) > 400, left)
      assert.deepEqual(headers, {
        'end-user': 'jason',
        'x-b3-traceid': '1',
        traceparent: `00-${trace.traceId}-${trace.spanId}-01`,
        'x-request-id': 'r',
      })
    })
    assert.equal(currentDeadline(), undefined)
  })

  it('says 1 ms and not "no limit" when the time is over', () => {
    const incoming = { 'grpc-timeout': '1m' }
    runInScope({ requestId: 'r', trace, incoming, startedAt: performance.now() - 5000 }, () =>
      assert.equal(propagationHeaders()['x-envoy-expected-rq-timeout-ms'], '1'),
    )
  })
})

describe('isMeshRetrying', () => {
  const attempt = { 'x-envoy-attempt-count': '1' }
  for (const { name, incoming, retries, expected } of [
    { name: 'is detected by the count of attempts', incoming: attempt, retries: undefined, expected: true },
    { name: 'is not assumed', incoming: {}, retries: 'detect' as const, expected: false },
    { name: 'can be denied', incoming: attempt, retries: false, expected: false },
    { name: 'can be told', incoming: {}, retries: true, expected: true },
  ]) {
    it(name, () =>
      runInScope({ requestId: 'r', trace, incoming, mesh: { retries } }, () =>
        assert.equal(isMeshRetrying(), expected),
      ),
    )
  }

  it('is what was configured outside of a request', () => {
    assert.equal(isMeshRetrying(), false)
    assert.equal(isMeshRetrying(true), true)
  })
})
