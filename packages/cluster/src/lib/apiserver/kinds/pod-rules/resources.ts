import { parseQuantity } from '@fairlead/kube/types'
import type {
  Container,
  ContainerResizePolicy,
  PodResourceClaim,
  PodSpec,
  ResourceRequirements,
} from '@fairlead/kube/types/core-v1'

import { podAmounts } from '../../admission/plugins/amounts.ts'
import type { FieldError } from '../../status.ts'
import { duplicate, forbidden, invalid, notSupported, required } from '../field-errors.ts'
import { dnsLabel, dnsSubdomain } from '../names.ts'
import { containerResourceName, isCounted, isExtended, resourceName } from '../resource-names.ts'

type Amounts = Readonly<Record<string, string>>

/** What a container asks for and may use. `claims` are the names of what its pod claims. */
export function validateResources(
  resources: ResourceRequirements,
  claims: readonly PodResourceClaim[],
  path: string,
  errors: FieldError[],
): void {
  const { limits = {}, requests = {} } = resources
  validateAmounts(limits, `${path}.limits`, containerResourceName, errors)
  validateAmounts(requests, `${path}.requests`, containerResourceName, errors)
  validateOvercommit(limits, requests, path, errors)
  const names = [...Object.keys(limits), ...Object.keys(requests)]
  const isHuge = names.some((name) => name.startsWith('hugepages-'))
  if (isHuge && !names.includes('cpu') && !names.includes('memory')) {
    errors.push(forbidden(path, 'HugePages require cpu or memory'))
  }
  if (resources.claims !== undefined) validateClaims(resources.claims, claims, `${path}.claims`, errors)
}

function validateAmounts(
  amounts: Amounts,
  path: string,
  nameRule: (field: string, name: string) => FieldError[],
  errors: FieldError[],
): void {
  for (const name in amounts) {
    const value = amounts[name] ?? '0'
    const amount = parseQuantity(value) ?? 0
    if (name !== 'cpu' && name !== 'memory') {
      const field = `${path}[${name}]`
      for (const error of nameRule(field, name)) errors.push(error)
      if (isCounted(name) && !Number.isInteger(amount)) errors.push(invalid(field, value, 'must be an integer'))
    }
    if (amount < 0) errors.push(invalid(`${path}[${name}]`, value, 'must be greater than or equal to 0'))
  }
}

/** More may be used than is asked for of what can be taken back; of everything else exactly that. */
function validateOvercommit(limits: Amounts, requests: Amounts, path: string, errors: FieldError[]): void {
  for (const name in requests) {
    const request = requests[name] ?? '0'
    const limit = limits[name]
    const isFixed = name !== 'cpu' && name !== 'memory' && (isExtended(name) || name.startsWith('hugepages-'))
    if (limit === undefined) {
      if (isFixed) errors.push(required(`${path}.limits`, 'Limit must be set for non overcommitable resources'))
      continue
    }
    const more = (parseQuantity(request) ?? 0) - (parseQuantity(limit) ?? 0)
    const field = `${path}.requests`
    if (isFixed && more !== 0) errors.push(invalid(field, request, `must be equal to ${name} limit of ${limit}`))
    else if (more > 0) errors.push(invalid(field, request, `must be less than or equal to ${name} limit of ${limit}`))
  }
}

function validateClaims(
  asked: NonNullable<ResourceRequirements['claims']>,
  claims: readonly PodResourceClaim[],
  path: string,
  errors: FieldError[],
): void {
  const seen = new Set<string>()
  const known = [...new Set(claims.map(({ name }) => name))]
  asked.forEach(({ name, request = '' }, index) => {
    const place = `${path}[${index}]`
    const key = request === '' ? name : `${name}/${request}`
    if (name === '') errors.push(required(place))
    else if (seen.has(key)) errors.push(duplicate(place, key))
    else if (!known.includes(name)) {
      const tail =
        known.length === 0
          ? 'pod.spec.resourceClaims which is empty'
          : `one of the names in pod.spec.resourceClaims: ${known.toSorted().join(', ')}`
      const message = `Not found: ${JSON.stringify(name)}: must be ${tail}`
      errors.push({ field: place, reason: 'FieldValueNotFound', message })
    }
    seen.add(key)
  })
}

/** What a pod claims of devices. */
export function validatePodClaims(claims: readonly PodResourceClaim[], path: string, errors: FieldError[]): void {
  const seen = new Set<string>()
  claims.forEach((claim, index) => {
    const place = `${path}[${index}]`
    const { name, resourceClaimName: byName, resourceClaimTemplateName: byTemplate } = claim
    if (seen.has(name)) errors.push(duplicate(`${place}.name`, name))
    else errors.push(...(name === '' ? [required(`${place}.name`)] : dnsLabel(`${place}.name`, name)))
    seen.add(name)
    if (byName !== undefined && byTemplate !== undefined) {
      const why = 'at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified'
      errors.push(invalid(place, claim, why))
    }
    if (byName === undefined && byTemplate === undefined) {
      errors.push(invalid(place, claim, 'must specify one of: `resourceClaimName`, `resourceClaimTemplateName`'))
    }
    if (byName !== undefined) errors.push(...dnsSubdomain(`${place}.resourceClaimName`, byName))
    if (byTemplate !== undefined) errors.push(...dnsSubdomain(`${place}.resourceClaimTemplateName`, byTemplate))
  })
}

/** Resources of the pod as a whole: enough for what its containers ask for, and no less than they may use. */
export function validatePodResources(spec: PodSpec, path: string, errors: FieldError[]): void {
  const { resources } = spec
  if (resources === undefined) return
  if (spec.os?.name === 'windows') {
    errors.push(forbidden(path, 'may not be set for a windows pod'))
    return
  }
  const { limits = {}, requests = {}, claims } = resources
  if (claims !== undefined) {
    errors.push(forbidden(`${path}.claims`, 'claims may not be set for Resources at pod-level'))
  }
  validateAmounts(limits, `${path}.limits`, podResourceName, errors)
  validateAmounts(requests, `${path}.requests`, podResourceName, errors)
  validateOvercommit(limits, requests, path, errors)
  const { resources: _whole, ...withoutWhole } = spec
  for (const [name, sum] of Object.entries(podAmounts(withoutWhole, 'requests'))) {
    const whole = requests[name]
    if (whole === undefined || sum <= (parseQuantity(whole) ?? 0)) continue
    const why = `must be greater than or equal to aggregate container requests of ${sum}`
    errors.push(invalid(`${path}.requests[${name}]`, whole, why))
  }
  spec.containers?.forEach((container, index) =>
    validateShare(container, limits, `${path}.containers[${index}]`, errors),
  )
}

function podResourceName(field: string, name: string): FieldError[] {
  const errors = resourceName(field, name)
  const isSupported = name === 'cpu' || name === 'memory' || name.startsWith('hugepages-')
  return errors.length > 0 || isSupported ? errors : [notSupported(field, name, ['cpu', 'memory'])]
}

function validateShare({ resources }: Container, limits: Amounts, path: string, errors: FieldError[]): void {
  for (const [name, limit] of Object.entries(resources?.limits ?? {})) {
    const whole = limits[name]
    if (whole === undefined || (parseQuantity(limit) ?? 0) <= (parseQuantity(whole) ?? 0)) continue
    errors.push(invalid(`${path}[${name}].limits`, limit, `must be less than or equal to pod limits of ${whole}`))
  }
}

const resizable = ['cpu', 'memory']
const resizePolicies = ['NotRequired', 'RestartContainer']

/** What a change of resources means for a container. */
export function validateResizePolicies(
  policies: readonly ContainerResizePolicy[],
  podRestartPolicy: string | undefined,
  path: string,
  errors: FieldError[],
): void {
  const seen = new Set<string>()
  policies.forEach(({ resourceName: resource, restartPolicy }, index) => {
    if (seen.has(resource)) errors.push(duplicate(`${path}[${index}]`, resource))
    seen.add(resource)
    if (resource === '') errors.push(required(path))
    else if (!resizable.includes(resource)) errors.push(notSupported(path, resource, resizable))
    if (restartPolicy === '') errors.push(required(path))
    else if (!resizePolicies.includes(restartPolicy)) errors.push(notSupported(path, restartPolicy, resizePolicies))
    if (podRestartPolicy === 'Never' && restartPolicy !== 'NotRequired') {
      const why = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
      errors.push(invalid(path, restartPolicy, why))
    }
  })
}
