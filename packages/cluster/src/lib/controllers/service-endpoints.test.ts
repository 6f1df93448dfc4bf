import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Pod, Service } from '@fairlead/kube/types/core-v1'

import { renderEndpoints, renderEndpointSlices } from './service-endpoints.ts'

describe('renderEndpointSlices', () => {
  const service = (change: Partial<NonNullable<Service['spec']>> = {}): Service => ({
    metadata: { name: 'web', namespace: 'shop', uid: 's', labels: { team: 'a' } },
    spec: {
      selector: { app: 'web' },
      clusterIP: '10.96.0.1',
      ports: [{ name: 'http', port: 80, targetPort: 'serve', protocol: 'TCP' }],
      ...change,
    },
  })
  interface Facts {
    ready?: boolean
    port?: number
    deleting?: boolean
    phase?: string
    ip?: string
    hostname?: string
  }
  const pod = (
    name: string,
    { ready = true, port = 8080, deleting, phase = 'Running', ip = `10.0.0.${name.length}`, hostname }: Facts = {},
  ): Pod => ({
    metadata: {
      name,
      namespace: 'shop',
      uid: name,
      ...(deleting === true && { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    },
    spec: {
      nodeName: 'n1',
      containers: [{ name: 'a', ports: [{ name: 'serve', containerPort: port, protocol: 'TCP' }] }],
      ...(hostname !== undefined && { hostname, subdomain: 'web' }),
    },
    status: {
      phase,
      podIP: ip,
      podIPs: ip === '' ? [] : [{ ip }],
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
    },
  })
  const shown = (of: Service, pods: Pod[]) =>
    renderEndpointSlices(of, pods).map(({ ports, endpoints }) => ({
      ports: ports?.map(({ port }) => port),
      endpoints: endpoints?.map(
        ({ targetRef, conditions }) =>
          `${targetRef?.name} ${Object.entries(conditions ?? {})
            .filter(([, value]) => value)
            .map(([key]) => key)
            .join('+')}`,
      ),
    }))

  it('tells ready, not ready and terminating pods apart, and leaves out ended ones and those without an address', () => {
    const pods = [
      pod('a'),
      pod('bb', { ready: false }),
      pod('ccc', { deleting: true }),
      pod('dddd', { phase: 'Failed' }),
      pod('eeeee', { ip: '' }),
    ]
    assert.deepEqual(shown(service(), pods), [
      { ports: [8080], endpoints: ['a ready+serving', 'bb ', 'ccc serving+terminating'] },
    ])
  })

  it('publishes all when told to', () => {
    assert.deepEqual(shown(service({ publishNotReadyAddresses: true }), [pod('a', { ready: false })])[0]?.endpoints, [
      'a ready',
    ])
  })

  it('makes a slice per set of ports', () => {
    assert.deepEqual(
      shown(service(), [pod('a'), pod('bb', { port: 9090 }), pod('ccc')]).map(({ ports, endpoints }) => [
        ports,
        endpoints?.length,
      ]),
      [
        [[8080], 2],
        [[9090], 1],
      ],
    )
  })

  it('leaves out pods without the named port', () => {
    assert.deepEqual(shown(service({ ports: [{ port: 80, targetPort: 'other', protocol: 'TCP' }] }), [pod('a')]), [
      { ports: [], endpoints: [] },
    ])
  })

  it('takes the service’s own port when no target is named', () => {
    assert.deepEqual(shown(service({ ports: [{ port: 80, protocol: 'TCP' }] }), [pod('a')])[0]?.ports, [80])
  })

  it('puts a hundred endpoints in one slice', () => {
    const pods = Array.from({ length: 250 }, (_, index) =>
      pod(`p${index}`, { ip: `10.0.${index >> 8}.${index & 255}` }),
    )
    const slices = renderEndpointSlices(service(), pods)
    assert.deepEqual(
      slices.map(({ endpoints }) => endpoints?.length),
      [100, 100, 50],
    )
    assert.equal(new Set(slices.map(({ metadata }) => metadata?.name)).size, 3)
  })

  it('labels slices by their service, and headless ones as such', () => {
    const [slice] = renderEndpointSlices(service({ clusterIP: 'None' }), [pod('a', { hostname: 'first' })])
    assert.deepEqual(slice?.metadata?.labels, {
      team: 'a',
      'service.kubernetes.io/headless': '',
      'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      'kubernetes.io/service-name': 'web',
    })
    assert.equal(slice?.endpoints?.[0]?.hostname, 'first')
  })

  it('has a slice per address family', () => {
    const dual = pod('a')
    const both: Pod = { ...dual, status: { ...dual.status, podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] } }
    const slices = renderEndpointSlices(service({ ipFamilies: ['IPv4', 'IPv6'] }), [both])
    assert.deepEqual(
      slices.map(({ addressType, endpoints }) => [addressType, endpoints?.[0]?.addresses]),
      [
        ['IPv4', ['10.0.0.1']],
        ['IPv6', ['fd00::1']],
      ],
    )
  })

  it('gives the legacy form without pods that are being deleted', () => {
    const { subsets } = renderEndpoints(service(), [
      pod('a'),
      pod('bb', { ready: false }),
      pod('ccc', { deleting: true }),
    ])
    assert.deepEqual(
      subsets?.map(({ addresses, notReadyAddresses, ports }) => [
        addresses?.map(({ ip }) => ip),
        notReadyAddresses?.map(({ ip }) => ip),
        ports,
      ]),
      [[['10.0.0.1'], ['10.0.0.2'], [{ name: 'http', port: 8080, protocol: 'TCP' }]]],
    )
  })
})

describe('hints of endpoints', () => {
  const place = { metadata: { name: 'web-a', namespace: 'shop' }, spec: { nodeName: 'n1', containers: [] } }
  const ready = { podIP: '10.0.0.1', conditions: [{ type: 'Ready', status: 'True' }] }
  const service = (trafficDistribution?: string): Service => ({
    metadata: { name: 'web', namespace: 'shop' },
    spec: { selector: { app: 'web' }, ports: [{ port: 80 }], ...(trafficDistribution && { trafficDistribution }) },
  })
  const endpointOf = (distribution?: string, zone?: string, status: Pod['status'] = ready) =>
    renderEndpointSlices(service(distribution), [{ ...place, status }], { zoneOf: () => zone })[0]?.endpoints?.[0]

  for (const [name, distribution, zone, expected] of [
    ['none unless a service asks', undefined, 'a', undefined],
    ['the zone', 'PreferSameZone', 'a', { forZones: [{ name: 'a' }] }],
    ['the zone, by its old name', 'PreferClose', 'a', { forZones: [{ name: 'a' }] }],
    ['nothing where no zone is known', 'PreferSameZone', undefined, undefined],
    ['node and zone', 'PreferSameNode', 'a', { forZones: [{ name: 'a' }], forNodes: [{ name: 'n1' }] }],
    ['the node alone', 'PreferSameNode', undefined, { forNodes: [{ name: 'n1' }] }],
  ] as const) {
    it(name, () => {
      const endpoint = endpointOf(distribution, zone)
      assert.deepEqual([endpoint?.hints, endpoint?.zone], [expected, zone])
    })
  }

  it('are only for endpoints that are ready', () => {
    assert.equal(endpointOf('PreferSameZone', 'a', { podIP: '10.0.0.1' })?.hints, undefined)
  })
})
