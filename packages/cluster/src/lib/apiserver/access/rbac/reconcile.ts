import type { KubeObject } from '@fairlead/kube/types'
import type { AggregationRule, PolicyRule, RoleRef, Subject } from '@fairlead/kube/types/rbac-v1'

import { isEqual } from '../../metadata.ts'
import { missingRights } from './rules.ts'

/**
 * What a role of the cluster's own must become so that it gives at least what `expected` gives: rights, labels and
 * selectors that are missing are added, what somebody added stays. Undefined when nothing is to be done, or when the
 * annotation `rbac.authorization.kubernetes.io/autoupdate: "false"` forbids it.
 */
export function reconcileRole(existing: KubeObject, expected: KubeObject): KubeObject | undefined {
  if (isProtected(existing)) return undefined
  const rules = (existing['rules'] as PolicyRule[] | null | undefined) ?? []
  const wanted = (expected['rules'] as PolicyRule[] | undefined) ?? []
  // Nearly always, and seen at once; to compare right by right all roles of a start takes longer than to read them.
  const missing = isEqual(rules, wanted) ? [] : missingRights(rules, wanted)
  const role: KubeObject = { ...existing, metadata: mergeMetadata(existing, expected), rules: [...rules, ...missing] }
  const selectors = reconcileSelectors(existing, expected)
  if (selectors === undefined) delete role['aggregationRule']
  else role['aggregationRule'] = { clusterRoleSelectors: selectors }
  return isEqual(role, { ...existing, rules }) ? undefined : role
}

/** The same for a binding; `recreate` when it refers to another role, which cannot be changed in place. */
export function reconcileBinding(
  existing: KubeObject,
  expected: KubeObject,
): { operation: 'update' | 'recreate'; object: KubeObject } | undefined {
  if (isProtected(existing)) return undefined
  if (!isSameRole(existing['roleRef'] as RoleRef, expected['roleRef'] as RoleRef)) {
    return { operation: 'recreate', object: expected }
  }
  const subjects = (existing['subjects'] as Subject[] | null | undefined) ?? []
  const missing = (expected['subjects'] as Subject[]).filter((wanted) => !subjects.some((one) => isEqual(one, wanted)))
  const object = { ...existing, metadata: mergeMetadata(existing, expected), subjects: [...subjects, ...missing] }
  return isEqual(object, { ...existing, subjects }) ? undefined : { operation: 'update', object }
}

function isProtected({ metadata }: KubeObject): boolean {
  return metadata.annotations?.['rbac.authorization.kubernetes.io/autoupdate'] === 'false'
}

/** What somebody wrote goes before what is expected. */
function mergeMetadata({ metadata }: KubeObject, { metadata: expected }: KubeObject): KubeObject['metadata'] {
  return {
    ...metadata,
    annotations: { ...expected.annotations, ...metadata.annotations },
    labels: { ...expected.labels, ...metadata.labels },
  }
}

function reconcileSelectors(existing: KubeObject, expected: KubeObject): unknown[] | undefined {
  const wanted = (expected['aggregationRule'] as AggregationRule | undefined)?.clusterRoleSelectors
  if (wanted === undefined) return undefined
  const present = (existing['aggregationRule'] as AggregationRule | undefined)?.clusterRoleSelectors ?? []
  return [...present, ...wanted.filter((selector) => !present.some((one) => isEqual(one, selector)))]
}

function isSameRole(a: RoleRef, b: RoleRef): boolean {
  return a.kind === b.kind && a.name === b.name && a.apiGroup === b.apiGroup
}
