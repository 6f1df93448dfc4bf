import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { TracerProvider } from '@opentelemetry/api'
import type { IncomingHttpHeaders } from 'node:http'
import { runOutOfScope } from '../trace/current.ts'
import type { ServedSpanSource } from '../trace/server-span.ts'
import { describeServed } from '../trace/server-span.ts'
import type { TraceContext } from '../trace/traceparent.ts'
import { adoptedSpan, adoptSpan } from './context.ts'
import { fromSpanContext } from './span-context.ts'

/** What a handler needs of a tracer: its `trace` and an `onServed`. */
export interface SdkTracing {
  readonly join: (headers: IncomingHttpHeaders) => TraceContext
  readonly onServed: (served: ServedSpanSource) => void
}

/**
 * Server spans by the OpenTelemetry SDK in place of ours: its samplers, processors and exporters do the rest. Register the same
 * provider with `registerOpenTelemetry({ tracerProvider })`. Costs what the SDK costs, for each request.
 */
export function sdkTracing(provider: TracerProvider): SdkTracing {
  const tracer = provider.getTracer('fairlead')
  return {
    join(headers) {
      // Who asks for the current trace while it is being joined would join it again.
      return runOutOfScope(() => {
        const parent = propagation.extract(ROOT_CONTEXT, headers)
        const span = tracer.startSpan('HTTP', { kind: SpanKind.SERVER }, parent)
        const own = { ...fromSpanContext(span.spanContext()), parentSpanId: trace.getSpanContext(parent)?.spanId }
        adoptSpan(own, span)
        return own
      })
    },
    onServed(served) {
      const span = adoptedSpan(served.trace)
      if (span?.isRecording() !== true) return
      const { name, attributes, isFailure } = describeServed(served)
      // An exporter that calls out must not do so on behalf of the request.
      context.with(ROOT_CONTEXT, () => {
        span.updateName(name).setAttributes(attributes)
        if (served.error instanceof Error) span.recordException(served.error)
        if (isFailure) span.setStatus({ code: SpanStatusCode.ERROR })
        span.end()
      })
    },
  }
}
