import type { ConfigMap, Namespace, Pod, Secret, Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import type { Condition, LabelSelector, ObjectMeta } from '@fairlead/kube/types/meta-v1'
import type { Ingress, IngressClass } from '@fairlead/kube/types/networking-v1'

/** An object of a kind that the gateway defines itself, as far as the gateway reads it. */
export interface Custom<Spec, Status = never> {
  readonly apiVersion?: string | undefined
  readonly kind?: string | undefined
  readonly metadata?: ObjectMeta | undefined
  readonly spec?: Spec | undefined
  readonly status?: Status | undefined
}

/** Everything the gateway looks at, at one moment. */
export interface World {
  /** By `namespace/name`. */
  readonly services: ReadonlyMap<string, Service>
  /** By `namespace/name` of their Service. */
  readonly slices: ReadonlyMap<string, readonly EndpointSlice[]>
  /** By `namespace/name`. */
  readonly pods: ReadonlyMap<string, Pod>
  readonly secrets: ReadonlyMap<string, Secret>
  readonly configMaps: ReadonlyMap<string, ConfigMap>
  readonly namespaces: ReadonlyMap<string, Namespace>
  readonly ingresses: readonly Ingress[]
  readonly ingressClasses: readonly IngressClass[]
  readonly gatewayClasses: readonly GatewayClass[]
  readonly gateways: readonly Gateway[]
  readonly httpRoutes: readonly HttpRoute[]
  readonly grpcRoutes: readonly GrpcRoute[]
  readonly grants: readonly ReferenceGrant[]
  readonly backendTlsPolicies: readonly BackendTlsPolicy[]
  readonly istioGateways: readonly IstioGateway[]
  readonly virtualServices: readonly VirtualService[]
  readonly destinationRules: readonly DestinationRule[]
  /** Where listeners for clients outside of the cluster listen. */
  readonly host: string
  /** Where listeners for pods listen. */
  readonly meshHost: string
}

export type GatewayClass = Custom<{ controllerName?: string }, { conditions?: Condition[] }>

export type Gateway = Custom<
  { gatewayClassName?: string; listeners?: GatewayListener[]; addresses?: { type?: string; value?: string }[] },
  { conditions?: Condition[]; addresses?: { type?: string; value: string }[]; listeners?: unknown[] }
>

export interface GatewayListener {
  name: string
  hostname?: string
  port: number
  protocol: string
  tls?: { mode?: string; certificateRefs?: ObjectRef[] }
  allowedRoutes?: {
    namespaces?: { from?: string; selector?: LabelSelector }
    kinds?: { group?: string; kind: string }[]
  }
}

export interface ObjectRef {
  group?: string
  kind?: string
  namespace?: string
  name: string
}

export interface ParentRef extends ObjectRef {
  sectionName?: string
  port?: number
}

export interface RouteStatus {
  parents?: { parentRef: ParentRef; controllerName: string; conditions?: Condition[] }[]
}

/** What HTTPRoute and GRPCRoute have in common. */
export type Route<Rule> = Custom<{ parentRefs?: ParentRef[]; hostnames?: string[]; rules?: Rule[] }, RouteStatus>
export type HttpRoute = Route<HttpRouteRule>
export type GrpcRoute = Route<GrpcRouteRule>

export interface HttpRouteRule {
  name?: string
  matches?: HttpRouteMatch[]
  filters?: RouteFilter[]
  backendRefs?: BackendRef[]
  timeouts?: { request?: string; backendRequest?: string }
}

export interface HttpRouteMatch {
  path?: { type?: string; value?: string }
  headers?: { type?: string; name: string; value: string }[]
  queryParams?: { type?: string; name: string; value: string }[]
  method?: string
}

export interface GrpcRouteRule {
  name?: string
  matches?: {
    method?: { type?: string; service?: string; method?: string }
    headers?: { type?: string; name: string; value: string }[]
  }[]
  filters?: RouteFilter[]
  backendRefs?: BackendRef[]
}

export interface BackendRef extends ObjectRef {
  port?: number
  weight?: number
  filters?: RouteFilter[]
}

export interface HeaderFilter {
  set?: { name: string; value: string }[]
  add?: { name: string; value: string }[]
  remove?: string[]
}

export interface PathModifier {
  type?: string
  replaceFullPath?: string
  replacePrefixMatch?: string
}

export interface RouteFilter {
  type: string
  requestHeaderModifier?: HeaderFilter
  responseHeaderModifier?: HeaderFilter
  requestMirror?: {
    backendRef: ObjectRef & { port?: number }
    percent?: number
    fraction?: { numerator: number; denominator?: number }
  }
  requestRedirect?: { scheme?: string; hostname?: string; port?: number; path?: PathModifier; statusCode?: number }
  urlRewrite?: { hostname?: string; path?: PathModifier }
}

export type ReferenceGrant = Custom<{
  from?: { group?: string; kind: string; namespace: string }[]
  to?: { group?: string; kind: string; name?: string }[]
}>

export type IstioGateway = Custom<{
  selector?: Record<string, string>
  servers?: {
    port?: { number?: number; protocol?: string; name?: string }
    hosts?: string[]
    tls?: { mode?: string; credentialName?: string; httpsRedirect?: boolean }
  }[]
}>

export type BackendTlsPolicy = Custom<
  {
    targetRefs?: { group?: string; kind?: string; name: string; sectionName?: string }[]
    validation?: {
      hostname?: string
      caCertificateRefs?: { group?: string; kind?: string; name: string }[]
      wellKnownCACertificates?: string
      subjectAltNames?: { type?: string; hostname?: string; uri?: string }[]
    }
  },
  { ancestors?: { ancestorRef: ParentRef; controllerName: string; conditions?: Condition[] }[] }
>

export type VirtualService = Custom<{ hosts?: string[]; gateways?: string[]; http?: IstioRoute[] }>

export interface IstioMatch {
  exact?: string
  prefix?: string
  regex?: string
}

export interface IstioDestination {
  host: string
  subset?: string
  port?: { number?: number }
}

export interface IstioHeaders {
  request?: { set?: Record<string, string>; add?: Record<string, string>; remove?: string[] }
  response?: { set?: Record<string, string>; add?: Record<string, string>; remove?: string[] }
}

export interface IstioRequestMatch {
  uri?: IstioMatch
  scheme?: IstioMatch
  method?: IstioMatch
  authority?: IstioMatch
  headers?: Record<string, IstioMatch>
  withoutHeaders?: Record<string, IstioMatch>
  queryParams?: Record<string, IstioMatch>
  ignoreUriCase?: boolean
  port?: number
  gateways?: string[]
  sourceLabels?: Record<string, string>
  sourceNamespace?: string
}

export interface IstioPercent {
  value?: number
}

export interface IstioRoute {
  name?: string
  match?: IstioRequestMatch[]
  route?: { destination: IstioDestination; weight?: number; headers?: IstioHeaders }[]
  redirect?: {
    uri?: string
    authority?: string
    scheme?: string
    port?: number
    derivePort?: string
    redirectCode?: number
  }
  directResponse?: { status: number; body?: { string?: string } }
  rewrite?: { uri?: string; authority?: string; uriRegexRewrite?: { match?: string; rewrite?: string } }
  timeout?: string
  retries?: { attempts?: number; perTryTimeout?: string; retryOn?: string; backoff?: string }
  fault?: {
    delay?: { fixedDelay?: string; percentage?: IstioPercent; percent?: number }
    abort?: { httpStatus?: number; grpcStatus?: string; percentage?: IstioPercent }
  }
  mirror?: IstioDestination
  mirrorPercentage?: IstioPercent
  mirrors?: { destination: IstioDestination; percentage?: IstioPercent }[]
  corsPolicy?: {
    allowOrigins?: IstioMatch[]
    allowOrigin?: string[]
    allowMethods?: string[]
    allowHeaders?: string[]
    exposeHeaders?: string[]
    maxAge?: string
    allowCredentials?: boolean
  }
  headers?: IstioHeaders
}

export type DestinationRule = Custom<{
  host?: string
  trafficPolicy?: IstioTrafficPolicy & { portLevelSettings?: (IstioTrafficPolicy & { port?: { number?: number } })[] }
  subsets?: { name: string; labels?: Record<string, string>; trafficPolicy?: IstioTrafficPolicy }[]
}>

export interface IstioTrafficPolicy {
  tls?: {
    mode?: string
    credentialName?: string
    sni?: string
    subjectAltNames?: string[]
    insecureSkipVerify?: boolean
  }
  loadBalancer?: {
    simple?: string
    consistentHash?: {
      httpHeaderName?: string
      httpCookie?: { name: string; ttl?: string }
      useSourceIp?: boolean
      httpQueryParameterName?: string
    }
  }
  connectionPool?: {
    tcp?: { maxConnections?: number; connectTimeout?: string }
    http?: {
      http1MaxPendingRequests?: number
      http2MaxRequests?: number
      maxRequestsPerConnection?: number
      idleTimeout?: string
      h2UpgradePolicy?: string
    }
  }
  outlierDetection?: {
    consecutive5xxErrors?: number
    consecutiveGatewayErrors?: number
    consecutiveErrors?: number
    baseEjectionTime?: string
    maxEjectionPercent?: number
  }
}
