import type { IncomingHttpHeaders } from 'node:http'
import type { Environment } from '../lifecycle/resource.ts'
import type { Logger } from '../log/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { readLimits } from '../trace/limits.ts'
import { createPropagation, readPropagators } from '../trace/propagation.ts'
import { readSampler } from '../trace/sampler.ts'
import { recordServed } from '../trace/server-span.ts'
import type { ServedSpanSource } from '../trace/server-span.ts'
import type { SpanRecord, SpanSink } from '../trace/span.ts'
import { installTracer, SpanTracer } from '../trace/tracer.ts'
import type { Tracer } from '../trace/tracer.ts'
import type { TraceContext } from '../trace/traceparent.ts'
import { createMetricExporter, readMetricExportSettings } from './metric-exporter.ts'
import { detectResource } from './resource.ts'
import { readOtlpTarget } from './settings.ts'
import { createSpanExporter, readBatchSettings } from './span-exporter.ts'
import type { ResourceAttributes } from './spans.ts'

export interface TelemetryOptions {
  /** Default `process.env`. */
  readonly env?: Environment | undefined
  /** `service.name`; OTEL_SERVICE_NAME wins. */
  readonly name?: string | undefined
  readonly version?: string | undefined
  /** `deployment.environment.name`. */
  readonly environment?: string | undefined
  /** Resource attributes beside those that are found; they win. */
  readonly resource?: Readonly<Record<string, string | number | boolean>> | undefined
  readonly log?: Logger | undefined
  /** Where what was sent and dropped is counted, and what OTLP sends when OTEL_EXPORTER_OTLP_ENDPOINT is set. */
  readonly metrics?: Metrics | undefined
  /** Sees every recorded span when it ends, beside the exporter: for tests. */
  readonly onSpan?: ((span: SpanRecord) => void) | undefined
}

/** Traces of a service, and its metrics over OTLP. */
export interface Telemetry {
  readonly tracer: Tracer
  readonly resource: ResourceAttributes
  /** Joins the trace that a request's headers tell of, or begins one: the `trace` of a handler. */
  readonly join: (headers: IncomingHttpHeaders) => TraceContext
  /** Records the span of a request that is over: an `onServed` of a handler. */
  readonly onServed: (served: ServedSpanSource) => void
  /** Sends what there is; resolves after `timeoutMs` (default 2000) at the latest. */
  flush(timeoutMs?: number): Promise<void>
  /** Flushes and ends. Later requests are still joined, their spans are dropped. */
  stop(timeoutMs?: number): Promise<void>
}

/**
 * Starts traces, and metrics over OTLP, from the environment: without OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_TRACES_EXPORTER=otlp)
 * requests are joined and handed on, and nothing is recorded. Opens no connection before there is something to send.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING`, `FAIRLEAD_SERVICE_OTLP_CERTIFICATE`
 */
export function startTelemetry(options: TelemetryOptions = {}): Telemetry {
  const env = options.env ?? process.env
  const { log, metrics } = options
  const resource = detectResource(env, { ...options, attributes: options.resource })
  const targets = { traces: readOtlpTarget(env, 'traces'), metrics: readOtlpTarget(env, 'metrics') }
  const [batch, metricSettings] = [readBatchSettings(env), readMetricExportSettings(env)]
  const tracing = {
    sampler: readSampler(env),
    limits: readLimits(env),
    propagation: createPropagation(readPropagators(env)),
  }
  // Everything has been read: from here on nothing throws.
  const spans = targets.traces && createSpanExporter({ target: targets.traces, resource, batch, log, metrics })
  const points =
    targets.metrics &&
    metrics &&
    createMetricExporter({ target: targets.metrics, resource, metrics, log, ...metricSettings })
  const tracer = new SpanTracer({ ...tracing, sink: joinSinks(spans, options.onSpan) })
  const uninstall = installTracer(tracer)

  return {
    tracer,
    resource,
    join: (headers) => tracer.join(headers),
    onServed: (served) => recordServed(tracer, served),
    async flush(timeoutMs) {
      await Promise.all([spans?.flush(timeoutMs), points?.flush(timeoutMs)])
    },
    async stop(timeoutMs) {
      uninstall()
      await Promise.all([spans?.stop(timeoutMs), points?.stop(timeoutMs)])
    },
  }
}

function joinSinks(exporter: SpanSink | undefined, onSpan: TelemetryOptions['onSpan']): SpanSink | undefined {
  if (onSpan === undefined) return exporter
  return {
    add(span) {
      exporter?.add(span)
      onSpan(span)
    },
  }
}
