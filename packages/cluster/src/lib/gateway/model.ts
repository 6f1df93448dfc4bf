/**
 * What the gateway is told to do, whichever objects said it: Ingress, Gateway API and Istio are compiled into this one model. It is
 * plain data and made anew as a whole at each change; a request is served by the routing that was in force when it arrived.
 */
export interface Routing {
  /** Ports to listen on, by {@link ListenerConfig.key}. */
  readonly listeners: ReadonlyMap<string, ListenerConfig>
  /** Where requests go, by the key that {@link WeightedTarget.cluster} names. */
  readonly clusters: ReadonlyMap<string, Cluster>
}

/** One port. */
export interface ListenerConfig {
  /** `host:port wanted`, the same as long as the port is wanted. */
  readonly key: string
  readonly host: string
  readonly port: number
  /** Take another port when this one is not to be had: 8080 and 8443 for 80 and 443, then any. Otherwise that is a failure. */
  readonly isFlexible: boolean
  /** `mesh`: connections of any protocol that pods make to a Service; those that are not HTTP are passed through to `passthrough`. */
  readonly kind: 'http' | 'https' | 'mesh'
  /** Certificates by the server name they are for, the most specific first. Only for `https`. */
  readonly certificates: readonly Certificate[]
  readonly hosts: readonly VirtualHost[]
  readonly passthrough?: string | undefined
}

/** A key pair and the name (`*`, `*.example.com`, `shop.example.com`) asked for by TLS clients that it is shown to. */
export interface Certificate {
  readonly hostname: string
  /** PEM. */
  readonly cert: string
  readonly key: string
}

/** The rules of requests to one host, tried in order; a request that none matches is answered with 404. */
export interface VirtualHost {
  /** `*`, `*.example.com` (any number of labels) or a full name. */
  readonly hostname: string
  readonly rules: readonly Rule[]
}

/** What to do with the requests that match. */
export interface Rule {
  /** `kind namespace/name`, for metrics and headers of access logs. */
  readonly route: string
  /** Any of them; empty matches everything. */
  readonly matches: readonly RequestMatch[]
  readonly requestHeaders?: HeaderChange | undefined
  readonly responseHeaders?: HeaderChange | undefined
  readonly cors?: CorsPolicy | undefined
  readonly fault?: Fault | undefined
  readonly rewrite?: Rewrite | undefined
  /** From the arrival of the request to the last byte of the answer. Absent: no limit. */
  readonly timeoutMs?: number | undefined
  readonly retry?: RetryPolicy | undefined
  readonly mirrors?: readonly Mirror[] | undefined
  readonly action: Action
}

export type Action =
  | { readonly kind: 'forward'; readonly targets: readonly WeightedTarget[] }
  | { readonly kind: 'redirect'; readonly redirect: Redirect }
  | { readonly kind: 'respond'; readonly status: number; readonly body?: string | undefined }

/** How one string is compared. Regular expressions are RE2 and match the whole. */
export type StringMatch = { readonly kind: 'exact' | 'prefix' | 'regex'; readonly value: string }

/** All of what is given has to hold. */
export interface RequestMatch {
  /** `segments`: by whole path elements, as Ingress and Gateway API have it; `prefix`: by characters, as Istio. */
  readonly path?: { readonly kind: 'exact' | 'segments' | 'prefix' | 'regex'; readonly value: string } | undefined
  readonly ignorePathCase?: boolean | undefined
  readonly method?: StringMatch | undefined
  readonly authority?: StringMatch | undefined
  readonly scheme?: StringMatch | undefined
  /** Names in lower case; `isAbsent` turns the sense around. */
  readonly headers?: readonly NamedMatch[] | undefined
  readonly query?: readonly NamedMatch[] | undefined
  /** Addresses the client must have, such as those of the pods with certain labels. */
  readonly sources?: ReadonlySet<string> | undefined
}

/** A value by name; without `match` it only has to be there. */
export interface NamedMatch {
  readonly name: string
  readonly match?: StringMatch | undefined
  readonly isAbsent?: boolean | undefined
}

export interface WeightedTarget {
  readonly weight: number
  /** Key of a {@link Cluster}; undefined: nothing there can take the request, which is answered with 500. */
  readonly cluster?: string | undefined
  readonly requestHeaders?: HeaderChange | undefined
  readonly responseHeaders?: HeaderChange | undefined
}

/** Applied in this order: set, add, remove. Names in lower case. */
export interface HeaderChange {
  readonly set: readonly (readonly [name: string, value: string])[]
  readonly add: readonly (readonly [name: string, value: string])[]
  readonly remove: readonly string[]
}

export interface Rewrite {
  readonly host?: string | undefined
  readonly path?: PathChange | undefined
}

/** `prefix` replaces what the rule's path match matched. */
export type PathChange =
  | { readonly kind: 'full' | 'prefix'; readonly value: string }
  | { readonly kind: 'regex'; readonly pattern: string; readonly value: string }

export interface Redirect {
  readonly scheme?: string | undefined
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly path?: PathChange | undefined
  readonly status: number
  /** Gateway API: the port of the listener is told unless it is the scheme's own. Istio: the port of the request's host. */
  readonly keepsPort?: boolean | undefined
}

export interface RetryPolicy {
  /** Attempts besides the first. */
  readonly attempts: number
  readonly perTryTimeoutMs?: number | undefined
  readonly on: readonly RetryCondition[]
  /** Answers that are tried again. */
  readonly statuses: readonly number[]
  readonly backoffMs: number
}

export type RetryCondition = 'connect-failure' | 'reset' | '5xx' | 'gateway-error' | 'retriable-4xx'

export interface Mirror {
  readonly cluster?: string | undefined
  /** 0 to 100. */
  readonly percent: number
}

export interface Fault {
  readonly delay?: { readonly ms: number; readonly percent: number } | undefined
  readonly abort?:
    | { readonly status: number; readonly grpcStatus?: number | undefined; readonly percent: number }
    | undefined
}

export interface CorsPolicy {
  readonly origins: readonly StringMatch[]
  readonly methods: readonly string[]
  readonly headers: readonly string[]
  readonly exposed: readonly string[]
  readonly maxAgeSeconds?: number | undefined
  readonly hasCredentials: boolean
}

/** A set of interchangeable endpoints: a port of a Service, or of those of its pods that a subset selects. */
export interface Cluster {
  readonly key: string
  readonly namespace: string
  readonly service: string
  readonly port: number
  readonly subset?: string | undefined
  readonly protocol: UpstreamProtocol
  /** Absent: endpoints are asked without TLS. */
  readonly tls?: UpstreamTls | undefined
  readonly endpoints: readonly Endpoint[]
  readonly policy: TrafficPolicy
}

/** `h2c` is HTTP/2 with prior knowledge, which gRPC servers speak; with TLS it is what is agreed on there. */
export type UpstreamProtocol = 'http1' | 'h2c'

/** How endpoints are asked with TLS. */
export interface UpstreamTls {
  /** The same for the same settings. */
  readonly key: string
  /** Whom clients ask for (SNI). */
  readonly serverName: string
  /** Certificates of authorities, PEM. Default: those that Node knows. */
  readonly ca?: string | undefined
  /** Names of which the certificate must have one. None: the server's. */
  readonly names: readonly SubjectName[]
  /** False: any certificate will do. */
  readonly isVerified: boolean
  /** What the gateway proves itself with, PEM. */
  readonly cert?: string | undefined
  readonly clientKey?: string | undefined
}

/** A name in a certificate. */
export interface SubjectName {
  readonly kind: 'dns' | 'uri'
  readonly value: string
}

export interface Endpoint {
  /** `ip:port`. */
  readonly address: string
  readonly ip: string
  readonly port: number
  /** Deployment or other owner of the pod, and its version: labels of metrics. */
  readonly workload: string
  readonly version: string
}

/** How a cluster is used (Istio TrafficPolicy). */
export interface TrafficPolicy {
  readonly balance: Balance
  readonly connectTimeoutMs: number
  /** Requests at one time, those that wait for a connection included; more are answered with 503. */
  readonly maxRequests?: number | undefined
  /** Connections to one endpoint. */
  readonly maxConnections?: number | undefined
  readonly maxRequestsPerConnection?: number | undefined
  readonly idleTimeoutMs?: number | undefined
  readonly outliers?: OutlierPolicy | undefined
}

export type Balance =
  | { readonly kind: 'least-request' | 'round-robin' | 'random' }
  | {
      readonly kind: 'hash'
      readonly by: 'header' | 'cookie' | 'query' | 'source'
      readonly name: string
      readonly ttlSeconds?: number | undefined
    }

/** Endpoints that fail are left out for a while (Envoy outlier detection). */
export interface OutlierPolicy {
  readonly consecutive5xx: number
  readonly consecutiveGatewayErrors: number
  readonly ejectionMs: number
  /** Of the endpoints; one may always be. */
  readonly maxEjectionPercent: number
}
