/** The filters of the scheduler, by the names that Kubernetes' plugins have. */
export type FilterName =
  | 'NodeUnschedulable'
  | 'NodeAffinity'
  | 'TaintToleration'
  | 'NodePorts'
  | 'NodeResourcesFit'
  | 'VolumeBinding'
  | 'PodTopologySpread'
  | 'InterPodAffinity'

/** Why a pod cannot be on a node. */
export interface Rejection {
  readonly filter: FilterName
  /** In Kubernetes' words. */
  readonly reason: string
  /** Whether it would stay so if other pods were taken away from the node. */
  readonly isFinal: boolean
}

/** One object for each reason: nodes by the hundred are rejected for the same few. */
export function defineRejection(filter: FilterName, reason: string, { isFinal }: { isFinal: boolean }): Rejection {
  return Object.freeze({ filter, reason, isFinal })
}

export const noRejections: readonly Rejection[] = []

/** The message of a pod no node takes, as Kubernetes words it: `0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable.` */
export function describeRejections(rejections: readonly (readonly string[])[]): string {
  if (rejections.length === 0) {
    return 'no nodes available to schedule pods'
  }
  const counts = new Map<string, number>()
  for (const reason of rejections.flat()) {
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
  }
  const reasons = [...counts].map(([reason, count]) => `${count} ${reason}`).toSorted((a, b) => (a < b ? -1 : 1))
  return `0/${rejections.length} nodes are available: ${reasons.join(', ')}.`
}
