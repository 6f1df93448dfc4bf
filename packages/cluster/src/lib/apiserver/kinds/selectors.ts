import type { LabelSelector } from '@fairlead/kube/types'

import { forbidden, invalid, invalidAsIs, required } from './field-errors.ts'
import { labelKey, labels } from './names.ts'
import type { FieldError } from '../status.ts'

const operators = ['In', 'NotIn', 'Exists', 'DoesNotExist']

/** What is wrong with a label selector. */
export function validateSelector(selector: LabelSelector, path: string): FieldError[] {
  return [
    ...labels(`${path}.matchLabels`, selector.matchLabels),
    ...(selector.matchExpressions ?? []).flatMap(({ key, operator, values = [] }, index) => {
      const place = `${path}.matchExpressions[${index}]`
      const errors = labelKey(`${place}.key`, key)
      if (!operators.includes(operator))
        return [...errors, invalid(`${place}.operator`, operator, 'not a valid selector operator')]
      const takesValues = operator === 'In' || operator === 'NotIn'
      if (takesValues && values.length === 0) {
        errors.push(required(`${place}.values`, "must be specified when `operator` is 'In' or 'NotIn'"))
      }
      if (!takesValues && values.length > 0) {
        errors.push(forbidden(`${place}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
      }
      return errors
    }),
  ]
}

/** The selector of a workload: it must select something, and first of all its own pods. */
export function validateWorkloadSelector(
  selector: LabelSelector | undefined,
  template: Readonly<Record<string, string>> | undefined,
  path: string,
  kind: 'daemonset' | 'deployment' | 'statefulset',
): FieldError[] {
  const field = `${path}.selector`
  if (selector === undefined) return [required(field)]
  const errors = validateSelector(selector, field)
  if (isEmpty(selector)) return [...errors, invalid(field, selector, `empty selector is invalid for ${kind}`)]
  const isRead = (selector.matchExpressions ?? []).every(({ operator }) => operators.includes(operator))
  if (!isRead && kind === 'deployment') errors.push(invalid(field, selector, 'invalid label selector'))
  if (!isRead && kind === 'statefulset') errors.push(invalidAsIs(field, selector))
  if (errors.length === 0 && !matchesSelector(selector, template ?? {})) {
    errors.push(
      invalid(`${path}.template.metadata.labels`, template ?? {}, '`selector` does not match template `labels`'),
    )
  }
  return errors
}

export function matchesSelector(selector: LabelSelector, given: Readonly<Record<string, string>>): boolean {
  const isMatch = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => given[key] === value)
  return (
    isMatch &&
    (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
      const value = given[key]
      if (operator === 'In') return value !== undefined && values.includes(value)
      if (operator === 'NotIn') return value === undefined || !values.includes(value)
      return operator === 'Exists' ? value !== undefined : value === undefined
    })
  )
}

function isEmpty({ matchLabels = {}, matchExpressions = [] }: LabelSelector): boolean {
  return Object.keys(matchLabels).length === 0 && matchExpressions.length === 0
}
