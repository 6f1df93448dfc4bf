import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import type { ConfigMap, Secret } from '@fairlead/kube/types/core-v1'
import type { Ingress } from '@fairlead/kube/types/networking-v1'
import type { BackendTlsPolicy, DestinationRule, HttpRoute, IstioTrafficPolicy, World } from '../objects.ts'
import { policyStatuses } from '../policy-status.ts'
import { createTestAuthority } from '../plane/testing-certificates.ts'
import { makeWorld } from '../testing.ts'
import type { UpstreamTls } from '../model.ts'
import { compileWorld } from './compile.ts'

const route: HttpRoute = {
  metadata: { name: 'web', namespace: 'shop', generation: 3 },
  spec: { parentRefs: [{ name: 'edge' }], rules: [{ backendRefs: [{ name: 'web', port: 80 }] }] },
}
const gateway = {
  metadata: { name: 'edge', namespace: 'shop' },
  spec: { gatewayClassName: 'fairlead', listeners: [{ name: 'http', port: 8000, protocol: 'HTTP' }] },
}

void describe('TLS to endpoints', () => {
  let ca = ''
  before(async () => void (ca = (await createTestAuthority()).cert))

  const configMap = (): ConfigMap => ({ metadata: { name: 'ca', namespace: 'shop' }, data: { 'ca.crt': ca } })
  const authority = { group: '', kind: 'ConfigMap', name: 'ca' }

  function policy(name: string, more: NonNullable<BackendTlsPolicy['spec']> = {}): BackendTlsPolicy {
    return {
      metadata: { name, namespace: 'shop', generation: 1, creationTimestamp: '2026-01-01T00:00:00Z' },
      spec: {
        targetRefs: [{ group: '', kind: 'Service', name: 'web' }],
        validation: { hostname: `${name}.example.com`, caCertificateRefs: [authority] },
        ...more,
      },
    }
  }

  function world(more: Partial<World>): World {
    const configMaps = new Map([['shop/ca', configMap()]])
    return makeWorld({ gateways: [gateway], httpRoutes: [route], configMaps, ...more })
  }

  /** Of the cluster that the route leads to; undefined where it leads to none. */
  function tlsIn(made: World): UpstreamTls | 'none' | undefined {
    const cluster = compileWorld(made).routing.clusters.get('shop/web:80')
    return cluster === undefined ? undefined : (cluster.tls ?? 'none')
  }

  const verdicts = (made: World): string[] =>
    policyStatuses(compileWorld(made), 'now').map(({ policy: { metadata }, status }) =>
      [
        metadata?.name,
        ...status.ancestors.flatMap(({ conditions = [] }) => conditions.map(({ reason }) => reason)),
      ].join(' '),
    )

  it('is not asked for by itself', () => assert.equal(tlsIn(world({})), 'none'))

  it('is asked for by a BackendTLSPolicy, which is told so at the Gateway', () => {
    const made = world({ backendTlsPolicies: [policy('a')] })
    const tls = tlsIn(made) as UpstreamTls
    assert.deepEqual({ ...tls, key: '' }, { key: '', serverName: 'a.example.com', names: [], isVerified: true, ca })
    const [said] = policyStatuses(compileWorld(made), 'now')
    assert.deepEqual(said?.status.ancestors[0]?.ancestorRef, {
      group: 'gateway.networking.k8s.io',
      kind: 'Gateway',
      namespace: 'shop',
      name: 'edge',
    })
    assert.deepEqual(verdicts(made), ['a Accepted ResolvedRefs'])
  })

  it('is as the older of two policies has it, and as the one for the port before that for the Service', () => {
    const late = { ...policy('b'), metadata: { ...policy('b').metadata, creationTimestamp: '2026-02-01T00:00:00Z' } }
    const made = world({ backendTlsPolicies: [late, policy('a')] })
    assert.equal((tlsIn(made) as UpstreamTls).serverName, 'a.example.com')
    assert.deepEqual(verdicts(made), ['a Accepted ResolvedRefs', 'b Conflicted ResolvedRefs'])
    const port = policy('port', { targetRefs: [{ group: '', kind: 'Service', name: 'web', sectionName: 'http' }] })
    const both = world({ backendTlsPolicies: [policy('a'), port] })
    const validated = {
      ...port,
      spec: { ...port.spec, validation: policy('port').spec?.validation },
    } as BackendTlsPolicy
    assert.equal(
      (tlsIn(world({ backendTlsPolicies: [policy('a'), validated] })) as UpstreamTls).serverName,
      'port.example.com',
    )
    assert.deepEqual(verdicts(both).length, 2)
  })

  const broken: readonly { readonly name: string; readonly ref: typeof authority; readonly said: string }[] = [
    {
      name: 'no such ConfigMap',
      ref: { ...authority, name: 'other' },
      said: 'a NoValidCACertificate InvalidCACertificateRef',
    },
    { name: 'no such kind', ref: { group: 'x.io', kind: 'X', name: 'ca' }, said: 'a NoValidCACertificate InvalidKind' },
  ]
  for (const { name, ref, said } of broken) {
    it(`leads nowhere when there is ${name}`, () => {
      const validation = { hostname: 'a.example.com', caCertificateRefs: [ref] }
      const made = world({ backendTlsPolicies: [policy('a', { ...policy('a').spec, validation })] })
      assert.equal(tlsIn(made), undefined)
      assert.deepEqual(verdicts(made), [said])
    })
  }

  it('goes on with the authorities there are', () => {
    const validation = { hostname: 'a.example.com', caCertificateRefs: [authority, { ...authority, name: 'other' }] }
    const made = world({ backendTlsPolicies: [policy('a', { ...policy('a').spec, validation })] })
    assert.equal((tlsIn(made) as UpstreamTls).ca, ca)
    assert.deepEqual(verdicts(made), ['a Accepted InvalidCACertificateRef'])
  })

  it('trusts those that Node knows when told so, and looks for other names', () => {
    const subjectAltNames = [
      { type: 'Hostname', hostname: 'x.example.com' },
      { type: 'URI', uri: 'spiffe://x' },
    ]
    const validation = { hostname: 'a.example.com', wellKnownCACertificates: 'System', subjectAltNames }
    const tls = tlsIn(world({ backendTlsPolicies: [policy('a', { ...policy('a').spec, validation })] })) as UpstreamTls
    assert.equal(tls.ca, undefined)
    assert.deepEqual(tls.names, [
      { kind: 'dns', value: 'x.example.com' },
      { kind: 'uri', value: 'spiffe://x' },
    ])
  })

  it('takes back what it said when no route leads there any more', () => {
    const ancestors = [{ ancestorRef: { name: 'edge' }, controllerName: 'fairlead.dev/gateway', conditions: [] }]
    const known = { ...policy('a'), status: { ancestors } }
    const made = world({ httpRoutes: [], backendTlsPolicies: [known] })
    assert.deepEqual(policyStatuses(compileWorld(made), 'now')[0]?.status, { ancestors: [] })
    assert.deepEqual(
      policyStatuses(compileWorld(world({ httpRoutes: [], backendTlsPolicies: [policy('a')] })), 'now'),
      [],
    )
  })

  const text = (value: string): string => Buffer.from(value).toString('base64')
  const secret: Secret = {
    metadata: { name: 'own', namespace: 'shop' },
    data: { 'tls.crt': text('certificate'), 'tls.key': text('key'), 'ca.crt': text('authority') },
  }
  const fallback = 'web.shop.svc.cluster.local'
  const rules: readonly {
    readonly name: string
    readonly tls: IstioTrafficPolicy['tls']
    readonly expected: unknown
  }[] = [
    { name: 'DISABLE', tls: { mode: 'DISABLE' }, expected: 'none' },
    { name: 'ISTIO_MUTUAL, for which there are no sidecars', tls: { mode: 'ISTIO_MUTUAL' }, expected: 'none' },
    { name: 'SIMPLE', tls: { mode: 'SIMPLE' }, expected: { serverName: fallback, names: [], isVerified: true } },
    {
      name: 'SIMPLE with an authority and names',
      tls: { mode: 'SIMPLE', sni: 'a.com', credentialName: 'own', subjectAltNames: ['b.com', 'spiffe://c'] },
      expected: {
        serverName: 'a.com',
        names: [
          { kind: 'dns', value: 'b.com' },
          { kind: 'uri', value: 'spiffe://c' },
        ],
        isVerified: true,
        ca: 'authority',
      },
    },
    {
      name: 'SIMPLE without looking',
      tls: { mode: 'SIMPLE', insecureSkipVerify: true },
      expected: { serverName: fallback, names: [], isVerified: false },
    },
    {
      name: 'MUTUAL',
      tls: { mode: 'MUTUAL', credentialName: 'own' },
      expected: {
        serverName: fallback,
        names: [],
        isVerified: true,
        ca: 'authority',
        cert: 'certificate',
        clientKey: 'key',
      },
    },
    { name: 'MUTUAL without a certificate', tls: { mode: 'MUTUAL', credentialName: 'other' }, expected: undefined },
  ]
  for (const { name, tls, expected } of rules) {
    it(`follows the mode ${name} of a DestinationRule`, () => {
      const rule: DestinationRule = {
        metadata: { name: 'web', namespace: 'shop' },
        spec: { host: 'web', trafficPolicy: tls === undefined ? {} : { tls } },
      }
      const found = tlsIn(world({ destinationRules: [rule], secrets: new Map([['shop/own', secret]]) }))
      if (typeof found !== 'object') return assert.equal(found, expected)
      const { key, ...seen } = found
      assert.match(key, /^[0-9a-f]{16}$/)
      assert.deepEqual(seen, expected)
    })
  }

  for (const [protocol, isSecured, spoken] of [
    ['HTTPS', true, 'http1'],
    ['GRPCS', true, 'h2c'],
    ['GRPC', false, 'h2c'],
    ['HTTP', false, 'http1'],
  ] as const) {
    it(`is asked for by an Ingress whose backend speaks ${protocol}: ${isSecured}`, () => {
      const ingress: Ingress = {
        metadata: {
          name: 'web',
          namespace: 'shop',
          annotations: { 'nginx.ingress.kubernetes.io/backend-protocol': protocol },
        },
        spec: { defaultBackend: { service: { name: 'web', port: { number: 80 } } } },
      }
      const { clusters } = compileWorld(makeWorld({ ingresses: [ingress] })).routing
      const [cluster] = clusters.values()
      assert.equal(cluster?.protocol, spoken)
      assert.equal(cluster?.tls?.isVerified, isSecured ? false : undefined)
    })
  }
})
