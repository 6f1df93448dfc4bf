import type { KubeObject } from '@fairlead/kube/types'
import type { PersistentVolumeClaim, Pod, ResourceQuota } from '@fairlead/kube/types/core-v1'

interface Requirement {
  readonly scopeName: string
  readonly operator: string
  readonly values?: readonly string[] | undefined
}

/** Whether an object is one of those a quota is about: quotas with scopes count only certain pods, or claims. */
export function isInScope({ spec }: ResourceQuota, collection: string, object: KubeObject): boolean {
  const requirements: Requirement[] = [
    ...(spec?.scopes ?? []).map((scopeName) => ({ scopeName, operator: 'Exists' })),
    ...(spec?.scopeSelector?.matchExpressions ?? []),
  ]
  if (requirements.length === 0) return true
  if (collection === 'pods') return requirements.every((each) => matchesPod(each, object as KubeObject & Pod))
  if (collection !== 'persistentvolumeclaims') return false
  return requirements.every((each) => matchesClaim(each, object as KubeObject & PersistentVolumeClaim))
}

function matchesPod({ scopeName, operator, values = [] }: Requirement, { spec }: Pod): boolean {
  switch (scopeName) {
    case 'Terminating':
      return spec?.activeDeadlineSeconds !== undefined
    case 'NotTerminating':
      return spec?.activeDeadlineSeconds === undefined
    case 'BestEffort':
      return isBestEffort(spec)
    case 'NotBestEffort':
      return !isBestEffort(spec)
    case 'PriorityClass':
      return compares(operator, values, spec?.priorityClassName ?? '')
    case 'CrossNamespacePodAffinity':
      return reachesOtherNamespaces(spec)
    default:
      return false
  }
}

function matchesClaim({ scopeName, operator, values = [] }: Requirement, claim: PersistentVolumeClaim): boolean {
  if (scopeName !== 'VolumeAttributesClass') return false
  const classes = attributesClassesOf(claim)
  return (classes.length === 0 ? [''] : classes).some((name) => compares(operator, values, name))
}

/** The class a claim asks for, the one its volume has, and the one it is being changed to: it counts for each of them. */
function attributesClassesOf({ spec, status }: PersistentVolumeClaim): string[] {
  const { currentVolumeAttributesClassName, modifyVolumeStatus } = status ?? {}
  const names = [
    spec?.volumeAttributesClassName,
    currentVolumeAttributesClassName,
    modifyVolumeStatus?.targetVolumeAttributesClassName,
  ]
  return names.map((name) => name ?? '').filter((name) => name !== '')
}

function compares(operator: string, values: readonly string[], value: string): boolean {
  switch (operator) {
    case 'In':
      return value !== '' && values.includes(value)
    case 'NotIn':
      return !values.includes(value)
    case 'Exists':
      return value !== ''
    default:
      return value === ''
  }
}

function isBestEffort(spec: Pod['spec']): boolean {
  const containers = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])]
  return ![spec?.resources, ...containers.map(({ resources }) => resources)].some((resources) =>
    [resources?.requests, resources?.limits].some((amounts) => ['cpu', 'memory'].some((name) => amounts?.[name])),
  )
}

function reachesOtherNamespaces(spec: Pod['spec']): boolean {
  const { podAffinity, podAntiAffinity } = spec?.affinity ?? {}
  return [podAffinity, podAntiAffinity].some((affinity) => {
    const required = affinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []
    const preferred = (affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
      ({ podAffinityTerm }) => podAffinityTerm,
    )
    return [...required, ...preferred].some(
      ({ namespaces, namespaceSelector }) => (namespaces ?? []).length > 0 || namespaceSelector !== undefined,
    )
  })
}
