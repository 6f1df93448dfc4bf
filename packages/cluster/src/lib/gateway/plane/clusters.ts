import { chooseEndpoint, createEndpointState } from './balance.ts'
import type { Candidate, EndpointState } from './balance.ts'
import type { Cluster } from '../model.ts'
import { openUpstream, upstreamKey } from './open-upstream.ts'
import type { Upstream } from './upstream.ts'

/** A cluster in use. */
export interface LiveCluster {
  readonly cluster: Cluster
  readonly candidates: readonly Candidate[]
  readonly load: ClusterLoad
}

/** Kept by the cluster's key over changes of its endpoints. */
export interface ClusterLoad {
  active: number
  turn: number
}

/** All clusters of the routing in force, and the connections to their endpoints. */
export interface Clusters {
  get(key: string): LiveCluster | undefined
  /** The same as it is now, whatever is applied later. */
  freeze(): (key: string) => LiveCluster | undefined
  /** Takes over a new set: endpoints that stay keep their connections, those that went end their requests first. */
  apply(clusters: ReadonlyMap<string, Cluster>): void
  connectionsTo(candidate: Candidate, cluster: Cluster): Upstream
  close(): Promise<void>
}

export function createClusters(): Clusters {
  const states = new Map<string, EndpointState>()
  const upstreams = new Map<string, Upstream>()
  const loads = new Map<string, ClusterLoad>()
  const closing = new Set<Upstream>()
  let live = new Map<string, LiveCluster>()

  function liven(cluster: Cluster): LiveCluster {
    const load = loads.get(cluster.key) ?? { active: 0, turn: 0 }
    loads.set(cluster.key, load)
    const candidates = cluster.endpoints.map((endpoint) => {
      const state = states.get(endpoint.address) ?? createEndpointState()
      states.set(endpoint.address, state)
      return { endpoint, state }
    })
    return { cluster, candidates, load }
  }

  function retire(upstream: Upstream): void {
    closing.add(upstream)
    void upstream.close().finally(() => closing.delete(upstream))
  }

  return {
    get: (key) => live.get(key),
    freeze() {
      const now = live
      return (key) => now.get(key)
    },
    apply(clusters) {
      live = new Map([...clusters].map(([key, cluster]) => [key, liven(cluster)]))
      const used = new Set<string>()
      const addresses = new Set<string>()
      for (const { cluster, candidates } of live.values()) {
        for (const { endpoint } of candidates) {
          addresses.add(endpoint.address)
          used.add(upstreamKey(endpoint.address, cluster))
        }
      }
      // A request that was on its way here meanwhile opens its own, which the next change closes.
      for (const [key, upstream] of upstreams) {
        if (used.has(key)) continue
        upstreams.delete(key)
        retire(upstream)
      }
      for (const address of states.keys()) if (!addresses.has(address)) states.delete(address)
      for (const key of loads.keys()) if (!live.has(key)) loads.delete(key)
    },
    connectionsTo({ endpoint }, cluster) {
      const key = upstreamKey(endpoint.address, cluster)
      const known = upstreams.get(key)
      if (known !== undefined) return known
      const opened = openUpstream(endpoint, cluster)
      upstreams.set(key, opened)
      return opened
    },
    async close() {
      for (const upstream of [...upstreams.values(), ...closing]) upstream.destroy()
      upstreams.clear()
      await Promise.allSettled([...closing].map((upstream) => upstream.close()))
    },
  }
}

/** The next endpoint of a cluster that may be reached, another than those tried. */
export function nextCandidate(
  live: LiveCluster,
  options: {
    hash: string | undefined
    tried: ReadonlySet<Candidate> | undefined
    random: () => number
    permits: ((ip: string, port: number) => boolean) | undefined
  },
): Candidate | undefined {
  const { cluster, candidates, load } = live
  const { balance } = cluster.policy
  const { permits } = options
  const reachable =
    permits === undefined ? candidates : candidates.filter(({ endpoint: { ip, port } }) => permits(ip, port))
  return chooseEndpoint(reachable, { ...options, balance, turn: load.turn++, now: Date.now() })
}
