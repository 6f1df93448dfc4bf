/**
 * Kubernetes' built-in kinds: their TypeScript types by `apiVersion/Kind`, and the facts about them at run time.
 *
 * The interfaces of one group-version are entries of their own, such as `@fairlead/kube/types/apps-v1`.
 *
 * ```ts
 * import { findKind, validateFields } from '@fairlead/kube/types'
 * import type { Pod } from '@fairlead/kube/types/core-v1'
 *
 * const pod: Pod = { apiVersion: 'v1', kind: 'Pod', spec: { containers: [{ name: 'app', image: 'app:1' }] } }
 * const info = findKind('v1', 'Pod')
 * if (info) console.log(info.shortNames, validateFields(info.definition, pod))
 * ```
 */
export { fieldsOf, findDefinition } from './lib/types/fields.ts'
export { findKind, findResource, kinds, subresourcesOf } from './lib/types/kinds.ts'
export { canonicalQuantity, parseQuantity } from './lib/types/quantity.ts'
export { validateFields } from './lib/types/validate.ts'
export type { KindMap } from './lib/types/generated/kind-map.ts'
export type {
  Condition,
  LabelSelector,
  ListMeta,
  ObjectMeta,
  OwnerReference,
  Status,
  StatusCause,
  StatusDetails,
} from './lib/types/generated/meta-v1.ts'
export type { KindInfo, KubeObject, SubresourceInfo } from './lib/types/kinds.ts'
export type { TypeWords } from './lib/types/validate.ts'
export type { FieldInfo, FieldType } from './lib/types/notation.ts'
