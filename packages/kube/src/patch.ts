/**
 * The three patch formats of the Kubernetes API, and the patch `kubectl apply` computes.
 *
 * ```ts
 * import { applyStrategicMergePatch, createThreeWayMergePatch } from '@fairlead/kube/patch'
 *
 * const definition = 'io.k8s.api.apps.v1.Deployment'
 * const current = { spec: { replicas: 3, template: { spec: { containers: [{ name: 'web', image: 'web:1' }] } } } }
 * const modified = { spec: { template: { spec: { containers: [{ name: 'web', image: 'web:2' }] } } } }
 * const patch = createThreeWayMergePatch({ original: modified, modified, current, definition })
 * console.log(applyStrategicMergePatch(current, patch, definition)) // image web:2, still 3 replicas
 * ```
 */
export { applyJsonPatch, maxJsonPatchOperations } from './lib/patch/json-patch.ts'
export { applyMergePatch, createMergePatch } from './lib/patch/merge-patch.ts'
export { applyStrategicMergePatch } from './lib/patch/strategic-merge-patch.ts'
export { createThreeWayMergePatch } from './lib/patch/three-way.ts'
export type { JsonPatchOperation } from './lib/patch/json-patch.ts'
export type { ThreeWay } from './lib/patch/three-way.ts'
export { applyConfiguration, ownUpdate } from './lib/patch/apply/field-manager.ts'
export { encodeWithFields } from './lib/patch/apply/fields-text.ts'
export { ApplyConflict, ApplyError } from './lib/patch/apply/errors.ts'
export { deducedType } from './lib/patch/apply/merge-type.ts'
export { fromScaleFields, toScaleFields } from './lib/patch/apply/scale-fields.ts'
export type { ReplicasPaths } from './lib/patch/apply/scale-fields.ts'
export { mergeTypeOf } from './lib/patch/apply/table-type.ts'
export type { Configuration, Owned, WriteInfo } from './lib/patch/apply/field-manager.ts'
export type { FieldSet } from './lib/patch/apply/field-set.ts'
export type { ManagedFieldsEntry } from './lib/patch/apply/managed-fields.ts'
export type { MergeField, MergeList, MergeMap, MergeType } from './lib/patch/apply/merge-type.ts'
export type { MergeContext, Writer } from './lib/patch/apply/ownership.ts'
export { renderGo } from './lib/patch/go-format.ts'
