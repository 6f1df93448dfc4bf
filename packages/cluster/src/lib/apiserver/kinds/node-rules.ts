import { isIP } from 'node:net'

import type { Node, Taint } from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../status.ts'
import { validateCidr } from './addresses.ts'
import { duplicate, forbidden, invalid, required, unsupported } from './field-errors.ts'
import { labelValue, qualifiedName } from './names.ts'
import { effects } from './tolerations.ts'

/** What is wrong with a node; what it was given once, such as its addresses for pods, stays. */
export function validateNode({ spec = {} }: Node, old?: Node): FieldError[] {
  // The path of taints is upstream's slip; clients may look for it.
  const taints = validateTaints(spec.taints ?? [], 'metadata.taints')
  return [
    ...taints,
    ...validateCidrs(spec.podCIDRs ?? []),
    ...(old === undefined ? [] : validateChange(spec, old.spec)),
  ]
}

function validateTaints(taints: readonly Taint[], path: string): FieldError[] {
  return taints.flatMap((taint, index) => {
    const { key, value = '', effect } = taint
    const field = `${path}[${index}]`
    const isRepeated = taints.slice(0, index).some((other) => other.key === key && other.effect === effect)
    return [
      ...qualifiedName(`${field}.key`, key),
      ...labelValue(`${field}.value`, value),
      ...validateEffect(effect, `${field}.effect`),
      ...(isRepeated ? [repeated(field, taint)] : []),
    ]
  })
}

function repeated(field: string, taint: Taint): FieldError {
  const error = duplicate(field, taint)
  return { ...error, message: `${error.message}: taints must be unique by key and effect pair` }
}

function validateEffect(effect: string, field: string): FieldError[] {
  if (effect === '') return [required(field)]
  return effects.includes(effect) ? [] : [unsupported(field, effect, effects)]
}

function validateCidrs(cidrs: readonly string[]): FieldError[] {
  const errors = cidrs.flatMap((cidr, index) => validateCidr(cidr, `spec.podCIDRs[${index}]`))
  const families = cidrs.map((cidr) => isIP(cidr.split('/')[0] ?? ''))
  if (new Set(families).size === cidrs.length && cidrs.length < 3) return errors
  return [...errors, invalid('spec.podCIDRs', cidrs, 'may specify no more than one CIDR for each IP family')]
}

type Spec = NonNullable<Node['spec']>

function validateChange(spec: Spec, old: Spec = {}): FieldError[] {
  const errors: FieldError[] = []
  const before = old.podCIDRs ?? []
  const isSame =
    before.length === (spec.podCIDRs ?? []).length && before.every((cidr, at) => cidr === spec.podCIDRs?.[at])
  const fromNothing = 'except from "" to valid'
  if (before.length > 0 && !isSame) {
    errors.push(forbidden('spec.podCIDRs', `node updates may not change podCIDR ${fromNothing}`))
  }
  if ((old.providerID ?? '') !== '' && spec.providerID !== old.providerID) {
    errors.push(forbidden('spec.providerID', `node updates may not change providerID ${fromNothing}`))
  }
  if ((spec.externalID ?? '') !== (old.externalID ?? ''))
    errors.push(forbidden('spec.externalID', 'may not be updated'))
  return errors
}
