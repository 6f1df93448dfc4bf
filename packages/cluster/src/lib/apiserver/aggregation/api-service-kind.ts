import type { APIService } from '@fairlead/kube/types/apiregistration-v1'

import { defineKind } from '../kinds/define.ts'
import { tables } from '../kinds/columns.ts'
import { invalid, required } from '../kinds/field-errors.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

const rules = defineKind<APIService>({
  default({ spec }) {
    if (spec?.service !== undefined) spec.service.port ??= 443
  },
  validate({ metadata, spec }) {
    if (spec === undefined) return [required('spec')]
    const { group = '', version = '', groupPriorityMinimum, versionPriority } = spec
    const expected = `${version}.${group}`
    const { name = '' } = metadata
    return [
      ...(name === expected
        ? []
        : [invalid('metadata.name', name, `must be \`spec.version+"."+spec.group\`: ${JSON.stringify(expected)}`)]),
      ...(version === '' ? [required('spec.version')] : []),
      ...(groupPriorityMinimum < 1 || groupPriorityMinimum > 20_000
        ? [invalid('spec.groupPriorityMinimum', groupPriorityMinimum, 'must be positive and less than 20000')]
        : []),
      ...(versionPriority < 1 || versionPriority > 1000
        ? [invalid('spec.versionPriority', versionPriority, 'must be positive and less than 1000')]
        : []),
      ...validatePlace(spec),
    ]
  },
  columns: [],
  row: () => [],
})

function validatePlace({
  service,
  caBundle = '',
  insecureSkipTLSVerify,
}: NonNullable<APIService['spec']>): FieldError[] {
  if (service === undefined) {
    return [
      ...(caBundle === '' ? [] : [invalid('spec.caBundle', '<hidden>', 'local APIServices may not have a caBundle')]),
      ...(insecureSkipTLSVerify === true
        ? [invalid('spec.insecureSkipTLSVerify', true, 'local APIServices may not have insecureSkipTLSVerify')]
        : []),
    ]
  }
  return [
    ...((service.namespace ?? '') === '' ? [required('spec.service.namespace')] : []),
    ...((service.name ?? '') === '' ? [required('spec.service.name')] : []),
    ...(insecureSkipTLSVerify === true && caBundle !== ''
      ? [invalid('spec.insecureSkipTLSVerify', true, 'may not be true if caBundle is present')]
      : []),
  ]
}

const table = tables.get('apiregistration.k8s.io/v1 APIService')

/** APIServices: which server answers for a group-version. */
export const apiService: KindStrategy =
  table === undefined ? rules : { ...table, ...rules, columns: table.columns, row: table.row.bind(table) }
