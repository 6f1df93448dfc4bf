import type { Action, HeaderChange, Mirror, PathChange, RequestMatch, Rewrite, Rule, WeightedTarget } from '../model.ts'
import type {
  BackendRef,
  GrpcRouteRule,
  HeaderFilter,
  HttpRouteMatch,
  HttpRouteRule,
  PathModifier,
  RouteFilter,
  World,
} from '../objects.ts'
import type { ClusterTable } from './clusters.ts'
import { parseLimitMs } from './duration.ts'
import { resolveBackend } from './gateway-listeners.ts'
import { headerChangeOf } from './header-change.ts'

/** A rule for one match, and what it is ordered by among those of other routes. */
export interface RankedRule {
  readonly rule: Rule
  readonly rank: Rank
}

interface Rank {
  /** 3 exact, 2 expression, 1 prefix. */
  readonly pathKind: number
  readonly pathLength: number
  readonly hasMethod: boolean
  readonly headers: number
  readonly query: number
}

export interface RouteContext {
  readonly kind: 'HTTPRoute' | 'GRPCRoute'
  readonly namespace: string
  readonly name: string
  readonly world: World
  readonly clusters: ClusterTable
}

/** The spec's order (HTTPRouteRule.matches); rules of equal rank stay as they came, which is by age of their routes. */
export function compareRanked({ rank: a }: RankedRule, { rank: b }: RankedRule): number {
  return (
    b.pathKind - a.pathKind ||
    b.pathLength - a.pathLength ||
    Number(b.hasMethod) - Number(a.hasMethod) ||
    b.headers - a.headers ||
    b.query - a.query
  )
}

/** One rule of an HTTPRoute, once per match. */
export function compileHttpRule(rule: HttpRouteRule, context: RouteContext): RankedRule[] {
  const common = commonOf(rule, context)
  const limits = [parseLimitMs(rule.timeouts?.request), parseLimitMs(rule.timeouts?.backendRequest)]
  const [timeoutMs, perTryTimeoutMs] = limits
  const matches = rule.matches ?? [{}]
  return matches.map((match) => ({
    rank: rankOf(match),
    rule: {
      ...common,
      matches: [httpMatchOf(match)],
      timeoutMs,
      ...(perTryTimeoutMs === undefined
        ? {}
        : { retry: { attempts: 2, perTryTimeoutMs, on: ['connect-failure' as const], statuses: [], backoffMs: 0 } }),
    },
  }))
}

function rankOf({ path, method, headers = [], queryParams = [] }: HttpRouteMatch): Rank {
  const { type = 'PathPrefix', value = '/' } = path ?? {}
  return {
    pathKind: type === 'Exact' ? 3 : type === 'RegularExpression' ? 2 : 1,
    pathLength: value.length,
    hasMethod: method !== undefined,
    headers: headers.length,
    query: queryParams.length,
  }
}

function httpMatchOf({ path, method, headers = [], queryParams = [] }: HttpRouteMatch): RequestMatch {
  const { type = 'PathPrefix', value = '/' } = path ?? {}
  const kind = type === 'Exact' ? 'exact' : type === 'RegularExpression' ? 'regex' : 'segments'
  return {
    path: { kind, value },
    method: method === undefined ? undefined : { kind: 'exact', value: method },
    headers: headers.map((one) => ({ name: one.name.toLowerCase(), match: valueMatch(one) })),
    query: queryParams.map((one) => ({ name: one.name, match: valueMatch(one) })),
  }
}

function valueMatch({ type, value }: { type?: string; value: string }): { kind: 'exact' | 'regex'; value: string } {
  return { kind: type === 'RegularExpression' ? 'regex' : 'exact', value }
}

/** One rule of a GRPCRoute: the path of a call is `/package.Service/Method`. */
export function compileGrpcRule(rule: GrpcRouteRule, context: RouteContext): RankedRule[] {
  const common = commonOf(rule, context)
  return (rule.matches ?? [{}]).map(({ method, headers = [] }) => ({
    rank: {
      pathKind:
        method?.type === 'RegularExpression' ? 2 : method?.service !== undefined && method.method !== undefined ? 3 : 1,
      pathLength: (method?.service ?? '').length + (method?.method ?? '').length,
      hasMethod: false,
      headers: headers.length,
      query: 0,
    },
    rule: {
      ...common,
      matches: [
        {
          path: grpcPathOf(method),
          headers: headers.map((one) => ({ name: one.name.toLowerCase(), match: valueMatch(one) })),
        },
      ],
    },
  }))
}

function grpcPathOf(method: { type?: string; service?: string; method?: string } | undefined): RequestMatch['path'] {
  if (method === undefined) return undefined
  const { service, method: name } = method
  if (method.type === 'RegularExpression') return { kind: 'regex', value: `/${service ?? '[^/]+'}/${name ?? '[^/]+'}` }
  if (service !== undefined && name !== undefined) return { kind: 'exact', value: `/${service}/${name}` }
  if (service !== undefined) return { kind: 'segments', value: `/${service}` }
  return { kind: 'regex', value: `/[^/]+/${escapePattern(name ?? '')}` }
}

function escapePattern(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}

type Common = Pick<Rule, 'route' | 'requestHeaders' | 'responseHeaders' | 'rewrite' | 'mirrors' | 'action'>

function commonOf(
  rule: { name?: string; filters?: RouteFilter[]; backendRefs?: BackendRef[] },
  context: RouteContext,
): Common {
  const filters = rule.filters ?? []
  const route = `${context.kind} ${context.namespace}/${context.name}`
  return {
    route: rule.name === undefined ? route : `${route} ${rule.name}`,
    requestHeaders: headersOf(filters.find(({ type }) => type === 'RequestHeaderModifier')?.requestHeaderModifier),
    responseHeaders: headersOf(filters.find(({ type }) => type === 'ResponseHeaderModifier')?.responseHeaderModifier),
    rewrite: rewriteOf(filters.find(({ type }) => type === 'URLRewrite')?.urlRewrite),
    mirrors: mirrorsOf(filters, context),
    action: actionOf(filters, rule.backendRefs ?? [], context),
  }
}

function actionOf(filters: readonly RouteFilter[], refs: readonly BackendRef[], context: RouteContext): Action {
  const redirect = filters.find(({ type }) => type === 'RequestRedirect')?.requestRedirect
  if (redirect !== undefined) {
    const { scheme, hostname: host, port, path, statusCode: status = 302 } = redirect
    return { kind: 'redirect', redirect: { scheme, host, port, path: pathOf(path), status } }
  }
  // An extension that is not known must not be passed by (HTTPRouteFilter).
  if (filters.some(({ type }) => type === 'ExtensionRef'))
    return { kind: 'respond', status: 500, body: 'the route has a filter that is not known' }
  return { kind: 'forward', targets: refs.map((ref) => targetOf(ref, context)) }
}

function targetOf(ref: BackendRef, context: RouteContext): WeightedTarget {
  const filters = ref.filters ?? []
  return {
    weight: ref.weight ?? 1,
    cluster: clusterOf(ref, context),
    requestHeaders: headersOf(filters.find(({ type }) => type === 'RequestHeaderModifier')?.requestHeaderModifier),
    responseHeaders: headersOf(filters.find(({ type }) => type === 'ResponseHeaderModifier')?.responseHeaderModifier),
  }
}

function clusterOf(ref: BackendRef, { kind, namespace, world, clusters }: RouteContext): string | undefined {
  const found = resolveBackend(ref, { kind, namespace }, world)
  if (!('service' in found)) return undefined
  const protocol = kind === 'GRPCRoute' ? ('h2c' as const) : undefined
  return clusters.find({ namespace: found.namespace, service: ref.name, port: ref.port, protocol })
}

function mirrorsOf(filters: readonly RouteFilter[], context: RouteContext): Mirror[] | undefined {
  const mirrors = filters.flatMap(({ requestMirror }) => requestMirror ?? [])
  if (mirrors.length === 0) return undefined
  return mirrors.map(({ backendRef, percent, fraction }) => ({
    cluster: clusterOf(backendRef, context),
    percent: percent ?? (fraction === undefined ? 100 : (fraction.numerator * 100) / (fraction.denominator ?? 100)),
  }))
}

function headersOf(filter: HeaderFilter | undefined): HeaderChange | undefined {
  if (filter === undefined) return undefined
  const pairs = (list: { name: string; value: string }[] = []): [string, string][] =>
    list.map(({ name, value }) => [name, value])
  return headerChangeOf({ set: pairs(filter.set), add: pairs(filter.add), remove: filter.remove ?? [] })
}

function rewriteOf(filter: RouteFilter['urlRewrite']): Rewrite | undefined {
  return filter === undefined ? undefined : { host: filter.hostname, path: pathOf(filter.path) }
}

function pathOf(path: PathModifier | undefined): PathChange | undefined {
  if (path?.replaceFullPath !== undefined) return { kind: 'full', value: path.replaceFullPath }
  return path?.replacePrefixMatch === undefined ? undefined : { kind: 'prefix', value: path.replacePrefixMatch }
}
