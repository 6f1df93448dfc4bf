import type { CustomResourceDefinition } from '@fairlead/kube/types/apiextensions-v1'
import type { Schema } from './schema.ts'

/** Set on definitions of ours; those of the original, installed over it, say their own version beside it. */
export const bundleAnnotation = 'fairlead.dev/bundle'
/** Raised when a definition below changes: clusters that have the older one get the newer. */
export const bundleVersion = '1'

/** What differs between the definitions. */
export interface Kind {
  readonly group: string
  readonly kind: string
  readonly plural: string
  readonly shortNames?: readonly string[]
  readonly categories: readonly string[]
  readonly isClusterWide?: boolean
  /** All served with one schema; the first is stored. */
  readonly versions: readonly string[]
  readonly spec: Schema
  readonly isSpecRequired?: boolean
  readonly status: Schema
  readonly columns: readonly (readonly [name: string, jsonPath: string, type?: string])[]
}

export function renderDefinition(kind: Kind): CustomResourceDefinition {
  const { group, plural, versions } = kind
  const schema = {
    openAPIV3Schema: {
      type: 'object',
      properties: {
        apiVersion: { type: 'string' },
        kind: { type: 'string' },
        metadata: { type: 'object' },
        spec: kind.spec,
        status: kind.status,
      },
      ...(kind.isSpecRequired === false ? {} : { required: ['spec'] }),
    },
  }
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.${group}`,
      annotations: {
        [bundleAnnotation]: bundleVersion,
        // The API server asks for it in groups of k8s.io; where the field facts are from.
        'api-approved.kubernetes.io': 'https://github.com/kubernetes-sigs/gateway-api/pull/3328',
      },
    },
    spec: {
      group,
      scope: kind.isClusterWide === true ? 'Cluster' : 'Namespaced',
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural,
        singular: kind.kind.toLowerCase(),
        shortNames: [...(kind.shortNames ?? [])],
        categories: [...kind.categories],
      },
      versions: versions.map((name, index) => ({
        name,
        served: true,
        storage: index === 0,
        schema,
        subresources: { status: {} },
        additionalPrinterColumns: kind.columns.map(([column, jsonPath, type = 'string']) => ({
          name: column,
          jsonPath,
          type,
        })),
      })),
    },
  }
}
