import { isIP } from 'node:net'

import type { IPAddress, ParentReference, ServiceCIDR } from '@fairlead/kube/types/networking-v1'

import { isEqual } from '../metadata.ts'
import type { FieldError } from '../status.ts'
import { defineRules } from './define.ts'
import type { Rules } from './define.ts'
import { immutable, invalid, required } from './field-errors.ts'
import { dnsSubdomain, pathSegment } from './names.ts'

export const ipAddress: Rules = defineRules<IPAddress>({
  validate({ spec }, old) {
    const parent = spec?.parentRef
    if (old !== undefined) return immutable('spec.parentRef', parent, isEqual(parent, old.spec?.parentRef))
    return spec?.parentRef === undefined ? [required('spec.parentRef')] : validateParent(spec.parentRef)
  },
})

function validateParent({ group = '', resource, name, namespace = '' }: ParentReference): FieldError[] {
  const path = 'spec.parentRef'
  return [
    ...(group === '' ? [] : dnsSubdomain(`${path}.group`, group)),
    ...(resource === '' ? [required(`${path}.resource`)] : pathSegment(`${path}.resource`, resource)),
    ...(name === '' ? [required(`${path}.name`)] : pathSegment(`${path}.name`, name)),
    ...(namespace === '' ? [] : pathSegment(`${path}.namespace`, namespace)),
  ]
}

export const serviceCidr: Rules = defineRules<ServiceCIDR>({
  validate({ spec }, old) {
    const cidrs = spec?.cidrs ?? []
    const before = old?.spec?.cidrs
    if (before === undefined) return validateCidrs(cidrs)
    const field = 'spec.cidrs'
    const isGrown = before.length === 1 && cidrs.length === 2
    if (cidrs.length !== before.length && !isGrown) return immutable(field, cidrs, false)
    const changed = before.flatMap((cidr, index) =>
      immutable(`${field}[${index}]`, cidrs[index], cidr === cidrs[index]),
    )
    return isGrown ? [...changed, ...validateCidrs(cidrs)] : changed
  },
})

function validateCidrs(cidrs: readonly string[]): FieldError[] {
  const field = 'spec.cidrs'
  if (cidrs.length === 0) return [required(field, 'at least one CIDR required')]
  if (cidrs.length > 2) return [invalid(field, { cidrs }, 'may only hold up to 2 values')]
  const errors = cidrs.flatMap((cidr, index) => validateCidr(cidr, `${field}[${index}]`))
  const [first = '', second] = cidrs
  if (second === undefined || familyOf(first) !== familyOf(second) || familyOf(first) === 0) return errors
  const why = 'may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64'
  return [...errors, invalid(field, cidrs, why)]
}

function familyOf(cidr: string): number {
  return isIP(cidr.split('/')[0] ?? '')
}

export function validateCidr(cidr: string, field: string): FieldError[] {
  const [address = '', length = '', ...more] = cidr.split('/')
  const family = isIP(address)
  const isNumber = /^\d{1,3}$/.test(length) && more.length === 0
  if (family !== 0 && isNumber && Number(length) <= (family === 4 ? 32 : 128)) return []
  return [invalid(field, cidr, 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)')]
}
