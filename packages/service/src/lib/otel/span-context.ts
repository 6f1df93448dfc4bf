import type { SpanContext } from '@opentelemetry/api'
import { createTraceState } from '../trace/state.ts'
import type { TraceContext } from '../trace/traceparent.ts'

export function toSpanContext({ traceId, spanId, isSampled, isRandom, state }: TraceContext): SpanContext {
  const traceFlags = (isSampled ? 1 : 0) | (isRandom ? 2 : 0)
  return { traceId, spanId, traceFlags, ...(state === undefined ? {} : { traceState: createTraceState(state) }) }
}

export function fromSpanContext({ traceId, spanId, traceFlags, traceState }: SpanContext): TraceContext {
  return {
    traceId,
    spanId,
    isSampled: (traceFlags & 1) === 1,
    ...(traceFlags & 2 ? { isRandom: true } : {}),
    ...(traceState ? { state: traceState.serialize() } : {}),
  }
}
