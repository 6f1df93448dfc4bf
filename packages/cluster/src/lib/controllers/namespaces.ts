import { KubeError } from '@fairlead/kube'
import type { KubeResource } from '@fairlead/kube'
import type { Namespace } from '@fairlead/kube/types/core-v1'

/** Whether a namespace is there to stay: objects may be made in it. */
export function isLiving(namespace: Namespace | undefined): boolean {
  return namespace !== undefined && namespace.metadata?.deletionTimestamp === undefined
}

/** The namespace of an object, as the one key it gives. */
export function namespaceOf({ metadata }: KubeResource): string[] {
  return [metadata?.namespace ?? '']
}

/** Whether a write failed because its namespace is being deleted: nothing can be made there, and nothing needs to. */
export function isNamespaceTerminating(error: unknown): boolean {
  const causes = error instanceof KubeError ? (error.status.details?.causes ?? []) : []
  return causes.some(({ reason }) => reason === 'NamespaceTerminating')
}
