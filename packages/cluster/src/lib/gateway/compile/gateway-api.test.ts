import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Gateway, GatewayListener, HttpRoute, HttpRouteRule, World } from '../objects.ts'
import { renderGatewayStatus, renderRouteStatus } from '../status.ts'
import { describeRule, makeWorld, ruleFor } from '../testing.ts'
import type { Asked } from '../testing.ts'
import { compileWorld } from './compile.ts'

const key = '127.0.0.1:8000'
const now = '2026-01-02T00:00:00Z'
const all = { namespaces: { from: 'All' } }

function gateway(...listeners: Partial<GatewayListener>[]): Gateway {
  const whole = listeners.map((listener) => ({
    name: 'http',
    port: 8000,
    protocol: 'HTTP',
    allowedRoutes: all,
    ...listener,
  }))
  return {
    metadata: { name: 'edge', namespace: 'shop', generation: 3 },
    spec: { gatewayClassName: 'fairlead', listeners: whole },
  }
}

function route(
  rules: HttpRouteRule[],
  more: { hostnames?: string[]; namespace?: string; name?: string; parent?: object } = {},
): HttpRoute {
  const { hostnames, namespace = 'shop', name = 'web', parent = {} } = more
  return {
    metadata: { name, namespace, generation: 2, creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: {
      parentRefs: [{ name: 'edge', namespace: 'shop', ...parent }],
      rules,
      ...(hostnames === undefined ? {} : { hostnames }),
    },
  }
}

const to = (name: string, weight?: number): { name: string; port: number; weight?: number } => ({
  name,
  port: 80,
  ...(weight === undefined ? {} : { weight }),
})

function world(httpRoutes: HttpRoute[], gateways = [gateway({})], more: Partial<World> = {}): World {
  return makeWorld({ gateways, httpRoutes, ...more })
}

const ordered = world([
  route([
    { matches: [{ path: { type: 'PathPrefix', value: '/' } }], backendRefs: [to('web')] },
    { matches: [{ path: { type: 'PathPrefix', value: '/cart' } }], backendRefs: [to('v1')] },
    { matches: [{ path: { type: 'Exact', value: '/cart' } }], backendRefs: [to('v2')] },
    { matches: [{ path: { value: '/cart' }, method: 'POST' }], backendRefs: [to('v1'), to('v2')] },
    { matches: [{ path: { value: '/cart' }, headers: [{ name: 'X-Canary', value: 'yes' }] }], backendRefs: [to('v2')] },
    {
      matches: [{ path: { value: '/search' }, queryParams: [{ name: 'q', type: 'RegularExpression', value: 'a+' }] }],
      backendRefs: [to('v2')],
    },
    {
      matches: [{ path: { value: '/split' } }],
      backendRefs: [to('v1', 9), to('v2', 1), { name: 'gone', port: 80, weight: 3 }],
    },
  ]),
])

const cases: readonly { name: string; asked: Asked; expected: string }[] = [
  { name: 'prefers an exact path', asked: { path: '/cart' }, expected: 'shop/v2:80=1' },
  { name: 'prefers the longer prefix', asked: { path: '/cart/1' }, expected: 'shop/v1:80=1' },
  { name: 'takes prefixes by whole elements', asked: { path: '/carts' }, expected: 'shop/web:80=1' },
  {
    name: 'prefers a method among equal paths',
    asked: { path: '/cart/1', method: 'POST', headers: { 'x-canary': 'yes' } },
    expected: 'shop/v1:80=1 shop/v2:80=1',
  },
  {
    name: 'prefers more headers',
    asked: { path: '/cart/1', headers: { 'x-canary': 'yes' } },
    expected: 'shop/v2:80=1',
  },
  { name: 'matches queries by whole expressions', asked: { path: '/search?q=aaa' }, expected: 'shop/v2:80=1' },
  { name: 'and not by parts of them', asked: { path: '/search?q=aab' }, expected: 'shop/web:80=1' },
  {
    name: 'keeps the share of a backend that is missing',
    asked: { path: '/split' },
    expected: 'shop/v1:80=9 shop/v2:80=1 none=3',
  },
]

void describe('compileGatewayApi', () => {
  for (const { name, asked, expected } of cases) {
    it(name, () => assert.equal(describeRule(ruleFor(ordered, key, asked)), expected))
  }

  it('serves the names that route and listener have in common, the most specific first', () => {
    const gateways = [gateway({ name: 'wild', hostname: '*.example.com' }, { name: 'any' })]
    const routes = [
      route([{ backendRefs: [to('v1')] }], { hostnames: ['shop.example.com', 'other.com'] }),
      route([{ backendRefs: [to('v2')] }], { name: 'rest', parent: { sectionName: 'any' } }),
    ]
    const one = world(routes, gateways)
    assert.equal(describeRule(ruleFor(one, key, { host: 'shop.example.com' })), 'shop/v1:80=1')
    assert.equal(describeRule(ruleFor(one, key, { host: 'other.com' })), 'shop/v1:80=1')
    assert.equal(describeRule(ruleFor(one, key, { host: 'x.com' })), 'shop/v2:80=1')
    // The listener for *.example.com takes it and has no route.
    assert.equal(describeRule(ruleFor(one, key, { host: 'x.example.com' })), '404')
  })

  it('needs a ReferenceGrant for a backend of another namespace', () => {
    const foreign = route([{ backendRefs: [{ ...to('web'), namespace: 'shop' }] }], { namespace: 'team' })
    assert.deepEqual(reasonsOf(world([foreign])), ['Accepted', 'RefNotPermitted'])
    const grant = {
      metadata: { name: 'g', namespace: 'shop' },
      spec: {
        from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'team' }],
        to: [{ group: '', kind: 'Service' }],
      },
    }
    assert.deepEqual(reasonsOf(world([foreign], [gateway({})], { grants: [grant] })), ['Accepted', 'ResolvedRefs'])
  })

  const refusals: readonly {
    name: string
    listener: Partial<GatewayListener>
    more?: Parameters<typeof route>[1]
    expected: string
  }[] = [
    {
      name: 'another namespace',
      listener: { allowedRoutes: { namespaces: { from: 'Same' } } },
      more: { namespace: 'team' },
      expected: 'NotAllowedByListeners',
    },
    {
      name: 'a namespace without the labels',
      listener: { allowedRoutes: { namespaces: { from: 'Selector', selector: { matchLabels: { team: 'x' } } } } },
      expected: 'NotAllowedByListeners',
    },
    {
      name: 'another kind',
      listener: { allowedRoutes: { ...all, kinds: [{ kind: 'GRPCRoute' }] } },
      expected: 'NotAllowedByListeners',
    },
    {
      name: 'a listener that is not there',
      listener: {},
      more: { parent: { sectionName: 'tls' } },
      expected: 'NoMatchingParent',
    },
    {
      name: 'a name that no listener has',
      listener: { hostname: 'a.com' },
      more: { hostnames: ['b.com'] },
      expected: 'NoMatchingListenerHostname',
    },
  ]
  for (const { name, listener, more, expected } of refusals) {
    it(`does not attach a route of ${name}`, () => {
      const one = world([route([{ backendRefs: [{ ...to('web'), namespace: 'shop' }] }], more)], [gateway(listener)])
      assert.equal(reasonsOf(one)[0], expected)
      assert.equal(compileWorld(one).gatewayApi.gateways[0]?.listeners[0]?.attachedRoutes, 0)
    })
  }

  it('tells in the status what is served, by generation, and keeps the time of what did not change', () => {
    const one = world([route([{ backendRefs: [to('web')] }])])
    const [report] = compileWorld(one).gatewayApi.gateways
    assert.ok(report)
    const served = renderGatewayStatus(report, new Map([[key, { port: 8000 }]]), now)
    assert.deepEqual(
      served.conditions.map(({ type, status, observedGeneration }) => [type, status, observedGeneration]),
      [
        ['Accepted', 'True', 3],
        ['Programmed', 'True', 3],
      ],
    )
    assert.deepEqual(served.addresses, [{ type: 'IPAddress', value: '127.0.0.1' }])
    const later = { ...report, gateway: { ...report.gateway, status: served } }
    assert.deepEqual(renderGatewayStatus(later, new Map([[key, { port: 8000 }]]), '2027-01-01T00:00:00Z'), served)
    const taken = renderGatewayStatus(report, new Map([[key, { problem: 'taken', code: 'EADDRINUSE' }]]), now)
    assert.equal(taken.conditions[1]?.status, 'False')
  })

  it('leaves what other controllers say of a route', () => {
    const mine = route([{ backendRefs: [to('web')] }])
    const other = { parentRef: { name: 'istio' }, controllerName: 'istio.io/gateway-controller' }
    const [report] = compileWorld(world([{ ...mine, status: { parents: [other] } }])).gatewayApi.routes
    assert.ok(report)
    assert.deepEqual(
      renderRouteStatus(report, now).parents.map(({ controllerName }) => controllerName),
      ['istio.io/gateway-controller', 'fairlead.dev/gateway'],
    )
  })

  it('refuses listeners that cannot be told apart', () => {
    const { gatewayApi, routing } = compileWorld(world([], [gateway({ name: 'a' }, { name: 'b' })]))
    assert.deepEqual(
      gatewayApi.gateways[0]?.listeners.map(({ accepted }) => accepted.reason),
      ['HostnameConflict', 'HostnameConflict'],
    )
    assert.equal(routing.listeners.size, 0)
  })

  it('takes the traffic of a Service that a route has for a parent', () => {
    const parents = { parentRefs: [{ group: '', kind: 'Service', name: 'web', port: 80 }] }
    const mesh = {
      metadata: { name: 'm', namespace: 'shop' },
      spec: { ...parents, rules: [{ backendRefs: [to('v1', 8), to('v2', 2)] }] },
    }
    const one = world([mesh], [])
    assert.deepEqual([...compileWorld(one).mesh], [['shop/web/80', 'mesh shop/web/80']])
    assert.equal(describeRule(ruleFor(one, 'mesh shop/web/80', { host: 'web' })), 'shop/v1:80=8 shop/v2:80=2')
  })

  it('routes calls of gRPC by service and method, over HTTP/2', () => {
    const grpc = {
      metadata: { name: 'g', namespace: 'shop' },
      spec: {
        parentRefs: [{ name: 'edge' }],
        rules: [{ matches: [{ method: { service: 'shop.Cart', method: 'Add' } }], backendRefs: [to('v1')] }],
      },
    }
    const one = makeWorld({ gateways: [gateway({})], grpcRoutes: [grpc] })
    assert.equal(describeRule(ruleFor(one, key, { path: '/shop.Cart/Add', method: 'POST' })), 'shop/v1:80 h2c=1')
    assert.equal(describeRule(ruleFor(one, key, { path: '/shop.Cart/Drop', method: 'POST' })), '404')
  })
})

function reasonsOf(one: World): (string | undefined)[] {
  return compileWorld(one).gatewayApi.routes[0]?.parents[0]?.verdicts.map(({ reason }) => reason) ?? []
}
