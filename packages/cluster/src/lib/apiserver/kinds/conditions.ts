import type { Condition } from '@fairlead/kube/types'

import type { FieldError } from '../status.ts'
import { duplicate, invalid, notSupported, required, tooLong } from './field-errors.ts'
import { qualifiedName } from './names.ts'

const longestReason = 1024
const longestMessage = 32 * 1024
const reasonPattern = /^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/
const reasonRule =
  "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"

/** What is wrong with conditions of the common form (`metav1.Condition`). */
export function validateConditions(conditions: readonly Condition[], field: string): FieldError[] {
  return conditions.flatMap((condition, index) => {
    const place = `${field}[${index}]`
    const isRepeated = conditions.slice(0, index).some(({ type }) => type === condition.type)
    return [...(isRepeated ? [duplicate(`${place}.type`, condition.type)] : []), ...validateCondition(condition, place)]
  })
}

function validateCondition(condition: Condition, field: string): FieldError[] {
  const { type, status, observedGeneration = 0, lastTransitionTime, reason, message } = condition
  const errors = qualifiedName(`${field}.type`, type)
  const allowed = ['False', 'True', 'Unknown']
  if (!allowed.includes(status)) errors.push(notSupported(`${field}.status`, status, allowed))
  if (observedGeneration < 0) {
    errors.push(invalid(`${field}.observedGeneration`, observedGeneration, 'must be greater than or equal to zero'))
  }
  if (lastTransitionTime === '') errors.push(required(`${field}.lastTransitionTime`))
  errors.push(...validateReason(reason, `${field}.reason`))
  if (Buffer.byteLength(message) > longestMessage) errors.push(tooLong(`${field}.message`, longestMessage))
  return errors
}

function validateReason(reason: string, field: string): FieldError[] {
  if (reason === '') return [required(field)]
  return [
    ...(reasonPattern.test(reason) ? [] : [invalid(field, reason, reasonRule)]),
    ...(reason.length > longestReason ? [tooLong(field, longestReason)] : []),
  ]
}
