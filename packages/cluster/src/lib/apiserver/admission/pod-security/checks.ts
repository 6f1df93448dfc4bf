import type { ObjectMeta } from '@fairlead/kube/types'
import type { Container, PodSecurityContext, PodSpec, SecurityContext, Volume } from '@fairlead/kube/types/core-v1'

export type Level = 'privileged' | 'baseline' | 'restricted'

/** What a check finds in a pod, by the standards of the minor version `minor`: undefined when nothing. */
type Check = (spec: PodSpec, metadata: ObjectMeta, minor: number) => string | undefined

/** Everything in which a pod is not what `level` asked for in Kubernetes 1.`minor` (Pod Security Standards). */
export function violations(level: Level, spec: PodSpec, metadata: ObjectMeta, minor: number = Infinity): string[] {
  if (level === 'privileged') return []
  const checks = level === 'baseline' ? [...baseline, ...onlyBaseline] : [...baseline, ...restricted]
  return checks.flatMap((check) => check(spec, metadata, minor) ?? [])
}

/** Restrictions for Linux do not bind pods for Windows, since 1.25. */
function isForWindows({ os }: PodSpec, minor: number): boolean {
  return minor >= 25 && os?.name === 'windows'
}

/** Who is root in a user namespace of the pod is nobody outside of it; taken into account since 1.35. */
function hasOwnUsers({ hostUsers }: PodSpec, minor: number): boolean {
  return minor >= 35 && hostUsers === false
}

function containersOf(spec: PodSpec): Container[] {
  return [...(spec.initContainers ?? []), ...(spec.containers ?? []), ...(spec.ephemeralContainers ?? [])]
}

function quoted(names: readonly string[]): string {
  return names.map((name) => JSON.stringify(name)).join(', ')
}

/** `container "a"`, `containers "a", "b"`. */
function named(what: string, names: readonly string[]): string {
  return `${what}${names.length === 1 ? '' : 's'} ${quoted(names)}`
}

/** Names of the containers whose security context is not right. */
function bad(spec: PodSpec, isBad: (context: SecurityContext, container: Container) => boolean): string[] {
  return containersOf(spec)
    .filter((container) => isBad(container.securityContext ?? {}, container))
    .map(({ name }) => name)
}

/** A finding about the pod itself and about containers: who of both, and what they do. */
function found(title: string, isPodBad: boolean, names: readonly string[], what: string): string | undefined {
  if (!isPodBad && names.length === 0) return undefined
  const who = [...(isPodBad ? ['pod'] : []), ...(names.length > 0 ? [named('container', names)] : [])]
  return `${title} (${who.join(' and ')} ${what})`
}

const usualCapabilities = new Set(
  `AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID
SYS_CHROOT`.split(/\s+/),
)

function addedCapabilities(spec: PodSpec, allowed: ReadonlySet<string>): { names: string[]; added: string[] } {
  const added = new Set<string>()
  const names = bad(spec, ({ capabilities }) => {
    const wrong = (capabilities?.add ?? []).filter((name) => !allowed.has(name))
    for (const name of wrong) added.add(name)
    return wrong.length > 0
  })
  return { names, added: [...added].toSorted() }
}

/** Sysctls that concern nobody but the pod, by the minor version since which they count as such. */
const safeSysctls: ReadonlyMap<string, number> = new Map([
  ['kernel.shm_rmid_forced', 0],
  ['net.ipv4.ip_local_port_range', 0],
  ['net.ipv4.ip_unprivileged_port_start', 0],
  ['net.ipv4.ping_group_range', 0],
  ['net.ipv4.tcp_syncookies', 0],
  ['net.ipv4.ip_local_reserved_ports', 27],
  ['net.ipv4.tcp_fin_timeout', 29],
  ['net.ipv4.tcp_keepalive_intvl', 29],
  ['net.ipv4.tcp_keepalive_probes', 29],
  ['net.ipv4.tcp_keepalive_time', 29],
  ['net.ipv4.tcp_rmem', 32],
  ['net.ipv4.tcp_wmem', 32],
])

const usualTypes = new Set(['', 'container_t', 'container_init_t', 'container_kvm_t'])

function isUnusualLabel(options: PodSecurityContext['seLinuxOptions'], minor: number): boolean {
  if (options === undefined) return false
  const isUsual = usualTypes.has(options.type ?? '') || (minor >= 31 && options.type === 'container_engine_t')
  return !isUsual || (options.user ?? '') !== '' || (options.role ?? '') !== ''
}

/** Probes and hooks that ask another host than the pod. */
function asksElsewhere({ livenessProbe, readinessProbe, startupProbe, lifecycle }: Container): boolean {
  const handlers = [livenessProbe, readinessProbe, startupProbe, lifecycle?.postStart, lifecycle?.preStop]
  const hosts = handlers.flatMap((handler) => [handler?.httpGet?.host, handler?.tcpSocket?.host])
  return hosts.some((host = '') => !['', '127.0.0.1', '::1', 'localhost'].includes(host))
}

const appArmorPrefix = 'container.apparmor.security.beta.kubernetes.io/'

function isUnusualProfile(value: string): boolean {
  return !['', 'runtime/default'].includes(value) && !value.startsWith('localhost/')
}

const baseline: readonly Check[] = [
  (spec, { annotations = {} }) => {
    const isPodBad = spec.securityContext?.appArmorProfile?.type === 'Unconfined'
    const names = bad(spec, ({ appArmorProfile }) => appArmorProfile?.type === 'Unconfined')
    const marked = Object.entries(annotations)
      .filter(([key, value]) => key.startsWith(appArmorPrefix) && isUnusualProfile(value))
      .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    const parts = [
      ...(isPodBad ? ['pod must not set AppArmor profile type to "Unconfined"'] : []),
      ...(names.length > 0 ? [`${named('container', names)} must not set AppArmor profile type to "Unconfined"`] : []),
      ...(marked.length > 0 ? [`${marked.length === 1 ? 'annotation' : 'annotations'} ${marked.join(', ')}`] : []),
    ]
    return parts.length === 0
      ? undefined
      : `forbidden AppArmor profile${parts.length === 1 ? '' : 's'} (${parts.join(', ')})`
  },
  ({ hostNetwork, hostPID, hostIPC }) => {
    const set = Object.entries({ hostNetwork, hostPID, hostIPC }).filter(([, value]) => value === true)
    return set.length === 0 ? undefined : `host namespaces (${set.map(([name]) => `${name}=true`).join(', ')})`
  },
  ({ volumes = [] }) => {
    const names = volumes.filter(({ hostPath }) => hostPath !== undefined).map(({ name }) => name)
    return names.length === 0 ? undefined : `hostPath volumes (${named('volume', names)})`
  },
  (spec) => {
    const ports = new Set<number>()
    const names = containersOf(spec).flatMap((container) => {
      const own = (container.ports ?? []).flatMap(({ hostPort = 0 }) => (hostPort === 0 ? [] : [hostPort]))
      for (const port of own) ports.add(port)
      return own.length === 0 ? [] : [container.name]
    })
    if (names.length === 0) return undefined
    const verb = names.length === 1 ? 'uses' : 'use'
    const list = [...ports].toSorted((a, b) => a - b).join(', ')
    return `hostPort (${named('container', names)} ${verb} hostPort${ports.size === 1 ? '' : 's'} ${list})`
  },
  (spec, _metadata, minor) => {
    if (minor < 34) return undefined
    const names = containersOf(spec)
      .filter(asksElsewhere)
      .map(({ name }) => name)
    return found('probe or lifecycle host', false, names, 'must not set probe or lifecycle hosts')
  },
  (spec) =>
    found(
      'hostProcess',
      spec.securityContext?.windowsOptions?.hostProcess === true,
      bad(spec, ({ windowsOptions }) => windowsOptions?.hostProcess === true),
      'must not set securityContext.windowsOptions.hostProcess=true',
    ),
  (spec) =>
    found(
      'privileged',
      false,
      bad(spec, ({ privileged }) => privileged === true),
      'must not set securityContext.privileged=true',
    ),
  (spec, _metadata, minor) => (minor < 35 ? unmasked(spec) : undefined),
  (spec, _metadata, minor) =>
    found(
      'seLinuxOptions',
      isUnusualLabel(spec.securityContext?.seLinuxOptions, minor),
      bad(spec, ({ seLinuxOptions }) => isUnusualLabel(seLinuxOptions, minor)),
      'set forbidden securityContext.seLinuxOptions',
    ),
  ({ securityContext }, _metadata, minor) => {
    const given = (securityContext?.sysctls ?? []).map(({ name }) => name)
    const names = given.filter((name) => !(minor >= (safeSysctls.get(name) ?? Number.NaN)))
    return names.length === 0 ? undefined : `forbidden sysctls (${names.join(', ')})`
  },
]

function unmasked(spec: PodSpec): string | undefined {
  const names = bad(spec, ({ procMount = 'Default' }) => procMount !== 'Default')
  return found('procMount', false, names, 'must not set securityContext.procMount to "Unmasked"')
}

function unusualCapabilities(spec: PodSpec): string | undefined {
  const { names, added } = addedCapabilities(spec, usualCapabilities)
  const what = `must not include ${quoted(added)} in securityContext.capabilities.add`
  return found('non-default capabilities', false, names, what)
}

/** What restricted asks for more strictly. */
const onlyBaseline: readonly Check[] = [
  (spec, _metadata, minor) => (minor < 35 || hasOwnUsers(spec, minor) ? undefined : unmasked(spec)),
  unusualCapabilities,
  (spec, _metadata, minor) =>
    minor < 19
      ? undefined
      : found(
          'seccompProfile',
          spec.securityContext?.seccompProfile?.type === 'Unconfined',
          bad(spec, ({ seccompProfile }) => seccompProfile?.type === 'Unconfined'),
          'must not set securityContext.seccompProfile.type to "Unconfined"',
        ),
]

const plainVolumes = new Set(
  'configMap csi downwardAPI emptyDir ephemeral persistentVolumeClaim projected secret image'.split(' '),
)

function volumeType(volume: Volume): string {
  return Object.keys(volume).find((key) => key !== 'name') ?? ''
}

const restricted: readonly Check[] = [
  (spec, _metadata, minor) => {
    if (minor < 8 || isForWindows(spec, minor)) return undefined
    const names = bad(spec, ({ allowPrivilegeEscalation }) => allowPrivilegeEscalation !== false)
    return found(
      'allowPrivilegeEscalation != false',
      false,
      names,
      'must set securityContext.allowPrivilegeEscalation=false',
    )
  },
  (spec, _metadata, minor) => {
    if (minor < 22) return unusualCapabilities(spec)
    if (isForWindows(spec, minor)) return undefined
    const undropped = bad(spec, ({ capabilities }) => capabilities?.drop?.includes('ALL') !== true)
    const { names, added } = addedCapabilities(spec, new Set(['NET_BIND_SERVICE']))
    const parts = [
      ...(undropped.length > 0
        ? [`${named('container', undropped)} must set securityContext.capabilities.drop=["ALL"]`]
        : []),
      ...(names.length > 0
        ? [`${named('container', names)} must not include ${quoted(added)} in securityContext.capabilities.add`]
        : []),
    ]
    return parts.length === 0 ? undefined : `unrestricted capabilities (${parts.join('; ')})`
  },
  (spec, _metadata, minor) => (minor < 35 ? undefined : unmasked(spec)),
  ({ volumes = [] }) => {
    const wrong = volumes.filter((volume) => !plainVolumes.has(volumeType(volume)))
    if (wrong.length === 0) return undefined
    const types = [...new Set(wrong.map(volumeType))].toSorted()
    const verb = wrong.length === 1 ? 'uses' : 'use'
    const what = types.length === 1 ? 'restricted volume type' : 'restricted volume types'
    return `restricted volume types (${named(
      'volume',
      wrong.map(({ name }) => name),
    )} ${verb} ${what} ${quoted(types)})`
  },
  (spec, _metadata, minor) => {
    if (hasOwnUsers(spec, minor)) return undefined
    const isPodGood = spec.securityContext?.runAsNonRoot === true
    const explicit = bad(spec, ({ runAsNonRoot }) => runAsNonRoot === false)
    if (explicit.length > 0 || spec.securityContext?.runAsNonRoot === false) {
      const isPodBad = spec.securityContext?.runAsNonRoot === false
      const relevant = isPodBad ? bad(spec, ({ runAsNonRoot }) => runAsNonRoot !== true) : explicit
      if (relevant.length > 0) {
        return found('runAsNonRoot != true', isPodBad, explicit, 'must not set securityContext.runAsNonRoot=false')
      }
    }
    const silent = isPodGood ? [] : bad(spec, ({ runAsNonRoot }) => runAsNonRoot === undefined)
    if (silent.length === 0) return undefined
    return `runAsNonRoot != true (pod or ${named('container', silent)} must set securityContext.runAsNonRoot=true)`
  },
  (spec, _metadata, minor) => {
    if (minor < 23 || hasOwnUsers(spec, minor)) return undefined
    const names = bad(spec, ({ runAsUser }) => runAsUser === 0)
    return found('runAsUser=0', spec.securityContext?.runAsUser === 0, names, 'must not set runAsUser=0')
  },
  (spec, _metadata, minor) => {
    if (minor < 19 || isForWindows(spec, minor)) return undefined
    const isGood = (type: string | undefined): boolean => type === 'RuntimeDefault' || type === 'Localhost'
    const pod = spec.securityContext?.seccompProfile?.type
    const explicit = bad(spec, ({ seccompProfile }) => seccompProfile !== undefined && !isGood(seccompProfile.type))
    const isPodBad = pod !== undefined && !isGood(pod)
    const wanted = 'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    if (isPodBad || explicit.length > 0) {
      return found(
        'seccompProfile',
        isPodBad,
        explicit,
        'must not set securityContext.seccompProfile.type to "Unconfined"',
      )
    }
    const silent = isGood(pod) ? [] : bad(spec, ({ seccompProfile }) => seccompProfile === undefined)
    return silent.length === 0 ? undefined : `seccompProfile (pod or ${named('container', silent)} must set ${wanted})`
  },
]
