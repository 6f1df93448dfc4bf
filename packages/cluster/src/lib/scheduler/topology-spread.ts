import type { Pod, TopologySpreadConstraint } from '@fairlead/kube/types/core-v1'

import { hasUntoleratedTaint } from './filter.ts'
import type { NodeView } from './filter.ts'
import { matchesSelector } from '../label-selector.ts'
import { withKeys } from './label-keys.ts'
import { matchesRequired } from '../node-selector.ts'

/** How the pods of a constraint are spread now. */
export interface Spread {
  /** Why the pod cannot be on a node, in Kubernetes' words; empty when it can. */
  readonly rejectionsOf: (view: NodeView) => string[]
  /** How crowded the domains of a node are; 0 where nothing is asked for. */
  readonly crowdingOf: (view: NodeView) => number
}

const unbound: Spread = { rejectionsOf: () => [], crowdingOf: () => 0 }
const mismatch = "node(s) didn't match pod topology spread constraints"

interface Counted {
  readonly constraint: TopologySpreadConstraint
  /** Pods by the value of the topology key, of the nodes that count. */
  readonly counts: ReadonlyMap<string, number>
  readonly selfCount: number
  readonly least: number
}

/** Topology spread constraints (KEP-895, with KEP-3022, KEP-3094 and KEP-3243). */
export function spread(pod: Pod, views: readonly NodeView[]): Spread {
  const constraints = pod.spec?.topologySpreadConstraints ?? []
  if (constraints.length === 0) return unbound
  const hard = countAll(pod, views, constraints.filter(isHard))
  const soft = countAll(
    pod,
    views,
    constraints.filter((one) => !isHard(one)),
  )
  return {
    rejectionsOf(view) {
      for (const { constraint, counts, selfCount, least } of hard) {
        const value = view.node.metadata?.labels?.[constraint.topologyKey]
        if (value === undefined) return [`${mismatch} (missing required label)`]
        if ((counts.get(value) ?? 0) + selfCount - least > constraint.maxSkew) return [mismatch]
      }
      return []
    },
    crowdingOf: (view) =>
      soft.reduce((total, { constraint, counts }) => {
        const value = view.node.metadata?.labels?.[constraint.topologyKey]
        // Domains weigh the more the more there are of them, and a wide skew is a weak wish.
        const weight = Math.log(counts.size + 2)
        const crowded = value === undefined ? Math.max(0, ...counts.values()) + 1 : (counts.get(value) ?? 0)
        return total + crowded * weight + constraint.maxSkew - 1
      }, 0),
  }
}

function isHard({ whenUnsatisfiable }: TopologySpreadConstraint): boolean {
  return whenUnsatisfiable === 'DoNotSchedule'
}

/** Nodes count that have the keys of all constraints and are, by the policies of a constraint, open to the pod. */
function countAll(pod: Pod, views: readonly NodeView[], constraints: readonly TopologySpreadConstraint[]): Counted[] {
  const complete = views.filter(({ node }) =>
    constraints.every(({ topologyKey }) => node.metadata?.labels?.[topologyKey] !== undefined),
  )
  return constraints.map((constraint) => {
    const { nodeAffinityPolicy = 'Honor', nodeTaintsPolicy = 'Ignore', minDomains = 1, topologyKey } = constraint
    const selector = withKeys(constraint.labelSelector, pod.metadata?.labels, {
      matchLabelKeys: constraint.matchLabelKeys,
    })
    const isMeant = (other: Pod): boolean =>
      other.metadata?.namespace === pod.metadata?.namespace &&
      other.metadata?.deletionTimestamp === undefined &&
      matchesSelector(selector, other.metadata?.labels)
    const counts = new Map<string, number>()
    for (const view of complete) {
      if (nodeAffinityPolicy === 'Honor' && !matchesRequired(pod, view.node)) continue
      if (nodeTaintsPolicy === 'Honor' && hasUntoleratedTaint(pod, view.node)) continue
      const value = view.node.metadata?.labels?.[topologyKey] ?? ''
      counts.set(value, (counts.get(value) ?? 0) + view.pods.filter(isMeant).length)
    }
    const least = counts.size < minDomains || counts.size === 0 ? 0 : Math.min(...counts.values())
    const selfCount = matchesSelector(selector, pod.metadata?.labels) ? 1 : 0
    return { constraint, counts, selfCount, least }
  })
}
