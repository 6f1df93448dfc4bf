import type { FieldError } from '../status.ts'
import { invalid } from './field-errors.ts'
import { qualifiedName } from './names.ts'

const ofContainers = ['cpu', 'memory', 'ephemeral-storage']
const counted = [
  'configmaps',
  'persistentvolumeclaims',
  'pods',
  'replicationcontrollers',
  'resourcequotas',
  'secrets',
  'services',
  'services.loadbalancers',
  'services.nodeports',
]
const ofQuotas: ReadonlySet<string> = new Set([
  ...ofContainers,
  ...ofContainers.flatMap((name) => [`requests.${name}`, `limits.${name}`]),
  'requests.storage',
  ...counted,
])

function isHugePages(name: string): boolean {
  return name.startsWith('hugepages-') || name.startsWith('requests.hugepages-')
}

/** Whether a name of a quota is one of Kubernetes' own. */
export function isStandardQuota(name: string): boolean {
  return ofQuotas.has(name) || isHugePages(name)
}

/** Whether amounts of it are whole numbers. */
export function isCounted(name: string): boolean {
  return counted.includes(name) || (name.includes('/') && !name.startsWith('count/') && !isNative(name))
}

function isNative(name: string): boolean {
  return !name.includes('/') || name.includes('kubernetes.io/')
}

/** Whether it is a resource of somebody else, of which nobody can have more than was promised. */
export function isExtended(name: string): boolean {
  return !isNative(name)
}

/** The name of a resource anywhere: one of Kubernetes' own, or with a domain before it. */
export function resourceName(field: string, name: string): FieldError[] {
  const errors = qualifiedName(field, name)
  if (errors.length > 0 || name.includes('/') || isStandardQuota(name) || name === 'storage') return errors
  return [invalid(field, name, 'must be a standard resource type or fully qualified')]
}

/** The name of a resource that containers may ask for. */
export function containerResourceName(field: string, name: string): FieldError[] {
  const errors = resourceName(field, name)
  if (ofContainers.includes(name) || name.startsWith('hugepages-')) return errors
  if (!name.includes('/')) return [...errors, invalid(field, name, 'must be a standard resource for containers')]
  if (isNative(name) || (errors.length === 0 && !name.startsWith('requests.'))) return errors
  return [...errors, invalid(field, name, "doesn't follow extended resource name standard")]
}

export function quotaName(field: string, name: string): FieldError[] {
  const errors = resourceName(field, name)
  if (name.includes('/') || isStandardQuota(name)) return errors
  return [...errors, invalid(field, name, 'must be a standard resource for quota')]
}

/** The name of a resource that others define, as `example.com/gpu`. */
export function extendedResource(field: string, name: string): FieldError[] {
  const isGood =
    isExtended(name) && !name.startsWith('requests.') && qualifiedName(field, `requests.${name}`).length === 0
  return isGood ? [] : [invalid(field, name, 'must be a valid extended resource name')]
}
