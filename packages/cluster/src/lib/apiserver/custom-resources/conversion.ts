import type { CustomResourceDefinition } from '@fairlead/kube/types/apiextensions-v1'

import type { Converter } from './stored-form.ts'

/** Address at which a service of the cluster is reached from here. */
export type ServiceResolver = (
  namespace: string,
  name: string,
  port: number,
) => Promise<{ readonly host: string; readonly port: number }>

export function createConverter(
  _definition: CustomResourceDefinition,
  _resolveService: ServiceResolver | undefined,
): Converter {
  return { strategy: 'None' }
}
