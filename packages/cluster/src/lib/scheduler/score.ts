import type { Pod, Taint } from '@fairlead/kube/types/core-v1'

import type { PodRelations } from './affinity.ts'
import { toleratesTaint } from '../tolerations.ts'
import type { NodeView } from './filter.ts'
import { preferenceOf } from '../node-selector.ts'
import { requestsOf, scoredRequestsOf } from './resources.ts'
import type { Spread } from './topology-spread.ts'

/** What other pods mean for where one goes. */
export type Neighbours = Pick<PodRelations, 'attractionOf'> & Pick<Spread, 'crowdingOf'>

/** Of nodes that can take the pod, the one that should: least used, fewest siblings, most preferred. Equals go by name. */
export function choose(
  pod: Pod,
  views: readonly NodeView[],
  { attractionOf, crowdingOf }: Partial<Neighbours> = {},
): NodeView | undefined {
  const drawn = normalise(views.map((view) => attractionOf?.(view) ?? 0))
  const roomy = normalise(views.map((view) => -(crowdingOf?.(view) ?? 0)))
  const preferences = normalise(views.map(({ node }) => preferenceOf(pod, node)))
  const siblings = normalise(views.map((view) => -countSiblings(pod, view)))
  const avoided = normalise(views.map((view) => -countAvoided(pod, view)))
  return views
    .map((view, index) => {
      const spread = (siblings[index] ?? 0) * 2 + (preferences[index] ?? 0) * 2 + (avoided[index] ?? 0) * 3
      const near = (drawn[index] ?? 0) * 2 + (roomy[index] ?? 0) * 2
      return { view, score: leastUsed(pod, view) + spread + near }
    })
    .toSorted((a, b) => b.score - a.score || nameOf(a.view).localeCompare(nameOf(b.view)))[0]?.view
}

/** Spreads values over 0..100; equal ones are all 0. */
function normalise(values: readonly number[]): number[] {
  const [min, max] = [Math.min(...values), Math.max(...values)]
  return values.map((value) => (max === min ? 0 : ((value - min) * 100) / (max - min)))
}

/** 0 for a node that would be full, 100 for one that would be empty. */
function leastUsed(pod: Pod, { scored, allocatable }: NodeView): number {
  const wanted = scoredRequestsOf(requestsOf(pod))
  const free = (['cpu', 'memory'] as const).map((name) => {
    const capacity = allocatable.get(name) ?? 0
    return capacity === 0 ? 0 : Math.max(0, ((capacity - scored[name] - wanted[name]) * 100) / capacity)
  })
  return free.reduce((total, share) => total + share, 0) / free.length
}

/** Pods of the same controller: two replicas on two nodes survive the loss of one. */
function countSiblings(pod: Pod, { pods }: NodeView): number {
  const uid = controllerUid(pod)
  return uid === undefined ? 0 : pods.filter((other) => controllerUid(other) === uid).length
}

function controllerUid({ metadata }: Pod): string | undefined {
  return metadata?.ownerReferences?.find(({ controller }) => controller === true)?.uid
}

function countAvoided({ spec }: Pod, { node }: NodeView): number {
  const isAvoided = (taint: Taint): boolean =>
    taint.effect === 'PreferNoSchedule' && !(spec?.tolerations ?? []).some((one) => toleratesTaint(one, taint))
  return (node.spec?.taints ?? []).filter(isAvoided).length
}

function nameOf({ node }: NodeView): string {
  return node.metadata?.name ?? ''
}
