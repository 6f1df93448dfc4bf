import type { ContainerStatus, Pod } from '@fairlead/kube/types/core-v1'

/** How often the container has ended: its restarts, and the end it has not been restarted from yet. */
export function countCrashes({ restartCount, state }: ContainerStatus): number {
  if (state?.running) return restartCount
  const isEnded = state?.terminated !== undefined || state?.waiting?.reason === 'CrashLoopBackOff' || restartCount > 0
  return restartCount + (isEnded ? 1 : 0)
}

/** Names a container of a pod, of this pod only. */
export function crashKey({ metadata }: Pod, { name }: ContainerStatus): string {
  return `${metadata?.uid}/${name}`
}
