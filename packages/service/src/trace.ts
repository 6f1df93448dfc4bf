/**
 * Traces: joins the caller's trace, times parts of a request, and hands the trace on to outgoing calls.
 *
 * ```ts
 * import { createTracer, propagationHeaders, runInScope, span } from '@fairlead/service/trace'
 *
 * const tracer = createTracer({ sink: { add: ({ name, startMs, endMs }) => console.log(name, endMs - startMs) } })
 * const trace = tracer.join({ traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' })
 * runInScope({ requestId: 'r-1', trace }, () => {
 *   span('price', { sku: 'mug-01' }, () => console.log(propagationHeaders()))
 * })
 * ```
 */
export { parseBaggage, renderBaggage } from './lib/trace/baggage.ts'
export type { Baggage, BaggageEntry } from './lib/trace/baggage.ts'
export { instrumentClients } from './lib/trace/instrument.ts'
export type { ClientInstrumentationOptions } from './lib/trace/instrument.ts'
export { currentBaggage, currentScope, propagationHeaders, runInScope, withBaggage } from './lib/trace/current.ts'
export type { RequestScope } from './lib/trace/current.ts'
export type { SpanLimits } from './lib/trace/limits.ts'
export { createPropagation, readPropagators } from './lib/trace/propagation.ts'
export type { Propagation, PropagatorName } from './lib/trace/propagation.ts'
export { createSampler, readSampler } from './lib/trace/sampler.ts'
export type { Sampler, SamplerName } from './lib/trace/sampler.ts'
export type {
  AttributeList,
  Attributes,
  AttributeValue,
  InstrumentationScope,
  Span,
  SpanEvent,
  SpanKindName,
  SpanLink,
  SpanRecord,
  SpanSink,
} from './lib/trace/span.ts'
export type { ServedSpanSource } from './lib/trace/server-span.ts'
export { createTracer, currentSpan, installTracer, span } from './lib/trace/tracer.ts'
export type { SpanOptions, Tracer, TracerOptions } from './lib/trace/tracer.ts'
export { joinTrace, parseTraceparent, renderTraceparent } from './lib/trace/traceparent.ts'
export type { RemoteParent, TraceContext } from './lib/trace/traceparent.ts'
