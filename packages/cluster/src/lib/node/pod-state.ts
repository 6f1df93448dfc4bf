import type { Pod, PodCondition } from '@fairlead/kube/types/core-v1'

import { viewOf } from './containers/slot.ts'
import type { Slot } from './containers/slot.ts'
import type { PodView } from './decide.ts'
import type { KeptPod } from './pod-records.ts'

/** How far a pod has come, besides its containers. Times in milliseconds since 1970. */
export interface PodState {
  /** As the API holds it. */
  pod: Pod
  readonly startTime: number
  finished: 'Succeeded' | 'Failed' | undefined
  reason: string | undefined
  message: string | undefined
  /** As they were told last. */
  conditions: readonly PodCondition[] | undefined
  deletion: { readonly deadline: number } | undefined
  leaving: { readonly deadline: number } | undefined
  eviction: { readonly deadline: number; readonly isForNode: boolean } | undefined
  /** The object is no more: nobody to tell. */
  isForgotten: boolean
  isForgetting: boolean
  /** The work on the pod has ended here. */
  isDetached: boolean
}

/** Of a new pod, or where an earlier process left it. */
export function podState(pod: Pod, kept: KeptPod | undefined, now: number): PodState {
  return {
    pod,
    startTime: kept?.startTime ?? now,
    finished: kept?.finished,
    reason: kept?.reason,
    message: kept?.message,
    conditions: undefined,
    deletion: undefined,
    leaving: undefined,
    eviction: undefined,
    isForgotten: false,
    isForgetting: false,
    isDetached: false,
  }
}

/** The pod as `decide` sees it. */
export function viewOfPod(state: PodState, slots: Iterable<Slot>, sandbox: PodView['sandbox']): PodView {
  const { activeDeadlineSeconds } = state.pod.spec ?? {}
  return {
    sandbox,
    containers: [...slots].map(viewOf),
    deletion: state.deletion,
    leaving: state.leaving,
    finished: state.finished,
    eviction: state.eviction,
    activeDeadline: activeDeadlineSeconds === undefined ? undefined : state.startTime + activeDeadlineSeconds * 1000,
  }
}
