import type {
  CounterSet,
  Device,
  DeviceAttribute,
  DeviceCounterConsumption,
  ResourceSliceSpec,
} from '@fairlead/kube/types/resource-v1'

import { isEqual } from '../../metadata.ts'
import type { FieldError } from '../../status.ts'
import { immutable, invalid, required, tooLong, tooMany } from '../field-errors.ts'
import { csiDriverName, dnsLabel, dnsSubdomain } from '../names.ts'
import { validateNodeSelector } from '../pod-rules/placement.ts'
import { validateCapacity } from './capacity-rules.ts'
import { validateTaint } from './claim-rules.ts'
import { validateBinding } from './claim-status.ts'
import { attributeName, each, eachEntry, eachOnce, poolName } from './parts.ts'

const mostDevices = 128
const mostSpecialDevices = 64
const mostCounterSets = 8
const mostCounters = 32
const mostConsumptions = 2
const mostAttributes = 32
const mostTaints = 16
const longestValue = 64

/** What is wrong with devices that a driver offers. */
export function validateSlice(spec: ResourceSliceSpec, old: ResourceSliceSpec | undefined): FieldError[] {
  const { driver, pool, devices, sharedCounters } = spec
  return [
    ...csiDriverName('spec.driver', driver),
    ...validatePool(pool),
    ...(old === undefined ? [] : validateChange(spec, old)),
    ...validatePlaces(spec),
    ...(devices === undefined || sharedCounters === undefined
      ? []
      : [invalid('spec', '', 'only one of `sharedCounters` or `devices` is allowed')]),
    ...eachOnce(
      devices,
      (devices ?? []).some(isSpecial) ? mostSpecialDevices : mostDevices,
      'spec.devices',
      (device, field) => validateDevice(device, findDevice(old, device.name), spec, field),
      ({ name }) => name,
    ),
    ...eachOnce(sharedCounters, mostCounterSets, 'spec.sharedCounters', validateCounterSet, ({ name }) => name),
  ]
}

function isSpecial({ taints = [], consumesCounters = [] }: Device): boolean {
  return taints.length > 0 || consumesCounters.length > 0
}

function findDevice(spec: ResourceSliceSpec | undefined, name: string): Device | undefined {
  return spec?.devices?.find((device) => device.name === name)
}

function validatePool({ name, resourceSliceCount: count, generation }: ResourceSliceSpec['pool']): FieldError[] {
  return [
    ...poolName('spec.pool.name', name),
    ...(count > 0 ? [] : [invalid('spec.pool.resourceSliceCount', count, 'must be greater than zero')]),
    ...(generation >= 0 ? [] : [invalid('spec.pool.generation', generation, 'must be greater than or equal to zero')]),
  ]
}

function validateChange({ pool, driver, nodeName }: ResourceSliceSpec, old: ResourceSliceSpec): FieldError[] {
  return [
    ...immutable('spec.pool.name', pool.name, pool.name === old.pool.name),
    ...immutable('spec.driver', driver, driver === old.driver),
    ...immutable('spec.nodeName', nodeName, nodeName === old.nodeName),
  ]
}

const wanted = 'exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required'
const onlyTrue = 'must be either unset or set to true'

/** From which nodes the devices can be reached. */
function validatePlaces({ nodeName, nodeSelector, allNodes, perDeviceNodeSelection }: ResourceSliceSpec): FieldError[] {
  const errors: FieldError[] = []
  if (nodeName === '') {
    errors.push(invalid('spec.nodeName', nodeName, 'must be either unset or set to a non-empty string'))
  } else if (nodeName !== undefined) errors.push(...dnsSubdomain('spec.nodeName', nodeName))
  if (nodeSelector !== undefined) {
    const terms = nodeSelector.nodeSelectorTerms
    const field = 'spec.nodeSelector.nodeSelectorTerms'
    validateNodeSelector(nodeSelector, 'spec.nodeSelector', errors)
    if (terms.length !== 1) errors.push(invalid(field, terms, 'must have exactly one node selector term'))
  }
  for (const [key, value] of Object.entries({ allNodes, perDeviceNodeSelection })) {
    if (value === false) errors.push(invalid(`spec.${key}`, value, onlyTrue))
  }
  const set = namesOfSet({ nodeName, nodeSelector, allNodes, perDeviceNodeSelection })
  if (set.length === 0) errors.push(required('spec', wanted))
  if (set.length > 1) errors.push(invalid('spec', `{${set.join(', ')}}`, `${wanted}, but multiple fields are set`))
  return errors
}

function namesOfSet(places: Readonly<Record<string, unknown>>): string[] {
  const isSet = (value: unknown): boolean => value !== undefined && value !== '' && value !== false
  return Object.entries(places).flatMap(([name, value]) => (isSet(value) ? [`\`${name}\``] : []))
}

function validateDevice(device: Device, old: Device | undefined, spec: ResourceSliceSpec, field: string): FieldError[] {
  const { name, attributes = {}, capacity = {}, allowMultipleAllocations, taints, consumesCounters } = device
  const count = Object.keys(attributes).length + Object.keys(capacity).length
  const tooMuch = `the total number of attributes and capacities must not exceed ${mostAttributes}`
  const isShared = allowMultipleAllocations === true
  return [
    ...dnsLabel(`${field}.name`, name),
    ...(count > mostAttributes ? [invalid(field, count, tooMuch)] : []),
    ...eachEntry(attributes, `${field}.attributes`, attributeName, validateAttribute),
    ...eachEntry(capacity, `${field}.capacity`, attributeName, (each_, place) =>
      validateCapacity(each_, isShared, place),
    ),
    ...(old !== undefined && isEqual(old.taints, taints)
      ? []
      : each(taints, mostTaints, `${field}.taints`, validateTaint)),
    ...eachOnce(
      consumesCounters,
      mostConsumptions,
      `${field}.consumesCounters`,
      validateConsumption,
      ({ counterSet }) => counterSet,
    ),
    ...validatePlacesOfDevice(device, spec.perDeviceNodeSelection === true, field),
    ...validateBinding(device.bindingConditions, device.bindingFailureConditions, field),
  ]
}

function validatePlacesOfDevice(device: Device, isOwn: boolean, field: string): FieldError[] {
  const { nodeName, nodeSelector, allNodes } = device
  const places = '`nodeName`, `nodeSelector`'
  if (!isOwn) {
    if (nodeName === undefined && nodeSelector === undefined && allNodes === undefined) return []
    const why = `${places} and \`allNodes\` can only be set if \`perDeviceNodeSelection\` is set to true in the ResourceSlice spec`
    return [invalid(field, null, why)]
  }
  const errors: FieldError[] = []
  if (nodeName === '') errors.push(invalid(`${field}.nodeName`, nodeName, 'must not be empty'))
  else if (nodeName !== undefined) errors.push(...dnsSubdomain(`${field}.nodeName`, nodeName))
  if (nodeSelector !== undefined) validateNodeSelector(nodeSelector, `${field}.nodeSelector`, errors)
  if (allNodes === false) errors.push(invalid(`${field}.allNodes`, allNodes, onlyTrue))
  const set = namesOfSet({ nodeName, nodeSelector, allNodes })
  const why = `exactly one of ${places}, or \`allNodes\` is required when \`perDeviceNodeSelection\` is set to true in the ResourceSlice spec`
  if (set.length === 0) errors.push(required(field, why))
  if (set.length > 1) errors.push(invalid(field, `{${set.join(', ')}}`, why))
  return errors
}

const semver =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$/

function validateAttribute(attribute: DeviceAttribute, field: string): FieldError[] {
  const { string: text, version } = attribute
  const errors: FieldError[] = []
  if (text !== undefined && Buffer.byteLength(text) > longestValue)
    errors.push(tooLong(`${field}.string`, longestValue))
  if (version !== undefined) {
    const why = 'must be a string compatible with semver.org spec 2.0.0'
    if (!semver.test(version)) errors.push(invalid(`${field}.version`, version, why))
    if (version.length > longestValue) errors.push(tooLong(`${field}.version`, longestValue))
  }
  const set = Object.values(attribute).filter((value) => value !== undefined)
  if (set.length === 1) return errors
  return [...errors, invalid(field, set.length === 0 ? '' : attribute, 'exactly one value must be specified')]
}

function validateCounterSet({ name, counters }: CounterSet, field: string): FieldError[] {
  return [
    ...(name === '' ? [required(`${field}.name`)] : dnsLabel(`${field}.name`, name)),
    ...validateCounters(counters, `${field}.counters`),
  ]
}

function validateConsumption({ counterSet, counters }: DeviceCounterConsumption, field: string): FieldError[] {
  return [
    ...(counterSet === '' ? [required(`${field}.counterSet`)] : dnsLabel(`${field}.counterSet`, counterSet)),
    ...validateCounters(counters, `${field}.counters`),
  ]
}

function validateCounters(counters: Readonly<Record<string, unknown>>, field: string): FieldError[] {
  const names = Object.keys(counters)
  if (names.length === 0) return [required(field)]
  if (names.length > mostCounters) return [tooMany(field, names.length, mostCounters)]
  return names.flatMap((name) => dnsLabel(field, name))
}
