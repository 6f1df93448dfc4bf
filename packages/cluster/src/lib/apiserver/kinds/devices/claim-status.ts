import { isIP } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import type {
  AllocatedDeviceStatus,
  AllocationResult,
  DeviceAllocationConfiguration,
  DeviceRequestAllocationResult,
  NetworkDeviceData,
  ResourceClaim,
  ResourceClaimConsumerReference,
} from '@fairlead/kube/types/resource-v1'

import { isEqual } from '../../metadata.ts'
import type { FieldError } from '../../status.ts'
import { duplicate, forbidden, immutable, invalid, required, tooLong, tooMany, unsupported } from '../field-errors.ts'
import { validateConditions } from '../conditions.ts'
import { csiDriverName, dnsLabel, labelKey } from '../names.ts'
import { validateNodeSelector } from '../pod-rules/placement.ts'
import { gatherNames, validateReference, validateReferences } from './claim-rules.ts'
import type { RequestNames } from './claim-rules.ts'
import {
  each,
  eachOnce,
  mostConfigurations,
  mostResults,
  poolName,
  validateConfiguration,
  validateData,
} from './parts.ts'

const mostConsumers = 256
const mostConditions = 8
const mostAddresses = 16
const mostBindingConditions = 4

/** What is wrong with what became of a claim: whom it is kept for, which devices it has, what their drivers say. */
export function validateClaimStatus(object: ResourceClaim, old: ResourceClaim): FieldError[] {
  const { allocation, devices, reservedFor = [] } = object.status ?? {}
  const given = (allocation?.devices?.results ?? []).map(identityOf)
  const before = old.status?.allocation
  return [
    ...eachOnce(reservedFor, mostConsumers, 'status.reservedFor', validateConsumer, ({ uid }) => uid),
    ...eachOnce(devices, Infinity, 'status.devices', (each_, field) => validateDevice(each_, given, field), identityOf),
    ...validateReservations(object, old),
    ...(allocation === undefined
      ? []
      : before === undefined
        ? validateAllocation(allocation, gatherNames(object.spec.devices?.requests))
        : immutable('status.allocation', allocation, isEqual(allocation, before))),
  ]
}

/** What drivers said of devices that the claim no longer has. */
export function dropDeallocated({ status }: ResourceClaim, old: ResourceClaim): void {
  if (status?.devices === undefined) return
  const has = (claim: ResourceClaim['status'], device: AllocatedDeviceStatus): boolean =>
    (claim?.allocation?.devices?.results ?? []).some((each_) =>
      isDeepStrictEqual(identityOf(each_), identityOf(device)),
    )
  const kept = status.devices.filter((device) => has(status, device) || !has(old.status, device))
  if (kept.length === 0) delete status.devices
  else status.devices = kept
}

interface Identity {
  readonly driver: string
  readonly pool: string
  readonly device: string
  readonly shareID?: string | undefined
}

function identityOf({
  driver,
  pool,
  device,
  shareID,
}: AllocatedDeviceStatus | DeviceRequestAllocationResult): Identity {
  return { driver, pool, device, ...(shareID === undefined ? {} : { shareID }) }
}

function validateConsumer(consumer: ResourceClaimConsumerReference, field: string): FieldError[] {
  return (['resource', 'name', 'uid'] as const).flatMap((key) =>
    consumer[key] === '' ? [required(`${field}.${key}`)] : [],
  )
}

function validateReservations({ metadata, status }: ResourceClaim, old: ResourceClaim): FieldError[] {
  const { allocation, reservedFor = [] } = status ?? {}
  const field = 'status.reservedFor'
  if (reservedFor.length === 0) return []
  if (allocation === undefined) return [forbidden(field, 'may not be specified when `allocated` is not set')]
  const before = old.status?.reservedFor ?? []
  const isNew = reservedFor.some((each_) => !before.some((other) => isEqual(other, each_)))
  if (metadata?.deletionTimestamp === undefined || !isNew) return []
  const why = 'new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set'
  return [forbidden(field, why)]
}

function validateAllocation({ devices, nodeSelector }: AllocationResult, names: RequestNames): FieldError[] {
  const field = 'status.allocation'
  const errors: FieldError[] = [
    ...each(devices?.results, mostResults, `${field}.devices.results`, (result, place) =>
      validateResult(result, names, place),
    ),
    ...each(devices?.config, 2 * mostConfigurations, `${field}.devices.config`, (config, place) =>
      validateSource(config, names, place),
    ),
  ]
  if (nodeSelector !== undefined) validateNodeSelector(nodeSelector, `${field}.nodeSelector`, errors)
  return errors
}

const sources = ['FromClaim', 'FromClass']

function validateSource(config: DeviceAllocationConfiguration, names: RequestNames, field: string): FieldError[] {
  const { source, requests } = config
  return [
    ...(source === ''
      ? [required(`${field}.source`)]
      : sources.includes(source)
        ? []
        : [unsupported(`${field}.source`, source, sources)]),
    ...validateReferences(requests, names, `${field}.requests`),
    ...validateConfiguration(config, field),
  ]
}

function validateResult(result: DeviceRequestAllocationResult, names: RequestNames, field: string): FieldError[] {
  return [
    ...validateReference(result.request, names, `${field}.request`),
    ...validateIdentity(result, field),
    ...validateBinding(result.bindingConditions, result.bindingFailureConditions, field),
  ]
}

function validateIdentity({ driver, pool, device, shareID }: Identity, field: string): FieldError[] {
  return [
    ...csiDriverName(`${field}.driver`, driver),
    ...poolName(`${field}.pool`, pool),
    ...dnsLabel(`${field}.device`, device),
    ...(shareID === undefined ? [] : validateUid(shareID, `${field}.shareID`)),
  ]
}

const uid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

function validateUid(value: string, field: string): FieldError[] {
  if (uid.test(value)) return []
  if (!uid.test(value.toLowerCase())) {
    const why = value.length === 36 ? 'invalid UUID format' : `invalid UUID length: ${value.length}`
    return [invalid(field, value, `error validating uid: ${why}`)]
  }
  const why =
    'uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters'
  return [invalid(field, value, why)]
}

/** Conditions a device waits for, and those on which it is given up: both or none, and none in both. */
export function validateBinding(
  waits: readonly string[] = [],
  fails: readonly string[] = [],
  field: string,
): FieldError[] {
  const [one, other] = [`${field}.bindingConditions`, `${field}.bindingFailureConditions`]
  const judge = (name: string, place: string): FieldError[] => labelKey(place, name)
  const errors = [
    ...each(waits, mostBindingConditions, one, judge),
    ...each(fails, mostBindingConditions, other, judge),
  ]
  for (const [place, list] of [
    [one, waits],
    [other, fails],
  ] as const) {
    list.forEach((name, index) => {
      if (list.indexOf(name) < index) errors.push(duplicate(`${place}[${index}]`, name))
    })
  }
  fails.forEach((name, index) => {
    if (!waits.includes(name)) return
    errors.push(invalid(`${other}[${index}]`, name, 'bindingFailureConditions must not overlap with bindingConditions'))
  })
  if (waits.length === 0 && fails.length > 0) {
    errors.push(invalid(one, null, 'bindingConditions are required to use bindingFailureConditions'))
  }
  if (fails.length === 0 && waits.length > 0) {
    errors.push(invalid(other, null, 'bindingFailureConditions are required to use bindingConditions'))
  }
  return errors
}

function validateDevice(device: AllocatedDeviceStatus, given: readonly Identity[], field: string): FieldError[] {
  const identity = identityOf(device)
  const { conditions = [], data, networkData } = device
  const isGiven = given.some((each_) => isDeepStrictEqual(each_, identity))
  return [
    ...validateIdentity(device, field),
    ...(isGiven ? [] : [invalid(field, identity, 'must be an allocated device in the claim')]),
    ...(conditions.length > mostConditions ? [tooMany(`${field}.conditions`, conditions.length, mostConditions)] : []),
    ...validateConditions(conditions, `${field}.conditions`),
    ...(data === undefined ? [] : validateData(data, `${field}.data`)),
    ...(networkData === undefined ? [] : validateNetwork(networkData, `${field}.networkData`)),
  ]
}

function validateNetwork(
  { interfaceName = '', hardwareAddress = '', ips }: NetworkDeviceData,
  field: string,
): FieldError[] {
  return [
    ...(interfaceName.length > 256 ? [tooLong(`${field}.interfaceName`, 256)] : []),
    ...(hardwareAddress.length > 128 ? [tooLong(`${field}.hardwareAddress`, 128)] : []),
    ...eachOnce(ips, mostAddresses, `${field}.ips`, validateAddress, (address) => address),
  ]
}

function validateAddress(address: string, field: string): FieldError[] {
  const [host = '', bits = '', ...more] = address.split('/')
  const family = isIP(host)
  const isGood =
    family !== 0 && more.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)
  const why = 'must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)'
  return isGood ? [] : [invalid(field, address, why)]
}
