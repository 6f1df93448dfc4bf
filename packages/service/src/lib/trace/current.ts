import { AsyncLocalStorage } from 'node:async_hooks'
import type { IncomingHttpHeaders } from 'node:http'
import { renderTraceparent } from './traceparent.ts'
import type { TraceContext } from './traceparent.ts'

/** What ties work to the request it is done for. */
export interface RequestScope {
  readonly requestId: string
  readonly trace: TraceContext
  /** Headers of the request as node has them, for whoever computes more from them: baggage, mesh headers, a deadline. */
  readonly incoming?: IncomingHttpHeaders | undefined
  /** When the request began, on the clock of `performance.now()`. */
  readonly startedAt?: number | undefined
  /** Belongs to the tracer: the span of this request, once somebody has asked for it. */
  span?: unknown
}

const storage = new AsyncLocalStorage<RequestScope>()

/** Runs `work`, and everything it starts, on behalf of a request. */
export function runInScope<T>(scope: RequestScope, work: () => T): T {
  return storage.run(scope, work)
}

/** The request this code is running for, if any. */
export function currentScope(): RequestScope | undefined {
  return storage.getStore()
}

/** Headers that make an outgoing call part of the current request's trace. Empty outside of a request. */
export function propagationHeaders(): Record<string, string> {
  const scope = storage.getStore()
  if (scope === undefined) return {}
  const headers: Record<string, string> = {
    traceparent: renderTraceparent(scope.trace),
    'x-request-id': scope.requestId,
  }
  if (scope.trace.state !== undefined) headers['tracestate'] = scope.trace.state
  return headers
}
