import type { ConfigDefinition } from '../config/define.ts'
import { definitionInvalid } from '../errors.ts'
import type { Check, CheckOptions } from '../health/check.ts'
import { contextNames } from '../http/context.ts'
import type { RequestContext } from '../http/context.ts'
import type { HostedApp } from '../http/hosted.ts'
import type { OpenApiOptions, serveOpenApi } from '../http/openapi.ts'
import { createRouteTable } from '../http/router.ts'
import type { Router, RouteTable } from '../http/router.ts'
import type { ServerLimits, ServerTls } from '../http/server-options.ts'
import type { UpgradeHandler } from '../http/websocket.ts'
import type { ResourceMap, ResourceValues } from '../lifecycle/resource.ts'
import type { MeshSettings } from '../mesh/settings.ts'
import type { AdmissionOptions } from '../resilience/admission.ts'
import type { RequestRateLimit } from './rate-limit.ts'
import type { ServiceTelemetry } from './telemetry.ts'

export interface ServiceDefinition<Uses extends ResourceMap, Values = unknown> {
  /** Lower-case letters, digits and dashes, at most 63: what Kubernetes accepts for a Service. */
  readonly name: string
  /** Default: the environment's SERVICE_VERSION, else `unknown`. */
  readonly version?: string | undefined
  /** Resources by the name under which handlers see them. Started before traffic, stopped after it. */
  readonly use?: Uses | undefined
  /**
   * Made by `defineConfig`. Read and checked before anything starts; handlers see its current value as `config`,
   * resources need it as `resource({ config }, ...)`.
   */
  readonly config?: ConfigDefinition<Values> | undefined
  /** Adds the routes. */
  readonly http?: ((router: Router<ResourceValues<WithConfig<Uses, Values>>>) => unknown) | undefined
  /** Answers what no route does: the Web-standard handler. Returns a `Response`, or anything a route may return. */
  readonly fetch?:
    | ((request: Request, context: RequestContext & ResourceValues<WithConfig<Uses, Values>>) => unknown)
    | undefined
  /**
   * An application of another framework, hosted: `fastifyApp(app)`, `honoApp(app)`, `expressApp(app)`, `connectApp(routes)`, or
   * a function that makes it of the resources. Answers what no route does.
   */
  readonly app?:
    | HostedApp
    | ((values: ResourceValues<WithConfig<Uses, Values>>) => HostedApp | Promise<HostedApp>)
    | undefined
  /** Serves the OpenAPI document of the routes at `/openapi.json`. Default false. */
  readonly openapi?: boolean | OpenApiOptions | undefined
  /**
   * Answers whatever was thrown while serving, an {@link HttpError} for a path that is not there included, with a page
   * of one's own. Returning undefined leaves it to problem details (RFC 9457), which is the default.
   */
  readonly onError?:
    | ((error: unknown, context: RequestContext & ResourceValues<WithConfig<Uses, Values>>) => unknown)
    | undefined
  /** Component checks beside those of the resources. */
  readonly checks?: Readonly<Record<string, ServiceCheck<ResourceValues<WithConfig<Uses, Values>>>>> | undefined
  /** Moves health and metrics to a port of their own. Default: the environment's ADMIN_PORT, else they share the service's port. */
  readonly admin?: { readonly port: number; readonly host?: string | undefined } | undefined
  /** Request bodies above this are answered 413. Default 1 MiB. */
  readonly bodyLimitBytes?: number | undefined
  /** What a connection may take: sizes of headers, times, counts. */
  readonly limits?: ServerLimits | undefined
  /** Serves HTTP/2 beside HTTP/1.1, which gRPC needs: by ALPN with `tls`, by prior knowledge (h2c) without. Default false. */
  readonly http2?: boolean | undefined
  /** Serves TLS. Renewed by {@link App.renewTls}. */
  readonly tls?: ServerTls | undefined
  /** Takes over WebSocket connections: `() => acceptWebSockets(...)`. */
  readonly upgrade?: ((values: ResourceValues<WithConfig<Uses, Values>>) => UpgradeHandler) | undefined
  /**
   * Refuses requests beyond what the service can serve, with 503 and Retry-After, before they make it slow for all. True is an
   * adaptive limit, and refusal while CPU or event loop are overloaded. Default false.
   */
  readonly overload?: boolean | AdmissionOptions | undefined
  /** Answers 429 to callers who ask more often than this. Default none. */
  readonly rateLimit?: RequestRateLimit | undefined
  /**
   * Done at once when the service is told to stop, before it stops being ready: leave a registry, stop taking work from a queue,
   * give back a lease. Each has 5 s.
   */
  readonly onDraining?:
    | Readonly<Record<string, (values: ResourceValues<WithConfig<Uses, Values>>, signal: AbortSignal) => unknown>>
    | undefined
  /** How it takes part in traces; where they go is said by the OTEL_* variables. */
  readonly telemetry?: ServiceTelemetry | undefined
  /** What calls made for a request pass on. Default: the environment's MESH_HEADERS and MESH_RETRIES. */
  readonly mesh?: MeshSettings | undefined
}

export interface ServiceCheck<Values> extends CheckOptions {
  readonly check: (values: Values, signal: AbortSignal) => ReturnType<Check>
}

/** The resources, and the configuration under its name if there is one. */
export type WithConfig<Uses extends ResourceMap, Values> = unknown extends Values
  ? Uses
  : Uses & { readonly config: ConfigDefinition<Values> }

/** A service that has been described and checked, and does nothing yet: {@link start} or {@link run} it. */
export interface Service<Uses extends ResourceMap = ResourceMap> {
  readonly name: string
  readonly definition: ServiceDefinition<Uses>
  /** Collected when first asked for: the schemas that `http` names may stand below it in its module. */
  readonly routes: RouteTable<ResourceValues<Uses>>
}

/**
 * Describes a service.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_DEFINITION`
 */
// A service without resources has exactly none.
// oxlint-disable-next-line typescript/no-generated-empty-object-type
export function service<Uses extends ResourceMap = Record<never, never>, Values = unknown>(
  given: ServiceDefinition<Uses, Values>,
): Service<WithConfig<Uses, Values>> {
  // The same to whoever starts it, which adds the value of `config` to those of `use`.
  const definition = given as unknown as ServiceDefinition<WithConfig<Uses, Values>>
  const { name } = definition
  if (!/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) {
    throw definitionInvalid(name, 'its name is not made of lower-case letters, digits and dashes')
  }
  if (definition.http === undefined && definition.fetch === undefined && definition.app === undefined)
    throw definitionInvalid(name, 'it has neither http nor fetch nor app')
  if (definition.fetch !== undefined && definition.app !== undefined)
    throw definitionInvalid(name, 'fetch and app both answer what no route does')
  const taken = Object.keys(definition.use ?? {}).find((resource) => contextNames.has(resource))
  if (taken !== undefined)
    throw definitionInvalid(name, `a resource cannot be called "${taken}", handlers have that already`)
  let routes: Service<WithConfig<Uses, Values>>['routes'] | undefined
  return {
    name,
    definition,
    get routes() {
      return (routes ??= collectRoutes(this))
    },
  }
}

function collectRoutes<Uses extends ResourceMap>({
  name,
  definition,
}: Pick<Service<Uses>, 'name' | 'definition'>): RouteTable<ResourceValues<Uses>> {
  const routes = createRouteTable<ResourceValues<Uses>>()
  definition.http?.(routes.router)
  const { openapi = false } = definition
  if (openapi !== false) {
    let answer: ReturnType<typeof serveOpenApi> | undefined
    routes.router.get('/openapi.json', { openapi: { hidden: true } }, async () => {
      // Most services are never asked.
      const { serveOpenApi: serve } = await import('../http/openapi.ts')
      return await (answer ??= serve({ name, routes, definition }, openapi === true ? {} : openapi))()
    })
  }
  return routes
}
