import { currentScope } from '../trace/current.ts'
import { callerTimeoutMs } from './deadline.ts'

/**
 * When the caller of the current request stops waiting, on the clock of `performance.now()`. Undefined outside of a request and
 * when the caller did not say (`x-envoy-expected-rq-timeout-ms`, `grpc-timeout`). Work that ends later is done for nobody.
 */
export function currentDeadline(): number | undefined {
  const scope = currentScope()
  if (scope?.incoming === undefined || scope.startedAt === undefined) return undefined
  const timeoutMs = callerTimeoutMs(scope.incoming)
  return timeoutMs === undefined ? undefined : scope.startedAt + timeoutMs
}

/**
 * Whether a service mesh retries the calls made for the current request, so that retrying them here as well would multiply
 * them. Outside of a request only what `fallback` (default false) says.
 */
export function isMeshRetrying(fallback: boolean = false): boolean {
  const scope = currentScope()
  if (scope === undefined) return fallback
  const retries = scope.mesh?.retries
  if (typeof retries === 'boolean') return retries
  return fallback || scope.incoming?.['x-envoy-attempt-count'] !== undefined
}
