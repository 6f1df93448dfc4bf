import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { endpointsOf, parseSlice } from './endpoint-slice.ts'
import type { SliceSelection } from './endpoint-slice.ts'

const slice = (name: string, endpoints: readonly object[], more: object = {}): object => ({
  metadata: { name, resourceVersion: '1' },
  addressType: 'IPv4',
  ports: [
    { name: 'http', port: 8080, protocol: 'TCP' },
    { name: 'grpc', port: 9090, protocol: 'TCP' },
  ],
  endpoints,
  ...more,
})
const read = (slices: readonly object[], selection: Partial<SliceSelection> = {}): object[] =>
  endpointsOf(slices.map(parseSlice), { scheme: 'http', port: 'http', ...selection })
const pod = (host: string, conditions?: object, more: object = {}): object => ({
  addresses: [host],
  ...(conditions === undefined ? {} : { conditions }),
  ...more,
})
const hosts = (endpoints: readonly object[]): string[] =>
  endpoints.map((endpoint) => {
    const { host, isTerminating } = endpoint as { host: string; isTerminating?: boolean }
    return isTerminating === true ? `${host} terminating` : host
  })

describe('endpointsOf', () => {
  const conditions: readonly { name: string; conditions: object | undefined; expected: string[] }[] = [
    { name: 'ready', conditions: { ready: true }, expected: ['a'] },
    { name: 'of unknown readiness', conditions: undefined, expected: ['a'] },
    { name: 'not ready', conditions: { ready: false }, expected: [] },
    {
      name: 'terminating and serving',
      conditions: { ready: false, serving: true, terminating: true },
      expected: ['a terminating'],
    },
    {
      name: 'terminating and not serving',
      conditions: { ready: false, serving: false, terminating: true },
      expected: [],
    },
    { name: 'terminating, serving not told', conditions: { ready: false, terminating: true }, expected: [] },
    // publishNotReadyAddresses makes a terminating pod ready.
    {
      name: 'ready and terminating',
      conditions: { ready: true, serving: true, terminating: true },
      expected: ['a terminating'],
    },
  ]
  for (const { name, conditions: given, expected } of conditions)
    it(`takes an endpoint that is ${name} for ${JSON.stringify(expected)}`, () =>
      assert.deepEqual(hosts(read([slice('s', [pod('a', given)])])), expected))

  it('joins several slices, each pod once', () => {
    const uid = (value: string): object => ({ targetRef: { kind: 'Pod', uid: value } })
    const slices = [
      slice('one', [
        pod('a', undefined, uid('1')),
        pod('b', { ready: false, serving: true, terminating: true }, uid('2')),
      ]),
      slice('two', [pod('b', { ready: true }, uid('2')), pod('c')]),
    ]
    assert.deepEqual(hosts(read(slices)).toSorted(), ['a', 'b', 'c'])
  })

  it('takes IPv4 of a dual-stack Service, IPv6 where there is no other or when told to', () => {
    const six = slice('six', [pod('fd00::1')], { addressType: 'IPv6' })
    const four = slice('four', [pod('a')])
    assert.deepEqual(hosts(read([six, four])), ['a'])
    assert.deepEqual(hosts(read([six])), ['fd00::1'])
    assert.deepEqual(hosts(read([six, four], { family: 6 })), ['fd00::1'])
    assert.deepEqual(hosts(read([six, slice('four', [])])), ['fd00::1'])
  })

  it('finds the port by name or number, or as the only one', () => {
    const two = [slice('s', [pod('a')])]
    const port = (wanted: string | undefined, slices: readonly object[] = two): unknown =>
      (read(slices, { port: wanted })[0] as { port: number } | undefined)?.port
    assert.deepEqual([port('grpc'), port('9090'), port('none'), port(undefined)], [9090, 9090, undefined, undefined])
    assert.equal(port(undefined, [slice('s', [pod('a')], { ports: [{ port: 80 }] })]), 80)
  })

  it('reads zones, hints and the protocol', () => {
    const hinted = pod('a', undefined, { zone: 'x', hints: { forZones: [{ name: 'x' }, { name: 'y' }] } })
    const ports = [{ name: 'http', port: 8443, appProtocol: 'https' }]
    assert.deepEqual(read([slice('s', [hinted], { ports })]), [
      { scheme: 'https', host: 'a', port: 8443, zone: 'x', forZones: ['x', 'y'] },
    ])
  })

  it('reads empty slices as the API server writes them', () => {
    assert.deepEqual(read([slice('s', [], { endpoints: null, ports: null })]), [])
    assert.throws(() => parseSlice({ kind: 'Status' }), TypeError)
  })
})
