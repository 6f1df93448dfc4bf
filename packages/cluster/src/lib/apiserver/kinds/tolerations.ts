import type { Toleration } from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../status.ts'
import { invalid, unsupported } from './field-errors.ts'
import { labelKey, labelValue } from './names.ts'

/** Taints may have these effects; in the order in which upstream lists them. */
export const effects: readonly string[] = ['NoSchedule', 'PreferNoSchedule', 'NoExecute']

/** What is wrong with tolerations of taints. */
export function validateTolerations(tolerations: readonly Toleration[], path: string): FieldError[] {
  return tolerations.flatMap((toleration, index) => validateToleration(toleration, `${path}[${index}]`))
}

function validateToleration(toleration: Toleration, path: string): FieldError[] {
  const { key = '', operator = '', effect = '', tolerationSeconds } = toleration
  const errors = key === '' ? [] : labelKey(`${path}.key`, key)
  if (key === '' && operator !== 'Exists') {
    const why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
    errors.push(invalid(`${path}.operator`, operator, why))
  }
  if (tolerationSeconds !== undefined && effect !== 'NoExecute') {
    errors.push(invalid(`${path}.effect`, effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"))
  }
  errors.push(...validateValue(toleration, `${path}.operator`))
  if (effect !== '' && !effects.includes(effect)) errors.push(unsupported(`${path}.effect`, effect, effects))
  return errors
}

function validateValue({ operator = '', value = '' }: Toleration, field: string): FieldError[] {
  switch (operator) {
    case '':
    case 'Equal':
      return labelValue(field, value)
    case 'Exists':
      return value === '' ? [] : [invalid(field, value, "value must be empty when `operator` is 'Exists'")]
    case 'Lt':
    case 'Gt':
      // Comparisons of numbers are behind a feature gate that is off in 1.36.
      return [unsupported(field, operator, ['Equal', 'Exists', 'Lt', 'Gt'])]
  }
  return [unsupported(field, operator, ['Equal', 'Exists'])]
}
