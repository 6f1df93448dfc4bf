import type { Pod } from '@fairlead/kube/types/core-v1'

import type { Shortage } from './thresholds.ts'
import { ephemeralStorageRequest, requestsOf } from '../resources.ts'

/** A pod and what it uses. */
export interface PodUse {
  readonly pod: Pod
  readonly memoryBytes: number
  /** Undefined: nobody has measured yet. */
  readonly diskBytes?: number | undefined
}

/** `system-cluster-critical`. */
const CRITICAL_PRIORITY = 2_000_000_000

/** Whether nobody can do without the pod: it is never evicted. */
export function isCritical({ spec }: Pod): boolean {
  return (spec?.priority ?? 0) >= CRITICAL_PRIORITY
}

/**
 * Whom to evict first (Kubernetes, "Pod selection for kubelet eviction"): who uses more than it asked for, then lower
 * priority, then who uses most beyond what it asked for. Critical pods are left out.
 */
export function rankForEviction<Use extends PodUse>(pods: readonly Use[], shortage: Shortage): readonly Use[] {
  const beyond = shortage === 'memory' ? memoryBeyond : diskBeyond
  const priority = ({ pod }: PodUse): number => pod.spec?.priority ?? 0
  return pods
    .filter(({ pod }) => !isCritical(pod))
    .toSorted(
      (a, b) =>
        Number(beyond(b) > 0) - Number(beyond(a) > 0) || priority(a) - priority(b) || compare(beyond(b), beyond(a)),
    )
}

function memoryBeyond({ pod, memoryBytes }: PodUse): number {
  return memoryBytes - requestsOf(pod).memory
}

/** Of whom nothing is known goes first, as with kubelets. */
function diskBeyond({ pod, diskBytes = Infinity }: PodUse): number {
  return diskBytes - ephemeralStorageRequest(pod)
}

/** Infinities have no difference. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a - b
}
