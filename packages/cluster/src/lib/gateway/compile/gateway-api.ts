import { matchesSelector } from '../../label-selector.ts'
import { compareHosts, intersectHosts } from '../hostname.ts'
import type { GatewayListener, GrpcRoute, HttpRoute, ParentRef, Route, World } from '../objects.ts'
import type { ClusterTable } from './clusters.ts'
import { mayBeHttp } from './clusters.ts'
import { compileGateways, resolveBackend, verdict } from './gateway-listeners.ts'
import type { GatewayReport, ListenerReport, Verdict } from './gateway-listeners.ts'
import { compareRanked, compileGrpcRule, compileHttpRule } from './gateway-rules.ts'
import type { RankedRule } from './gateway-rules.ts'
import { byAge } from './ingress.ts'
import { addRules } from './listeners.ts'
import type { ListenerDraft, ListenerTable } from './listeners.ts'
import { openMesh } from './mesh.ts'
import type { MeshTable } from './mesh.ts'

/** What became of a route at each of its parents that are ours. */
export interface RouteReport {
  readonly kind: 'HTTPRoute' | 'GRPCRoute'
  readonly route: HttpRoute | GrpcRoute
  readonly parents: readonly { readonly parentRef: ParentRef; readonly verdicts: readonly Verdict[] }[]
}

export interface GatewayApiReport {
  readonly gateways: readonly GatewayReport[]
  readonly routes: readonly RouteReport[]
}

interface Tables {
  readonly world: World
  readonly clusters: ClusterTable
  readonly mesh: MeshTable
  readonly gateways: readonly GatewayReport[]
  /** Rules of all routes by place, to be ordered when all are there. */
  readonly places: Map<ListenerDraft, Map<string, RankedRule[]>>
}

/** Compiles Gateways of our classes and the routes attached to them or to Services. */
export function compileGatewayApi(
  world: World,
  clusters: ClusterTable,
  listeners: ListenerTable,
  mesh: MeshTable,
): GatewayApiReport {
  const gateways = compileGateways(world, listeners)
  const tables: Tables = { world, clusters, mesh, gateways, places: new Map() }
  const http = world.httpRoutes.toSorted(byAge).map((route) => compileRoute('HTTPRoute', route, tables))
  const grpc = world.grpcRoutes.toSorted(byAge).map((route) => compileRoute('GRPCRoute', route, tables))
  for (const [draft, hosts] of tables.places) {
    for (const [hostname, rules] of hosts)
      addRules(
        draft,
        hostname,
        rules.toSorted(compareRanked).map(({ rule }) => rule),
      )
  }
  return { gateways, routes: [...http, ...grpc].filter(({ parents }) => parents.length > 0) }
}

function compileRoute(kind: RouteReport['kind'], route: HttpRoute | GrpcRoute, tables: Tables): RouteReport {
  const rules = rankedOf(kind, route, tables)
  const resolved = resolvedOf(kind, route, tables.world)
  const parents = (route.spec?.parentRefs ?? []).flatMap((parentRef) => {
    const accepted = attach(kind, route, parentRef, rules, tables)
    return accepted === undefined ? [] : [{ parentRef, verdicts: [accepted, resolved] }]
  })
  return { kind, route, parents }
}

function rankedOf(kind: RouteReport['kind'], route: HttpRoute | GrpcRoute, { world, clusters }: Tables): RankedRule[] {
  const { namespace = '', name = '' } = route.metadata ?? {}
  const context = { kind, namespace, name, world, clusters }
  return kind === 'HTTPRoute'
    ? ((route as HttpRoute).spec?.rules ?? [{}]).flatMap((rule) => compileHttpRule(rule, context))
    : ((route as GrpcRoute).spec?.rules ?? [{}]).flatMap((rule) => compileGrpcRule(rule, context))
}

/** Puts the rules where a parent takes them; undefined when the parent is not ours. */
function attach(
  kind: RouteReport['kind'],
  route: Route<unknown>,
  parentRef: ParentRef,
  rules: readonly RankedRule[],
  tables: Tables,
): Verdict | undefined {
  if (parentRef.kind === 'Service') return attachToService(route, parentRef, rules, tables)
  const own = route.metadata?.namespace ?? ''
  const namespace = parentRef.namespace ?? own
  const gateway = tables.gateways.find(
    ({ gateway: { metadata } }) => metadata?.name === parentRef.name && metadata.namespace === namespace,
  )
  if (gateway === undefined || (parentRef.kind ?? 'Gateway') !== 'Gateway') return undefined
  const named = gateway.listeners.filter(
    ({ listener }) =>
      (parentRef.sectionName === undefined || listener.name === parentRef.sectionName) &&
      (parentRef.port === undefined || listener.port === parentRef.port),
  )
  if (named.length === 0)
    return verdict('Accepted', false, 'NoMatchingParent', 'the Gateway has no listener of this name and port')
  const allowed = named.filter(
    ({ kinds, listener }) => kinds.includes(kind) && isAllowed(listener, own, namespace, tables.world),
  )
  if (allowed.length === 0)
    return verdict('Accepted', false, 'NotAllowedByListeners', 'no listener allows routes of this kind and namespace')
  const taking = allowed.filter((report) =>
    attachToListener(route, report, rules, { places: tables.places, siblings: gateway.listeners }),
  )
  if (taking.length === 0) {
    return verdict(
      'Accepted',
      false,
      'NoMatchingListenerHostname',
      'no listener has a hostname in common with the route',
    )
  }
  return verdict('Accepted', true, 'Accepted', '')
}

function isAllowed(
  { allowedRoutes }: GatewayListener,
  routeNamespace: string,
  gatewayNamespace: string,
  world: World,
): boolean {
  const { from = 'Same', selector = {} } = allowedRoutes?.namespaces ?? {}
  if (from === 'All') return true
  if (from === 'Selector')
    return matchesSelector(selector, world.namespaces.get(routeNamespace)?.metadata?.labels ?? {})
  return from === 'Same' && routeNamespace === gatewayNamespace
}

function attachToListener(
  { spec }: Route<unknown>,
  report: ListenerReport,
  rules: readonly RankedRule[],
  { places, siblings }: Pick<Tables, 'places'> & { siblings: readonly ListenerReport[] },
): boolean {
  const hostname = report.listener.hostname ?? '*'
  const wanted = spec?.hostnames ?? []
  const shared = wanted.length === 0 ? [hostname] : wanted.flatMap((one) => intersectHosts(one, hostname) ?? [])
  if (shared.length === 0) return false
  report.attachedRoutes++
  const { draft } = report
  if (draft === undefined) return true
  for (const host of new Set(shared)) if (!isTaken(host, report, siblings)) place(places, draft, host, rules)
  return true
}

/** Requests for a host belong to the most specific listener alone (GEP-3567, listener isolation). */
function isTaken(host: string, { listener, draft }: ListenerReport, siblings: readonly ListenerReport[]): boolean {
  const { hostname = '*' } = listener
  return siblings.some((other) => {
    const name = other.listener.hostname ?? '*'
    return other.draft === draft && compareHosts(name, hostname) < 0 && intersectHosts(name, host) === host
  })
}

function place(places: Tables['places'], draft: ListenerDraft, hostname: string, rules: readonly RankedRule[]): void {
  const hosts = places.get(draft) ?? new Map<string, RankedRule[]>()
  places.set(draft, hosts)
  hosts.set(hostname, [...(hosts.get(hostname) ?? []), ...rules])
}

/** A route for the traffic to a Service (GAMMA, GEP-1294): at the port named, or at all that may carry HTTP. */
function attachToService(
  route: Route<unknown>,
  parentRef: ParentRef,
  rules: readonly RankedRule[],
  { world, clusters, mesh, places }: Tables,
): Verdict | undefined {
  const own = route.metadata?.namespace ?? ''
  const namespace = parentRef.namespace ?? own
  const service = world.services.get(`${namespace}/${parentRef.name}`)
  // A route for the clients of one namespace (consumer route) would need to know who asks: it is not taken for all of them.
  if (service === undefined || namespace !== own) return undefined
  const ports = (service.spec?.ports ?? []).filter((one) =>
    parentRef.port === undefined ? mayBeHttp(one) : one.port === parentRef.port,
  )
  const drafts = ports.flatMap(({ port }) => openMesh(mesh, service, port, { clusters }) ?? [])
  for (const draft of drafts) place(places, draft, '*', rules)
  return drafts.length > 0
    ? verdict('Accepted', true, 'Accepted', '')
    : verdict('Accepted', false, 'NoMatchingParent', 'the Service has no such port or no address')
}

/** ResolvedRefs of a route: the first reference that leads nowhere is told. */
function resolvedOf(kind: RouteReport['kind'], route: HttpRoute | GrpcRoute, world: World): Verdict {
  const from = { kind, namespace: route.metadata?.namespace ?? '' }
  const rules: {
    backendRefs?: { name: string }[]
    filters?: { requestMirror?: { backendRef: { name: string } } }[]
  }[] = route.spec?.rules ?? []
  const refs = rules.flatMap(({ backendRefs = [], filters = [] }) => [
    ...backendRefs,
    ...filters.flatMap(({ requestMirror }) => requestMirror?.backendRef ?? []),
  ])
  for (const ref of refs) {
    const found = resolveBackend(ref, from, world)
    if ('reason' in found) return verdict('ResolvedRefs', false, found.reason, found.message)
  }
  return verdict('ResolvedRefs', true, 'ResolvedRefs', '')
}
