import { context, metrics as metricsApi, propagation, trace } from '@opentelemetry/api'
import type { TracerProvider } from '@opentelemetry/api'
import type { Metrics } from '../metrics/metrics.ts'
import { createPropagation } from '../trace/propagation.ts'
import { currentTracer, SpanTracer } from '../trace/tracer.ts'
import type { Tracer } from '../trace/tracer.ts'
import { ScopeContextManager } from './context.ts'
import { openTelemetryTaken } from './errors.ts'
import { BridgeMeterProvider } from './metering.ts'
import { BridgePropagator, BridgeTracerProvider } from './tracing.ts'

export interface OpenTelemetryOptions {
  /** Where spans go that are made with the API. Default: the tracer of the current request, else of the running service. */
  readonly tracer?: Tracer | undefined
  /** Makes the spans in place of ours: a provider of the OpenTelemetry SDK. See {@link sdkTracing}. */
  readonly tracerProvider?: TracerProvider | undefined
  /** Where metrics go that are made with the API. Default: nowhere, the API's meters do nothing then. */
  readonly metrics?: Metrics | undefined
}

/**
 * Makes this package the implementation behind `@opentelemetry/api`: spans, context, propagation and metrics of any library
 * that is instrumented with it become part of the service's. Returns what ends it; then the API does nothing again, for code
 * that asks it anew.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_OTEL_TAKEN` when another implementation is registered already.
 */
export function registerOpenTelemetry(options: OpenTelemetryOptions = {}): () => void {
  const given = options.tracer instanceof SpanTracer ? options.tracer : undefined
  const current = (): SpanTracer | undefined => given ?? currentTracer()
  const standard = createPropagation(['tracecontext', 'baggage'])
  const undo: (() => void)[] = []
  const register = (what: string, isDone: boolean, remove: () => void): void => {
    if (isDone) {
      undo.push(remove)
      return
    }
    for (const end of undo) end()
    throw openTelemetryTaken(what)
  }

  const provider = options.tracerProvider ?? new BridgeTracerProvider(current)
  register('TracerProvider', trace.setGlobalTracerProvider(provider), () => trace.disable())
  register('ContextManager', context.setGlobalContextManager(new ScopeContextManager()), () => context.disable())
  const propagator = new BridgePropagator(() => current()?.propagation ?? standard)
  register('propagator', propagation.setGlobalPropagator(propagator), () => propagation.disable())
  if (options.metrics) {
    const meters = new BridgeMeterProvider(options.metrics)
    register('MeterProvider', metricsApi.setGlobalMeterProvider(meters), () => {
      metricsApi.disable()
      meters.end()
    })
  }
  return () => {
    for (const end of undo.splice(0)) end()
  }
}
