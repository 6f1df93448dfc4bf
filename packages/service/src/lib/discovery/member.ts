import { urlOf } from './endpoint.ts'
import type { Endpoint } from './endpoint.ts'

/** An endpoint with what the balancer has seen of it. Times are of the balancer's clock, in milliseconds. */
export class Member {
  endpoint: Endpoint
  readonly url: string
  readonly base: URL
  weight: number
  /** Calls under way. */
  pending = 0
  picks = 0
  /** Peak-sensitive moving average of the time to an answer; 0 before the first. */
  latencyMs = 0
  /** Moving share of failures, 0 to 1. */
  faults = 0
  seenAt: number
  /** Between these its share of the calls grows. */
  rampFrom: number
  rampUntil: number
  consecutiveFailures = 0
  consecutiveGatewayFailures = 0
  /** Of the present interval. */
  successes = 0
  failures = 0
  ejectedUntil = 0
  /** Ejections so far, less one for each interval without. */
  ejections = 0

  constructor(endpoint: Endpoint, now: number, rampMs: number) {
    this.endpoint = endpoint
    this.url = urlOf(endpoint)
    this.base = new URL(this.url)
    this.weight = endpoint.weight ?? 1
    this.seenAt = now
    this.rampFrom = now
    this.rampUntil = now + rampMs
  }
}
