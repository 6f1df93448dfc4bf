import type {
  DeviceClaim,
  DeviceClassSpec,
  DeviceConstraint,
  DeviceRequest,
  DeviceSubRequest,
  DeviceTaint,
  DeviceToleration,
  ExactDeviceRequest,
} from '@fairlead/kube/types/resource-v1'

import { isEqual } from '../../metadata.ts'
import type { FieldError } from '../../status.ts'
import { invalid, notSupported, required, unsupported } from '../field-errors.ts'
import { dnsLabel, dnsSubdomain, labelKey, labelValue, qualifiedName } from '../names.ts'
import { extendedResource } from '../resource-names.ts'
import { each, eachOnce, fullAttributeName, mostConfigurations, mostResults, validateConfiguration } from './parts.ts'
import { validateSelectors } from './selectors.ts'

const mostConstraints = 32
const mostAlternatives = 8
const oneKind = 'exactly one of `exactly` or `firstAvailable` is required'

/** What is wrong with what a claim, or a template of claims, asks for. */
export function validateClaim(claim: DeviceClaim | undefined, field: string): FieldError[] {
  const { requests, constraints, config } = claim ?? {}
  const names = gatherNames(requests)
  return [
    ...eachOnce(requests, mostResults, `${field}.requests`, validateRequest, ({ name }) => name),
    ...each(constraints, mostConstraints, `${field}.constraints`, (constraint, place) =>
      validateConstraint(constraint, names, place),
    ),
    ...each(config, mostConfigurations, `${field}.config`, (each_, place) => [
      ...validateReferences(each_.requests, names, `${place}.requests`),
      ...validateConfiguration(each_, place),
    ]),
  ]
}

/** Names of requests, each with those of its alternatives. */
export type RequestNames = ReadonlyMap<string, ReadonlySet<string>>

export function gatherNames(requests: readonly DeviceRequest[] = []): RequestNames {
  return new Map(
    requests.map(({ name, firstAvailable = [] }) => [name, new Set(firstAvailable.map((each_) => each_.name))]),
  )
}

function validateRequest({ name, exactly, firstAvailable = [] }: DeviceRequest, field: string): FieldError[] {
  const errors = dnsLabel(`${field}.name`, name)
  const hasAlternatives = firstAvailable.length > 0
  if (exactly !== undefined && hasAlternatives) {
    return [...errors, invalid(field, null, `${oneKind}, but multiple fields are set`)]
  }
  if (exactly !== undefined) return [...errors, ...validateExact(exactly, `${field}.exactly`)]
  if (!hasAlternatives) return [...errors, required(field, oneKind)]
  const judge = (each_: DeviceSubRequest, place: string): FieldError[] => [
    ...dnsLabel(`${place}.name`, each_.name),
    ...validateExact(each_, place),
  ]
  return [
    ...errors,
    ...eachOnce(firstAvailable, mostAlternatives, `${field}.firstAvailable`, judge, (each_) => each_.name),
  ]
}

function validateExact(request: ExactDeviceRequest | DeviceSubRequest, field: string): FieldError[] {
  const { deviceClassName: className, selectors, tolerations = [] } = request
  const place = `${field}.deviceClassName`
  return [
    ...(className === '' ? [required(place)] : dnsSubdomain(place, className)),
    ...validateSelectors(selectors, `${field}.selectors`),
    ...validateCount(request, field),
    ...tolerations.flatMap((toleration, index) => validateToleration(toleration, `${field}.tolerations[${index}]`)),
  ]
}

function validateCount({ allocationMode: mode = '', count = 0 }: ExactDeviceRequest, field: string): FieldError[] {
  const place = `${field}.count`
  switch (mode) {
    case 'All':
      return count === 0 ? [] : [invalid(place, count, "must not be specified when allocationMode is 'All'")]
    case 'ExactCount':
      return count > 0 ? [] : [invalid(place, count, 'must be greater than zero')]
  }
  return [notSupported(`${field}.allocationMode`, mode, ['All', 'ExactCount'])]
}

function validateConstraint(constraint: DeviceConstraint, names: RequestNames, field: string): FieldError[] {
  const { requests, matchAttribute, distinctAttribute } = constraint
  const errors = validateReferences(requests, names, `${field}.requests`)
  if (matchAttribute !== undefined) {
    return [...errors, ...fullAttributeName(matchAttribute, `${field}.matchAttribute`)]
  }
  if (distinctAttribute !== undefined) {
    return [...errors, ...fullAttributeName(distinctAttribute, `${field}.distinctAttribute`)]
  }
  // As upstream words it, where none is set.
  const why = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
  return [...errors, required(field, why)]
}

export function validateReferences(
  requests: readonly string[] | undefined,
  names: RequestNames,
  field: string,
): FieldError[] {
  const judge = (name: string, place: string): FieldError[] => validateReference(name, names, place)
  return eachOnce(requests, mostResults, field, judge, (name) => name)
}

/** `request` or `request/alternative`. */
export function validateReference(reference: string, names: RequestNames, field: string): FieldError[] {
  const why = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
  const parts = reference.split('/')
  const [name = '', alternative] = parts
  if (parts.length > 2) return [invalid(field, reference, why)]
  const alternatives = names.get(name)
  const isKnown = alternatives !== undefined && (alternative === undefined || alternatives.has(alternative))
  return [...parts.flatMap((part) => dnsLabel(field, part)), ...(isKnown ? [] : [invalid(field, reference, why)])]
}

const effects = ['NoExecute', 'NoSchedule', 'None']

function validateToleration(toleration: DeviceToleration, field: string): FieldError[] {
  const { key = '', operator = '', value = '', effect = '' } = toleration
  const errors = key === '' ? [] : labelKey(`${field}.key`, key)
  if (operator === 'Exists') {
    if (value !== '') errors.push(invalid(`${field}.value`, value, 'must be empty for operator `Exists`'))
  } else if (operator === 'Equal') errors.push(...labelValue(`${field}.value`, value))
  else if (operator === '') errors.push(required(`${field}.operator`))
  else errors.push(unsupported(`${field}.operator`, operator, ['Equal', 'Exists']))
  if (effect !== '' && !effects.includes(effect)) errors.push(unsupported(`${field}.effect`, effect, effects))
  return errors
}

export function validateTaint({ key, value = '', effect }: DeviceTaint, field: string): FieldError[] {
  return [
    ...qualifiedName(`${field}.key`, key),
    ...(value === '' ? [] : labelValue(`${field}.value`, value)),
    ...(effect === ''
      ? [required(`${field}.effect`)]
      : effects.includes(effect)
        ? []
        : [unsupported(`${field}.effect`, effect, effects)]),
  ]
}

export function validateClass(spec: DeviceClassSpec, old: DeviceClassSpec | undefined): FieldError[] {
  const isKept = old !== undefined && isEqual(spec.config, old.config)
  const name = spec.extendedResourceName
  return [
    ...validateSelectors(spec.selectors, 'spec.selectors'),
    ...each(spec.config, mostConfigurations, 'spec.config', (config, field) =>
      validateConfiguration(config, field, isKept),
    ),
    ...(name === undefined ? [] : extendedResource('spec.extendedResourceName', name)),
  ]
}
