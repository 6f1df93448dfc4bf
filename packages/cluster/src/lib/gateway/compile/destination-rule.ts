import type { Balance, OutlierPolicy, TrafficPolicy } from '../model.ts'
import type { DestinationRule, IstioTrafficPolicy } from '../objects.ts'
import { parseDurationMs, parseLimitMs } from './duration.ts'
import { serviceOfHost } from './istio-host.ts'

/** The rule for a Service: of its own namespace before others, then the oldest. */
export function findDestinationRule(
  rules: readonly DestinationRule[],
  namespace: string,
  service: string,
): DestinationRule | undefined {
  const matching = rules.filter(({ metadata, spec }) => {
    const found = serviceOfHost(spec?.host ?? '', metadata?.namespace ?? '')
    return found?.namespace === namespace && found.service === service
  })
  return matching.find(({ metadata }) => metadata?.namespace === namespace) ?? matching[0]
}

/** How the cluster of a port and subset is used: settings of the subset before those of the port before those of the rule. */
export function policyOf(
  rule: DestinationRule | undefined,
  port: number,
  subset: string | undefined,
): { readonly policy: TrafficPolicy; readonly isH2: boolean; readonly tls: IstioTrafficPolicy['tls'] } {
  const whole = rule?.spec?.trafficPolicy
  const ofPort = whole?.portLevelSettings?.find((one) => one.port?.number === port)
  const ofSubset = rule?.spec?.subsets?.find(({ name }) => name === subset)?.trafficPolicy
  const layers = [ofSubset, ofPort, whole].filter((layer) => layer !== undefined)
  const pick = <K extends keyof IstioTrafficPolicy>(key: K): IstioTrafficPolicy[K] | undefined =>
    layers.find((layer) => layer[key] !== undefined)?.[key]
  const { tcp, http } = pick('connectionPool') ?? {}
  const policy: TrafficPolicy = {
    balance: balanceOf(pick('loadBalancer')),
    // Istio's is 10 s; an address of this machine answers at once or not at all.
    connectTimeoutMs: parseLimitMs(tcp?.connectTimeout) ?? 2_000,
    maxRequests: mostRequests(tcp?.maxConnections, http),
    maxConnections: tcp?.maxConnections,
    maxRequestsPerConnection: http?.maxRequestsPerConnection || undefined,
    idleTimeoutMs: parseLimitMs(http?.idleTimeout),
    outliers: outliersOf(pick('outlierDetection')),
  }
  return { policy, isH2: http?.h2UpgradePolicy === 'UPGRADE', tls: pick('tls') }
}

/** Requests on connections and those that wait for one (Envoy's circuit breakers, told as one number). */
function mostRequests(
  maxConnections: number | undefined,
  http: { http1MaxPendingRequests?: number; http2MaxRequests?: number } = {},
): number | undefined {
  const { http1MaxPendingRequests: pending, http2MaxRequests: most } = http
  const waiting = maxConnections === undefined || pending === undefined ? undefined : maxConnections + pending
  const limits = [waiting, most].filter((limit) => limit !== undefined && limit > 0)
  return limits.length === 0 ? undefined : Math.min(...(limits as number[]))
}

function balanceOf(settings: IstioTrafficPolicy['loadBalancer']): Balance {
  const hash = settings?.consistentHash
  if (hash?.httpHeaderName !== undefined) return { kind: 'hash', by: 'header', name: hash.httpHeaderName }
  if (hash?.httpQueryParameterName !== undefined)
    return { kind: 'hash', by: 'query', name: hash.httpQueryParameterName }
  if (hash?.useSourceIp === true) return { kind: 'hash', by: 'source', name: '' }
  if (hash?.httpCookie !== undefined) {
    const { name, ttl } = hash.httpCookie
    const ttlMs = parseDurationMs(ttl)
    return { kind: 'hash', by: 'cookie', name, ttlSeconds: ttlMs === undefined ? undefined : Math.round(ttlMs / 1000) }
  }
  if (settings?.simple === 'ROUND_ROBIN') return { kind: 'round-robin' }
  return { kind: settings?.simple === 'RANDOM' ? 'random' : 'least-request' }
}

/** Istio's defaults; `consecutiveErrors` is what older manifests call gateway errors. */
function outliersOf(settings: IstioTrafficPolicy['outlierDetection']): OutlierPolicy | undefined {
  if (settings === undefined) return undefined
  return {
    consecutive5xx: settings.consecutive5xxErrors ?? 5,
    consecutiveGatewayErrors: settings.consecutiveGatewayErrors ?? settings.consecutiveErrors ?? 0,
    ejectionMs: parseDurationMs(settings.baseEjectionTime) ?? 30_000,
    maxEjectionPercent: settings.maxEjectionPercent ?? 10,
  }
}
