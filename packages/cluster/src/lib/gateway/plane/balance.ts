import { createHash } from 'node:crypto'
import type { Balance, Cluster, Endpoint, OutlierPolicy } from '../model.ts'

/** What is known of an endpoint from the requests it got; kept over changes of the routing. */
export interface EndpointState {
  active: number
  failures5xx: number
  failuresGateway: number
  ejections: number
  ejectedUntil: number
}

export function createEndpointState(): EndpointState {
  return { active: 0, failures5xx: 0, failuresGateway: 0, ejections: 0, ejectedUntil: 0 }
}

/** An endpoint a request may go to, with its state. */
export interface Candidate {
  readonly endpoint: Endpoint
  readonly state: EndpointState
}

/** A number in [0, 1); `Math.random` but in tests. */
export type Random = () => number

const golden = (Math.sqrt(5) - 1) / 2

/**
 * Chooses among weights so that the shares hold closely even over few requests: steps of the golden ratio fill [0, 1) evenly, and, unlike
 * a rota, fall evenly on every n-th request too, so that clients that alternate are not each bound to one target.
 */
export function createWeightedChoice(
  weights: readonly number[],
  random: Random = Math.random,
): () => number | undefined {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  let at = random()
  return () => {
    if (total <= 0) return undefined
    at = (at + golden) % 1
    let point = at * total
    const index = weights.findIndex((weight) => (point -= weight) < 0)
    return index === -1 ? weights.findLastIndex((weight) => weight > 0) : index
  }
}

/** The endpoint for a request, tried ones last; `hash` is what sticky clients are told apart by. */
export function chooseEndpoint(
  candidates: readonly Candidate[],
  options: {
    balance: Balance
    turn: number
    now: number
    random: Random
    hash?: string | undefined
    tried?: ReadonlySet<Candidate> | undefined
  },
): Candidate | undefined {
  const fresh = options.tried === undefined ? candidates : candidates.filter((one) => options.tried?.has(one) !== true)
  const pool = fresh.length > 0 ? fresh : candidates
  const healthy = pool.some(({ state }) => state.ejectedUntil > options.now)
    ? pool.filter(({ state }) => state.ejectedUntil <= options.now)
    : pool
  // All of them failed: better one of those than none (Envoy's panic mode).
  const usable = healthy.length > 0 ? healthy : pool
  if (usable.length <= 1) return usable[0]
  const { balance, random } = options
  if (balance.kind === 'round-robin') return usable[options.turn % usable.length]
  if (balance.kind === 'hash' && options.hash !== undefined) return byHash(usable, options.hash)
  const first = usable[Math.floor(random() * usable.length)]
  if (balance.kind !== 'least-request') return first
  // Power of two choices, as Envoy does it: nearly as good as the least loaded of all, without looking at all.
  const other = usable[Math.floor(random() * (usable.length - 1))]
  const second = other === first ? usable.at(-1) : other
  return (second?.state.active ?? Infinity) < (first?.state.active ?? 0) ? second : first
}

/** Rendezvous hashing: when an endpoint goes, only its own clients move. */
function byHash(candidates: readonly Candidate[], key: string): Candidate | undefined {
  let best: Candidate | undefined
  let highest = -1
  for (const candidate of candidates) {
    const score = createHash('sha1').update(`${key}\0${candidate.endpoint.address}`).digest().readUInt32BE()
    if (score > highest) [best, highest] = [candidate, score]
  }
  return best
}

/** Counts an answer (or `undefined`: none came) and takes the endpoint out for a while when too many in a row were bad. */
export function countOutcome(
  state: EndpointState,
  status: number | undefined,
  options: { cluster: Cluster; others: readonly Candidate[]; now: number },
): void {
  const policy = options.cluster.policy.outliers
  if (policy === undefined) return
  const isGateway = status === undefined || (status >= 502 && status <= 504)
  state.failuresGateway = isGateway ? state.failuresGateway + 1 : 0
  state.failures5xx = isGateway || (status !== undefined && status >= 500) ? state.failures5xx + 1 : 0
  const isBad =
    (policy.consecutive5xx > 0 && state.failures5xx >= policy.consecutive5xx) ||
    (policy.consecutiveGatewayErrors > 0 && state.failuresGateway >= policy.consecutiveGatewayErrors)
  if (!isBad || state.ejectedUntil > options.now || !mayEject(policy, options.others, options.now)) return
  state.ejections++
  state.failures5xx = state.failuresGateway = 0
  // As Envoy: longer each time.
  state.ejectedUntil = options.now + policy.ejectionMs * state.ejections
}

function mayEject(policy: OutlierPolicy, all: readonly Candidate[], now: number): boolean {
  const ejected = all.filter(({ state }) => state.ejectedUntil > now).length
  return ejected === 0 ? policy.maxEjectionPercent > 0 : ((ejected + 1) * 100) / all.length <= policy.maxEjectionPercent
}
