import type { IncomingHttpHeaders } from 'node:http'

/** Header in which a proxy or a client of the kit says how many milliseconds the caller will wait. */
export const expectedTimeoutHeader = 'x-envoy-expected-rq-timeout-ms'

const msPerUnit: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000001 }

/**
 * How many milliseconds the caller of a request waits for its answer: the lesser of `x-envoy-expected-rq-timeout-ms`
 * and `grpc-timeout`. Undefined when it does not say; what cannot be read counts as not said.
 */
export function callerTimeoutMs(incoming: IncomingHttpHeaders): number | undefined {
  const envoy = parseWhole(incoming[expectedTimeoutHeader])
  const grpc = parseGrpcTimeout(incoming['grpc-timeout'])
  if (envoy === undefined) return grpc
  return grpc === undefined ? envoy : Math.min(envoy, grpc)
}

/** `100m`, `5S`: at most 8 digits and a unit (gRPC over HTTP2, Requests). */
export function parseGrpcTimeout(header: string | string[] | undefined): number | undefined {
  const match = typeof header === 'string' ? /^(\d{1,8})([HMSmun])$/.exec(header) : null
  return match === null ? undefined : Number(match[1]) * (msPerUnit[match[2] ?? ''] ?? 0)
}

function parseWhole(header: string | string[] | undefined): number | undefined {
  // Envoy writes 0 for "no limit".
  return typeof header === 'string' && /^[1-9]\d{0,9}$/.test(header) ? Number(header) : undefined
}
