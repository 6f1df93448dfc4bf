import type {
  Action,
  CorsPolicy,
  Fault,
  HeaderChange,
  Mirror,
  NamedMatch,
  RequestMatch,
  RetryCondition,
  RetryPolicy,
  Rewrite,
  Rule,
  StringMatch,
} from '../model.ts'
import type {
  IstioDestination,
  IstioHeaders,
  IstioMatch,
  IstioPercent,
  IstioRequestMatch,
  IstioRoute,
  World,
} from '../objects.ts'
import type { ClusterTable } from './clusters.ts'
import { hasLabels } from './clusters.ts'
import { parseDurationMs, parseLimitMs } from './duration.ts'
import { headerChangeOf } from './header-change.ts'
import { serviceOfHost } from './istio-host.ts'
import { statusCodeOf } from './status-code.ts'

/** Whose route it is, and where its requests come in. */
export interface IstioContext {
  readonly route: string
  readonly namespace: string
  /** `mesh` or `namespace/name` of a Gateway. */
  readonly gateway: string
  readonly port: number
  readonly world: World
  readonly clusters: ClusterTable
}

/** False when all matches of a route are for other gateways or ports. */
export function isFor({ match = [] }: IstioRoute, gateway: string, port: number): boolean {
  return match.length === 0 || match.some((one) => isMatchFor(one, gateway, port))
}

function isMatchFor({ gateways, port: wanted }: IstioRequestMatch, gateway: string, port: number): boolean {
  if (wanted !== undefined && wanted !== port) return false
  return (
    gateways === undefined ||
    gateways.length === 0 ||
    gateways.some((name) => name === gateway || gateway.endsWith(`/${name}`))
  )
}

/** One entry of a VirtualService's `http`. */
export function compileIstioRoute(route: IstioRoute, context: IstioContext): Rule {
  const matches = (route.match ?? []).filter((one) => isMatchFor(one, context.gateway, context.port))
  return {
    route: route.name === undefined ? context.route : `${context.route} ${route.name}`,
    matches: matches.map((one) => matchOf(one, context.world)),
    requestHeaders: headersOf(route.headers?.request),
    responseHeaders: headersOf(route.headers?.response),
    cors: corsOf(route.corsPolicy),
    fault: faultOf(route.fault),
    rewrite: rewriteOf(route.rewrite),
    timeoutMs: parseLimitMs(route.timeout),
    retry: retryOf(route.retries),
    mirrors: mirrorsOf(route, context),
    action: actionOf(route, context),
  }
}

function matchOf(match: IstioRequestMatch, world: World): RequestMatch {
  const named = (map: Record<string, IstioMatch> | undefined, isAbsent: boolean): NamedMatch[] =>
    Object.entries(map ?? {}).map(([name, value]) => ({ name: name.toLowerCase(), match: stringOf(value), isAbsent }))
  const { uri, sourceLabels, sourceNamespace } = match
  const kind = uri?.exact !== undefined ? 'exact' : uri?.prefix !== undefined ? 'prefix' : 'regex'
  return {
    path: uri === undefined ? undefined : { kind, value: uri.exact ?? uri.prefix ?? uri.regex ?? '' },
    ignorePathCase: match.ignoreUriCase,
    method: stringOf(match.method),
    authority: stringOf(match.authority),
    scheme: stringOf(match.scheme),
    headers: [...named(match.headers, false), ...named(match.withoutHeaders, true)],
    query: Object.entries(match.queryParams ?? {}).map(([name, value]) => ({ name, match: stringOf(value) })),
    sources:
      sourceLabels === undefined && sourceNamespace === undefined
        ? undefined
        : sourcesOf(world, sourceLabels ?? {}, sourceNamespace),
  }
}

/** Undefined, which every value meets, for an empty match: `{}` only asks that the header is there. */
function stringOf(match: IstioMatch | undefined): StringMatch | undefined {
  if (match?.exact !== undefined) return { kind: 'exact', value: match.exact }
  if (match?.prefix !== undefined) return { kind: 'prefix', value: match.prefix }
  return match?.regex === undefined ? undefined : { kind: 'regex', value: match.regex }
}

function sourcesOf(world: World, labels: Record<string, string>, namespace: string | undefined): Set<string> {
  const pods = [...world.pods.values()].filter(
    ({ metadata }) =>
      (namespace === undefined || metadata?.namespace === namespace) && hasLabels(metadata?.labels, labels),
  )
  return new Set(pods.flatMap(({ status }) => status?.podIP ?? []))
}

function actionOf(route: IstioRoute, context: IstioContext): Action {
  if (route.redirect !== undefined) {
    const { uri, authority, scheme, port, derivePort, redirectCode = 301 } = route.redirect
    const [host, ownPort] = authority?.split(':', 2) ?? []
    const path = uri === undefined ? undefined : { kind: 'full' as const, value: uri }
    const redirect = {
      scheme,
      host,
      path,
      port: port ?? (ownPort === undefined ? undefined : Number(ownPort)),
      status: statusCodeOf(redirectCode, 301),
      keepsPort: derivePort === 'FROM_REQUEST_PORT',
    }
    return { kind: 'redirect', redirect }
  }
  if (route.directResponse !== undefined) {
    const { status, body } = route.directResponse
    return { kind: 'respond', status: statusCodeOf(status, 500), body: body?.string }
  }
  const targets = route.route ?? []
  return {
    kind: 'forward',
    targets: targets.map(({ destination, weight, headers }) => ({
      // Of several destinations, those without a weight get nothing; a single one needs none.
      weight: weight ?? (targets.length === 1 ? 1 : 0),
      cluster: clusterOf(destination, context),
      requestHeaders: headersOf(headers?.request),
      responseHeaders: headersOf(headers?.response),
    })),
  }
}

function clusterOf({ host, subset, port }: IstioDestination, context: IstioContext): string | undefined {
  const found = serviceOfHost(host, context.namespace)
  if (found === undefined) return undefined
  const own = context.clusters.find({ ...found, subset, port: port?.number })
  // A Service with several ports, and none named: the one that was called.
  return own ?? (port === undefined ? context.clusters.find({ ...found, subset, port: context.port }) : undefined)
}

function mirrorsOf(route: IstioRoute, context: IstioContext): Mirror[] | undefined {
  const single = route.mirror === undefined ? [] : [{ destination: route.mirror, percentage: route.mirrorPercentage }]
  const all = [...single, ...(route.mirrors ?? [])]
  if (all.length === 0) return undefined
  return all.map(({ destination, percentage }) => ({
    cluster: clusterOf(destination, context),
    percent: percentOf(percentage),
  }))
}

/** A message without `value` is zero, an absent one everything. */
function percentOf(percentage: IstioPercent | undefined): number {
  return percentage === undefined ? 100 : (percentage.value ?? 0)
}

function headersOf(change: IstioHeaders['request']): HeaderChange | undefined {
  if (change === undefined) return undefined
  const { set = {}, add = {}, remove = [] } = change
  return headerChangeOf({ set: Object.entries(set), add: Object.entries(add), remove })
}

function rewriteOf(rewrite: IstioRoute['rewrite']): Rewrite | undefined {
  if (rewrite === undefined) return undefined
  const { uri, authority, uriRegexRewrite } = rewrite
  const path =
    uri !== undefined
      ? { kind: 'prefix' as const, value: uri }
      : uriRegexRewrite === undefined
        ? undefined
        : { kind: 'regex' as const, pattern: uriRegexRewrite.match ?? '', value: uriRegexRewrite.rewrite ?? '' }
  return { host: authority, path }
}

function faultOf(fault: IstioRoute['fault']): Fault | undefined {
  if (fault === undefined) return undefined
  const { delay, abort } = fault
  const ms = parseDurationMs(delay?.fixedDelay)
  return {
    delay:
      delay === undefined || ms === undefined
        ? undefined
        : { ms, percent: delay.percent ?? percentOf(delay.percentage) },
    abort: abort === undefined ? undefined : { ...abortStatus(abort), percent: percentOf(abort.percentage) },
  }
}

const grpcNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
]

function abortStatus({ httpStatus, grpcStatus }: { httpStatus?: number; grpcStatus?: string }): {
  status: number
  grpcStatus?: number | undefined
} {
  const index = grpcStatus === undefined ? -1 : grpcNames.indexOf(grpcStatus)
  return { status: statusCodeOf(httpStatus, 503), grpcStatus: index === -1 ? undefined : index }
}

function corsOf(cors: IstioRoute['corsPolicy']): CorsPolicy | undefined {
  if (cors === undefined) return undefined
  const origins = (cors.allowOrigins ?? []).flatMap((match) => stringOf(match) ?? [])
  const exact = (cors.allowOrigin ?? []).map((value) => ({ kind: 'exact' as const, value }))
  const maxAgeMs = parseDurationMs(cors.maxAge)
  return {
    origins: [...origins, ...exact],
    methods: cors.allowMethods ?? [],
    headers: cors.allowHeaders ?? [],
    exposed: cors.exposeHeaders ?? [],
    maxAgeSeconds: maxAgeMs === undefined ? undefined : maxAgeMs / 1000,
    hasCredentials: cors.allowCredentials ?? false,
  }
}

const conditions: Readonly<Record<string, RetryCondition>> = {
  'connect-failure': 'connect-failure',
  'refused-stream': 'connect-failure',
  unavailable: 'connect-failure',
  cancelled: 'connect-failure',
  reset: 'reset',
  'reset-before-request': 'connect-failure',
  '5xx': '5xx',
  'gateway-error': 'gateway-error',
  'retriable-4xx': 'retriable-4xx',
}

/** What Istio retries where nothing is said, and where only the number of attempts is. */
const defaultOn = 'connect-failure,refused-stream,unavailable,cancelled,503'

function retryOf(retries: IstioRoute['retries'] = {}): RetryPolicy {
  const { attempts = 2, perTryTimeout, retryOn, backoff } = retries
  const terms = (retryOn === undefined || retryOn === '' ? defaultOn : retryOn).split(',').map((term) => term.trim())
  return {
    attempts,
    perTryTimeoutMs: parseLimitMs(perTryTimeout),
    on: [...new Set(terms.flatMap((term) => conditions[term] ?? []))],
    statuses: terms.filter((term) => /^[1-5]\d\d$/.test(term)).map(Number),
    backoffMs: parseDurationMs(backoff) ?? 25,
  }
}
