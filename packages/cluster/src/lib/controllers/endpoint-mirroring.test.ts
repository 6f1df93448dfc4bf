import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { isMirrored, renderMirror } from './endpoint-mirroring.ts'
import { eventually, openWorkbench } from './testing/workbench.ts'

const metadata = { name: 'db', namespace: 'default', uid: 'u' }
const ports = [{ port: 5432, protocol: 'TCP' }]

void describe('renderMirror', () => {
  void it('divides addresses by subset, family and hundred', () => {
    const many = Array.from({ length: 101 }, (_, at) => ({ ip: `10.0.0.${at}` }))
    const subsets = [
      { addresses: many, ports },
      { addresses: [{ ip: 'fd00::1' }], notReadyAddresses: [{ ip: '10.1.0.1' }], ports },
    ]
    const slices = renderMirror({ metadata, subsets })
    const shapes = slices.map(({ addressType, endpoints }) => `${addressType} ${endpoints?.length}`)
    assert.deepEqual(shapes, ['IPv4 100', 'IPv4 1', 'IPv4 1', 'IPv6 1'])
    assert.equal(slices[2]?.endpoints?.[0]?.conditions?.ready, false)
    assert.equal(new Set(slices.map((slice) => slice.metadata?.name)).size, 4)
  })
})

void describe('isMirrored', () => {
  const free = { spec: {} }
  const skipped = { metadata: { ...metadata, labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } } }
  for (const { name, endpoints, service, expected } of [
    { name: 'those of a service without a selector', endpoints: { metadata }, service: free, expected: true },
    {
      name: 'not those of pods',
      endpoints: { metadata },
      service: { spec: { selector: { app: 'db' } } },
      expected: false,
    },
    { name: 'not those of nobody', endpoints: { metadata }, service: undefined, expected: false },
    { name: 'not those told to be skipped', endpoints: skipped, service: free, expected: false },
  ]) {
    void it(name, () => assert.equal(isMirrored(endpoints, service), expected))
  }
})

void describe('runEndpointMirroring', () => {
  void it('follows Endpoints that somebody writes', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const endpoints = client.resource('v1/Endpoints')
    const slices = client.resource('discovery.k8s.io/v1/EndpointSlice')
    await client
      .resource('v1/Service')
      .create({ metadata: { name: 'db', namespace: 'default' }, spec: { ports: [{ port: 5432 }] } })
    const head = { name: 'db', namespace: 'default' }
    await endpoints.create({ metadata: head, subsets: [{ addresses: [{ ip: '192.0.2.1' }], ports }] })
    const mirrored = (ip: string): Promise<unknown> =>
      eventually(ip, async () => {
        const { items } = await slices.list({ labelSelector: 'kubernetes.io/service-name=db' })
        return items.length === 1 && items[0]?.endpoints?.[0]?.addresses[0] === ip
      })
    await mirrored('192.0.2.1')
    await endpoints.update({ metadata: head, subsets: [{ addresses: [{ ip: '192.0.2.2' }], ports }] })
    await mirrored('192.0.2.2')
    await endpoints.delete('db')
    await eventually('it goes', async () => (await slices.list()).items.length === 0)
    assert.deepEqual(bench.errors, [])
  })
})
