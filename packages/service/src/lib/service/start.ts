import { withDeadline } from '../deadline.ts'
import type { Config } from '../config/open.ts'
import { isReady } from '../health/health.ts'
import type { Health, HealthReport } from '../health/health.ts'
import type { HostedApp } from '../http/hosted.ts'
import type { ServerTls } from '../http/server-options.ts'
import type { Environment, ResourceMap, ResourceValues } from '../lifecycle/resource.ts'
import { startResources } from '../lifecycle/start.ts'
import type { StartedResources } from '../lifecycle/start.ts'
import { createLogger } from '../log/logger.ts'
import type { Logger } from '../log/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { currentScope } from '../trace/current.ts'
import type { Service } from './definition.ts'
import { drain } from './drain.ts'
import type { Parts } from './parts.ts'
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
   * New connections get this certificate; those there are keep theirs.
   *
   * @throws {ServiceError} `FAIRLEAD_SERVICE_TLS`; the old certificate stays in use.
   */
  renewTls(tls: ServerTls): void
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
  await using cleanup = new AsyncDisposableStack()
  // Not before a service starts: a program that imports the package for its client or its types needs none of it.
  const { openParts } = await import('./parts.ts')
  const parts = await openParts(service, settings, { log, env, metrics: options.metrics })
  cleanup.defer(() => parts.release())

  const { metrics } = parts
  const { config: configuration, use = {} as Uses } = service.definition
  const reading = configuration?.['~open']({ env, log, metrics, signal: options.signal })
  const config = reading && (await reading)
  cleanup.defer(() => config?.[Symbol.asyncDispose]())
  parts.describeConfig = () => config?.describe()

  const host = options.host ?? settings.host
  const port = await parts.server.listen(options.port ?? settings.port, host)
  const adminPort = parts.admin ? await parts.admin.server.listen(parts.admin.port, parts.admin.host ?? host) : port
  const given = configuration && new Map([[configuration.live, config]])
  const started = await startResources(use, { log, metrics, env, signal: options.signal, given })
  const resources = config === undefined ? started : addConfig(started, config, parts.health)
  cleanup.defer(() => resources.stop())
  const hosted = await startApp(service, resources, { health: parts.health, log, signal: options.signal })
  cleanup.defer(() => stopApp(hosted))
  // Told to stop just when the last step was done: no listener would hear of that any more.
  options.signal?.throwIfAborted()
  parts.open(resources, hosted)
  const stopped = cleanup.move()

  const url = urlOf(host, port, service.definition.tls ? 'https' : 'http')
  let stopping: Promise<void> | undefined
  const stop = (stopOptions: StopOptions = {}): Promise<void> => {
    // The signal may live much longer than the service.
    options.signal?.removeEventListener('abort', onAbort)
    return (stopping ??= stopParts(parts, settings, { ...stopOptions, log }, stopped))
  }
  // Who wants to hear how the stop went calls stop(), which joins this one.
  const onAbort = (): void => void stop().catch(() => {})
  options.signal?.addEventListener('abort', onAbort, { once: true })
  return {
    url,
    port,
    adminUrl: parts.admin ? urlOf(parts.admin.host ?? host, adminPort) : url,
    use: resources.values,
    config,
    log,
    metrics: parts.metrics,
    health: () => parts.health.report(),
    renewTls: (tls) => parts.server.renewTls(tls),
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

async function stopParts<Uses extends ResourceMap>(
  parts: Parts<Uses>,
  settings: Settings,
  { log, signal }: StopOptions & { readonly log: Logger },
  rest: AsyncDisposableStack,
): Promise<void> {
  try {
    const { wasCut, failures } = await drain(parts.server, {
      ...settings.drain,
      hooks: parts.drainHooks(),
      unready: () => parts.leave(),
      signal,
    })
    for (const { hook, error } of failures) log.warn('not done before the drain', { hook, err: error })
    if (wasCut) log.warn('connections were cut: the drain took too long')
  } finally {
    // A collector that is away must not add its deadline to those of the resources.
    parts.flush()
    // The admin port outlives the traffic, so that the stop can be watched.
    await rest.disposeAsync()
  }
}

/** An application of another framework is ready before it is asked, and stopped before the resources it stands on. */
async function startApp<Uses extends ResourceMap>(
  { definition }: Service<Uses>,
  resources: StartedResources<Uses>,
  { health, log, signal }: { readonly health: Health; readonly log: Logger; readonly signal: AbortSignal | undefined },
): Promise<HostedApp | undefined> {
  const { app: given, bodyLimitBytes } = definition
  const app = typeof given === 'function' ? await given(resources.values) : given
  const isServing = async (): Promise<boolean> => isReady((await health.report()).status)
  if (app?.start !== undefined) {
    const work = async (): Promise<unknown> => await app.start?.({ log, isReady: isServing, bodyLimitBytes })
    try {
      await withDeadline(work, { action: 'start', subject: app.kind, timeoutMs: 30_000, parent: signal })
    } catch (error) {
      // Half of it may be there: the pool of a plugin, beside another plugin that failed.
      await stopApp(app).catch((err: unknown) =>
        log.warn('not stopped after a start that failed', { app: app.kind, err }),
      )
      throw error
    }
  }
  return app
}

async function stopApp(app: HostedApp | undefined): Promise<void> {
  if (app?.stop === undefined) return
  const work = async (): Promise<unknown> => await app.stop?.()
  await withDeadline(work, { action: 'stop', subject: app.kind, timeoutMs: 10_000 })
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
  if (scope === undefined) return undefined
  const { traceId, spanId, isSampled } = scope.trace
  return { request_id: scope.requestId, trace_id: traceId, span_id: spanId, trace_sampled: isSampled }
}

function urlOf(host: string, port: number, scheme: 'http' | 'https' = 'http'): string {
  const reachable = host === '0.0.0.0' || host === '::' || host === '' ? '127.0.0.1' : host
  return `${scheme}://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}
