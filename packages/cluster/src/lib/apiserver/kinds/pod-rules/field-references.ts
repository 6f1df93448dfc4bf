import type { ObjectFieldSelector, ResourceFieldSelector } from '@fairlead/kube/types/core-v1'
import { parseQuantity } from '@fairlead/kube/types'

import type { FieldError } from '../../status.ts'
import { invalid, notSupported, required } from '../field-errors.ts'
import { qualifiedName } from '../names.ts'

const ofMetadata = ['metadata.name', 'metadata.namespace', 'metadata.uid']

/** Fields of a pod that a variable may show. */
export const fieldsOfEnvironment: readonly string[] = [
  ...ofMetadata,
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
]

/** Fields of a pod that a file may show. */
export const fieldsOfVolumes: readonly string[] = [...ofMetadata, 'metadata.annotations', 'metadata.labels']

/** Every field the downward API knows, wherever it may be shown. */
const known = new Set([
  ...fieldsOfEnvironment,
  ...fieldsOfVolumes,
  'spec.restartPolicy',
  'spec.schedulerName',
  'status.phase',
])

/** What is wrong with a reference to a field of the pod, where `allowed` may be shown. */
export function validateFieldReference(
  { apiVersion = '', fieldPath }: ObjectFieldSelector,
  allowed: readonly string[],
  path: string,
  errors: FieldError[],
): void {
  if (apiVersion === '') errors.push(required(`${path}.apiVersion`))
  else if (fieldPath === '') errors.push(required(`${path}.fieldPath`))
  else if (apiVersion !== 'v1') {
    const why = `error converting fieldPath: unsupported pod version: ${apiVersion}`
    errors.push(invalid(`${path}.fieldPath`, fieldPath, why))
  } else validateKnown(fieldPath, allowed, path, errors)
}

function validateKnown(fieldPath: string, allowed: readonly string[], path: string, errors: FieldError[]): void {
  const [, map, key = ''] = /^(.+?)\['(.*)'\]$/.exec(fieldPath) ?? []
  const field = `${path}.fieldPath`
  if (map === 'metadata.annotations') errors.push(...qualifiedName(path, key.toLowerCase()))
  else if (map === 'metadata.labels') errors.push(...qualifiedName(path, key))
  else if (map !== undefined) {
    const why = `error converting fieldPath: field label does not support subscript: ${fieldPath}`
    errors.push(invalid(field, fieldPath, why))
  } else if (!known.has(fieldPath)) {
    errors.push(invalid(field, fieldPath, `error converting fieldPath: field label not supported: ${fieldPath}`))
  } else if (!allowed.includes(fieldPath)) errors.push(notSupported(field, fieldPath, allowed))
}

const amounts = ['cpu', 'ephemeral-storage', 'memory'].flatMap((name) => [`limits.${name}`, `requests.${name}`])
const ofBytes = '1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei'
const divisorsOfBytes = new Set(ofBytes.split(', ').map((each) => parseQuantity(each)))

/** What is wrong with a reference to a limit or request of a container; a file has to say of which. */
export function validateContainerField(
  { containerName = '', resource, divisor }: ResourceFieldSelector,
  place: 'environment' | 'volume',
  path: string,
  errors: FieldError[],
): void {
  const isHugePages = resource.startsWith('limits.hugepages-') || resource.startsWith('requests.hugepages-')
  if (place === 'volume' && containerName === '') errors.push(required(`${path}.containerName`))
  else if (resource === '') errors.push(required(`${path}.resource`))
  else if (!amounts.includes(resource) && !isHugePages) {
    errors.push(notSupported(`${path}.resource`, resource, amounts))
  }
  const asked = parseQuantity(divisor ?? '0') ?? 0
  if (asked !== 0) errors.push(...validateDivisor(resource, asked, `${path}.divisor`))
}

function validateDivisor(resource: string, divisor: number, field: string): FieldError[] {
  const name = resource.slice(resource.indexOf('.') + 1)
  if (name === 'cpu') {
    if (divisor === 1 || divisor === 0.001) return []
    return [invalid(field, resource, "only divisor's values 1m and 1 are supported with the cpu resource")]
  }
  const what = unitsOf(name)
  if (what === undefined || divisorsOfBytes.has(divisor)) return []
  return [invalid(field, resource, `only divisor's values ${ofBytes} are supported with the ${what} resource`)]
}

function unitsOf(name: string): string | undefined {
  if (name === 'memory') return 'memory'
  if (name === 'ephemeral-storage') return 'local ephemeral storage'
  return name.startsWith('hugepages-') ? 'hugepages' : undefined
}
