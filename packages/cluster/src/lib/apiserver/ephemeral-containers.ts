import { isDeepStrictEqual } from 'node:util'
import type { KubeObject } from '@fairlead/kube/types'
import type { EphemeralContainer, Pod } from '@fairlead/kube/types/core-v1'

import type { FieldError } from './status.ts'

const field = 'spec.ephemeralContainers'

/** What is wrong with the containers added to a pod: those that were there stay as they are, and names are new. */
export function validateEphemeral(object: KubeObject, current: KubeObject): FieldError[] {
  const { spec } = object as KubeObject & Pod
  const added = spec?.ephemeralContainers ?? []
  const before = (current as KubeObject & Pod).spec?.ephemeralContainers ?? []
  const changed = before.filter((old) => {
    const now = added.find(({ name }) => name === old.name)
    return now === undefined || !isDeepStrictEqual(now, old)
  })
  const taken = new Set([...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].map(({ name }) => name))
  const names = new Set(taken)
  return [
    ...changed.map(({ name }) => forbidden(`existing ephemeral containers "${name}" may not be changed`)),
    ...added.flatMap((container, index) => validateOne(container, index, names, taken)),
  ]
}

function validateOne(
  { name, image, targetContainerName }: EphemeralContainer,
  index: number,
  names: Set<string>,
  taken: ReadonlySet<string>,
): FieldError[] {
  const at = `${field}[${index}]`
  const errors: FieldError[] = []
  if (!name) errors.push(required(`${at}.name`))
  else if (names.has(name))
    errors.push({ field: `${at}.name`, reason: 'FieldValueDuplicate', message: `Duplicate value: "${name}"` })
  else if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) {
    const message = `Invalid value: "${name}": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'`
    errors.push({ field: `${at}.name`, reason: 'FieldValueInvalid', message })
  }
  names.add(name)
  if (!image) errors.push(required(`${at}.image`))
  if (targetContainerName && !taken.has(targetContainerName)) {
    const message = `Not found: "${targetContainerName}"`
    errors.push({ field: `${at}.targetContainerName`, reason: 'FieldValueNotFound', message })
  }
  return errors
}

function required(at: string): FieldError {
  return { field: at, reason: 'FieldValueRequired', message: 'Required value' }
}

function forbidden(why: string): FieldError {
  return { field, reason: 'FieldValueForbidden', message: `Forbidden: ${why}` }
}
