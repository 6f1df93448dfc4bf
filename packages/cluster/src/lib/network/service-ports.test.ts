import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ServiceSpec } from '@fairlead/kube/types/core-v1'
import type { Endpoint, EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { servedPorts } from './service-ports.ts'
import { createServiceTable } from './service-table.ts'
import { createMemorySource, makeService, makeSlice } from './testing.ts'

const http = [{ name: 'http', port: 80, protocol: 'TCP' }]
const service = makeService('web', { clusterIP: '10.80.0.2', ports: [{ name: 'http', port: 8080, protocol: 'TCP' }] })

function addresses(...slices: EndpointSlice[]): string[] {
  return (servedPorts(service, slices)[0]?.backends ?? []).map(({ ip, port }) => `${ip}:${port}`)
}

void describe('servedPorts', () => {
  void it('joins slices, sorts by address and drops repetitions', () => {
    const first = makeSlice('web', http, ['10.64.0.10', '10.64.0.9'])
    const second = makeSlice('web', [{ name: 'http', port: 81, protocol: 'TCP' }], ['10.64.0.10'])
    assert.deepEqual(addresses(first, first, second), ['10.64.0.9:80', '10.64.0.10:80', '10.64.0.10:81'])
  })

  void it('matches ports by name and protocol', () => {
    assert.deepEqual(addresses(makeSlice('web', [{ name: 'grpc', port: 80 }], ['10.64.0.9'])), [])
    assert.deepEqual(addresses(makeSlice('web', [{ name: 'http', port: 80, protocol: 'UDP' }], ['10.64.0.9'])), [])
    assert.deepEqual(addresses({ ...makeSlice('web', http, ['fd00::1']), addressType: 'IPv6' }), [])
  })

  void it('has endpoints of this machine only where a policy says so', () => {
    const here = { addresses: ['10.64.0.9'], nodeName: 'here', conditions: { ready: true } }
    const leaving = {
      ...here,
      addresses: ['10.64.0.8'],
      conditions: { ready: false, serving: true, terminating: true },
    }
    const served = (spec: object, endpoints: Parameters<typeof makeSlice>[2]): (string | undefined)[][] => {
      const policy = makeService('web', { ...service.spec, ...spec })
      const [port] = servedPorts(policy, [makeSlice('web', http, endpoints)])
      return [port?.backends, port?.externalBackends].map((backends = []) => backends.map(({ ip }) => ip))
    }
    const all = [here, '192.0.2.1']
    assert.deepEqual(served({}, all), [['10.64.0.9', '192.0.2.1'], []])
    assert.deepEqual(served({ internalTrafficPolicy: 'Local' }, all), [['10.64.0.9'], ['10.64.0.9', '192.0.2.1']])
    assert.deepEqual(served({ externalTrafficPolicy: 'Local' }, all), [['10.64.0.9', '192.0.2.1'], ['10.64.0.9']])
    // The last one here that terminates serves on, though others elsewhere are ready.
    assert.deepEqual(served({ internalTrafficPolicy: 'Local' }, [leaving, '192.0.2.1'])[0], ['10.64.0.8'])
  })

  void it('uses endpoints that terminate where unready addresses are published', () => {
    const published = { addresses: ['10.64.0.9'], conditions: { ready: true, serving: false, terminating: true } }
    assert.deepEqual(addresses(makeSlice('web', http, [published])), ['10.64.0.9:80'])
  })

  const ready = { addresses: ['10.64.0.1'], conditions: { ready: true, serving: true, terminating: false } }
  const leaving = { addresses: ['10.64.0.2'], conditions: { ready: false, serving: true, terminating: true } }
  const broken = { addresses: ['10.64.0.3'], conditions: { ready: false, serving: false, terminating: true } }
  const starting = { addresses: ['10.64.0.4'], conditions: { ready: false, serving: false, terminating: false } }
  const unknown = { addresses: ['10.64.0.5'] }
  const cases = [
    { name: 'ready endpoints alone', endpoints: [ready, leaving, broken, starting], expected: ['10.64.0.1:80'] },
    {
      name: 'terminating ones that serve when none is ready',
      endpoints: [leaving, broken, starting],
      expected: ['10.64.0.2:80'],
    },
    { name: 'nobody when none serves', endpoints: [broken, starting], expected: [] },
    { name: 'an endpoint without conditions as ready', endpoints: [unknown, leaving], expected: ['10.64.0.5:80'] },
  ]
  for (const { name, endpoints, expected } of cases) {
    void it(`uses ${name}`, () => assert.deepEqual(addresses(makeSlice('web', http, endpoints)), expected))
  }

  void it('tells apart what pods of different nodes are served by, as kube-proxy on each would', () => {
    const nodes = [
      { name: 'n1', zone: 'east' },
      { name: 'n2', zone: 'west' },
    ]
    const at = (ip: string, nodeName: string, hints?: Endpoint['hints']): Endpoint => ({
      addresses: [ip],
      nodeName,
      ...(hints === undefined ? {} : { hints }),
    })
    const zone = (name: string): Endpoint['hints'] => ({ forZones: [{ name }] })
    const node = (name: string, zoneName: string): Endpoint['hints'] => ({ ...zone(zoneName), forNodes: [{ name }] })
    const cases: { spec: ServiceSpec; endpoints: Endpoint[]; expected: Record<string, string> }[] = [
      { spec: {}, endpoints: [at('10.64.0.1', 'n1'), at('10.64.0.2', 'n2')], expected: {} },
      {
        spec: { internalTrafficPolicy: 'Local' },
        endpoints: [at('10.64.0.1', 'n1'), at('10.64.0.3', 'n3')],
        expected: { n1: '10.64.0.1', n2: '' },
      },
      {
        spec: {},
        endpoints: [at('10.64.0.1', 'n1', zone('east')), at('10.64.0.2', 'n2', zone('west'))],
        expected: { n1: '10.64.0.1', n2: '10.64.0.2' },
      },
      // One without hints: nobody follows any.
      { spec: {}, endpoints: [at('10.64.0.1', 'n1', zone('east')), at('10.64.0.2', 'n2')], expected: {} },
      // None for its zone: all of them.
      {
        spec: {},
        endpoints: [at('10.64.0.1', 'n1', zone('east')), at('10.64.0.2', 'n1', zone('east'))],
        expected: {},
      },
      // Its node first, then its zone.
      {
        spec: {},
        endpoints: [at('10.64.0.1', 'n1', node('n1', 'east')), at('10.64.0.2', 'n3', node('n3', 'west'))],
        expected: { n1: '10.64.0.1', n2: '10.64.0.2' },
      },
    ]
    for (const { spec, endpoints, expected } of cases) {
      const [port] = servedPorts(
        makeService('web', { clusterIP: '10.80.0.2', ports: [{ name: 'http', port: 80 }], ...spec }),
        [makeSlice('web', http, endpoints)],
        nodes,
      )
      const seen = [...(port?.backendsOfNodes ?? [])].map(([name, backends]) => [
        name,
        backends.map(({ ip }) => ip).join(' '),
      ])
      assert.deepEqual(Object.fromEntries(seen), expected)
    }
  })

  void it('knows no ports of an ExternalName Service', () => {
    assert.deepEqual(servedPorts(makeService('x', { type: 'ExternalName', ports: [{ port: 80 }] }), []), [])
  })
})

void describe('createServiceTable', () => {
  void it('tells of a burst of changes once', async () => {
    const services = createMemorySource([service])
    const slices = createMemorySource<EndpointSlice>()
    const table = createServiceTable(services, slices)
    await table.settled()
    const notices: (readonly string[])[] = []
    table.onChange((keys) => notices.push(keys))
    for (const ip of ['10.64.0.1', '10.64.0.2', '10.64.0.3']) slices.put(makeSlice('web', http, [ip]))
    await table.settled()
    assert.deepEqual(notices, [['shop/web']])
    assert.deepEqual(table.entries.get('shop/web')?.ports[0]?.backends, [{ ip: '10.64.0.3', port: 80 }])
  })

  void it('follows a slice that is given to another Service', async () => {
    const slices = createMemorySource<EndpointSlice>([makeSlice('web', http, ['10.64.0.1'])])
    const other = makeService('other', { clusterIP: '10.80.0.3', ports: [{ name: 'http', port: 80 }] })
    const table = createServiceTable(createMemorySource([service, other]), slices)
    const moved = makeSlice('other', http, ['10.64.0.1'])
    slices.put({ ...moved, metadata: { ...moved.metadata, name: 'web-1' } })
    await table.settled()
    assert.equal(table.entries.get('shop/web')?.slices.length, 0)
    assert.equal(table.entries.get('shop/other')?.slices.length, 1)
  })
})
