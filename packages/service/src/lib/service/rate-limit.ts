import type { IncomingMessage } from 'node:http'
import { isIPv6 } from 'node:net'
import { HttpError } from '../http/problem.ts'
import { problemReply } from '../http/problem-reply.ts'
import { send } from '../http/send.ts'
import { policyInvalid } from '../resilience/errors.ts'
import { createKeyedRateLimiter } from '../resilience/keyed-rate-limit.ts'
import type { KeyedRateLimitOptions } from '../resilience/keyed-rate-limit.ts'
import type { Listener } from './admin.ts'
import type { CountRefused } from './observe.ts'

export interface RequestRateLimit extends KeyedRateLimitOptions {
  /**
   * Whose requests count together. `address` (default): the peer of the connection. `{ forwardedHops: n }`: the address that the
   * n-th proxy from here saw, by `x-forwarded-for`. `{ header }`: its value, the address of who sends none. Or a function, whose
   * undefined is not limited. Addresses of IPv6 count by their /64, which is what one customer has.
   */
  readonly key?:
    | 'address'
    | { readonly header: string }
    | { readonly forwardedHops: number }
    | ((request: IncomingMessage) => string | undefined)
    | undefined
}

/**
 * Answers 429 to who asks more often than permitted, with Retry-After; every answer tells what is left by RateLimit and RateLimit-Policy
 * (draft-ietf-httpapi-ratelimit-headers-10). Stands in front of everything, so that who is refused costs as little as possible.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function limitListener(
  options: RequestRateLimit | undefined,
  onRefused: CountRefused,
): (next: Listener) => Listener {
  if (options === undefined) return (next) => next
  const limiter = createKeyedRateLimiter(options)
  const keyOf = createKeyReader(options.key ?? 'address')
  const policy = `"default";q=${limiter.limit};w=${Math.ceil(limiter.periodMs / 1000)}`
  return (next) => (request, response) => {
    const key = keyOf(request)
    if (key === undefined) {
      next(request, response)
      return
    }
    const { waitMs, remaining, resetMs } = limiter.take(key)
    response.setHeader('ratelimit-policy', policy)
    response.setHeader('ratelimit', `"default";r=${remaining};t=${seconds(resetMs)}`)
    if (waitMs === 0) {
      next(request, response)
      return
    }
    const headers = { 'retry-after': String(Math.max(1, seconds(waitMs))) }
    const refusal = new HttpError(429, 'There have been too many requests', { headers })
    void send(response, problemReply(refusal, undefined))
    onRefused(request, 429)
  }
}

type KeyReader = (request: IncomingMessage) => string | undefined

function createKeyReader(key: NonNullable<RequestRateLimit['key']>): KeyReader {
  if (typeof key === 'function') return key
  if (key === 'address') return peerOf
  if (typeof key === 'object' && 'forwardedHops' in key) {
    const { forwardedHops } = key
    if (!Number.isInteger(forwardedHops) || forwardedHops < 1)
      throw policyInvalid('a rate limit', 'key.forwardedHops', forwardedHops, 'a whole number from 1')
    return (request) => forwardedOf(request, forwardedHops)
  }
  if (typeof key !== 'object' || typeof key.header !== 'string')
    throw policyInvalid('a rate limit', 'key', key, 'address, { header }, { forwardedHops } or a function')
  const name = key.header.toLowerCase()
  return (request) => {
    const value = request.headers[name]
    // Otherwise leaving the header out would be the way around the limit.
    return typeof value === 'string' && value !== '' ? `=${value.slice(0, 256)}` : peerOf(request)
  }
}

/** What stands further left was written by callers, who write what they like. */
function forwardedOf(request: IncomingMessage, hops: number): string {
  const header = request.headers['x-forwarded-for']
  const addresses = typeof header === 'string' ? header.split(',') : []
  return networkOf(addresses.at(-hops)?.trim() || (request.socket.remoteAddress ?? ''))
}

function peerOf(request: IncomingMessage): string {
  return networkOf(request.socket.remoteAddress ?? '')
}

/** An address of IPv4 as it is, the /64 of one of IPv6. */
function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped?.[1] !== undefined) return mapped[1]
  if (!isIPv6(address)) return address.slice(0, 256)
  const [head = '', tail] = address.toLowerCase().split('::', 2)
  const groups = head === '' ? [] : head.split(':')
  const missing = tail === undefined ? 0 : Math.max(0, 8 - groups.length - tail.split(':').filter(Boolean).length)
  const whole = [...groups, ...Array.from({ length: missing }, () => '0'), ...(tail ?? '').split(':').filter(Boolean)]
  return `${whole.slice(0, 4).join(':')}::/64`
}

/** Whole seconds, rounded up but for the billionths by which a difference of fractions is off: 30 s are not 31. */
function seconds(ms: number): number {
  return Math.ceil(ms / 1000 - 1e-6)
}
