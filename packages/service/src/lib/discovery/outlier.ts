import type { Member } from './member.ts'

/** When an endpoint is set aside; the rules and names of Envoy's outlier detection. */
export interface OutlierOptions {
  /** Failures in a row: answers 5xx or none. Default 5; 0 for never. */
  readonly consecutiveFailures?: number | undefined
  /** Gateway failures in a row: answers 502, 503, 504 or none. Default 5; 0 for never. */
  readonly consecutiveGatewayFailures?: number | undefined
  /** How often success rates are compared, and endpoints without a new ejection are forgiven one. Default 10,000. */
  readonly intervalMs?: number | undefined
  /** First ejection; the second lasts twice as long, and so on. Default 30,000. */
  readonly baseEjectionMs?: number | undefined
  /** Default 300,000. */
  readonly maxEjectionMs?: number | undefined
  /** Of all endpoints; one may always be ejected. Default 50. */
  readonly maxEjectionPercent?: number | undefined
  /** Calls within an interval that make an endpoint's success rate count. Default 100. */
  readonly successRateRequests?: number | undefined
  /** Endpoints with so many calls that make a comparison. Default 5. */
  readonly successRateHosts?: number | undefined
  /** Standard deviations below the mean at which an endpoint is ejected. Default 1.9; 0 for never. */
  readonly successRateFactor?: number | undefined
}

export type OutlierRules = Required<{ [Key in keyof OutlierOptions]: number }>

export const outlierDefaults: OutlierRules = {
  consecutiveFailures: 5,
  consecutiveGatewayFailures: 5,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 50,
  successRateRequests: 100,
  successRateHosts: 5,
  successRateFactor: 1.9,
}

/** Whether so many failures in a row are too many. */
export function isOverConsecutive(member: Member, rules: OutlierRules): boolean {
  const { consecutiveFailures, consecutiveGatewayFailures } = rules
  return (
    (consecutiveFailures > 0 && member.consecutiveFailures >= consecutiveFailures) ||
    (consecutiveGatewayFailures > 0 && member.consecutiveGatewayFailures >= consecutiveGatewayFailures)
  )
}

/** Whether one more may be ejected while `ejected` of `total` are. */
export function mayEject(ejected: number, total: number, rules: OutlierRules): boolean {
  return ejected === 0 || (ejected + 1) * 100 <= total * rules.maxEjectionPercent
}

/** How long the ejection number `count` lasts, 1 for the first. */
export function ejectionMs(count: number, { baseEjectionMs, maxEjectionMs }: OutlierRules): number {
  return Math.min(baseEjectionMs * count, Math.max(baseEjectionMs, maxEjectionMs))
}

/** Those whose share of successes in the interval is far below that of the others, worst first. */
export function findUnsuccessful(members: readonly Member[], rules: OutlierRules): Member[] {
  const { successRateRequests, successRateHosts, successRateFactor } = rules
  if (successRateFactor === 0) return []
  const rated = members
    .filter(({ successes, failures }) => successes + failures >= Math.max(1, successRateRequests))
    .map((member) => ({ member, rate: member.successes / (member.successes + member.failures) }))
  if (rated.length < Math.max(1, successRateHosts)) return []
  const mean = rated.reduce((sum, { rate }) => sum + rate, 0) / rated.length
  const variance = rated.reduce((sum, { rate }) => sum + (rate - mean) ** 2, 0) / rated.length
  const least = mean - successRateFactor * Math.sqrt(variance)
  return rated
    .filter(({ rate }) => rate < least)
    .toSorted((a, b) => a.rate - b.rate)
    .map(({ member }) => member)
}
