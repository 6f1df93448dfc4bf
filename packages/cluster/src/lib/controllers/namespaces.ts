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
