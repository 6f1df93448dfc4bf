import type {
  AppArmorProfile,
  Container,
  PodSecurityContext,
  PodSpec,
  SeccompProfile,
  SecurityContext,
  Sysctl,
  WindowsSecurityContextOptions,
} from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../../status.ts'
import { duplicate, forbidden, invalid, oneOf, required } from '../field-errors.ts'
import { dnsSubdomain } from '../names.ts'
import { descendingPath } from './paths.ts'

const largestId = 2_147_483_647
const profiles = ['Localhost', 'RuntimeDefault', 'Unconfined']

/** As whom and with what a container runs. */
export function validateSecurity(context: SecurityContext, path: string, errors: FieldError[]): void {
  const { privileged = false, allowPrivilegeEscalation, capabilities } = context
  validateCommon(context, path, errors)
  errors.push(...oneOf(`${path}.procMount`, context.procMount, ['Default', 'Unmasked']))
  if (allowPrivilegeEscalation !== false) return
  if (privileged) {
    const why = 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true'
    errors.push(invalid(path, context, why))
  }
  if (capabilities?.add?.includes('CAP_SYS_ADMIN') === true) {
    const why = 'cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN'
    errors.push(invalid(path, context, why))
  }
}

function validateCommon(context: SecurityContext | PodSecurityContext, path: string, errors: FieldError[]): void {
  const { runAsUser, runAsGroup, seccompProfile, appArmorProfile, windowsOptions } = context
  validateId(runAsUser, `${path}.runAsUser`, errors)
  validateId(runAsGroup, `${path}.runAsGroup`, errors)
  if (seccompProfile !== undefined) validateSeccomp(seccompProfile, `${path}.seccompProfile`, errors)
  if (appArmorProfile !== undefined) validateAppArmor(appArmorProfile, `${path}.appArmorProfile`, errors)
  if (windowsOptions !== undefined) validateWindowsOptions(windowsOptions, `${path}.windowsOptions`, errors)
}

function validateId(id: number | undefined, field: string, errors: FieldError[]): void {
  if (id === undefined || (id >= 0 && id <= largestId)) return
  errors.push(invalid(field, id, `must be between 0 and ${largestId}, inclusive`))
}

function validateSeccomp(profile: SeccompProfile, path: string, errors: FieldError[]): void {
  const { type, localhostProfile: file } = profile
  const field = `${path}.localhostProfile`
  if (type === '') errors.push(required(`${path}.type`, 'type is required when seccompProfile is set'))
  errors.push(...oneOf(`${path}.type`, type, profiles))
  if (type === 'Localhost') {
    if (file === undefined) errors.push(required(field, 'must be set when seccomp type is Localhost'))
    else errors.push(...descendingPath(field, file))
  } else if (file !== undefined) {
    errors.push(invalid(field, profile, 'can only be set when seccomp type is Localhost'))
  }
}

const longestProfile = 4095

function validateAppArmor({ type, localhostProfile: name }: AppArmorProfile, path: string, errors: FieldError[]): void {
  const field = `${path}.localhostProfile`
  if (type === '') errors.push(required(`${path}.type`, 'type is required when appArmorProfile is set'))
  errors.push(...oneOf(`${path}.type`, type, profiles))
  if (type !== 'Localhost') {
    if (name !== undefined) errors.push(invalid(field, name, 'can only be set when AppArmor type is Localhost'))
    return
  }
  const trimmed = (name ?? '').trim()
  if (trimmed === '') errors.push(required(field, 'must be set when AppArmor type is Localhost'))
  else if (trimmed !== name) errors.push(invalid(field, name, 'must not be padded with whitespace'))
  if (trimmed.length > longestProfile) {
    const message = `Too long: may not be more than ${longestProfile} bytes`
    errors.push({ field, reason: 'FieldValueTooLong', message })
  }
}

function validateWindowsOptions(options: WindowsSecurityContextOptions, path: string, errors: FieldError[]): void {
  const { gmsaCredentialSpecName: name, gmsaCredentialSpec: spec, runAsUserName: user } = options
  if (name !== undefined) errors.push(...dnsSubdomain(`${path}.gmsaCredentialSpecName`, name))
  if (spec === '') {
    errors.push(invalid(`${path}.gmsaCredentialSpec`, spec, 'gmsaCredentialSpec cannot be an empty string'))
  }
  if (user === '') errors.push(invalid(`${path}.runAsUserName`, user, 'runAsUserName cannot be an empty string'))
}

/** What all containers of a pod have in common, and what of it the host's own do not go with. */
export function validatePodSecurity(spec: PodSpec, path: string, errors: FieldError[]): void {
  const { securityContext, hostPID = false, hostUsers } = spec
  const place = `${path}.securityContext`
  if (spec.shareProcessNamespace === true && hostPID) {
    const why = 'ShareProcessNamespace and HostPID cannot both be enabled'
    errors.push(invalid(`${place}.shareProcessNamespace`, true, why))
  }
  if (hostUsers === false) validateOwnUsers(spec, path, errors)
  if (securityContext === undefined) return
  validateCommon(securityContext, place, errors)
  validateId(securityContext.fsGroup, `${place}.fsGroup`, errors)
  securityContext.supplementalGroups?.forEach((id, index) =>
    validateId(id, `${place}.supplementalGroups[${index}]`, errors),
  )
  const { fsGroupChangePolicy, supplementalGroupsPolicy, seLinuxChangePolicy } = securityContext
  errors.push(...oneOf(`${place}.fsGroupChangePolicy`, fsGroupChangePolicy, ['Always', 'OnRootMismatch']))
  errors.push(...oneOf(`${place}.supplementalGroupsPolicy`, supplementalGroupsPolicy, ['Merge', 'Strict']))
  errors.push(...oneOf(`${place}.seLinuxChangePolicy`, seLinuxChangePolicy, ['Recursive']))
  if (securityContext.sysctls !== undefined) validateSysctls(securityContext.sysctls, spec, `${place}.sysctls`, errors)
}

function validateOwnUsers({ hostNetwork, hostPID, hostIPC }: PodSpec, path: string, errors: FieldError[]): void {
  const why = 'when `hostUsers` is false'
  if (hostNetwork === true) errors.push(forbidden(`${path}.hostNetwork`, why))
  // As upstream spells them.
  if (hostPID === true) errors.push(forbidden(`${path}.HostPID`, why))
  if (hostIPC === true) errors.push(forbidden(`${path}.HostIPC`, why))
}

const sysctlPattern = '([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?'
const sysctlName = new RegExp(`^${sysctlPattern}$`)
const ofIpc = /^(kernel\.(shm|msg|sem)|fs\.mqueue\.)/

function validateSysctls(
  sysctls: readonly Sysctl[],
  { hostNetwork, hostIPC }: PodSpec,
  path: string,
  errors: FieldError[],
): void {
  const seen = new Set<string>()
  sysctls.forEach(({ name }, index) => {
    const field = `${path}[${index}].name`
    const dotted = name.replaceAll('/', '.')
    if (name === '') errors.push(required(field))
    else if (name.length > 253 || !sysctlName.test(name)) {
      errors.push(invalid(field, name, `must have at most 253 characters and match regex ^${sysctlPattern}$`))
    } else if (seen.has(dotted)) errors.push(duplicate(field, dotted))
    seen.add(dotted)
    if (hostNetwork === true && dotted.startsWith('net.')) {
      errors.push(invalid(field, name, "may not be specified when 'hostNetwork' is true"))
    }
    if (hostIPC === true && ofIpc.test(dotted)) {
      errors.push(invalid(field, name, "may not be specified when 'hostIPC' is true"))
    }
  })
}

const notOfWindowsPods = [
  'appArmorProfile',
  'seLinuxOptions',
  'seccompProfile',
  'fsGroup',
  'fsGroupChangePolicy',
  'sysctls',
  'runAsUser',
  'runAsGroup',
  'supplementalGroups',
  'supplementalGroupsPolicy',
  'seLinuxChangePolicy',
] as const satisfies readonly (keyof PodSecurityContext)[]
const notOfWindowsContainers = [
  'appArmorProfile',
  'seLinuxOptions',
  'seccompProfile',
  'capabilities',
  'readOnlyRootFilesystem',
  'privileged',
  'allowPrivilegeEscalation',
  'procMount',
  'runAsUser',
  'runAsGroup',
] as const satisfies readonly (keyof SecurityContext)[]

/** What only another operating system than the pod's own has. */
export function validateOs(spec: PodSpec, path: string, errors: FieldError[]): void {
  const name = spec.os?.name
  if (name === undefined) return
  if (name === '') errors.push(required(`${path}.os.name`))
  else errors.push(...oneOf(`${path}.os`, name, ['linux', 'windows']))
  if (name === 'windows') validateWindows(spec, path, errors)
  if (name !== 'linux') return
  const why = 'windows options cannot be set for a linux pod'
  for (const [place, context] of contextsOf(spec, path)) {
    if (context?.windowsOptions !== undefined) errors.push(forbidden(`${place}.windowsOptions`, why))
  }
}

function validateWindows(spec: PodSpec, path: string, errors: FieldError[]): void {
  const why = 'cannot be set for a windows pod'
  const { securityContext, hostUsers, shareProcessNamespace } = spec
  if (hostUsers !== undefined) errors.push(forbidden(`${path}.hostUsers`, why))
  if (spec.hostPID === true) errors.push(forbidden(`${path}.hostPID`, why))
  if (spec.hostIPC === true) errors.push(forbidden(`${path}.hostIPC`, why))
  if (shareProcessNamespace !== undefined) errors.push(forbidden(`${path}.shareProcessNamespace`, why))
  for (const key of notOfWindowsPods) {
    if (securityContext?.[key] !== undefined) errors.push(forbidden(`${path}.securityContext.${key}`, why))
  }
  for (const [place, context] of contextsOf({ ...spec, securityContext: undefined }, path)) {
    for (const key of notOfWindowsContainers) {
      if (context !== undefined && key in context) errors.push(forbidden(`${place}.${key}`, why))
    }
  }
}

type Context = SecurityContext | PodSecurityContext | undefined

function contextsOf(spec: PodSpec, path: string): [string, Context][] {
  const lists = ['initContainers', 'containers', 'ephemeralContainers'] as const
  const ofContainers = lists.flatMap((list) =>
    ((spec[list] ?? []) as readonly Container[]).map(({ securityContext }, index): [string, Context] => [
      `${path}.${list}[${index}].securityContext`,
      securityContext,
    ]),
  )
  return [[`${path}.securityContext`, spec.securityContext], ...ofContainers]
}
