import type {
  Affinity,
  NodeSelector,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  PodAffinityTerm,
  TopologySpreadConstraint,
} from '@fairlead/kube/types/core-v1'
import type { LabelSelector } from '@fairlead/kube/types'

import type { FieldError } from '../../status.ts'
import { duplicate, forbidden, invalid, notSupported, oneOf, required } from '../field-errors.ts'
import { dnsLabel, dnsSubdomain, labelValue, qualifiedName } from '../names.ts'
import { validateSelector } from '../selectors.ts'

/** Where a pod wants to be: near what, away from what, on which nodes. */
export function validateAffinity(affinity: Affinity, path: string, errors: FieldError[]): void {
  const { nodeAffinity, podAffinity, podAntiAffinity } = affinity
  const required_ = 'requiredDuringSchedulingIgnoredDuringExecution'
  const preferred = 'preferredDuringSchedulingIgnoredDuringExecution'
  const terms = nodeAffinity?.[required_]?.nodeSelectorTerms
  if (terms !== undefined) validateNodeTerms(terms, `${path}.nodeAffinity.${required_}.nodeSelectorTerms`, errors)
  nodeAffinity?.[preferred]?.forEach(({ weight, preference }, index) => {
    const place = `${path}.nodeAffinity.${preferred}[${index}]`
    validateWeight(weight, place, errors)
    validateNodeTerm(preference, `${place}.preference`, errors)
  })
  for (const [key, each] of [
    ['podAffinity', podAffinity],
    ['podAntiAffinity', podAntiAffinity],
  ] as const) {
    each?.[required_]?.forEach((term, index) => validatePodTerm(term, `${path}.${key}.${required_}[${index}]`, errors))
    each?.[preferred]?.forEach(({ weight, podAffinityTerm }, index) => {
      const place = `${path}.${key}.${preferred}[${index}]`
      validateWeight(weight, place, errors)
      validatePodTerm(podAffinityTerm, `${place}.podAffinityTerm`, errors)
    })
  }
}

function validateWeight(weight: number, path: string, errors: FieldError[]): void {
  if (weight < 1 || weight > 100) errors.push(invalid(`${path}.weight`, weight, 'must be in the range 1-100'))
}

/** Terms of which a node has to fulfil one. */
export function validateNodeSelector(selector: NodeSelector, path: string, errors: FieldError[]): void {
  validateNodeTerms(selector.nodeSelectorTerms, `${path}.nodeSelectorTerms`, errors)
}

function validateNodeTerms(terms: readonly NodeSelectorTerm[], path: string, errors: FieldError[]): void {
  if (terms.length === 0) errors.push(required(path, 'must have at least one node selector term'))
  terms.forEach((term, index) => validateNodeTerm(term, `${path}[${index}]`, errors))
}

function validateNodeTerm(
  { matchExpressions, matchFields }: NodeSelectorTerm,
  path: string,
  errors: FieldError[],
): void {
  matchExpressions?.forEach((each, index) => validateExpression(each, `${path}.matchExpressions[${index}]`, errors))
  matchFields?.forEach((each, index) => validateFieldMatch(each, `${path}.matchFields[${index}]`, errors))
}

function validateExpression(
  { key, operator, values = [] }: NodeSelectorRequirement,
  path: string,
  errors: FieldError[],
): void {
  const field = `${path}.values`
  switch (operator) {
    case 'In':
    case 'NotIn':
      if (values.length === 0) {
        errors.push(required(field, "must be specified when `operator` is 'In' or 'NotIn'"))
      }
      break
    case 'Exists':
    case 'DoesNotExist':
      if (values.length > 0) {
        errors.push(forbidden(field, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
      }
      break
    case 'Gt':
    case 'Lt':
      if (values.length !== 1) {
        errors.push(required(field, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
      }
      break
    default:
      errors.push(invalid(`${path}.operator`, operator, 'not a valid selector operator'))
  }
  errors.push(...qualifiedName(`${path}.key`, key))
  values.forEach((value, index) => errors.push(...labelValue(`${field}[${index}]`, value)))
}

function validateFieldMatch(
  { key, operator, values = [] }: NodeSelectorRequirement,
  path: string,
  errors: FieldError[],
): void {
  if (operator !== 'In' && operator !== 'NotIn') {
    errors.push(invalid(`${path}.operator`, operator, 'not a valid selector operator'))
  } else if (values.length !== 1) {
    const why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
    errors.push(required(`${path}.values`, why))
  }
  if (key !== 'metadata.name') errors.push(invalid(`${path}.key`, key, 'not a valid field selector key'))
  else values.forEach((value, index) => errors.push(...dnsSubdomain(`${path}.values[${index}]`, value)))
}

function validatePodTerm(term: PodAffinityTerm, path: string, errors: FieldError[]): void {
  const { labelSelector, namespaceSelector, namespaces, topologyKey } = term
  if (labelSelector !== undefined) errors.push(...validateSelector(labelSelector, `${path}.labelSelector`))
  if (namespaceSelector !== undefined) errors.push(...validateSelector(namespaceSelector, `${path}.namespaceSelector`))
  for (const name of namespaces ?? []) errors.push(...dnsLabel(`${path}.namespace`, name))
  validateLabelKeys(term.matchLabelKeys ?? [], term.mismatchLabelKeys ?? [], labelSelector, path, errors)
  if (topologyKey === '') errors.push(required(`${path}.topologyKey`, 'can not be empty'))
  errors.push(...qualifiedName(`${path}.topologyKey`, topologyKey))
}

function validateLabelKeys(
  match: readonly string[],
  mismatch: readonly string[],
  selector: LabelSelector | undefined,
  path: string,
  errors: FieldError[],
): void {
  for (const [name, keys] of [
    ['matchLabelKeys', match],
    ['mismatchLabelKeys', mismatch],
  ] as const) {
    if (keys.length > 0 && selector === undefined) {
      errors.push(forbidden(`${path}.${name}`, 'must not be specified when labelSelector is not set'))
    }
    keys.forEach((key, index) => errors.push(...qualifiedName(`${path}.${name}[${index}]`, key)))
  }
  match.forEach((key, index) => {
    if (!mismatch.includes(key)) return
    const why = 'exists in both matchLabelKeys and mismatchLabelKeys'
    errors.push(invalid(`${path}.matchLabelKeys[${index}]`, key, why))
  })
}

/** How evenly the pods of a kind are to be spread. */
export function validateSpread(
  constraints: readonly TopologySpreadConstraint[],
  path: string,
  errors: FieldError[],
): void {
  constraints.forEach((constraint, index) => {
    const place = `${path}[${index}]`
    const { maxSkew, topologyKey, whenUnsatisfiable: policy, minDomains, labelSelector, matchLabelKeys } = constraint
    if (maxSkew <= 0) errors.push(invalid(`${place}.maxSkew`, maxSkew, 'must be greater than zero'))
    if (topologyKey === '') errors.push(required(`${place}.topologyKey`, 'can not be empty'))
    if (policy !== 'DoNotSchedule' && policy !== 'ScheduleAnyway') {
      errors.push(notSupported(`${place}.whenUnsatisfiable`, policy, ['DoNotSchedule', 'ScheduleAnyway']))
    }
    const isRepeated = constraints
      .slice(index + 1)
      .some((each) => each.topologyKey === topologyKey && each.whenUnsatisfiable === policy)
    if (isRepeated) {
      errors.push(duplicate(`${place}.{topologyKey, whenUnsatisfiable}`, `{${topologyKey}, ${policy}}`))
    }
    if (minDomains !== undefined) validateDomains(minDomains, policy, `${place}.minDomains`, errors)
    for (const key of ['nodeAffinityPolicy', 'nodeTaintsPolicy'] as const) {
      errors.push(...oneOf(`${place}.${key}`, constraint[key], ['Honor', 'Ignore']))
    }
    validateLabelKeys(matchLabelKeys ?? [], [], labelSelector, place, errors)
    if (labelSelector !== undefined) errors.push(...validateSelector(labelSelector, `${place}.labelSelector`))
  })
}

function validateDomains(count: number, policy: string, field: string, errors: FieldError[]): void {
  if (count <= 0) errors.push(invalid(field, count, 'must be greater than zero'))
  if (policy === 'DoNotSchedule') return
  const why = `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${policy}`
  errors.push(invalid(field, count, why))
}
