import type { HandlerOptions } from '../http/handler.ts'
import type { ServedRequest } from '../http/exchange.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { TelemetryOptions } from '../otlp/telemetry.ts'

/** How a service takes part in traces. Where they go is said by the OTEL_* variables. */
export interface ServiceTelemetry extends Pick<TelemetryOptions, 'resource' | 'onSpan'> {
  /** Whether calls by `fetch`, undici and node:http get spans, metrics and the headers of the request. Default true. */
  readonly clients?: boolean | undefined
  /**
   * `registerOpenTelemetry` of `@fairlead/service/otel`: libraries that are instrumented with `@opentelemetry/api` become
   * part of the traces and metrics. Called with the service's metrics; what it returns is called at the end.
   */
  readonly api?: ((options: { readonly metrics: Metrics }) => () => void) | undefined
  /** `sdkTracing(provider)` of `@fairlead/service/otel`: the OpenTelemetry SDK makes the server spans. */
  readonly tracing?:
    | {
        readonly join: NonNullable<HandlerOptions['trace']>
        readonly onServed: (served: ServedRequest) => void
      }
    | undefined
}

/** What the handler and the end of a service need of it. */
interface OpenTelemetry {
  readonly join: NonNullable<HandlerOptions['trace']>
  readonly onServed: (served: ServedRequest) => void
  /** Begins to send what there is. `stop` waits for no longer than what is left of the time then. */
  flush(): void
  stop(): Promise<void>
}

/**
 * Starts traces, OTLP and what watches outgoing calls.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING`, `FAIRLEAD_SERVICE_OTLP_CERTIFICATE`, `FAIRLEAD_SERVICE_OTEL_TAKEN`
 */
export async function openServiceTelemetry(
  given: ServiceTelemetry = {},
  about: TelemetryOptions & { readonly metrics: Metrics; readonly flushTimeoutMs: number },
): Promise<OpenTelemetry> {
  // Not before a service starts: a program that only imports the package needs none of it.
  const [{ startTelemetry }, { instrumentClients }] = await Promise.all([
    import('../otlp/telemetry.ts'),
    import('../trace/instrument.ts'),
  ])
  const { clients = true, api, tracing, ...options } = given
  const telemetry = startTelemetry({ ...about, log: about.log?.named('telemetry'), ...options })
  const ends: (() => void)[] = []
  let giveUpAt: number | undefined
  try {
    if (api !== undefined) ends.push(api({ metrics: about.metrics }))
  } catch (error) {
    await telemetry.stop(0)
    throw error
  }
  if (clients) ends.push(instrumentClients({ metrics: about.metrics, tracer: telemetry.tracer }))
  return {
    join: tracing?.join ?? telemetry.join,
    onServed: tracing?.onServed ?? telemetry.onServed,
    flush() {
      giveUpAt = performance.now() + about.flushTimeoutMs
      void telemetry.flush(about.flushTimeoutMs)
    },
    async stop() {
      try {
        for (const end of ends) end()
      } finally {
        await telemetry.stop(giveUpAt === undefined ? about.flushTimeoutMs : Math.max(0, giveUpAt - performance.now()))
      }
    },
  }
}
