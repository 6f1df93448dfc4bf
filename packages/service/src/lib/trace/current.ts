import { AsyncLocalStorage } from 'node:async_hooks'
import { renderTraceparent } from './traceparent.ts'
import type { TraceContext } from './traceparent.ts'

/** What ties work to the request it is done for. */
export interface RequestScope {
  readonly requestId: string
  readonly trace: TraceContext
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
