import type { Container, Pod } from '@fairlead/kube/types/core-v1'

import type { Slot } from './containers/slot.ts'
import type { NodeContext } from './node-context.ts'
import type { PodFiles } from './pod-files.ts'
import type { PodResources } from './pod-resources.ts'
import type { PodState } from './pod-state.ts'
import type { PodTeller } from './pod-teller.ts'

/** What those who act for one pod share: its object, its containers, and the loop that looks again when asked. */
export interface PodLife {
  readonly context: NodeContext
  /** As the API holds it. */
  readonly pod: Pod
  /** As this node runs it: with the resources it was granted. */
  readonly granted: Pod
  readonly files: PodFiles
  readonly slots: ReadonlyMap<string, Slot>
  readonly startTime: number
  readonly isDeleted: boolean
  /** The agent is being stopped and takes the containers along. */
  readonly isLeaving: boolean
  /** The work on the pod has ended here; its containers may go on. */
  readonly isDetached: boolean
  /** Aborted when no image is needed any more. */
  readonly signal: AbortSignal
  /** Control group of the pod; its containers' are below. */
  readonly cgroupPath: string
  /** Decides and acts until there is nothing to do now. */
  readonly tick: () => void
  /** Runs work beside the loop; whatever comes of it, the loop looks again. */
  readonly run: (work: Promise<unknown>) => void
  /** Tells the API how the pod is. */
  readonly publish: () => void
  /** Writes down how the pod is, for the process after this one. */
  readonly save: () => void
  /** Resolves when what was to be saved is on disk. */
  readonly saved: () => Promise<void>
  readonly event: (type: 'Normal' | 'Warning', reason: string, message: string, container?: Container) => void
}

/** What a {@link PodLife} is made of. */
export interface PodLifeParts extends Pick<PodLife, 'context' | 'files' | 'slots' | 'signal' | 'tick' | 'run'> {
  readonly state: PodState
  readonly resources: PodResources
  /** Made after this, of this. */
  readonly teller: () => PodTeller
}

export function createPodLife({ state, resources, teller, ...parts }: PodLifeParts): PodLife {
  return {
    ...parts,
    get pod() {
      return state.pod
    },
    get granted() {
      return resources.granted
    },
    get cgroupPath() {
      return resources.cgroupPath
    },
    get startTime() {
      return state.startTime
    },
    get isDeleted() {
      return state.deletion !== undefined
    },
    get isLeaving() {
      return state.leaving !== undefined
    },
    get isDetached() {
      return state.isDetached
    },
    publish: () => teller().publish(),
    save: () => teller().save(),
    saved: () => teller().saved(),
    event(type, reason, message, container) {
      const fieldPath = container ? `spec.containers{${container.name}}` : undefined
      const about = { apiVersion: 'v1', kind: 'Pod', metadata: state.pod.metadata }
      const isTold = !state.isForgotten && state.leaving === undefined
      if (isTold) parts.context.events.record(about, { type, reason, message, fieldPath })
    },
  }
}

/** The wait after `failures` in a row: doubled each time. */
export function failureBackoffMs(failures: number, firstMs: number, longestMs: number): number {
  return Math.min(firstMs * 2 ** Math.min(failures - 1, 20), longestMs)
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
