import type { Service } from '@fairlead/kube/types/core-v1'
import { makeService, makeSlice } from '../network/testing.ts'
import { compileWorld } from './compile/compile.ts'
import type { Compiled } from './compile/compile.ts'
import type { ListenerConfig, Rule } from './model.ts'
import type { World } from './objects.ts'
import { createMatcher } from './plane/match.ts'

/** What a request is asked with. */
export interface Asked {
  readonly host?: string
  readonly path?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly source?: string
}

/** A world with the Services `web`, `v1` and `v2` of namespace `shop`, port 80, each with one pod labelled by its name. */
export function makeWorld(parts: Partial<World>): World {
  const names = ['web', 'v1', 'v2']
  const services = new Map<string, Service>()
  const slices: [string, World['slices'] extends ReadonlyMap<string, infer S> ? S : never][] = []
  for (const [index, name] of names.entries()) {
    services.set(
      `shop/${name}`,
      makeService(name, { clusterIP: `10.80.0.${index + 1}`, ports: [{ name: 'http', port: 80, protocol: 'TCP' }] }),
    )
    const pods = name === 'web' ? ['v1', 'v2'] : [name]
    const endpoints = pods.map((pod) => ({
      addresses: [addressOf(pod)],
      conditions: { ready: true },
      targetRef: { kind: 'Pod', name: `${pod}-pod` },
    }))
    slices.push([`shop/${name}`, [makeSlice(name, [{ name: 'http', port: 8080, protocol: 'TCP' }], endpoints)]])
  }
  const pods = ['v1', 'v2'].map((name) => ({
    metadata: { name: `${name}-pod`, namespace: 'shop', labels: { app: 'web', version: name } },
    status: { podIP: addressOf(name) },
  }))
  return {
    services,
    slices: new Map(slices),
    pods: new Map(pods.map((pod) => [`shop/${pod.metadata.name}`, pod])),
    secrets: new Map(),
    namespaces: new Map([['shop', { metadata: { name: 'shop', labels: { team: 'shop' } } }]]),
    ingresses: [],
    ingressClasses: [
      {
        metadata: { name: 'fairlead', annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' } },
        spec: { controller: 'fairlead.dev/gateway' },
      },
    ],
    gatewayClasses: [{ metadata: { name: 'fairlead' }, spec: { controllerName: 'fairlead.dev/gateway' } }],
    gateways: [],
    backendTlsPolicies: [],
    configMaps: new Map(),
    httpRoutes: [],
    grpcRoutes: [],
    grants: [],
    istioGateways: [],
    virtualServices: [],
    destinationRules: [],
    host: '127.0.0.1',
    meshHost: '10.64.0.1',
    ...parts,
  }
}

function addressOf(pod: string): string {
  return pod === 'v1' ? '10.64.0.11' : '10.64.0.12'
}

/** The rule that takes a request at a listener of the world; undefined for 404. */
export function ruleFor(world: World, listener: string, asked: Asked = {}): Rule | undefined {
  const config = listenerOf(compileWorld(world), listener)
  const { host = 'shop.example.com', path = '/', method = 'GET', headers = {}, source = '10.64.0.99' } = asked
  const [plain = '/', query = ''] = path.split('?', 2)
  const facts = {
    method,
    path: plain,
    query,
    authority: host,
    host,
    scheme: 'http' as const,
    source,
    header: (name: string) => headers[name],
  }
  return createMatcher(config.hosts)(facts)?.rule
}

/** `cluster=weight` of where a rule forwards to, or what it does instead. */
export function describeRule(rule: Rule | undefined): string {
  if (rule === undefined) return '404'
  const { action } = rule
  if (action.kind === 'forward')
    return action.targets.map(({ cluster, weight }) => `${cluster ?? 'none'}=${weight}`).join(' ')
  return action.kind === 'respond' ? String(action.status) : `redirect ${action.redirect.status}`
}

function listenerOf({ routing }: Compiled, key: string): ListenerConfig {
  const config = routing.listeners.get(key)
  if (config === undefined)
    throw new Error(`There is no listener ${key}, only ${[...routing.listeners.keys()].join(', ')}`)
  return config
}
