import type { Mutation } from '@fairlead/kube/types/admissionregistration-v1'

/** The expression of a mutation, wherever its type keeps it. */
export function expressionOf({ patchType, applyConfiguration, jsonPatch }: Mutation): string {
  return (patchType === 'JSONPatch' ? jsonPatch : applyConfiguration)?.expression ?? ''
}
