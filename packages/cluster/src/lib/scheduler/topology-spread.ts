import type { Pod, TopologySpreadConstraint } from '@fairlead/kube/types/core-v1'

import { matchesSelector } from '../label-selector.ts'
import { matchesRequired } from '../node-selector.ts'
import { hasUntoleratedTaint } from './filter.ts'
import { withKeys } from './label-keys.ts'
import { replicaControllerOf } from './node-view.ts'
import type { NodeView } from './node-view.ts'
import { defineRejection, noRejections } from './rejection.ts'
import type { Rejection } from './rejection.ts'

/** How the pods of a pod's constraints are spread now. */
export interface Spread {
  /** Why the pod cannot be on a node; empty when it can. */
  readonly rejectionsOf: (view: NodeView) => readonly Rejection[]
  /** How crowded the domains of a node are; undefined where a domain is missing. */
  readonly crowdingOf: (view: NodeView) => number | undefined
}

const mismatch = "node(s) didn't match pod topology spread constraints"
const skewed = [defineRejection('PodTopologySpread', mismatch, { isFinal: false })]
const unlabelled = [defineRejection('PodTopologySpread', `${mismatch} (missing required label)`, { isFinal: true })]

interface Counted {
  readonly constraint: TopologySpreadConstraint
  /** Pods by the value of the topology key, of the nodes that count. */
  readonly counts: ReadonlyMap<string, number>
  readonly selfCount: number
  readonly least: number
}

/** Topology spread constraints (KEP-895, with KEP-3022, KEP-3094 and KEP-3243); without any, replicas are spread a little over hosts and zones. */
export function spread(pod: Pod, views: readonly NodeView[]): Spread | undefined {
  const constraints = pod.spec?.topologySpreadConstraints ?? []
  if (constraints.length === 0) return spreadReplicas(pod, views)
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
        if (value === undefined) return unlabelled
        if ((counts.get(value) ?? 0) + selfCount - least > constraint.maxSkew) return skewed
      }
      return noRejections
    },
    crowdingOf(view) {
      let total = 0
      for (const { constraint, counts } of soft) {
        const value = view.node.metadata?.labels?.[constraint.topologyKey]
        if (value === undefined) return undefined
        total += crowding(counts.get(value) ?? 0, weightOf(counts.size), constraint.maxSkew)
      }
      return total
    },
  }
}

/** Domains weigh the more the more there are of them. */
function weightOf(domains: number): number {
  return Math.log(domains + 2)
}

/** A wide skew is a weak wish. */
function crowding(count: number, weight: number, maxSkew: number): number {
  return count * weight + maxSkew - 1
}

const hostSkew = 3
const zoneSkew = 5
const zoneKey = 'topology.kubernetes.io/zone'

/** The constraints every cluster has by default, counted by controller rather than by the controller's selector. */
function spreadReplicas(pod: Pod, views: readonly NodeView[]): Spread | undefined {
  const controller = replicaControllerOf(pod)
  if (controller === undefined) return undefined
  const countOf = ({ replicas }: NodeView): number => replicas.get(controller) ?? 0
  const zones = new Map<string, number>()
  for (const view of views) {
    const zone = view.node.metadata?.labels?.[zoneKey]
    if (zone !== undefined) zones.set(zone, (zones.get(zone) ?? 0) + countOf(view))
  }
  const [hostWeight, zoneWeight] = [weightOf(views.length), weightOf(zones.size)]
  return {
    rejectionsOf: () => noRejections,
    crowdingOf(view) {
      const zone = view.node.metadata?.labels?.[zoneKey]
      const ofZone = zone === undefined ? 0 : crowding(zones.get(zone) ?? 0, zoneWeight, zoneSkew)
      return crowding(countOf(view), hostWeight, hostSkew) + ofZone
    },
  }
}

function isHard({ whenUnsatisfiable }: TopologySpreadConstraint): boolean {
  return whenUnsatisfiable === 'DoNotSchedule'
}

/** Whether a pod is one of those that a constraint of `owner` counts. */
export function isCounted(constraint: TopologySpreadConstraint, owner: Pod, other: Pod): boolean {
  return (
    other.metadata?.namespace === owner.metadata?.namespace &&
    matchesSelector(selectorOf(constraint, owner), other.metadata?.labels)
  )
}

function selectorOf(
  { labelSelector, matchLabelKeys }: TopologySpreadConstraint,
  { metadata }: Pod,
): TopologySpreadConstraint['labelSelector'] {
  return withKeys(labelSelector, metadata?.labels, { matchLabelKeys })
}

/** Nodes count that have the keys of all constraints and are, by the policies of a constraint, open to the pod. */
function countAll(pod: Pod, views: readonly NodeView[], constraints: readonly TopologySpreadConstraint[]): Counted[] {
  const complete = views.filter(({ node }) =>
    constraints.every(({ topologyKey }) => node.metadata?.labels?.[topologyKey] !== undefined),
  )
  return constraints.map((constraint) => {
    const { nodeAffinityPolicy = 'Honor', nodeTaintsPolicy = 'Ignore', minDomains = 1, topologyKey } = constraint
    const selector = selectorOf(constraint, pod)
    const isMeant = (other: Pod): boolean =>
      other.metadata?.namespace === pod.metadata?.namespace &&
      other.metadata?.deletionTimestamp === undefined &&
      matchesSelector(selector, other.metadata?.labels)
    const counts = new Map<string, number>()
    for (const view of complete) {
      if (nodeAffinityPolicy === 'Honor' && !matchesRequired(pod, view.node)) continue
      if (nodeTaintsPolicy === 'Honor' && hasUntoleratedTaint(pod, view)) continue
      const value = view.node.metadata?.labels?.[topologyKey] ?? ''
      let count = counts.get(value) ?? 0
      for (const other of view.pods) if (isMeant(other)) count += 1
      counts.set(value, count)
    }
    const least = counts.size < minDomains || counts.size === 0 ? 0 : Math.min(...counts.values())
    const selfCount = matchesSelector(selector, pod.metadata?.labels) ? 1 : 0
    return { constraint, counts, selfCount, least }
  })
}
