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
import { invalid, notSupported, required } from './field-errors.ts'
import { age, ageColumn, column, nameColumn, wideColumn } from './printing.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

const rbacGroup = 'rbac.authorization.k8s.io'
const createdColumns = [nameColumn, column('Created At')]

export const role: KindStrategy = defineKind<Role>({
  validate: ({ rules }) => validateRules(rules ?? []),
  columns: createdColumns,
  row: ({ metadata }) => [metadata.name, metadata.creationTimestamp ?? ''],
})

export const clusterRole: KindStrategy = defineKind<ClusterRole>({
  validate: ({ rules }) => validateRules(rules ?? []),
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
  validate: (object, old) => validateBinding(object, old, ['ClusterRole', 'Role']),
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
  const errors = subjects.flatMap((subject, index) => validateSubject(subject, `subjects[${index}]`))
  if (roleRef.apiGroup !== rbacGroup) errors.push(notSupported('roleRef.apiGroup', roleRef.apiGroup, [rbacGroup]))
  if (!kinds.includes(roleRef.kind)) errors.push(notSupported('roleRef.kind', roleRef.kind, kinds))
  if (roleRef.name === '') errors.push(required('roleRef.name'))
  if (old !== undefined && !isEqual(roleRef, old.roleRef)) {
    errors.push(invalid('roleRef', roleRef, 'cannot change roleRef'))
  }
  return errors
}

function validateSubject({ kind, name, namespace = '' }: Subject, path: string): FieldError[] {
  const errors = name === '' ? [required(`${path}.name`)] : []
  if (!['Group', 'ServiceAccount', 'User'].includes(kind)) {
    errors.push(notSupported(`${path}.kind`, kind, ['Group', 'ServiceAccount', 'User']))
  }
  if (kind === 'ServiceAccount' && namespace === '') errors.push(required(`${path}.namespace`))
  return errors
}

function validateRules(rules: readonly PolicyRule[]): FieldError[] {
  return rules.flatMap(({ verbs, apiGroups = [], resources = [], nonResourceURLs = [] }, index) => {
    const path = `rules[${index}]`
    if (verbs.length === 0) return [required(`${path}.verbs`, 'verbs must contain at least one value')]
    if (nonResourceURLs.length > 0) return []
    return [
      ...(apiGroups.length === 0
        ? [required(`${path}.apiGroups`, 'resource rules must supply at least one api group')]
        : []),
      ...(resources.length === 0
        ? [required(`${path}.resources`, 'resource rules must supply at least one resource')]
        : []),
    ]
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
