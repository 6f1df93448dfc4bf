import { parseQuantity } from '@fairlead/kube/types'
import type { ResourceQuotaSpec, ScopedResourceSelectorRequirement } from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../status.ts'
import { invalid, required } from './field-errors.ts'
import { isCounted, isStandardQuota, quotaName } from './resource-names.ts'

const compute = ['cpu', 'memory', 'limits.cpu', 'limits.memory', 'requests.cpu', 'requests.memory']
const ofPods = ['Terminating', 'NotTerminating', 'NotBestEffort', 'PriorityClass', 'CrossNamespacePodAffinity']
const scopes = [...ofPods, 'BestEffort', 'VolumeAttributesClass']
const pairs = [
  ['BestEffort', 'NotBestEffort'],
  ['Terminating', 'NotTerminating'],
] as const

/** What is wrong with a quota; its scopes never change. */
export function validateQuota(spec: ResourceQuotaSpec, old: ResourceQuotaSpec | undefined): FieldError[] {
  const { hard = {}, scopeSelector } = spec
  return [
    ...Object.entries(hard).flatMap(([name, amount]) => validateAmount(name, amount, `spec.hard[${name}]`)),
    ...validateScopes(spec),
    ...(scopeSelector === undefined ? [] : validateSelector(spec, scopeSelector.matchExpressions ?? [])),
    ...(old === undefined || isSameSet(spec.scopes ?? [], old.scopes ?? [])
      ? []
      : [invalid('spec.scopes', spec.scopes ?? null, 'field is immutable')]),
  ]
}

function validateAmount(name: string, amount: string, field: string): FieldError[] {
  const number = parseQuantity(amount) ?? 0
  return [
    ...quotaName(field, name),
    ...(number < 0 ? [invalid(field, amount, 'must be greater than or equal to 0')] : []),
    ...(isCounted(name) && !Number.isInteger(number) ? [invalid(field, amount, 'must be an integer')] : []),
  ]
}

function suits(scope: string, name: string): boolean {
  if (ofPods.includes(scope)) return name === 'pods' || compute.includes(name)
  if (scope === 'BestEffort') return name === 'pods'
  return scope !== 'VolumeAttributesClass' || name === 'persistentvolumeclaims' || name === 'requests.storage'
}

/** The names of a quota that a scope says nothing of; each is a finding of its own. */
function unsuited({ hard = {} }: ResourceQuotaSpec, scope: string): string[] {
  return Object.keys(hard).filter((name) => isStandardQuota(name) && !suits(scope, name))
}

function validateScopes(spec: ResourceQuotaSpec): FieldError[] {
  const { scopes: given = [] } = spec
  const field = 'spec.scopes'
  return [
    ...given.flatMap((scope) => [
      ...(scopes.includes(scope) ? [] : [invalid(field, given, 'unsupported scope')]),
      ...unsuited(spec, scope).map(() => invalid(field, given, 'unsupported scope applied to resource')),
    ]),
    ...conflicts(given).map(() => invalid(field, given, 'conflicting scopes')),
  ]
}

function conflicts(given: readonly string[]): unknown[] {
  return pairs.filter((pair) => pair.every((scope) => given.includes(scope)))
}

function validateSelector(
  spec: ResourceQuotaSpec,
  expressions: readonly ScopedResourceSelectorRequirement[],
): FieldError[] {
  const field = 'spec.scopeSelector.matchExpressions'
  return [
    ...expressions.flatMap((expression) => [
      ...(scopes.includes(expression.scopeName)
        ? []
        : [invalid(`${field}.scopeName`, expression.scopeName, 'unsupported scope')]),
      ...unsuited(spec, expression.scopeName).map(() =>
        invalid(field, spec.scopeSelector, 'unsupported scope applied to resource'),
      ),
      ...validateExpression(expression, field),
    ]),
    ...conflicts(expressions.map(({ scopeName }) => scopeName)).map(() =>
      invalid(field, spec.scopes ?? null, 'conflicting scopes'),
    ),
  ]
}

const mustExist =
  "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
const byPresence = ['BestEffort', 'NotBestEffort', 'Terminating', 'NotTerminating', 'CrossNamespacePodAffinity']

function validateExpression(
  { scopeName, operator, values = [] }: ScopedResourceSelectorRequirement,
  field: string,
): FieldError[] {
  const errors: FieldError[] = []
  if (byPresence.includes(scopeName) && operator !== 'Exists') {
    errors.push(invalid(`${field}.operator`, operator, mustExist))
  }
  if (operator === 'In' || operator === 'NotIn') {
    const why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
    if (values.length === 0) errors.push(required(`${field}.values`, why))
  } else if (operator === 'Exists' || operator === 'DoesNotExist') {
    const why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
    if (values.length > 0) errors.push(invalid(`${field}.values`, values, why))
  } else errors.push(invalid(`${field}.operator`, operator, 'not a valid selector operator'))
  return errors
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.every((each) => b.includes(each)) && b.every((each) => a.includes(each))
}
