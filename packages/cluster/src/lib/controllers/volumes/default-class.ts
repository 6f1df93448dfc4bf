import type { StorageClass } from '@fairlead/kube/types/storage-v1'

const annotations = [
  'storageclass.kubernetes.io/is-default-class',
  'storageclass.beta.kubernetes.io/is-default-class',
] as const

export function isDefaultClass({ metadata }: StorageClass): boolean {
  return annotations.some((key) => metadata?.annotations?.[key] === 'true')
}

/** The class of claims that name none: the newest of those marked so, and of these the first by name. */
export function findDefaultClass(classes: readonly StorageClass[]): StorageClass | undefined {
  const timeOf = ({ metadata }: StorageClass): number => Date.parse(metadata?.creationTimestamp ?? '') || 0
  const nameOf = ({ metadata }: StorageClass): string => metadata?.name ?? ''
  return classes.filter(isDefaultClass).toSorted((a, b) => timeOf(b) - timeOf(a) || (nameOf(a) < nameOf(b) ? -1 : 1))[0]
}
