import { addRequestMetrics, addServerMetrics } from '../metrics/http.ts'
import { createMetrics } from '../metrics/metrics.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { addRuntimeMetrics } from '../metrics/all.ts'
import { watchLimits } from '../container/watch.ts'
import { createHealth } from '../health/health.ts'
import type { Health } from '../health/health.ts'
import { createHandler } from '../http/handler.ts'
import type { HandlerOptions } from '../http/handler.ts'
import type { HostedApp } from '../http/hosted.ts'
import { HttpError } from '../http/problem.ts'
import { problemReply } from '../http/problem-reply.ts'
import { send } from '../http/send.ts'
import { createDrainableServer } from '../http/server.ts'
import type { DrainableServer } from '../http/server.ts'
import type { UpgradeHandler } from '../http/websocket.ts'
import type { Environment, ResourceMap } from '../lifecycle/resource.ts'
import type { StartedResources } from '../lifecycle/start.ts'
import type { Logger } from '../log/logger.ts'
import { addLogMetrics } from '../log/metrics.ts'
import { readMeshSettings } from '../mesh/settings.ts'
import { createAdminListener, createAdminRest } from './admin.ts'
import type { Listener } from './admin.ts'
import type { Service } from './definition.ts'
import type { DrainHook } from './drain.ts'
import { createRefusalCounter, createRequestObserver } from './observe.ts'
import { guardListener } from './overload.ts'
import { limitListener } from './rate-limit.ts'
import type { Settings } from './settings.ts'
import { openServiceTelemetry } from './telemetry.ts'

/** What a running service is made of, beside its resources. */
export interface Parts<Uses extends ResourceMap> {
  readonly health: Health
  readonly metrics: Metrics
  readonly server: DrainableServer
  readonly admin:
    | { readonly server: DrainableServer; readonly port: number; readonly host?: string | undefined }
    | undefined
  /** The configuration in effect, for who looks into the process. Set once it has been read. */
  describeConfig: () => unknown
  /** Lets traffic in. */
  open(resources: StartedResources<Uses>, app: HostedApp | undefined): void
  /** What comes before readiness goes. */
  drainHooks(): Readonly<Record<string, DrainHook>>
  /** Turns readiness off, and ends what would otherwise go on until it is cut. */
  leave(): void
  /** Begins to send what telemetry there is, while the resources stop. */
  flush(): void
  /** Frees everything but the resources, and sends what telemetry is left. */
  release(): Promise<void>
}

export interface PartsOptions {
  readonly log: Logger
  readonly env: Environment
  readonly metrics: Metrics | undefined
}

/**
 * Creates the parts of a service. Until {@link Parts.open} it answers health and metrics, and 503 to all else.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING`, `FAIRLEAD_SERVICE_TLS`
 */
export async function openParts<Uses extends ResourceMap>(
  service: Service<Uses>,
  settings: Settings,
  { log, env, metrics: givenMetrics }: PartsOptions,
): Promise<Parts<Uses>> {
  const { definition, routes } = service
  const version = definition.version ?? settings.version
  const { environment } = settings
  const metrics = givenMetrics ?? createMetrics()
  const about = { name: service.name, version, environment }
  await using cleanup = new AsyncDisposableStack()
  let admin: Awaited<ReturnType<typeof createAdmin>> | undefined
  // The last to go: what happens on the way out can be seen there.
  cleanup.defer(() => admin?.end())
  const telemetry = await openServiceTelemetry(definition.telemetry, {
    ...about,
    env,
    log,
    metrics,
    flushTimeoutMs: settings.flushTimeoutMs,
  })
  cleanup.defer(() => telemetry.stop())
  const health = createHealth({ service: service.name, version, environment, log: log.named('health'), metrics })
  cleanup.defer(() => health.stop())
  cleanup.defer(watchProcess(log, metrics, givenMetrics === undefined))
  metrics.info('service_info', 'The service and its version.', {
    service: service.name,
    version: version ?? 'unknown',
  })

  let app: HostedApp | undefined
  let values: StartedResources<Uses>['values'] | undefined
  let upgrade: UpgradeHandler | undefined
  let handler: Listener = answerStarting
  const handle: Listener = (request, response) => handler(request, response)
  const adminPort = definition.admin?.port ?? settings.adminPort
  const server = createDrainableServer(
    adminPort === undefined ? createAdminListener(health, metrics, handle) : handle,
    {
      ...definition.limits,
      http2: definition.http2,
      tls: definition.tls,
      upgrade: definition.upgrade && ((request) => (upgrade ?? refuseStarting)(request)),
      onRefused: countRefusals(metrics),
    },
  )
  cleanup.defer(() => server.closeAll())
  cleanup.defer(addServerMetrics(metrics, server))
  const measure = addRequestMetrics(metrics)
  const observe = createRequestObserver(measure, log)
  const mesh = readMeshSettings(env, definition.mesh)
  const countRefused = createRefusalCounter(measure, routes.match)
  const guard = guardListener(definition.overload, { metrics, health, onRefused: countRefused })
  cleanup.defer(() => guard[Symbol.dispose]())
  const limit = limitListener(definition.rateLimit, countRefused)

  const parts: Parts<Uses> = {
    health,
    metrics,
    server,
    admin: undefined,
    describeConfig: () => undefined,
    open(resources, hosted) {
      app = hosted
      values = resources.values
      upgrade = definition.upgrade?.(resources.values)
      addChecks(health, definition, resources)
      // The resources are on the context by the time a request comes, which the handler's options cannot know.
      const { fetch, onError } = definition as Pick<HandlerOptions, 'fetch' | 'onError'>
      handler = limit(
        guard.protect(
          createHandler({
            match: routes.match,
            fetch,
            app,
            onError,
            uses: resources.values,
            log,
            bodyLimitBytes: definition.bodyLimitBytes,
            trace: telemetry.join,
            mesh,
            onServed(served) {
              observe(served)
              telemetry.onServed(served)
            },
          }),
        ),
      )
      health.state = 'ready'
    },
    drainHooks() {
      const hooks = Object.entries(definition.onDraining ?? {})
      return Object.fromEntries(
        hooks.map(([name, hook]) => [
          name,
          (signal: AbortSignal) => (values === undefined ? undefined : hook(values, signal)),
        ]),
      )
    },
    leave() {
      health.state = 'draining'
      app?.drain?.()
    },
    flush: () => telemetry.flush(),
    async release() {
      await ended.disposeAsync()
      health.state = 'stopped'
    },
  }
  if (adminPort !== undefined) admin = await createAdmin(parts, { port: adminPort, log, env })
  const ended = cleanup.move()
  return admin === undefined ? parts : Object.assign(parts, { admin: { ...admin, host: definition.admin?.host } })
}

async function createAdmin(
  parts: Parts<ResourceMap>,
  { port, log, env }: { readonly port: number; readonly log: Logger; readonly env: Environment },
): Promise<{ readonly server: DrainableServer; readonly port: number; readonly end: () => void }> {
  // Only with a port of its own: what looks into a process has no place beside its traffic.
  const { createDebug } = await import('../debug/endpoints.ts')
  const debug = createDebug({ log, token: env['DEBUG_TOKEN'], config: () => parts.describeConfig() ?? {} })
  const server = createDrainableServer(createAdminListener(parts.health, parts.metrics, createAdminRest(debug)))
  return {
    server,
    port,
    end() {
      debug.stop()
      server.closeAll()
    },
  }
}

function watchProcess(log: Logger, metrics: Metrics, isOwn: boolean): () => void {
  // A set that was given has what whoever gave it put there.
  const ends = [
    ...(isOwn ? [addRuntimeMetrics(metrics)] : []),
    addLogMetrics(metrics, log),
    watchLimits({ log: log.named('container'), metrics }),
  ]
  return () => {
    for (const end of ends) end()
  }
}

const answerStarting: Listener = (_request, response) => {
  const starting = new HttpError(503, 'The service is starting', { headers: { 'retry-after': '1' } })
  void send(response, problemReply(starting, undefined))
}

const refuseStarting: UpgradeHandler = (upgrade) => upgrade.refuse(503, 'The service is starting')

function countRefusals(metrics: Metrics): NonNullable<Parameters<typeof createDrainableServer>[1]>['onRefused'] {
  const refused = metrics.counter('http_requests_refused_total', {
    help: 'Requests and connections turned away before a handler saw them.',
    labels: ['reason'],
  })
  return ({ reason }) => refused.labels({ reason }).inc()
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
