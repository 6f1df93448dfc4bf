import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { DestinationRule, IstioRoute, VirtualService, World } from '../objects.ts'
import { describeRule, makeWorld, ruleFor } from '../testing.ts'
import type { Asked } from '../testing.ts'
import { compileWorld } from './compile.ts'

const mesh = 'mesh shop/web/80'
const rule: DestinationRule = {
  metadata: { name: 'web', namespace: 'shop' },
  spec: { host: 'web', subsets: ['v1', 'v2'].map((name) => ({ name, labels: { version: name } })) },
}

function service(http: IstioRoute[], more: NonNullable<VirtualService['spec']> = {}): VirtualService {
  return { metadata: { name: 'web', namespace: 'shop' }, spec: { hosts: ['web'], http, ...more } }
}

function world(http: IstioRoute[], more: Partial<World> = {}): World {
  return makeWorld({ virtualServices: [service(http)], destinationRules: [rule], ...more })
}

const subset = (name: string, weight?: number): NonNullable<IstioRoute['route']>[number] => ({
  destination: { host: 'web', subset: name },
  ...(weight === undefined ? {} : { weight }),
})

const matched = world([
  { match: [{ uri: { prefix: '/api/' }, headers: { 'end-user': { exact: 'tom' } } }], route: [subset('v2')] },
  { match: [{ uri: { regex: '/v[0-9]+/.*' } }], route: [subset('v1')] },
  { match: [{ withoutHeaders: { cookie: {} }, queryParams: { beta: { exact: '1' } } }], route: [subset('v2')] },
  { match: [{ sourceLabels: { version: 'v2' } }], redirect: { uri: '/self', authority: 'a.com' } },
  { match: [{ uri: { exact: '/CASE' }, ignoreUriCase: true }], directResponse: { status: 204 } },
  { route: [subset('v1', 90), subset('v2', 10)] },
])

const cases: readonly { name: string; asked: Asked; expected: string }[] = [
  {
    name: 'takes prefixes by characters, with headers',
    asked: { path: '/api/x', headers: { 'end-user': 'tom' } },
    expected: 'shop/web:80/v2=1',
  },
  { name: 'takes expressions as a whole', asked: { path: '/v12/x' }, expected: 'shop/web:80/v1=1' },
  { name: 'takes what is absent', asked: { path: '/?beta=1' }, expected: 'shop/web:80/v2=1' },
  {
    name: 'and not what is there',
    asked: { path: '/?beta=1', headers: { cookie: 'a=b' } },
    expected: 'shop/web:80/v1=90 shop/web:80/v2=10',
  },
  { name: 'tells callers apart by labels of their pods', asked: { source: '10.64.0.12' }, expected: 'redirect 301' },
  { name: 'ignores case where told to', asked: { path: '/case' }, expected: '204' },
  { name: 'splits the rest by weight', asked: { path: '/' }, expected: 'shop/web:80/v1=90 shop/web:80/v2=10' },
]

void describe('compileIstio', () => {
  for (const { name, asked, expected } of cases) {
    it(name, () => assert.equal(describeRule(ruleFor(matched, mesh, { host: 'web', ...asked })), expected))
  }

  it('finds the pods of a subset by their labels', () => {
    const { clusters } = compileWorld(world([{ route: [subset('v2')] }])).routing
    const endpoints = clusters.get('shop/web:80/v2')?.endpoints
    assert.deepEqual(
      endpoints?.map(({ address, version }) => [address, version]),
      [['10.64.0.12:8080', 'v2']],
    )
  })

  it('has no backend for a subset that no DestinationRule defines', () => {
    assert.equal(describeRule(ruleFor(world([{ route: [subset('v3')] }]), mesh)), 'none=1')
  })

  it('leaves Services alone that no VirtualService of the mesh names, and ports that carry no HTTP', () => {
    const edge = makeWorld({ virtualServices: [service([{ route: [subset('v1')] }], { gateways: ['edge'] })] })
    assert.equal(compileWorld(edge).mesh.size, 0)
    const plain = world([{ route: [subset('v1')] }])
    const services = new Map([
      [
        'shop/web',
        {
          metadata: { name: 'web', namespace: 'shop' },
          spec: { clusterIP: '10.80.0.1', ports: [{ name: 'tcp-db', port: 80 }] },
        },
      ],
    ])
    assert.equal(compileWorld({ ...plain, services }).mesh.size, 0)
  })

  it('leaves out what HTTP cannot carry: statuses, names and values of headers, and what frames messages', () => {
    const set = { 'bad name': '1', 'x-split': 'a\nb', 'Transfer-Encoding': 'chunked', 'X-Good': '1' }
    const found = ruleFor(world([{ headers: { response: { set } }, directResponse: { status: 42 } }]), mesh)
    assert.deepEqual(found?.responseHeaders?.set, [['x-good', '1']])
    assert.equal(describeRule(found), '500')
    const redirect = ruleFor(world([{ redirect: { redirectCode: 0 } }]), mesh)
    assert.equal(describeRule(redirect), 'redirect 301')
  })

  it('reads timeouts, retries, faults, rewrites, mirrors and headers', () => {
    const found = ruleFor(
      world([
        {
          timeout: '1.5s',
          retries: { attempts: 3, perTryTimeout: '200ms', retryOn: '5xx,reset,429' },
          fault: {
            delay: { fixedDelay: '2s', percentage: { value: 0.5 } },
            abort: { httpStatus: 500, percentage: { value: 10 } },
          },
          rewrite: { uri: '/new', authority: 'b.com' },
          mirror: { host: 'v2' },
          mirrorPercentage: { value: 25 },
          headers: { request: { set: { 'X-A': '1' } }, response: { remove: ['Server'] } },
          route: [subset('v1')],
        },
      ]),
      mesh,
    )
    assert.equal(found?.timeoutMs, 1500)
    assert.deepEqual(found.retry, {
      attempts: 3,
      perTryTimeoutMs: 200,
      on: ['5xx', 'reset'],
      statuses: [429],
      backoffMs: 25,
    })
    assert.deepEqual(found.fault, {
      delay: { ms: 2000, percent: 0.5 },
      abort: { status: 500, grpcStatus: undefined, percent: 10 },
    })
    assert.deepEqual(found.rewrite, { host: 'b.com', path: { kind: 'prefix', value: '/new' } })
    assert.deepEqual(found.mirrors, [{ cluster: 'shop/v2:80', percent: 25 }])
    assert.deepEqual(found.requestHeaders?.set, [['x-a', '1']])
    assert.deepEqual(found.responseHeaders?.remove, ['server'])
  })

  it('takes settings of a subset before those of its rule', () => {
    const trafficPolicy = {
      loadBalancer: { simple: 'ROUND_ROBIN' },
      connectionPool: { tcp: { maxConnections: 10, connectTimeout: '50ms' }, http: { http1MaxPendingRequests: 5 } },
      outlierDetection: { consecutive5xxErrors: 3, baseEjectionTime: '10s' },
    }
    const subsets = [
      {
        name: 'v1',
        labels: { version: 'v1' },
        trafficPolicy: { loadBalancer: { consistentHash: { httpCookie: { name: 'who', ttl: '60s' } } } },
      },
    ]
    const own = {
      metadata: { name: 'web', namespace: 'shop' },
      spec: { host: 'web.shop.svc.cluster.local', trafficPolicy, subsets },
    }
    const { clusters } = compileWorld(world([{ route: [subset('v1')] }], { destinationRules: [own] })).routing
    assert.deepEqual(clusters.get('shop/web:80')?.policy.balance, { kind: 'round-robin' })
    const policy = clusters.get('shop/web:80/v1')?.policy
    assert.deepEqual(policy?.balance, { kind: 'hash', by: 'cookie', name: 'who', ttlSeconds: 60 })
    assert.deepEqual([policy.maxConnections, policy.maxRequests, policy.connectTimeoutMs], [10, 15, 50])
    assert.deepEqual(policy.outliers, {
      consecutive5xx: 3,
      consecutiveGatewayErrors: 0,
      ejectionMs: 10_000,
      maxEjectionPercent: 10,
    })
  })

  it('serves a Gateway at its ports, with the hosts it has in common with VirtualServices', () => {
    const gateway = {
      metadata: { name: 'edge', namespace: 'shop' },
      spec: {
        selector: { istio: 'ingressgateway' },
        servers: [{ port: { number: 8080, protocol: 'HTTP', name: 'http' }, hosts: ['*.example.com'] }],
      },
    }
    const virtualServices = [
      service([{ match: [{ uri: { prefix: '/' } }], route: [subset('v1')] }], {
        hosts: ['shop.example.com', 'other.com'],
        gateways: ['edge'],
      }),
    ]
    const one = makeWorld({ istioGateways: [gateway], virtualServices, destinationRules: [rule] })
    assert.equal(describeRule(ruleFor(one, '127.0.0.1:8080')), 'shop/web:80/v1=1')
    assert.equal(describeRule(ruleFor(one, '127.0.0.1:8080', { host: 'other.com' })), '404')
    const real = { metadata: { name: 'gw', namespace: 'istio-system', labels: { istio: 'ingressgateway' } } }
    const withIstio = { ...one, pods: new Map([...one.pods, ['istio-system/gw', real]]) }
    assert.equal(compileWorld(withIstio).routing.listeners.size, 0, 'a real Istio serves it')
  })
})
