import type { IncomingHttpHeaders } from 'node:http'
import type { TraceContext } from '@fairlead/service/trace'
import type { IncomingFacts } from './incoming.ts'
import type { GatewayMetrics, Outcome } from './metrics.ts'
import type { HeaderMap } from './upstream.ts'

/** A request that is over. */
export interface Served extends Outcome {
  readonly facts: IncomingFacts
}

/** Traces that requests are parts of. */
export interface Tracing {
  /** The part of this gateway in the trace that headers tell of. */
  join(headers: IncomingHttpHeaders): TraceContext
  /** Tells an endpoint of it. */
  inject(trace: TraceContext, headers: HeaderMap): void
}

/** Who is told of requests besides the metrics. */
export interface Observers {
  /** Absent: what clients tell of their traces is passed on as it is. */
  readonly tracing?: Tracing | undefined
  readonly onServed?: ((served: Served) => void) | undefined
}

/** To be called once per request, when it is over. */
export function noteServed(
  { metrics, observers }: { readonly metrics: GatewayMetrics; readonly observers?: Observers | undefined },
  served: Served,
): void {
  metrics.count(served)
  observers?.onServed?.(served)
}
