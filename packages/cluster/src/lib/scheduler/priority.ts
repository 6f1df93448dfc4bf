import type { Pod } from '@fairlead/kube/types/core-v1'

export function priorityOf({ spec }: Pod): number {
  return spec?.priority ?? 0
}

/** Milliseconds since 1970; one that has not started does so now. */
export function startOf({ status }: Pod): number {
  return status?.startTime === undefined ? Date.now() : Date.parse(status.startTime)
}

/** Orders the more important pods before others: by priority, then by how long they have run. */
export function compareImportance(a: Pod, b: Pod): number {
  return priorityOf(b) - priorityOf(a) || startOf(a) - startOf(b)
}
