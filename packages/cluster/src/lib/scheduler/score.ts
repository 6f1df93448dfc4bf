import type { Pod, Taint } from '@fairlead/kube/types/core-v1'

import { preferenceOf } from '../node-selector.ts'
import { toleratesTaint } from '../tolerations.ts'
import type { PodRelations } from './affinity.ts'
import type { NodeView } from './node-view.ts'
import { requestsOf, scoredRequestsOf } from './resources.ts'
import { spread } from './topology-spread.ts'
import type { Spread } from './topology-spread.ts'

/** What other pods mean for where one goes. */
export interface Neighbours {
  readonly attractionOf?: PodRelations['attractionOf'] | undefined
  readonly crowdingOf?: Spread['crowdingOf'] | undefined
}

/** What a kind of score counts for in the sum, as in Kubernetes' default profile. */
const weights = { taints: 3, affinity: 2, spread: 2, neighbours: 2, room: 1, balance: 1, images: 1 } as const

/** A score for each of the nodes, from 0 to 100; undefined where the pod has no such wish. */
type Scores = readonly number[] | undefined

/** Of nodes that can take the pod, the one that should. Equals go by name. */
export function choose(
  pod: Pod,
  views: readonly NodeView[],
  { attractionOf, crowdingOf = spread(pod, views)?.crowdingOf }: Neighbours = {},
): NodeView | undefined {
  if (views.length < 2) return views[0]
  const totals = views.map(() => 0)
  const add = (scores: Scores, weight: number): void => {
    for (const [index, score] of (scores ?? []).entries()) totals[index] = (totals[index] ?? 0) + score * weight
  }
  add(scoreTaints(pod, views), weights.taints)
  add(scoreAffinity(pod, views), weights.affinity)
  add(crowdingOf && scoreSpread(views.map(crowdingOf)), weights.spread)
  add(attractionOf && scoreNeighbours(views.map(attractionOf)), weights.neighbours)
  add(scoreRoom(pod, views), weights.room)
  add(scoreBalance(pod, views), weights.balance)
  add(scoreImages(pod, views), weights.images)
  return best(views, totals)
}

function best(views: readonly NodeView[], totals: readonly number[]): NodeView | undefined {
  let found = views[0]
  let most = totals[0] ?? 0
  for (const [index, view] of views.entries()) {
    const total = totals[index] ?? 0
    if (found === undefined || total > most || (total === most && view.name < found.name)) {
      found = view
      most = total
    }
  }
  return found
}

function scoreTaints({ spec }: Pod, views: readonly NodeView[]): Scores {
  const isAvoided = (taint: Taint): boolean =>
    taint.effect === 'PreferNoSchedule' && !(spec?.tolerations ?? []).some((one) => toleratesTaint(one, taint))
  const counts = views.map(({ taints }) => taints.filter(isAvoided).length)
  const most = Math.max(...counts)
  return most === 0 ? undefined : counts.map((count) => 100 - Math.floor((100 * count) / most))
}

function scoreAffinity(pod: Pod, views: readonly NodeView[]): Scores {
  if (pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution === undefined) return undefined
  const sums = views.map(({ node }) => preferenceOf(pod, node))
  const most = Math.max(...sums)
  return most === 0 ? undefined : sums.map((sum) => Math.floor((100 * sum) / most))
}

/** The least crowded domains get the most; nodes without such a domain nothing. */
function scoreSpread(crowding: readonly (number | undefined)[]): Scores {
  const rounded = crowding.map((each) => (each === undefined ? undefined : Math.round(each)))
  const known = rounded.filter((each) => each !== undefined)
  const [most, least] = [Math.max(...known), Math.min(...known)]
  return rounded.map((each) => {
    if (each === undefined) return 0
    return most === 0 ? 100 : Math.floor((100 * (most + least - each)) / most)
  })
}

function scoreNeighbours(attractions: readonly number[]): Scores {
  const [least, most] = [Math.min(...attractions), Math.max(...attractions)]
  if (most === least) return undefined
  return attractions.map((each) => Math.floor((100 * (each - least)) / (most - least)))
}

/** LeastAllocated: 0 for a node that would be full, 100 for one that would be empty. */
function scoreRoom(pod: Pod, views: readonly NodeView[]): Scores {
  const wanted = scoredRequestsOf(pod)
  return views.map(({ scored, allocatable }) => {
    const cpu = share(allocatable.get('cpu') ?? 0, scored.cpu + wanted.cpu)
    const memory = share(allocatable.get('memory') ?? 0, scored.memory + wanted.memory)
    return Math.floor((cpu + memory) / 2)
  })
}

function share(capacity: number, taken: number): number {
  return capacity === 0 ? 0 : Math.max(0, Math.floor(((capacity - taken) * 100) / capacity))
}

/** BalancedAllocation: how much the pod brings the use of CPU and of memory nearer to each other. */
function scoreBalance(pod: Pod, views: readonly NodeView[]): Scores {
  const requests = requestsOf(pod)
  const [cpu, memory] = [requests.get('cpu') ?? 0, requests.get('memory') ?? 0]
  if (cpu === 0 && memory === 0) return undefined
  return views.map(({ used, allocatable }) => {
    const most = [allocatable.get('cpu') ?? 0, allocatable.get('memory') ?? 0] as const
    const [usedCpu, usedMemory] = [used.get('cpu') ?? 0, used.get('memory') ?? 0]
    const gain = evenness([usedCpu + cpu, usedMemory + memory], most) - evenness([usedCpu, usedMemory], most)
    return 50 + Math.trunc((50 + gain) / 2)
  })
}

function evenness(taken: readonly [number, number], most: readonly [number, number]): number {
  if (most[0] === 0 || most[1] === 0) return 100
  const difference = Math.min(1, taken[0] / most[0]) - Math.min(1, taken[1] / most[1])
  return Math.trunc((1 - Math.abs(difference) / 2) * 100)
}

const smallImages = 23 * 2 ** 20
const largeImage = 1000 * 2 ** 20

/** ImageLocality: what is there need not be brought, but no node is to draw all pods of an image. */
function scoreImages({ spec }: Pod, views: readonly NodeView[]): Scores {
  if (views.every(({ images }) => images.size === 0)) return undefined
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])]
  const names = containers.map(({ image = '' }) => fullName(image))
  const spreads = new Map(
    names.map((name) => [name, views.filter(({ images }) => images.has(name)).length / views.length]),
  )
  const most = largeImage * containers.length
  return views.map(({ images }) => {
    const sum = names.reduce((total, name) => total + Math.floor((images.get(name) ?? 0) * (spreads.get(name) ?? 0)), 0)
    return Math.floor((100 * (Math.min(Math.max(sum, smallImages), most) - smallImages)) / (most - smallImages))
  })
}

function fullName(image: string): string {
  return image.lastIndexOf(':') <= image.lastIndexOf('/') ? `${image}:latest` : image
}
