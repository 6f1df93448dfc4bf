import type { ListenerConfig, Rule } from '../model.ts'
import type { Access } from './access.ts'
import { createWeightedChoice } from './balance.ts'
import type { Clusters, LiveCluster } from './clusters.ts'
import { createMatcher } from './match.ts'
import type { Found, RequestFacts } from './match.ts'
import type { GatewayMetrics } from './metrics.ts'
import type { Observers } from './served.ts'

/** What every request needs of its listener and the gateway. */
export interface ListenerState {
  readonly key: string
  /** The port clients see. */
  port: number
  readonly isMesh: boolean
  readonly scheme: 'http' | 'https'
  find(request: RequestFacts): Found | undefined
  chooseTarget: (rule: Rule) => number | undefined
  /** Of the cluster that takes connections of other protocols. */
  passthrough: string | undefined
  isClosing: boolean
  /** The cluster of a key; of the last routing that had the listener when it is closing. */
  cluster(key: string): LiveCluster | undefined
}

/** What every request needs of the gateway. */
export interface PlaneContext {
  readonly clusters: Clusters
  readonly metrics: GatewayMetrics
  readonly observers?: Observers | undefined
  readonly random: () => number
  /** How long a client may take to say what it wants. */
  readonly headTimeoutMs: number
  /** How long nothing may come of a client whose turn it is, and be said on a connection of HTTP/2. */
  readonly idleTimeoutMs: number
  /** Told of what should not have happened; the request it happened to was answered. */
  readonly onError?: ((error: unknown) => void) | undefined
  /** Absent: everybody may reach everything. */
  readonly access?: Access | undefined
}

/** The rules of a listener, ready; the share each target got so far begins anew. */
export function compileRules(
  config: ListenerConfig,
  random: () => number,
): Pick<ListenerState, 'find' | 'chooseTarget'> {
  const choices = new Map<Rule, () => number | undefined>()
  for (const rule of config.hosts.flatMap(({ rules }) => rules)) {
    if (rule.action.kind !== 'forward') continue
    const { targets } = rule.action
    const only = targets.length === 1 && (targets[0]?.weight ?? 0) > 0
    const weights = targets.map(({ weight }) => weight)
    choices.set(rule, only ? () => 0 : createWeightedChoice(weights, random))
  }
  return { find: createMatcher(config.hosts), chooseTarget: (rule) => choices.get(rule)?.() }
}
