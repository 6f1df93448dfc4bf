import type { EnvFromSource, EnvVar } from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../../status.ts'
import { invalid, required } from '../field-errors.ts'
import { configMapKey, dnsSubdomain, environmentName } from '../names.ts'
import { fieldsOfEnvironment, validateContainerField, validateFieldReference } from './field-references.ts'

/** Variables of a container. */
export function validateEnvironment(env: readonly EnvVar[], path: string, errors: FieldError[]): void {
  env.forEach(({ name, value = '', valueFrom }, index) => {
    const place = `${path}[${index}]`
    errors.push(...environmentName(`${place}.name`, name))
    if (valueFrom !== undefined) validateSource(valueFrom, value, `${place}.valueFrom`, errors)
  })
}

type Source = NonNullable<EnvVar['valueFrom']>

function validateSource(source: Source, value: string, path: string, errors: FieldError[]): void {
  const count = Object.values(source).filter((each) => each !== undefined).length
  if (source.fieldRef !== undefined) {
    validateFieldReference(source.fieldRef, fieldsOfEnvironment, `${path}.fieldRef`, errors)
  }
  if (source.resourceFieldRef !== undefined) {
    validateContainerField(source.resourceFieldRef, 'environment', `${path}.resourceFieldRef`, errors)
  }
  for (const kind of ['configMapKeyRef', 'secretKeyRef'] as const) {
    if (source[kind] !== undefined) validateKey(source[kind], `${path}.${kind}`, errors)
  }
  if (count === 0) errors.push(invalid(path, '', mustBeOne))
  else if (value !== '') errors.push(invalid(path, '', 'may not be specified when `value` is not empty'))
  if (count > 1) errors.push(invalid(path, '', 'may not have more than one field specified at a time'))
}

const mustBeOne =
  'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`'

function validateKey(
  { name = '', key }: { name?: string | undefined; key: string },
  path: string,
  errors: FieldError[],
): void {
  errors.push(...dnsSubdomain(`${path}.name`, name))
  errors.push(...(key === '' ? [required(`${path}.key`)] : configMapKey(`${path}.key`, key)))
}

/** Whole maps of variables. */
export function validateEnvironmentSources(
  sources: readonly EnvFromSource[],
  path: string,
  errors: FieldError[],
): void {
  sources.forEach(({ prefix = '', configMapRef, secretRef }, index) => {
    const place = `${path}[${index}]`
    if (prefix !== '') errors.push(...environmentName(`${place}.prefix`, prefix))
    if (configMapRef !== undefined) validateName(configMapRef.name, `${place}.configMapRef.name`, errors)
    if (secretRef !== undefined) validateName(secretRef.name, `${place}.secretRef.name`, errors)
    // Upstream tells both of the list, not of the entry.
    if (configMapRef === undefined && secretRef === undefined) {
      errors.push(invalid(path, '', 'must specify one of: `configMapRef` or `secretRef`'))
    } else if (configMapRef !== undefined && secretRef !== undefined) {
      errors.push(invalid(path, '', 'may not have more than one field specified at a time'))
    }
  })
}

function validateName(name: string | undefined, field: string, errors: FieldError[]): void {
  errors.push(...((name ?? '') === '' ? [required(field)] : dnsSubdomain(field, name ?? '')))
}
