import { withDeadline } from '../deadline.ts'
import type { Config } from '../config/open.ts'
import { createHealth } from '../health/health.ts'
import type { Health, HealthReport } from '../health/health.ts'
import { createHandler } from '../http/handler.ts'
import type { HandlerOptions } from '../http/handler.ts'
import type { HostedApp } from '../http/hosted.ts'
import { reply } from '../http/reply.ts'
import { send } from '../http/send.ts'
import { createDrainableServer } from '../http/server.ts'
import type { DrainableServer } from '../http/server.ts'
import type { Environment, ResourceMap, ResourceValues } from '../lifecycle/resource.ts'
import { startResources } from '../lifecycle/start.ts'
import type { StartedResources } from '../lifecycle/start.ts'
import { createLogger } from '../log/logger.ts'
import type { Logger } from '../log/logger.ts'
import { addServerMetrics } from '../metrics/http.ts'
import { createMetrics } from '../metrics/metrics.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { addRuntimeMetrics } from '../metrics/all.ts'
import { currentScope } from '../trace/current.ts'
import { answerNotFound, createAdminListener } from './admin.ts'
import type { Service } from './definition.ts'
import { drain } from './drain.ts'
import { createRequestObserver } from './observe.ts'
import { readSettings } from './settings.ts'
import type { Settings } from './settings.ts'

export interface StartOptions {
  /** Default `process.env`. */
  readonly env?: Environment | undefined
  /** Default: HOST of the environment, else `0.0.0.0`. */
  readonly host?: string | undefined
  /** Default: PORT of the environment, else 8080. 0 takes a free one, which is what tests want. */
  readonly port?: number | undefined
  /** Default: LOG_LEVEL and LOG_FORMAT on standard output. */
  readonly log?: Logger | undefined
  /** Default: a new set, with the process's own metrics. */
  readonly metrics?: Metrics | undefined
  /** Stops the start, and the service once it runs. */
  readonly signal?: AbortSignal | undefined
}

export interface StopOptions {
  /** Cuts what is still running at once. */
  readonly signal?: AbortSignal | undefined
}

/** A running service. `await using` stops it. */
export interface App<Values = unknown> extends AsyncDisposable {
  /** Where it answers, reachable from this machine: `http://127.0.0.1:8080`. */
  readonly url: string
  readonly port: number
  /** Where health and metrics answer; the same as `url` unless there is an admin port. */
  readonly adminUrl: string
  /** The resources, for tests and for work beside the requests. */
  readonly use: Values
  /** The configuration with its origins and changes, if the service has one. */
  readonly config: Config<unknown> | undefined
  readonly log: Logger
  readonly metrics: Metrics
  health(): Promise<HealthReport>
  /**
   * Drains and stops, resources last, in reverse order. Later calls join the first.
   *
   * @throws {ServiceError} `FAIRLEAD_SERVICE_STOP` when a resource could not be stopped; everything else is stopped nevertheless.
   */
  stop(options?: StopOptions): Promise<void>
}

/**
 * Starts a service: listens (so that health can be asked), starts the resources, then takes traffic. Resolves when it is ready.
 *
 * ```ts
 * await using app = await start(catalog, { port: 0 })
 * const response = await fetch(`${app.url}/products`)
 * ```
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_LISTEN`, `FAIRLEAD_SERVICE_START`, `FAIRLEAD_SERVICE_SETTING`, `FAIRLEAD_SERVICE_ROUTE`, `FAIRLEAD_SERVICE_CONFIG`
 */
export async function start<Uses extends ResourceMap>(
  service: Service<Uses>,
  options: StartOptions = {},
): Promise<App<ResourceValues<Uses>>> {
  const env = options.env ?? process.env
  const settings = readSettings(env, process.stdout.isTTY)
  const log = options.log ?? createServiceLogger(service.name, settings)
  const parts = createParts(service, settings, log, options.metrics)
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => parts.release())

  const { config: configuration, use = {} as Uses } = service.definition
  const reading = configuration?.['~open']({ env, log, metrics: parts.metrics, signal: options.signal })
  const config = reading && (await reading)
  cleanup.defer(() => config?.[Symbol.asyncDispose]())
  const host = options.host ?? settings.host
  const port = await parts.server.listen(options.port ?? settings.port, host)
  const adminPort = parts.admin ? await parts.admin.server.listen(parts.admin.port, parts.admin.host ?? host) : port
  const given = configuration && new Map([[configuration.live, config]])
  const started = await startResources(use, { log, env, signal: options.signal, given })
  const resources = config === undefined ? started : addConfig(started, config, parts.health)
  cleanup.defer(() => resources.stop())
  const hosted = await startApp(service, resources, parts.health, log)
  cleanup.defer(() => stopApp(hosted))
  parts.open(resources, hosted)
  const stopped = cleanup.move()

  const url = urlOf(host, port)
  let stopping: Promise<void> | undefined
  const stop = (stopOptions: StopOptions = {}): Promise<void> =>
    (stopping ??= stopParts(parts, settings, stopOptions, stopped))
  // Who wants to hear how the stop went calls stop(), which joins this one.
  options.signal?.addEventListener('abort', () => void stop().catch(() => {}), { once: true })
  return {
    url,
    port,
    adminUrl: parts.admin ? urlOf(parts.admin.host ?? host, adminPort) : url,
    use: resources.values,
    config,
    log,
    metrics: parts.metrics,
    health: () => parts.health.report(),
    stop,
    [Symbol.asyncDispose]: () => stop(),
  }
}

/** The logger a service gets when it brings none. */
export function createServiceLogger(name: string, settings: Settings): Logger {
  return createLogger({
    ...settings.log,
    fields: settings.log.format === 'pretty' ? {} : { service: name, version: settings.version },
    context: requestFields,
  })
}

interface Parts<Uses extends ResourceMap> {
  readonly health: Health
  readonly metrics: Metrics
  readonly server: DrainableServer
  readonly admin:
    | { readonly server: DrainableServer; readonly port: number; readonly host?: string | undefined }
    | undefined
  /** Lets traffic in. */
  open(resources: StartedResources<Uses>, app: HostedApp | undefined): void
  /** Ends what would otherwise go on until it is cut. */
  leave(): unknown
  /** Frees everything but the resources. */
  release(): void
}

function createParts<Uses extends ResourceMap>(
  service: Service<Uses>,
  settings: Settings,
  log: Logger,
  givenMetrics: Metrics | undefined,
): Parts<Uses> {
  const { definition, routes } = service
  const version = definition.version ?? settings.version
  const health = createHealth({ service: service.name, version, environment: settings.environment })
  const metrics = givenMetrics ?? createMetrics()
  const endProcessMetrics = givenMetrics ? () => {} : addRuntimeMetrics(metrics)
  metrics.info('service_info', 'The service and its version.', {
    service: service.name,
    version: version ?? 'unknown',
  })
  const observe = createRequestObserver(metrics, log)
  let app: HostedApp | undefined

  let handler: Parameters<typeof createAdminListener>[2] = (_request, response) =>
    void send(
      response,
      reply(
        { status: 503, title: 'Service Unavailable', detail: 'The service is starting' },
        { status: 503, headers: { 'retry-after': '1', 'content-type': 'application/problem+json' } },
      ),
    )
  const handle: typeof handler = (request, response) => handler(request, response)
  const adminPort = definition.admin?.port ?? settings.adminPort
  const server = createDrainableServer(
    adminPort === undefined ? createAdminListener(health, metrics, handle) : handle,
    { ...definition.limits, http2: definition.http2 },
  )
  const admin =
    adminPort === undefined
      ? undefined
      : {
          port: adminPort,
          host: definition.admin?.host,
          server: createDrainableServer(createAdminListener(health, metrics, answerNotFound)),
        }
  addServerMetrics(metrics, server)

  return {
    health,
    metrics,
    server,
    admin,
    leave: () => app?.drain?.(),
    open(resources, hosted) {
      app = hosted
      addChecks(health, definition, resources)
      // The resources are on the context by the time a request comes, which the handler's options cannot know.
      const { fetch, onError } = definition as Pick<HandlerOptions, 'fetch' | 'onError'>
      handler = createHandler({
        match: routes.match,
        fetch,
        app,
        onError,
        uses: resources.values,
        log,
        bodyLimitBytes: definition.bodyLimitBytes,
        onServed: observe,
      })
      health.state = 'ready'
    },
    release() {
      endProcessMetrics()
      server.closeAll()
      admin?.server.closeAll()
      health.state = 'stopped'
    },
  }
}

async function stopParts<Uses extends ResourceMap>(
  parts: Parts<Uses>,
  settings: Settings,
  options: StopOptions,
  rest: AsyncDisposableStack,
): Promise<void> {
  parts.health.state = 'draining'
  try {
    await parts.leave()
    await drain(parts.server, { ...settings.drain, signal: options.signal })
  } finally {
    // The admin port outlives the traffic, so that the stop can be watched.
    await rest.disposeAsync()
  }
}

/** An application of another framework is ready before it is asked, and stopped before the resources it stands on. */
async function startApp<Uses extends ResourceMap>(
  { definition }: Service<Uses>,
  resources: StartedResources<Uses>,
  health: Health,
  log: Logger,
): Promise<HostedApp | undefined> {
  const { app: given, bodyLimitBytes } = definition
  const app = typeof given === 'function' ? await given(resources.values) : given
  const isReady = async (): Promise<boolean> => ['UP', 'DEGRADED'].includes((await health.report()).status)
  if (app?.start !== undefined) {
    const work = async (): Promise<unknown> => await app.start?.({ log, isReady, bodyLimitBytes })
    await withDeadline(work, { action: 'start', subject: app.kind, timeoutMs: 30_000 })
  }
  return app
}

async function stopApp(app: HostedApp | undefined): Promise<void> {
  if (app?.stop === undefined) return
  const work = async (): Promise<unknown> => await app.stop?.()
  await withDeadline(work, { action: 'stop', subject: app.kind, timeoutMs: 10_000 })
}

function addChecks<Uses extends ResourceMap>(
  health: Health,
  definition: Service<Uses>['definition'],
  resources: StartedResources<Uses>,
): void {
  for (const { name, resource, value } of resources.started) {
    if (resource.hasHealth)
      health.addCheck(name, (signal) => resource.health(value, signal), { critical: resource.critical })
  }
  for (const [name, check] of Object.entries(definition.checks ?? {})) {
    health.addCheck(name, (signal) => check.check(resources.values, signal), check)
  }
}

/** Handlers and checks see the value of the moment; one that cannot be reloaded degrades the service. */
function addConfig<Uses extends ResourceMap>(
  resources: StartedResources<Uses>,
  config: Config<unknown>,
  health: Health,
): StartedResources<Uses> {
  const values = Object.defineProperty({ ...resources.values }, 'config', { get: () => config.value, enumerable: true })
  health.addCheck('config', () => config.check(), { critical: false, cacheMs: 0 })
  return { ...resources, values }
}

function requestFields(): Record<string, unknown> | undefined {
  const scope = currentScope()
  return scope && { request_id: scope.requestId, trace_id: scope.trace.traceId, span_id: scope.trace.spanId }
}

function urlOf(host: string, port: number): string {
  const reachable = host === '0.0.0.0' || host === '::' || host === '' ? '127.0.0.1' : host
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}
