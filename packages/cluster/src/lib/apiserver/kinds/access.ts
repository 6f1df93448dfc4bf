import type { LabelSelector } from '@fairlead/kube/types'
import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  Role,
  RoleBinding,
  RoleRef,
  Subject,
} from '@fairlead/kube/types/rbac-v1'

import { isEqual } from '../metadata.ts'
import { defineKind } from './define.ts'
import { invalid, notSupported, required, unsupported } from './field-errors.ts'
import { dnsSubdomain } from './names.ts'
import { validateSelector } from './selectors.ts'
import { age, ageColumn, column, nameColumn, wideColumn } from './printing.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

const rbacGroup = 'rbac.authorization.k8s.io'
const createdColumns = [nameColumn, column('Created At')]

export const role: KindStrategy = defineKind<Role>({
  validate: ({ rules }) => validateRules(rules ?? [], 'namespace'),
  columns: createdColumns,
  row: ({ metadata }) => [metadata.name, metadata.creationTimestamp ?? ''],
})

export const clusterRole: KindStrategy = defineKind<ClusterRole>({
  validate: ({ rules, aggregationRule }) => [
    ...validateRules(rules ?? [], 'cluster'),
    ...(aggregationRule === undefined ? [] : validateAggregation(aggregationRule.clusterRoleSelectors ?? [])),
  ],
  columns: createdColumns,
  row: ({ metadata }) => [metadata.name, metadata.creationTimestamp ?? ''],
})

const bindingColumns = [
  nameColumn,
  column('Role'),
  ageColumn,
  wideColumn('Users'),
  wideColumn('Groups'),
  wideColumn('ServiceAccounts'),
]

export const roleBinding: KindStrategy = defineKind<RoleBinding>({
  default: defaultBinding,
  validate: (object, old) => validateBinding(object, old, ['Role', 'ClusterRole']),
  columns: bindingColumns,
  row: ({ metadata, roleRef, subjects }, now) => [
    metadata.name,
    `${roleRef.kind}/${roleRef.name}`,
    age(metadata.creationTimestamp, now),
    ...subjectCells(subjects ?? []),
  ],
})

export const clusterRoleBinding: KindStrategy = defineKind<ClusterRoleBinding>({
  default: defaultBinding,
  validate: (object, old) => validateBinding(object, old, ['ClusterRole']),
  columns: bindingColumns,
  row: ({ metadata, roleRef, subjects }, now) => [
    metadata.name,
    `${roleRef.kind}/${roleRef.name}`,
    age(metadata.creationTimestamp, now),
    ...subjectCells(subjects ?? []),
  ],
})

interface Binding {
  roleRef: RoleRef
  subjects?: Subject[] | undefined
}

function defaultBinding({ roleRef, subjects = [] }: Binding): void {
  if ((roleRef.apiGroup ?? '') === '') roleRef.apiGroup = rbacGroup
  for (const subject of subjects) {
    if (subject.kind === 'User' || subject.kind === 'Group') subject.apiGroup ??= rbacGroup
  }
}

function validateBinding(object: Binding, old: Binding | undefined, kinds: readonly string[]): FieldError[] {
  const { roleRef, subjects = [] } = object
  const scope = kinds.includes('Role') ? 'namespace' : 'cluster'
  const errors = subjects.flatMap((subject, index) => validateSubject(subject, `subjects[${index}]`, scope))
  if (roleRef.apiGroup !== rbacGroup) errors.push(notSupported('roleRef.apiGroup', roleRef.apiGroup, [rbacGroup]))
  if (!kinds.includes(roleRef.kind)) errors.push(unsupported('roleRef.kind', roleRef.kind, kinds))
  if (roleRef.name === '') errors.push(required('roleRef.name'))
  if (old !== undefined && !isEqual(roleRef, old.roleRef)) {
    errors.push(invalid('roleRef', roleRef, 'cannot change roleRef'))
  }
  return errors
}

function validateSubject(subject: Subject, path: string, scope: 'namespace' | 'cluster'): FieldError[] {
  const { kind, name, namespace = '', apiGroup = '' } = subject
  const errors = name === '' ? [required(`${path}.name`)] : []
  if (!subjectKinds.includes(kind)) return [...errors, unsupported(`${path}.kind`, kind, subjectKinds)]
  const group = kind === 'ServiceAccount' ? '' : rbacGroup
  if (kind === 'ServiceAccount') {
    if (name !== '') errors.push(...dnsSubdomain(`${path}.name`, name))
    if (scope === 'cluster' && namespace === '') errors.push(required(`${path}.namespace`))
  }
  return apiGroup === group ? errors : [...errors, notSupported(`${path}.apiGroup`, apiGroup, [group])]
}

const subjectKinds = ['ServiceAccount', 'User', 'Group']

function validateRules(rules: readonly PolicyRule[], scope: 'namespace' | 'cluster'): FieldError[] {
  return rules.flatMap((rule, index) => validateRule(rule, `rules[${index}]`, scope))
}

function validateRule(rule: PolicyRule, path: string, scope: 'namespace' | 'cluster'): FieldError[] {
  const { verbs, apiGroups = [], resources = [], resourceNames = [], nonResourceURLs: urls = [] } = rule
  const errors = verbs.length === 0 ? [required(`${path}.verbs`, 'verbs must contain at least one value')] : []
  if (urls.length > 0) {
    const field = `${path}.nonResourceURLs`
    if (scope === 'namespace') {
      errors.push(invalid(field, urls, 'namespaced rules cannot apply to non-resource URLs'))
    }
    if (apiGroups.length + resources.length + resourceNames.length > 0) {
      errors.push(invalid(field, urls, 'rules cannot apply to both regular resources and non-resource URLs'))
    }
    return errors
  }
  if (apiGroups.length === 0) {
    errors.push(required(`${path}.apiGroups`, 'resource rules must supply at least one api group'))
  }
  if (resources.length === 0) {
    errors.push(required(`${path}.resources`, 'resource rules must supply at least one resource'))
  }
  return errors
}

function validateAggregation(selectors: readonly LabelSelector[]): FieldError[] {
  const field = 'aggregationRule.clusterRoleSelectors'
  if (selectors.length === 0) {
    return [required(field, 'at least one clusterRoleSelector required if aggregationRule is non-nil')]
  }
  return selectors.flatMap((selector, index) => {
    const errors = validateSelector(selector, `${field}[${index}]`)
    return errors.length === 0 ? [] : [...errors, invalid(`${field}[${index}]`, null, 'invalid label selector.')]
  })
}

function subjectCells(subjects: readonly Subject[]): string[] {
  const of = (kind: string): Subject[] => subjects.filter((subject) => subject.kind === kind)
  return [
    of('User')
      .map(({ name }) => name)
      .join(', '),
    of('Group')
      .map(({ name }) => name)
      .join(', '),
    of('ServiceAccount')
      .map(({ namespace, name }) => `${namespace}/${name}`)
      .join(', '),
  ]
}
