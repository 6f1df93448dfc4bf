import { parseQuantity } from '@fairlead/kube/types'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { amountOf, ephemeralStorageLimit } from '../resources.ts'
import type { PodDiskUse } from '../usage/disk-meter.ts'
import { renderBytes } from './thresholds.ts'

/** The names and limits of the volumes of a pod that are limited and lie on disk. */
function limitedVolumes({ spec }: Pod): { readonly name: string; readonly limit: string }[] {
  return (spec?.volumes ?? []).flatMap(({ name, emptyDir }) => {
    const limit = emptyDir?.sizeLimit
    return limit === undefined || emptyDir?.medium === 'Memory' || !parseQuantity(limit) ? [] : [{ name, limit }]
  })
}

/** Whether a pod may take only so much of the disk. */
export function hasDiskLimits(pod: Pod): boolean {
  return limitedVolumes(pod).length > 0 || ephemeralStorageLimit(pod) !== undefined
}

/** Why a pod has to go that takes more of the disk than it may; undefined when it does not (kubelet, `localStorageEviction`). */
export function findOverfull(pod: Pod, use: PodDiskUse): string | undefined {
  for (const { name, limit } of limitedVolumes(pod)) {
    if ((use.volumes.get(name) ?? 0) > (parseQuantity(limit) ?? 0))
      return `Usage of EmptyDir volume "${name}" exceeds the limit "${limit}". `
  }
  const whole = ephemeralStorageLimit(pod)
  if (whole !== undefined && use.totalBytes > whole)
    return `Pod ephemeral local storage usage exceeds the total limit of containers ${renderBytes(whole)}. `
  for (const { name, resources } of pod.spec?.containers ?? []) {
    const limit = amountOf(resources?.limits, 'ephemeral-storage')
    if (limit !== undefined && (use.containers.get(name) ?? 0) > limit)
      return `Container ${name} exceeded its local ephemeral storage limit "${resources?.limits?.['ephemeral-storage']}". `
  }
  return undefined
}
