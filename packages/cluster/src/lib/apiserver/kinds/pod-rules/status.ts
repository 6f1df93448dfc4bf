import { isIP } from 'node:net'
import type {
  Container,
  ContainerStatus,
  Pod,
  PodCondition,
  PodExtendedResourceClaimStatus,
  PodSpec,
  PodStatus,
} from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../../status.ts'
import { duplicate, forbidden, immutable, invalid, required } from '../field-errors.ts'
import { dnsLabel, dnsSubdomain, qualifiedName } from '../names.ts'

const systemConditions = new Set(['PodScheduled', 'Ready', 'Initialized'])
const noMoreAddresses = 'may specify no more than one IP for each IP family'
const noCount = 'must be a non-negative integer'

/** What is wrong with a status written after another (ValidatePodStatusUpdate of upstream): the spec is not looked at again. */
export function validatePodStatus({ spec, status = {} }: Pod, old: Pod): FieldError[] {
  const before = old.status ?? {}
  const { observedGeneration = 0, qosClass = '' } = status
  const errors = validateConditions(status.conditions)
  errors.push(...validateNomination(status, before, old.spec))
  if (observedGeneration < 0) errors.push(invalid('status.observedGeneration', observedGeneration, noCount))
  errors.push(...immutable('status.qosClass', qosClass, qosClass === (before.qosClass ?? '')))
  validateTransitions(status, before, old.spec, errors)
  validateClaims(status, spec, errors)
  validateAddresses('podIPs', status.podIPs, before.podIPs, errors)
  validateHost(status, before, errors)
  validateUsers(status, spec, errors)
  return errors
}

function validateConditions(conditions: readonly PodCondition[] = []): FieldError[] {
  return conditions.flatMap(({ type, observedGeneration = 0 }, index) => {
    const field = `status.conditions[${index}]`
    return [
      ...(observedGeneration < 0 ? [invalid(`${field}.observedGeneration`, observedGeneration, noCount)] : []),
      // As upstream spells it.
      ...(systemConditions.has(type) ? [] : qualifiedName(`${field}.Type`, type)),
    ]
  })
}

function validateNomination(status: PodStatus, before: PodStatus, spec: PodSpec | undefined): FieldError[] {
  const field = 'status.nominatedNodeName'
  const { nominatedNodeName: name = '' } = status
  if (name === '' || name === before.nominatedNodeName) return []
  const isBound = (spec?.nodeName ?? '') !== ''
  const late = isBound ? [forbidden(field, 'may not be set on pods that are already bound to a node')] : []
  return [...dnsSubdomain(field, name), ...late]
}

/** A container that ended runs again only where its policy, or a rule, says so. */
function validateTransitions(
  status: PodStatus,
  before: PodStatus,
  spec: PodSpec = { containers: [] },
  errors: FieldError[],
): void {
  const { containers, initContainers = [], restartPolicy } = spec
  const mayAll = [...containers, ...initContainers].some(restartsAll)
  for (const [key, made] of [
    ['containerStatuses', containers],
    ['initContainerStatuses', initContainers],
    ['ephemeralContainerStatuses', []],
  ] as const) {
    if (mayAll && key !== 'ephemeralContainerStatuses') continue
    before[key]?.forEach(({ name, state }, index) => {
      const ended = state?.terminated
      if (ended === undefined) return
      const now = status[key]?.find((each) => each.name === name)
      if (now === undefined || now.state?.terminated !== undefined) return
      const container = made.find((each) => each.name === name)
      if (container !== undefined && restarts(container, restartPolicy, ended.exitCode)) return
      errors.push(forbidden(`status.${key}[${index}].state`, 'may not be transitioned to non-terminated state'))
    })
  }
}

function restartsAll({ restartPolicyRules = [] }: Container): boolean {
  return restartPolicyRules.some(({ action }) => action === 'RestartAllContainers')
}

function restarts(container: Container, policyOfPod: string | undefined, exitCode: number): boolean {
  const { restartPolicy, restartPolicyRules = [] } = container
  const isNamed = restartPolicyRules.some(({ exitCodes }) => {
    const isIn = exitCodes?.values?.includes(exitCode) === true
    return exitCodes !== undefined && (exitCodes.operator === 'NotIn' ? !isIn : isIn)
  })
  if (restartPolicy !== undefined && isNamed) return true
  const policy = restartPolicy ?? policyOfPod
  return policy === 'OnFailure' ? exitCode !== 0 : policy !== 'Never'
}

function validateClaims(status: PodStatus, spec: PodSpec | undefined, errors: FieldError[]): void {
  const seen = new Set<string>()
  status.resourceClaimStatuses?.forEach(({ name, resourceClaimName }, index) => {
    const field = `status.resourceClaimStatuses[${index}]`
    const isKnown = spec?.resourceClaims?.some((claim) => claim.name === name) === true
    if (!isKnown) {
      errors.push(invalid(`${field}.name`, name, 'must match the name of an entry in `spec.resourceClaims`'))
    }
    if (seen.has(name)) errors.push(duplicate(`${field}.name`, name))
    seen.add(name)
    if (resourceClaimName !== undefined) errors.push(...dnsSubdomain(`${field}.resourceClaimName`, resourceClaimName))
  })
  const { extendedResourceClaimStatus: extended } = status
  if (extended !== undefined) errors.push(...validateExtended(extended, spec))
}

function validateExtended(
  { requestMappings, resourceClaimName: claim }: PodExtendedResourceClaimStatus,
  spec: PodSpec | undefined,
): FieldError[] {
  const field = 'status.extendedResourceClaimStatus'
  const all = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])]
  const place = 'spec.initContainers.resources.requests or spec.containers.resources.requests'
  const errors = requestMappings.flatMap(({ containerName, resourceName, requestName }, index) => {
    const at = `${field}.requestMappings[${index}]`
    const container = all.find(({ name }) => name === containerName)
    const bad = dnsLabel(`${field}.requestName`, requestName)
    if (container === undefined) {
      const why = 'must match the name of an entry in spec.initContainers.name or spec.containers.name'
      return [...bad, invalid(`${at}.containerName`, containerName, why)]
    }
    if (container.resources?.requests?.[resourceName] !== undefined) return bad
    const why = `must match the extended resource name of an entry in ${place}`
    return [...bad, invalid(`${at}.resourceName`, resourceName, why)]
  })
  if (requestMappings.length === 0) {
    errors.push(required(`${field}.requestMappings`, 'at least one request mapping is required'))
  }
  const name = `${field}.resourceClaimName`
  return [...errors, ...(claim === '' ? [required(name)] : dnsSubdomain(name, claim))]
}

type Addresses = readonly { readonly ip: string }[]

/** What was stored before stays, whatever it is. */
function validateAddresses(key: string, now: Addresses = [], before: Addresses = [], errors: FieldError[]): void {
  const field = `status.${key}`
  now.forEach(({ ip }, index) => {
    if (isIP(ip) !== 0 || before.some((each) => each.ip === ip)) return
    errors.push(invalid(`${field}[${index}]`, ip, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'))
  })
  if (now.length < 2) return
  const isPair = now.length === 2 && new Set(now.map(({ ip }) => isIP(ip))).size === 2
  if (!isPair) errors.push(invalid(field, now, noMoreAddresses))
}

function validateHost({ hostIP = '', hostIPs = [] }: PodStatus, before: PodStatus, errors: FieldError[]): void {
  const [first] = hostIPs
  if (first === undefined) return
  if (first.ip !== hostIP) errors.push(invalid('status.hostIPs[0].ip', first.ip, 'must be equal to `hostIP`'))
  validateAddresses('hostIPs', hostIPs, before.hostIPs, errors)
}

function validateUsers(status: PodStatus, spec: PodSpec | undefined, errors: FieldError[]): void {
  const isWindows = spec?.os?.name === 'windows'
  for (const key of ['containerStatuses', 'initContainerStatuses', 'ephemeralContainerStatuses'] as const) {
    status[key]?.forEach(({ user }, index) => {
      const linux = user?.linux
      const field = `status.${key}[${index}].user.linux`
      if (linux === undefined) return
      if (isWindows) errors.push(forbidden(field, 'cannot be set for a windows pod'))
      else errors.push(...validateUser(linux, field))
    })
  }
}

type LinuxUser = NonNullable<NonNullable<ContainerStatus['user']>['linux']>

function validateUser({ uid, gid, supplementalGroups = [] }: LinuxUser, field: string): FieldError[] {
  const ids: [string, number][] = [
    ['uid', uid],
    ['gid', gid],
  ]
  supplementalGroups.forEach((group, index) => ids.push([`supplementalGroups[${index}]`, group]))
  const isGood = (id: number): boolean => id >= 0 && id <= 2_147_483_647
  return ids.flatMap(([key, id]) =>
    isGood(id) ? [] : [invalid(`${field}.${key}`, id, 'must be between 0 and 2147483647, inclusive')],
  )
}
