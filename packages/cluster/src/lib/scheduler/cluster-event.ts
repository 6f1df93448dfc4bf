import { isDeepStrictEqual } from 'node:util'

import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { matchesRequired } from '../node-selector.ts'
import { hasPodAffinity } from './affinity.ts'
import { hasUntoleratedTaint } from './filter.ts'
import { CountedNode } from './node-view.ts'
import type { FilterName } from './rejection.ts'
import { conflicts, hostPortsOf, requestsOf } from './resources.ts'
import { isCounted } from './topology-spread.ts'

/** What may give a place to pods that had none. */
export type ClusterEvent =
  /** A node is there or has changed. */
  | { readonly kind: 'node'; readonly node: Node; readonly old: Node | undefined }
  | { readonly kind: 'node-gone' }
  /** A pod is on a node, or has other labels there. */
  | { readonly kind: 'pod-placed'; readonly pod: Pod }
  /** A pod is on its node no more, or takes less there. */
  | { readonly kind: 'pod-left'; readonly pod: Pod }
  /** Claims, volumes or classes have changed. */
  | { readonly kind: 'volumes' }
  /** A namespace has other labels. */
  | { readonly kind: 'namespace' }

/** Whether an event may have done away with what keeps a pod from all nodes: upstream's queueing hints. */
export function mayHelp(event: ClusterEvent, pod: Pod, filters: ReadonlySet<FilterName>): boolean {
  // Without any node no filter was asked.
  if (filters.size === 0) return true
  return [...filters].some((filter) => hints[filter](event, pod))
}

type Hint = (event: ClusterEvent, pod: Pod) => boolean

const hints: Readonly<Record<FilterName, Hint>> = {
  NodeUnschedulable: onNode((_, node) => node.spec?.unschedulable !== true),
  NodeAffinity: onNode(matchesRequired),
  TaintToleration: onNode((pod, node) => !hasUntoleratedTaint(pod, new CountedNode(node))),
  NodePorts: (event, pod) =>
    event.kind === 'pod-left'
      ? hostPortsOf(pod).some((port) => hostPortsOf(event.pod).some((freed) => conflicts(port, freed)))
      : event.kind === 'node' && event.old === undefined,
  NodeResourcesFit: (event, pod) =>
    event.kind === 'pod-left' || (event.kind === 'node' && isRoomy(event.node, pod) && hasMore(event)),
  VolumeBinding: (event) => event.kind === 'volumes' || event.kind === 'node',
  PodTopologySpread: (event, pod) => {
    if (event.kind === 'pod-placed' || event.kind === 'pod-left') {
      return (pod.spec?.topologySpreadConstraints ?? []).some((constraint) => isCounted(constraint, pod, event.pod))
    }
    return event.kind === 'node' || event.kind === 'node-gone'
  },
  InterPodAffinity: (event, pod) =>
    event.kind === 'pod-placed' ? hasPodAffinity(pod) : event.kind !== 'volumes' && event.kind !== 'node-gone',
}

/** A node that is open to the pod, and was not before. */
function onNode(isOpen: (pod: Pod, node: Node) => boolean): Hint {
  return (event, pod) =>
    event.kind === 'node' && isOpen(pod, event.node) && (event.old === undefined || !isOpen(pod, event.old))
}

/** Whether a pod would have room on a node if it were alone there. */
function isRoomy(node: Node, pod: Pod): boolean {
  const { allocatable } = new CountedNode(node)
  return [...requestsOf(pod)].every(([name, amount]) => amount <= (allocatable.get(name) ?? 0))
}

function hasMore({ node, old }: { readonly node: Node; readonly old: Node | undefined }): boolean {
  return old === undefined || !isDeepStrictEqual(node.status?.allocatable, old.status?.allocatable)
}

/** Whether a node offers what it did before: heartbeats change nothing for those who wait. */
export function isAlike(node: Node, old: Node): boolean {
  return isDeepStrictEqual(offerOf(node), offerOf(old))
}

function offerOf({ metadata, spec, status }: Node): object {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.status
  return { labels: metadata?.labels, spec, allocatable: status?.allocatable, ready }
}
