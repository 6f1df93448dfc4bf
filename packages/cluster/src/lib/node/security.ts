import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, normalize } from 'node:path'
import type { ResolvedImage } from '@fairlead/oci/layout'
import type { ContainerSecurity, SeccompProfile } from '@fairlead/oci/runtime'
import type { Container, Pod } from '@fairlead/kube/types/core-v1'

import { configInvalid } from '../errors.ts'
import { uidOf } from './pod.ts'

/** Whom a container runs as: the pod's word, else the image's. Throws `FAIRLEAD_CLUSTER_POD_CONFIG` for root where that must not be. */
export function userOf(pod: Pod, container: Container, image: ResolvedImage): string {
  const podContext = pod.spec?.securityContext ?? {}
  const own = container.securityContext ?? {}
  const uid = own.runAsUser ?? podContext.runAsUser
  const gid = own.runAsGroup ?? podContext.runAsGroup
  const user = uid === undefined ? (image.config.config?.User ?? '') : String(uid)
  if (own.runAsNonRoot ?? podContext.runAsNonRoot) checkNonRoot(pod, container.name, user, uid)
  if (gid === undefined) return user
  return `${user.split(':')[0] || '0'}:${gid}`
}

function checkNonRoot(pod: Pod, name: string, user: string, uid: number | undefined): void {
  const [first = ''] = user.split(':')
  const { metadata } = pod
  const where = `(pod: "${metadata?.name}_${metadata?.namespace}(${uidOf(pod)})", container: ${name})`
  const refuse = (why: string): Error => configInvalid(`container "${name}"`, `${why} ${where}`)
  if (uid === 0) throw refuse("container's runAsUser breaks non-root policy")
  if (first === '' || first === '0' || first === 'root') {
    throw refuse('container has runAsNonRoot and image will run as root')
  }
  if (!/^\d+$/.test(first)) {
    throw refuse(`container has runAsNonRoot and image has non-numeric user (${first}), cannot verify user is non-root`)
  }
}

/** Groups besides those of the user; with `Strict` those the image gives its user do not count (KEP-3619). */
export function groupsOf(pod: Pod): { additionalGids: number[]; ignoresImageGroups: boolean } {
  const { fsGroup, supplementalGroups = [], supplementalGroupsPolicy } = pod.spec?.securityContext ?? {}
  const additionalGids = fsGroup === undefined ? supplementalGroups : [...supplementalGroups, fsGroup]
  return { additionalGids, ignoresImageGroups: supplementalGroupsPolicy === 'Strict' }
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
export function readHeldCapabilities(): readonly string[] {
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

/** What a container may do; `seccompDir` is where profiles of this node lie. */
export async function securityOf(pod: Pod, container: Container, seccompDir: string): Promise<ContainerSecurity> {
  const own = container.securityContext ?? {}
  return {
    capabilities: capabilitiesOf(container, readHeldCapabilities()),
    noNewPrivileges: own.allowPrivilegeEscalation === false,
    readOnlyRoot: own.readOnlyRootFilesystem ?? false,
    privileged: own.privileged ?? false,
    unmaskedProc: own.procMount === 'Unmasked',
    seccomp: await seccompOf(pod, container, seccompDir),
  }
}

async function seccompOf(
  pod: Pod,
  container: Container,
  seccompDir: string,
): Promise<'default' | 'unconfined' | SeccompProfile> {
  const profile = container.securityContext?.seccompProfile ?? pod.spec?.securityContext?.seccompProfile
  if (profile?.type === 'Unconfined') return 'unconfined'
  // Stricter than Kubernetes, where nothing said means no filter: what the default refuses, hardly anybody needs.
  if (profile?.type !== 'Localhost') return 'default'
  return loadProfile(seccompDir, profile.localhostProfile ?? '')
}

async function loadProfile(dir: string, name: string): Promise<SeccompProfile> {
  const subject = `seccomp profile "${name}"`
  const path = join(dir, normalize(`/${name}`))
  const text = await readFile(path, 'utf8').catch(() => {
    throw configInvalid(subject, `cannot load seccomp profile "${path}": no such file or directory`)
  })
  try {
    const profile = JSON.parse(text) as SeccompProfile
    if (typeof profile.defaultAction === 'string') return profile
  } catch {
    // Said below.
  }
  throw configInvalid(subject, `"${path}" is no profile of the runtime-spec (config-linux.md, "Seccomp")`)
}
