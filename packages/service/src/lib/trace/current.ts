import { AsyncLocalStorage } from 'node:async_hooks'
import type { IncomingHttpHeaders } from 'node:http'
import { callerTimeoutMs, expectedTimeoutHeader } from '../mesh/deadline.ts'
import { meshHeaders } from '../mesh/headers.ts'
import type { MeshSettings } from '../mesh/settings.ts'
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
  /** What calls made for this request pass on, and whether a mesh retries them. */
  readonly mesh?: MeshSettings | undefined
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

/**
 * Headers that make an outgoing call part of the current request: its trace, its id, what a mesh or the business wants passed
 * on, and how long the caller still waits. Empty outside of a request.
 */
export function propagationHeaders(): Record<string, string> {
  const scope = storage.getStore()
  if (scope === undefined) return {}
  const { incoming, startedAt } = scope
  const headers = incoming === undefined ? {} : meshHeaders(incoming, scope.mesh)
  headers['traceparent'] = renderTraceparent(scope.trace)
  headers['x-request-id'] = scope.requestId
  if (scope.trace.state !== undefined) headers['tracestate'] = scope.trace.state
  const timeoutMs = incoming && callerTimeoutMs(incoming)
  if (timeoutMs !== undefined && startedAt !== undefined) {
    // 0 would mean no limit.
    const leftMs = Math.max(1, Math.floor(startedAt + timeoutMs - performance.now()))
    headers[expectedTimeoutHeader] = String(leftMs)
  }
  return headers
}
