import { isIP } from 'node:net'

import type { PodDNSConfig, PodSpec, PodTemplateSpec } from '@fairlead/kube/types/core-v1'

import { duplicate, forbidden, invalid, required, unsupported } from './field-errors.ts'
import { annotationKeys, dnsLabel, dnsSubdomain, dnsSubdomainWithUnderscore, labels, qualifiedName } from './names.ts'
import { validateContainers, validateHostNetwork, validateOfPod } from './pod-rules/containers.ts'
import { validateAffinity, validateSpread } from './pod-rules/placement.ts'
import { validatePodClaims, validatePodResources, validateResources } from './pod-rules/resources.ts'
import { validateOs, validatePodSecurity } from './pod-rules/security.ts'
import { validateVolumes } from './pod-rules/volumes.ts'
import { validateTolerations } from './tolerations.ts'
import type { FieldError } from '../status.ts'

/**
 * What upstream refuses in a pod spec (ValidatePodSpec of pkg/apis/core/validation); `path` is where it stands (`spec`,
 * `spec.template.spec`). Nearly every write is right: what finds nothing must cost nothing, so findings are added to one list.
 */
export function validatePodSpec(
  spec: PodSpec | undefined,
  path: string,
  place: 'pod' | 'template' = 'pod',
): FieldError[] {
  if (spec === undefined) return [required(`${path}.containers`)]
  const errors: FieldError[] = []
  const { volumes, resourceClaims, affinity, tolerations, topologySpreadConstraints: spread, overhead } = spec
  if (volumes !== undefined) validateVolumes(volumes, spec, place, `${path}.volumes`, errors)
  if (resourceClaims !== undefined) validatePodClaims(resourceClaims, `${path}.resourceClaims`, errors)
  validateContainers(spec, path, errors)
  if (place === 'pod') validateOfPod(spec, path, errors)
  validateHostNetwork(spec, place, path, errors)
  validatePodResources(spec, `${path}.resources`, errors)
  if (overhead !== undefined) validateResources({ limits: overhead }, [], `${path}.overhead`, errors)
  validatePodSecurity(spec, path, errors)
  validateOs(spec, path, errors)
  if (affinity !== undefined) validateAffinity(affinity, `${path}.affinity`, errors)
  if (spread !== undefined) validateSpread(spread, `${path}.topologySpreadConstraints`, errors)
  if (tolerations !== undefined)
    for (const error of validateTolerations(tolerations, `${path}.tolerations`)) errors.push(error)
  validatePolicies(spec, path, errors)
  validateNames(spec, path, errors)
  validateGates(spec, path, errors)
  return errors
}

/** A template: its labels, its spec, and that it restarts its containers as its owner needs. */
export function validatePodTemplate(
  template: PodTemplateSpec | undefined,
  path: string,
  restartPolicies: readonly string[],
): FieldError[] {
  const { metadata, spec } = template ?? {}
  const policy = spec?.restartPolicy ?? ''
  const errors = labels(`${path}.labels`, metadata?.labels)
  errors.push(...annotationKeys(`${path}.annotations`, metadata?.annotations))
  for (const error of validatePodSpec(spec, `${path}.spec`, 'template')) errors.push(error)
  if ((spec?.ephemeralContainers ?? []).length > 0) {
    errors.push(forbidden(`${path}.spec.ephemeralContainers`, 'ephemeral containers not allowed in pod template'))
  }
  if (podRestartPolicies.includes(policy) && !restartPolicies.includes(policy)) {
    errors.push(unsupported(`${path}.spec.restartPolicy`, policy, restartPolicies))
  }
  return errors
}

const podRestartPolicies = ['Always', 'OnFailure', 'Never']
const dnsPolicies = ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None']
const preemptionPolicies = ['PreemptLowerPriority', 'Never']

function validatePolicies(spec: PodSpec, path: string, errors: FieldError[]): void {
  for (const [key, allowed] of [
    ['restartPolicy', podRestartPolicies],
    ['dnsPolicy', dnsPolicies],
    ['preemptionPolicy', preemptionPolicies],
  ] as const) {
    const value = spec[key] ?? ''
    if (value !== '' && !allowed.includes(value)) errors.push(unsupported(`${path}.${key}`, value, allowed))
  }
  const { activeDeadlineSeconds: deadline, dnsConfig, dnsPolicy } = spec
  if (deadline !== undefined && (deadline < 1 || deadline > 2_147_483_647)) {
    const why = 'must be between 1 and 2147483647, inclusive'
    errors.push(invalid(`${path}.activeDeadlineSeconds`, deadline, why))
  }
  if (dnsPolicy === 'None' && dnsConfig === undefined) {
    errors.push(required(`${path}.dnsConfig`, 'must provide `dnsConfig` when `dnsPolicy` is None'))
  }
  if (dnsConfig !== undefined) validateDns(dnsConfig, dnsPolicy, `${path}.dnsConfig`, errors)
}

const mostServers = 3
const mostSearches = 32
const longestSearches = 2048
const badAddress = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'

function validateDns(config: PodDNSConfig, policy: string | undefined, path: string, errors: FieldError[]): void {
  const { nameservers = [], searches = [], options = [] } = config
  const field = `${path}.nameservers`
  if (policy === 'None' && nameservers.length === 0) {
    errors.push(required(field, 'must provide at least one DNS nameserver when `dnsPolicy` is None'))
    return
  }
  if (nameservers.length > mostServers) {
    errors.push(invalid(field, nameservers, `must not have more than ${mostServers} nameservers`))
  }
  nameservers.forEach((server, index) => {
    if (isIP(server) === 0) errors.push(invalid(`${field}[${index}]`, server, badAddress))
  })
  if (searches.length > mostSearches) {
    errors.push(invalid(`${path}.searches`, searches, `must not have more than ${mostSearches} search paths`))
  }
  if (searches.join(' ').length > longestSearches) {
    const why = `must not have more than ${longestSearches} characters (including spaces) in the search list`
    errors.push(invalid(`${path}.searches`, searches, why))
  }
  searches.forEach((search, index) => {
    if (search !== '.')
      errors.push(...dnsSubdomainWithUnderscore(`${path}.searches[${index}]`, search.replace(/\.$/, '')))
  })
  options.forEach(({ name = '' }, index) => {
    if (name === '') errors.push(required(`${path}.options[${index}]`, 'must not be empty'))
  })
}

const subdomains = ['nodeName', 'serviceAccountName', 'priorityClassName', 'runtimeClassName'] as const
const dnsNames = ['hostname', 'subdomain'] as const

function validateNames(spec: PodSpec, path: string, errors: FieldError[]): void {
  for (const key of subdomains) {
    const value = spec[key] ?? ''
    if (value !== '') for (const error of dnsSubdomain(`${path}.${key}`, value)) errors.push(error)
  }
  for (const key of dnsNames) {
    const value = spec[key] ?? ''
    if (value !== '') errors.push(...dnsLabel(`${path}.${key}`, value))
  }
  const { hostnameOverride, hostNetwork, nodeSelector, hostAliases } = spec
  if (hostnameOverride !== undefined) {
    const field = `${path}.hostnameOverride`
    errors.push(...dnsSubdomain(field, hostnameOverride))
    if (hostNetwork === true) errors.push(forbidden(field, 'may not be specified when hostNetwork is true'))
  }
  if (nodeSelector !== undefined) errors.push(...labels(`${path}.nodeSelector`, nodeSelector))
  hostAliases?.forEach(({ ip, hostnames = [] }, index) => {
    const place = `${path}.hostAliases[${index}]`
    if (isIP(ip) === 0) errors.push(invalid(`${place}.ip`, ip, badAddress))
    hostnames.forEach((name, at) => errors.push(...dnsSubdomain(`${place}.hostnames[${at}]`, name)))
  })
}

function validateGates(spec: PodSpec, path: string, errors: FieldError[]): void {
  const { readinessGates, schedulingGates, nodeName = '' } = spec
  readinessGates?.forEach(({ conditionType }, index) =>
    errors.push(...qualifiedName(`${path}.readinessGates[${index}].conditionType`, conditionType)),
  )
  if (schedulingGates === undefined || schedulingGates.length === 0) return
  const seen = new Set<string>()
  schedulingGates.forEach(({ name }, index) => {
    const field = `${path}.schedulingGates[${index}]`
    errors.push(...qualifiedName(field, name))
    if (seen.has(name)) errors.push(duplicate(field, name))
    seen.add(name)
  })
  if (nodeName !== '') {
    errors.push(forbidden(`${path}.nodeName`, 'cannot be set until all schedulingGates have been cleared'))
  }
}
