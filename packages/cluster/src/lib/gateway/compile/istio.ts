import { intersectHosts } from '../hostname.ts'
import type { Rule } from '../model.ts'
import type { IstioGateway, IstioRoute, VirtualService, World } from '../objects.ts'
import { keyPairOf } from './certificates.ts'
import { hasLabels, mayBeHttp } from './clusters.ts'
import type { ClusterTable } from './clusters.ts'
import { byAge } from './ingress.ts'
import { serviceOfHost } from './istio-host.ts'
import { compileIstioRoute, isFor } from './istio-route.ts'
import { addRules } from './listeners.ts'
import type { ListenerDraft, ListenerTable } from './listeners.ts'
import { openMesh } from './mesh.ts'
import type { MeshTable } from './mesh.ts'

/** Compiles Istio's Gateways and VirtualServices; DestinationRules are read where clusters are made. */
export function compileIstio(world: World, clusters: ClusterTable, listeners: ListenerTable, mesh: MeshTable): void {
  const services = world.virtualServices.toSorted(byAge)
  for (const gateway of world.istioGateways.toSorted(byAge)) {
    if (!isElsewhere(gateway, world)) compileGateway(gateway, services, { world, clusters, listeners })
  }
  for (const service of services)
    if (gatewaysOf(service).includes('mesh')) compileMesh(service, { world, clusters, mesh })
}

/** True when pods of the cluster are the gateway that the object selects: a real Istio is installed. */
function isElsewhere({ spec }: IstioGateway, world: World): boolean {
  const selector = spec?.selector ?? {}
  if (Object.keys(selector).length === 0) return false
  return [...world.pods.values()].some(({ metadata }) => hasLabels(metadata?.labels, selector))
}

/** The gateways a VirtualService is for, those of its own namespace named in full. */
function gatewaysOf({ metadata, spec }: VirtualService): string[] {
  const named = spec?.gateways ?? []
  const names = named.length === 0 ? ['mesh'] : named
  return names.map((name) => (name === 'mesh' || name.includes('/') ? name : `${metadata?.namespace}/${name}`))
}

function compileGateway(
  gateway: IstioGateway,
  services: readonly VirtualService[],
  to: { world: World; clusters: ClusterTable; listeners: ListenerTable },
): void {
  const { namespace = '', name = '' } = gateway.metadata ?? {}
  for (const server of gateway.spec?.servers ?? []) {
    const port = server.port?.number
    const protocol = (server.port?.protocol ?? 'HTTP').toUpperCase()
    if (port === undefined || !['HTTP', 'HTTP2', 'GRPC', 'HTTPS'].includes(protocol)) continue
    const kind = protocol === 'HTTPS' ? 'https' : 'http'
    if (kind === 'https' && (server.tls?.mode ?? 'SIMPLE') !== 'SIMPLE') continue
    const draft = to.listeners.open({ host: to.world.host, port, kind, isFlexible: true })
    if (draft === undefined) continue
    const hosts = (server.hosts ?? []).map((host) => splitHost(host, namespace))
    if (kind === 'https') addCertificates(draft, hosts, namespace, server.tls?.credentialName, to.world)
    for (const service of services) {
      if (!gatewaysOf(service).includes(`${namespace}/${name}`)) continue
      const context = { gateway: `${namespace}/${name}`, port, isHttpsRedirect: server.tls?.httpsRedirect === true }
      for (const hostname of sharedHosts(service, hosts)) addRules(draft, hostname, rulesOf(service, context, to))
    }
  }
}

interface GatewayHost {
  /** `*` or one. */
  readonly namespace: string
  readonly host: string
}

/** `namespace/host`, where `.` is the gateway's own. */
function splitHost(text: string, own: string): GatewayHost {
  const [first = '', second] = text.split('/', 2)
  if (second === undefined) return { namespace: '*', host: first.toLowerCase() }
  return { namespace: first === '.' ? own : first, host: second.toLowerCase() }
}

function addCertificates(
  draft: ListenerDraft,
  hosts: readonly GatewayHost[],
  namespace: string,
  credential: string | undefined,
  world: World,
): void {
  // Istio looks where its gateway runs; ours runs nowhere, so the gateway's own namespace comes first.
  const places = [namespace, 'istio-system', 'istio-ingress']
  const secret = places.map((place) => world.secrets.get(`${place}/${credential}`)).find((found) => found !== undefined)
  const pair = keyPairOf(secret)
  if (pair !== undefined) draft.certificates.push(...hosts.map(({ host }) => ({ hostname: host, ...pair })))
}

function sharedHosts({ metadata, spec }: VirtualService, hosts: readonly GatewayHost[]): string[] {
  const visible = hosts.filter(({ namespace }) => namespace === '*' || namespace === metadata?.namespace)
  const shared = (spec?.hosts ?? []).flatMap((own) =>
    visible.map(({ host }) => intersectHosts(own.toLowerCase(), host)),
  )
  return [...new Set(shared.filter((host) => host !== undefined))]
}

function rulesOf(
  service: VirtualService,
  context: { gateway: string; port: number; isHttpsRedirect: boolean },
  { world, clusters }: { world: World; clusters: ClusterTable },
): Rule[] {
  const { namespace = '', name = '' } = service.metadata ?? {}
  const route = `VirtualService ${namespace}/${name}`
  if (context.isHttpsRedirect) {
    return [{ route, matches: [], action: { kind: 'redirect', redirect: { scheme: 'https', status: 301 } } }]
  }
  const routes = (service.spec?.http ?? []).filter((one) => isFor(one, context.gateway, context.port))
  return routes.map((one) =>
    compileIstioRoute(one, { route, namespace, gateway: context.gateway, port: context.port, world, clusters }),
  )
}

/** Traffic to a Service that the VirtualService names goes by its routes, whatever the Host header says: the address is what was called. */
function compileMesh(service: VirtualService, to: { world: World; clusters: ClusterTable; mesh: MeshTable }): void {
  const { namespace = '', name = '' } = service.metadata ?? {}
  const http = service.spec?.http ?? []
  if (http.length === 0) return
  for (const host of service.spec?.hosts ?? []) {
    const found = serviceOfHost(host, namespace)
    const called = found === undefined ? undefined : to.world.services.get(`${found.namespace}/${found.service}`)
    for (const port of called?.spec?.ports ?? []) {
      const routes: IstioRoute[] = http.filter((one) => isFor(one, 'mesh', port.port))
      if (called === undefined || !mayBeHttp(port) || routes.length === 0) continue
      const route = `VirtualService ${namespace}/${name}`
      const context = { route, namespace, gateway: 'mesh', port: port.port, world: to.world, clusters: to.clusters }
      const rules = routes.map((one) => compileIstioRoute(one, context))
      const draft = openMesh(to.mesh, called, port.port, to)
      if (draft !== undefined) addRules(draft, '*', rules)
    }
  }
}
