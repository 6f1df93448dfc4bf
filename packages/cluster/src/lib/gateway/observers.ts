import type { Telemetry } from '@fairlead/service/otlp'
import { LineFile } from '../line-file.ts'
import type { Observers, Served, Tracing } from './plane/served.ts'

export interface ObserversOptions {
  /** Gets a line of JSON per request. Default: nothing is written. */
  readonly accessLog?: string | undefined
  /** Variables of OpenTelemetry: with an endpoint for OTLP, spans are sent there. */
  readonly telemetry?: Readonly<Record<string, string | undefined>> | undefined
  readonly onError?: ((error: unknown) => void) | undefined
}

export interface OpenObservers extends Observers {
  close(): Promise<void>
}

/** What cannot be opened is told of, and requests are served without it. */
export async function openObservers(options: ObserversOptions): Promise<OpenObservers> {
  const file = openFile(options)
  const spans = await openSpans(options)
  return {
    tracing: spans?.tracing,
    ...(file === undefined && spans === undefined
      ? {}
      : {
          onServed(served: Served) {
            file?.append(renderLine(served, new Date()))
            spans?.record(served)
          },
        }),
    async close() {
      file?.close()
      await spans?.close()
    },
  }
}

function openFile({ accessLog, onError }: ObserversOptions): LineFile | undefined {
  if (accessLog === undefined) return undefined
  try {
    return new LineFile({ path: accessLog, onError: onError ?? (() => {}) })
  } catch (error) {
    onError?.(error)
    return undefined
  }
}

interface Spans {
  readonly tracing: Tracing
  record(served: Served): void
  close(): Promise<void>
}

async function openSpans({ telemetry: env, onError }: ObserversOptions): Promise<Spans | undefined> {
  if (env === undefined || !sendsTraces(env)) return undefined
  try {
    const { startTelemetry } = await import('@fairlead/service/otlp')
    // The name is that of whoever started the cluster.
    const telemetry = startTelemetry({ env: { ...env, OTEL_SERVICE_NAME: undefined }, name: 'fairlead-gateway' })
    return {
      tracing: {
        join: telemetry.join,
        inject(trace, headers) {
          const own: Record<string, string> = {}
          telemetry.tracer.propagation.inject(trace, own)
          Object.assign(headers, own)
        },
      },
      record: (served) => recordSpan(telemetry, served),
      close: () => telemetry.stop(),
    }
  } catch (error) {
    onError?.(error)
    return undefined
  }
}

function sendsTraces(env: Readonly<Record<string, string | undefined>>): boolean {
  const places = [env['OTEL_EXPORTER_OTLP_ENDPOINT'], env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']]
  return places.some((place) => place !== undefined && place !== '') || env['OTEL_TRACES_EXPORTER'] === 'otlp'
}

function recordSpan({ onServed }: Pick<Telemetry, 'onServed'>, { facts, route, status, durationMs }: Served): void {
  if (facts.trace === undefined) return
  onServed({
    method: facts.method,
    route: route === 'none' ? 'unmatched' : route,
    path: facts.path,
    // What the HTTP conventions and nginx call a client that went away.
    status: status === 0 ? 499 : status,
    durationMs,
    trace: facts.trace,
    headers: facts.headers,
    scheme: facts.scheme,
    protocolVersion: facts.version,
    remoteAddress: facts.source,
  })
}

/** One request as the access log has it. The query is left out: it may hold what is secret. */
function renderLine({ facts, route, cluster, endpoint, status, durationMs }: Served, now: Date): object {
  return {
    time: now.toISOString(),
    source: facts.source,
    method: facts.method,
    scheme: facts.scheme,
    authority: facts.authority,
    path: facts.path,
    protocol: `HTTP/${facts.version}`,
    status,
    durationMs: Math.round(durationMs * 1000) / 1000,
    route,
    cluster: cluster?.key,
    endpoint: endpoint?.address,
    userAgent: facts.header('user-agent'),
    traceparent: facts.header('traceparent'),
    traceId: facts.trace?.traceId,
  }
}
