import type { CorsPolicy } from '../model.ts'
import { compileString } from './match.ts'
import type { RequestFacts } from './match.ts'

/** The headers CORS adds to an answer; undefined when the request's origin is none of those that may read it. */
export function corsHeaders(policy: CorsPolicy | undefined, request: RequestFacts): Record<string, string> | undefined {
  const origin = policy === undefined ? undefined : request.header('origin')
  if (policy === undefined || origin === undefined) return undefined
  if (!testsOf(policy).some((test) => test(origin))) return undefined
  return {
    'access-control-allow-origin': origin,
    ...(policy.hasCredentials ? { 'access-control-allow-credentials': 'true' } : {}),
    ...(policy.exposed.length > 0 ? { 'access-control-expose-headers': policy.exposed.join(',') } : {}),
  }
}

const tests = new WeakMap<CorsPolicy, ((origin: string) => boolean)[]>()

/** Compiled once for all requests. */
function testsOf(policy: CorsPolicy): ((origin: string) => boolean)[] {
  const known =
    tests.get(policy) ??
    policy.origins.map((match) => (match.kind === 'exact' && match.value === '*' ? () => true : compileString(match)))
  tests.set(policy, known)
  return known
}

/** The question a browser asks before some requests. */
export function isPreflight(request: RequestFacts): boolean {
  return request.method === 'OPTIONS' && request.header('access-control-request-method') !== undefined
}

export function preflightHeaders(policy: CorsPolicy): Record<string, string> {
  return {
    ...(policy.methods.length > 0 ? { 'access-control-allow-methods': policy.methods.join(',') } : {}),
    ...(policy.headers.length > 0 ? { 'access-control-allow-headers': policy.headers.join(',') } : {}),
    ...(policy.maxAgeSeconds === undefined ? {} : { 'access-control-max-age': String(policy.maxAgeSeconds) }),
  }
}
