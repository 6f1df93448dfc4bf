import type { ContainerStatus, Pod } from '@fairlead/kube/types/core-v1'

import { podCondition } from '../pod-state.ts'

/** Failures in a row, and when the last of them was. */
export interface Backoff {
  readonly failures: number
  /** Milliseconds since 1970. */
  readonly lastFailureAt: number
}

export const noBackoff: Backoff = { failures: 0, lastFailureAt: 0 }

/** The wait after a first failure; it doubles with each further one. */
const baseMs = 10_000
const maxMs = 600_000

/** How long to wait before pods that failed are replaced. */
export function backoffLeftMs({ failures, lastFailureAt }: Backoff, now: number): number {
  if (failures === 0) return 0
  return Math.max(0, lastFailureAt + Math.min(baseMs * 2 ** Math.min(failures - 1, 40), maxMs) - now)
}

/** A success ends the row; failures after it begin a new one. */
export function continueBackoff(backoff: Backoff, succeeded: readonly Pod[], failed: readonly Pod[]): Backoff {
  if (succeeded.length + failed.length === 0) return backoff
  const lastSuccessAt = Math.max(-Infinity, ...succeeded.map(finishedAt))
  const failures = failed.map(finishedAt).filter((time) => time > lastSuccessAt)
  if (failures.length === 0) return noBackoff
  const before = succeeded.length === 0 ? backoff.failures : 0
  return { failures: before + failures.length, lastFailureAt: Math.max(...failures) }
}

/** When a pod ended: by its containers, else when it stopped being ready, was told to go, or was made. */
export function finishedAt(pod: Pod): number {
  const { metadata } = pod
  const ready = podCondition(pod, 'Ready')
  const unready = ready?.status === 'False' ? ready.lastTransitionTime : undefined
  const byContainers = lastEnd(pod)
  if (byContainers !== undefined) return byContainers
  if (unready !== undefined) return Date.parse(unready)
  if (metadata?.deletionTimestamp !== undefined) {
    return Date.parse(metadata.deletionTimestamp) - (metadata.deletionGracePeriodSeconds ?? 0) * 1000
  }
  return Date.parse(metadata?.creationTimestamp ?? '') || 0
}

/** When the last container ended; undefined when one has not. */
function lastEnd({ spec, status }: Pod): number | undefined {
  const sidecars = new Set(
    (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always').map(({ name }) => name),
  )
  const statuses = [
    ...(status?.containerStatuses ?? []),
    ...(status?.initContainerStatuses ?? []).filter(({ name }) => sidecars.has(name)),
  ]
  const ends = statuses.map(({ state }: ContainerStatus) => Date.parse(state?.terminated?.finishedAt ?? ''))
  return ends.length === 0 || ends.some(Number.isNaN) ? undefined : Math.max(...ends)
}
