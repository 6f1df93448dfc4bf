import type { JSONSchemaProps, ValidationRule } from '@fairlead/kube/types/apiextensions-v1'

import { invalid, notSupported, required } from '../kinds/field-errors.ts'
import type { FieldError } from '../status.ts'
import { at, child } from './field-path.ts'
import { findField } from './rule-field.ts'

const reasons = ['FieldValueDuplicate', 'FieldValueForbidden', 'FieldValueInvalid', 'FieldValueRequired']

/** What can be wrong with the validation rules of a schema before they are read as CEL. */
export function checkRuleTexts(schema: JSONSchemaProps, path: string): FieldError[] {
  const rules = schema['x-kubernetes-validations'] ?? []
  return rules.flatMap((rule, index) => checkRule(schema, rule, at(child(path, 'x-kubernetes-validations'), index)))
}

function checkRule(schema: JSONSchemaProps, rule: ValidationRule, path: string): FieldError[] {
  const { message = '', messageExpression = '', fieldPath = '', reason } = rule
  const errors = checkMessage(rule, message, path)
  if (messageExpression !== '' && messageExpression.trim() === '') {
    errors.push(required(child(path, 'messageExpression'), 'messageExpression must be non-empty if specified'))
  }
  if (reason !== undefined && !reasons.includes(reason)) {
    errors.push(notSupported(child(path, 'reason'), reason, reasons))
  }
  const field = child(path, 'fieldPath')
  if (fieldPath !== '' && fieldPath.trim() === '')
    errors.push(invalid(field, fieldPath, 'must be non-empty if specified'))
  if (hasLineBreak(fieldPath)) errors.push(invalid(field, fieldPath, 'must not contain line breaks'))
  if (fieldPath !== '' && findField(schema, fieldPath) === undefined) {
    errors.push(invalid(field, fieldPath, 'must be a valid path'))
  }
  return errors
}

function checkMessage({ rule }: ValidationRule, message: string, path: string): FieldError[] {
  const field = child(path, 'message')
  if (rule.trim() === '') return [required(child(path, 'rule'), 'rule is not specified')]
  if (message !== '' && message.trim() === '') return [invalid(field, message, 'must be non-empty if specified')]
  if (hasLineBreak(message.trim())) return [invalid(field, message, 'must not contain line breaks')]
  if (!hasLineBreak(rule.trim()) || message.trim() !== '') return []
  return [required(field, 'message must be specified if rule contains line breaks')]
}

function hasLineBreak(text: string): boolean {
  return /[\n\r]/.test(text)
}
