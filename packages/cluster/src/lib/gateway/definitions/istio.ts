import type { Kind } from './definition.ts'
import { anything, boolean, integer, list, map, number, object, string } from './schema.ts'
import type { Schema } from './schema.ts'

// Kinds of networking.istio.io as of Istio 1.27. What the gateway reads is described; what else Istio has is kept as it is
// written, so that the same manifest serves a cluster with Istio.

const group = 'networking.istio.io'
const categories = ['istio-io', 'networking-istio-io']
const versions = ['v1', 'v1beta1', 'v1alpha3']
const age = ['Age', '.metadata.creationTimestamp', 'date'] as const
const open = { 'x-kubernetes-preserve-unknown-fields': true }
const status: Schema = { type: 'object', ...open }

const match = object({ exact: string(), prefix: string(), regex: string() })
const portSelector = object({ number: integer({ minimum: 0, maximum: 65_535 }) })
const destination = object({ host: string(), subset: string(), port: portSelector }, { required: ['host'] })
const percent = object({ value: number({ format: 'double' }) })
const operations = object({ set: map(string()), add: map(string()), remove: list(string()) })
const headers = object({ request: operations, response: operations })

const requestMatch = object(
  {
    name: string(),
    uri: match,
    scheme: match,
    method: match,
    authority: match,
    headers: map(match),
    withoutHeaders: map(match),
    queryParams: map(match),
    ignoreUriCase: boolean(),
    port: integer({ minimum: 0 }),
    gateways: list(string()),
    sourceLabels: map(string()),
    sourceNamespace: string(),
    statPrefix: string(),
  },
  open,
)

const httpRoute = object(
  {
    name: string(),
    match: list(requestMatch),
    route: list(object({ destination, weight: integer({ format: 'int32' }), headers }, { required: ['destination'] })),
    redirect: object(
      {
        uri: string(),
        authority: string(),
        scheme: string(),
        port: integer({ minimum: 0 }),
        derivePort: string({ enum: ['FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT'] }),
        redirectCode: integer({ minimum: 0 }),
      },
      open,
    ),
    directResponse: object(
      { status: integer({ minimum: 0 }), body: object({ string: string(), bytes: string({ format: 'binary' }) }) },
      { required: ['status'] },
    ),
    delegate: anything,
    rewrite: object({
      uri: string(),
      authority: string(),
      uriRegexRewrite: object({ match: string(), rewrite: string() }),
    }),
    timeout: string(),
    retries: object(
      { attempts: integer({ format: 'int32' }), perTryTimeout: string(), retryOn: string(), backoff: string() },
      open,
    ),
    fault: object({
      delay: object({
        fixedDelay: string(),
        exponentialDelay: string(),
        percentage: percent,
        percent: integer({ format: 'int32' }),
      }),
      abort: object({
        httpStatus: integer({ format: 'int32' }),
        grpcStatus: string(),
        http2Error: string(),
        percentage: percent,
      }),
    }),
    mirror: destination,
    mirrorPercentage: percent,
    mirrors: list(object({ destination, percentage: percent }, { required: ['destination'] })),
    corsPolicy: object(
      {
        allowOrigins: list(match),
        allowOrigin: list(string()),
        allowMethods: list(string()),
        allowHeaders: list(string()),
        exposeHeaders: list(string()),
        maxAge: string(),
        allowCredentials: { type: 'boolean', nullable: true },
      },
      open,
    ),
    headers,
  },
  open,
)

const trafficPolicy = {
  loadBalancer: object(
    {
      simple: string({ enum: ['UNSPECIFIED', 'LEAST_CONN', 'RANDOM', 'PASSTHROUGH', 'ROUND_ROBIN', 'LEAST_REQUEST'] }),
      consistentHash: object(
        {
          httpHeaderName: string(),
          httpCookie: object({ name: string(), path: string(), ttl: string() }, { ...open, required: ['name'] }),
          useSourceIp: boolean(),
          httpQueryParameterName: string(),
        },
        open,
      ),
    },
    open,
  ),
  connectionPool: object({
    tcp: object({ maxConnections: integer({ format: 'int32' }), connectTimeout: string() }, open),
    http: object(
      {
        http1MaxPendingRequests: integer({ format: 'int32' }),
        http2MaxRequests: integer({ format: 'int32' }),
        maxRequestsPerConnection: integer({ format: 'int32' }),
        maxRetries: integer({ format: 'int32' }),
        idleTimeout: string(),
        h2UpgradePolicy: string({ enum: ['DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'] }),
      },
      open,
    ),
  }),
  outlierDetection: object(
    {
      consecutive5xxErrors: integer({ nullable: true, minimum: 0 }),
      consecutiveGatewayErrors: integer({ nullable: true, minimum: 0 }),
      consecutiveErrors: integer({ format: 'int32' }),
      interval: string(),
      baseEjectionTime: string(),
      maxEjectionPercent: integer({ format: 'int32' }),
      minHealthPercent: integer({ format: 'int32' }),
    },
    open,
  ),
}

export const istioKinds: readonly Kind[] = [
  {
    group,
    kind: 'VirtualService',
    plural: 'virtualservices',
    shortNames: ['vs'],
    categories,
    versions,
    isSpecRequired: false,
    spec: object(
      { hosts: list(string()), gateways: list(string()), http: list(httpRoute), exportTo: list(string()) },
      open,
    ),
    status,
    columns: [['Gateways', '.spec.gateways'], ['Hosts', '.spec.hosts'], age],
  },
  {
    group,
    kind: 'DestinationRule',
    plural: 'destinationrules',
    shortNames: ['dr'],
    categories,
    versions,
    isSpecRequired: false,
    spec: object(
      {
        host: string(),
        trafficPolicy: object(
          { ...trafficPolicy, portLevelSettings: list(object({ port: portSelector, ...trafficPolicy }, open)) },
          open,
        ),
        subsets: list(
          object(
            { name: string(), labels: map(string()), trafficPolicy: object(trafficPolicy, open) },
            { required: ['name'] },
          ),
        ),
        exportTo: list(string()),
      },
      { ...open, required: ['host'] },
    ),
    status,
    columns: [['Host', '.spec.host'], age],
  },
  {
    group,
    kind: 'Gateway',
    plural: 'gateways',
    shortNames: ['gw'],
    categories,
    versions,
    isSpecRequired: false,
    spec: object(
      {
        selector: map(string()),
        servers: list(
          object(
            {
              port: object(
                {
                  number: integer({ minimum: 0 }),
                  protocol: string(),
                  name: string(),
                  targetPort: integer({ minimum: 0 }),
                },
                { required: ['number', 'protocol', 'name'] },
              ),
              hosts: list(string()),
              name: string(),
              bind: string(),
              tls: object({ mode: string(), credentialName: string(), httpsRedirect: boolean() }, open),
            },
            { required: ['port', 'hosts'] },
          ),
        ),
      },
      open,
    ),
    status,
    columns: [age],
  },
]
