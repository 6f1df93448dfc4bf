import { readFileSync } from 'node:fs'
import { mkdir, realpath, stat } from 'node:fs/promises'
import { join, normalize } from 'node:path'
import type { ContainerMount, ContainerResources, ContainerSecurity, ContainerSpec } from '@fairlead/oci/runtime'
import type { ResolvedImage } from '@fairlead/oci/layout'
import type { Container, Pod } from '@fairlead/kube/types/core-v1'

import { configInvalid } from '../errors.ts'
import { expand } from './environment.ts'
import type { PodPlace } from './environment.ts'
import { qosClassOf } from './pod.ts'
import { amountOf, containerLimits } from './resources.ts'
import type { MountedVolumes } from './volumes.ts'

/** Everything a container of a pod is made of, gathered before it is made. */
export interface ContainerParts {
  readonly id: string
  readonly pod: Pod
  readonly container: Container
  readonly image: ResolvedImage
  readonly env: Readonly<Record<string, string>>
  readonly hostname: string
  readonly place: PodPlace
  readonly volumes: MountedVolumes
  /** Files every container of the pod sees: `/etc/hosts` and the like, by path in the container. */
  readonly files: ReadonlyMap<string, string>
  readonly terminationLog: string
  readonly logPath: string
  readonly networkNamespace?: string | undefined
  readonly cgroupPath: string
  /** Process namespace to join: that of the container it was added to look into. */
  readonly pidNamespace?: string | undefined
}

/** Turns a container of a pod into what a runtime makes. Throws `FAIRLEAD_CLUSTER_POD_CONFIG`. */
export async function createContainerSpec(parts: ContainerParts): Promise<ContainerSpec> {
  const { pod, container, env } = parts
  const expandAll = (words: readonly string[] | undefined): string[] | undefined =>
    words?.map((word) => expand(word, env))
  const ownSysctls = pod.spec?.hostNetwork ? {} : POD_SYSCTLS
  return {
    id: parts.id,
    image: parts.image,
    logPath: parts.logPath,
    command: expandAll(container.command),
    args: expandAll(container.args),
    env,
    cwd: container.workingDir,
    user: userOf(pod, container, parts.image),
    additionalGids: groupsOf(pod),
    hostname: parts.hostname,
    mounts: await mountsOf(parts),
    resources: resourcesOf(pod, container, parts.place),
    security: securityOf(pod, container),
    networkNamespace: pod.spec?.hostNetwork ? 'host' : parts.networkNamespace,
    cgroupPath: parts.cgroupPath,
    pidNamespace: parts.pidNamespace,
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    sysctls: {
      ...ownSysctls,
      ...Object.fromEntries((pod.spec?.securityContext?.sysctls ?? []).map(({ name, value }) => [name, value])),
    },
  }
}

/** What containerd sets for every pod too: ports below 1024 and ping need no rights in a network of one's own. */
const POD_SYSCTLS = { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' }

function userOf(pod: Pod, container: Container, image: ResolvedImage): string {
  const podContext = pod.spec?.securityContext ?? {}
  const own = container.securityContext ?? {}
  const uid = own.runAsUser ?? podContext.runAsUser
  const gid = own.runAsGroup ?? podContext.runAsGroup
  const user = uid === undefined ? (image.config.config?.User ?? '') : String(uid)
  if (own.runAsNonRoot ?? podContext.runAsNonRoot) checkNonRoot(container.name, user)
  if (gid === undefined) return user
  return `${user.split(':')[0] || '0'}:${gid}`
}

function checkNonRoot(name: string, user: string): void {
  const [first = ''] = user.split(':')
  if (first === '' || first === '0' || first === 'root') {
    throw configInvalid(`container "${name}"`, 'container has runAsNonRoot and image will run as root')
  }
  if (!/^\d+$/.test(first)) {
    const state = `container has runAsNonRoot and image has non-numeric user (${first}), cannot verify user is non-root`
    throw configInvalid(`container "${name}"`, state)
  }
}

function groupsOf(pod: Pod): number[] {
  const { fsGroup, supplementalGroups = [] } = pod.spec?.securityContext ?? {}
  return fsGroup === undefined ? supplementalGroups : [...supplementalGroups, fsGroup]
}

/** The rights container engines give by default; a pod drops from these and adds to them. */
const DEFAULT_CAPABILITIES =
  words(`AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP
  SETGID SETPCAP SETUID SYS_CHROOT`)

/** By number (linux/capability.h), as `/proc/self/status` counts them. */
const ALL_CAPABILITIES =
  words(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
  NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
  SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
  MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

function words(text: string): string[] {
  return text.trim().split(/\s+/)
}

/** The capabilities of a container by its `add` and `drop` lists; `held` is what this process can give. */
export function capabilitiesOf(container: Container, held: readonly string[]): string[] {
  const { capabilities, privileged } = container.securityContext ?? {}
  const plain = (names: readonly string[] | undefined): string[] =>
    (names ?? []).map((name) => name.toUpperCase().replace(/^CAP_/, ''))
  const [add, drop] = [plain(capabilities?.add), plain(capabilities?.drop)]
  const base = privileged || add.includes('ALL') ? ALL_CAPABILITIES : drop.includes('ALL') ? [] : DEFAULT_CAPABILITIES
  const kept = base.filter((name) => add.includes(name) || !drop.includes(name))
  return [...new Set([...kept, ...add])].filter((name) => held.includes(name)).map((name) => `CAP_${name}`)
}

let heldCapabilities: readonly string[] | undefined

/** What this process may hand on. */
function readHeldCapabilities(): readonly string[] {
  heldCapabilities ??= (() => {
    try {
      const mask = BigInt(`0x${/^CapEff:\s+(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`)
      return ALL_CAPABILITIES.filter((_, bit) => (mask >> BigInt(bit)) & 1n)
    } catch {
      return []
    }
  })()
  return heldCapabilities
}

function securityOf(pod: Pod, container: Container): ContainerSecurity {
  const own = container.securityContext ?? {}
  const profile = own.seccompProfile ?? pod.spec?.securityContext?.seccompProfile
  return {
    capabilities: capabilitiesOf(container, readHeldCapabilities()),
    noNewPrivileges: own.allowPrivilegeEscalation === false,
    readOnlyRoot: own.readOnlyRootFilesystem ?? false,
    privileged: own.privileged ?? false,
    // Stricter than Kubernetes, where nothing said means no filter: what the default refuses, hardly anybody needs.
    seccomp: profile?.type === 'Unconfined' ? 'unconfined' : 'default',
  }
}

function resourcesOf(pod: Pod, container: Container, place: PodPlace): ContainerResources {
  const { requests, limits } = container.resources ?? {}
  const memory = amountOf(requests, 'memory') ?? amountOf(limits, 'memory') ?? 0
  const oomScoreAdj = oomScoreOf(pod, memory, place.memoryBytes)
  return { ...containerLimits(pod, container), pids: MOST_PIDS, oomScoreAdj }
}

/** Threads and processes of one container: enough for any server, too few to fill the tables of the machine. */
const MOST_PIDS = 4096

/** Kubernetes, "Node out of memory behavior": who asked for more is killed later. */
function oomScoreOf(pod: Pod, requestBytes: number, capacityBytes: number): number {
  const qos = qosClassOf(pod)
  if (qos === 'BestEffort') return 1000
  if (qos === 'Burstable') return Math.min(999, Math.max(3, Math.floor(1000 - (1000 * requestBytes) / capacityBytes)))
  return readHeldCapabilities().includes('SYS_RESOURCE') ? -997 : 0
}

async function mountsOf(parts: ContainerParts): Promise<ContainerMount[]> {
  const { container, pod, files } = parts
  const mounts: ContainerMount[] = []
  for (const { name, mountPath, readOnly, subPath, subPathExpr } of container.volumeMounts ?? []) {
    const base = parts.volumes.get(name)
    if (base === undefined)
      throw configInvalid(`container "${container.name}"`, `it mounts volume "${name}", which the pod has not`)
    const below = subPathExpr === undefined ? (subPath ?? '') : expand(subPathExpr, parts.env)
    const volume = pod.spec?.volumes?.find((one) => one.name === name)
    const isFixed = Boolean(volume?.configMap ?? volume?.secret ?? volume?.downwardAPI ?? volume?.projected)
    mounts.push({
      destination: mountPath,
      source: await resolveSubPath(base, below),
      readOnly: (readOnly ?? false) || isFixed,
    })
  }
  const taken = new Set(mounts.map(({ destination }) => destination))
  for (const [destination, source] of files) if (!taken.has(destination)) mounts.push({ destination, source })
  const message = container.terminationMessagePath ?? '/dev/termination-log'
  if (!taken.has(message)) mounts.push({ destination: message, source: parts.terminationLog })
  // Outer paths first, or they would hide what is mounted below them.
  return mounts.toSorted((a, b) => a.destination.split('/').length - b.destination.split('/').length)
}

/** A path inside of a volume, which a container may have filled with links to elsewhere. */
async function resolveSubPath(base: string, subPath: string): Promise<string> {
  if (subPath === '') return base
  const clean = normalize(subPath)
  if (clean.startsWith('/') || clean.split('/').includes('..')) {
    throw configInvalid(`subPath "${subPath}"`, 'it must stay inside of the volume')
  }
  const wanted = join(base, clean)
  if (!(await stat(wanted).catch(() => undefined))) await mkdir(wanted, { recursive: true, mode: 0o777 })
  const [real, realBase] = [await realpath(wanted), await realpath(base)]
  if (real !== realBase && !real.startsWith(`${realBase}/`)) {
    throw configInvalid(`subPath "${subPath}"`, 'it leads out of the volume')
  }
  return real
}
