import type { ImageConfig } from '../spec/image.ts'
import { CPU_PERIOD_US, quotaOf, sharesOf } from './cgroup.ts'
import { createSeccompProfile } from './seccomp.ts'
import type { SeccompProfile } from './seccomp.ts'
import type { UserIds } from './users.ts'

/** One mount of a container; `source` is a path of the host for `bind`. */
export interface ContainerMount {
  readonly destination: string
  readonly source: string
  readonly type?: 'bind' | 'tmpfs' | undefined
  readonly readOnly?: boolean | undefined
  /** What is mounted below it is read-only too; the kernel must be 5.12 or newer. */
  readonly recursiveReadOnly?: boolean | undefined
  /** Whether mounts made later below it are seen in the container (`rslave`), and by others too (`rshared`). Default `rprivate`. */
  readonly propagation?: 'rprivate' | 'rslave' | 'rshared' | undefined
  /** Further mount options, such as `size=64m` for tmpfs. */
  readonly options?: readonly string[] | undefined
}

/** Limits of a container; what is left out is not limited. */
export interface ContainerResources {
  readonly memoryBytes?: number | undefined
  /** Weight against others when the processor is contended: 1024 stands for one processor. */
  readonly cpuShares?: number | undefined
  /** Processors, 0.5 = half of one. */
  readonly cpuLimit?: number | undefined
  readonly pids?: number | undefined
  /** -1000 (never) to 1000 (first): whom the kernel kills when memory runs out. */
  readonly oomScoreAdj?: number | undefined
}

/** What a container may do beyond running its program. */
export interface ContainerSecurity {
  /** Names such as `CAP_CHOWN`. Default: none. */
  readonly capabilities?: readonly string[] | undefined
  /** Default true: set-id programs gain nothing. */
  readonly noNewPrivileges?: boolean | undefined
  /** Default false. */
  readonly readOnlyRoot?: boolean | undefined
  /** All devices, nothing masked, no filter; capabilities are given by `capabilities` as ever. Default false. */
  readonly privileged?: boolean | undefined
  /** Default `default`, see {@link createSeccompProfile}; or a profile of one's own. */
  readonly seccomp?: 'default' | 'unconfined' | SeccompProfile | undefined
  /** Nothing of `/proc` is hidden or read-only. Default false. */
  readonly unmaskedProc?: boolean | undefined
}

/** Everything about a container that its image does not say. */
export interface RuntimeConfigOptions {
  /** Directory of the root file system. */
  readonly rootDir: string
  readonly user: UserIds
  /** In place of the image's entrypoint; its default arguments are then dropped too. */
  readonly command?: readonly string[] | undefined
  /** In place of the image's default arguments. */
  readonly args?: readonly string[] | undefined
  /** Over the image's environment. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** In place of the image's working directory. */
  readonly cwd?: string | undefined
  readonly hostname?: string | undefined
  readonly mounts?: readonly ContainerMount[] | undefined
  readonly resources?: ContainerResources | undefined
  readonly security?: ContainerSecurity | undefined
  /** A namespace to join, `host`, or a new one when left out. */
  readonly networkNamespace?: string | undefined
  /** Path below the root of each cgroup hierarchy. */
  readonly cgroupPath?: string | undefined
  readonly sysctls?: Readonly<Record<string, string>> | undefined
  /** Wanted limits; each is lowered to the `hardLimits` of this process. */
  readonly rlimits?: Readonly<Record<string, number>> | undefined
  /** What this process may not go beyond, by name (`RLIMIT_NOFILE`). */
  readonly hardLimits?: Readonly<Record<string, number>> | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
  /** Default false. */
  readonly tty?: boolean | undefined
  /** A process namespace to join, `host`, or a new one when left out. */
  readonly pidNamespace?: string | undefined
  /** A namespace of shared memory to join, `host`, or a new one when left out. */
  readonly ipcNamespace?: string | undefined
}

/** The `config.json` of a bundle (runtime-spec 1.0.2, config.md), as far as it is used here. */
export interface RuntimeConfig {
  ociVersion: string
  hostname?: string | undefined
  root: { path: string; readonly: boolean }
  process: RuntimeProcess
  mounts: { destination: string; type: string; source: string; options: readonly string[] }[]
  linux: RuntimeLinux
  annotations?: Readonly<Record<string, string>> | undefined
}

export interface RuntimeProcess {
  terminal: boolean
  user: { uid: number; gid: number; additionalGids: readonly number[]; umask: number }
  args: readonly string[]
  env: readonly string[]
  cwd: string
  capabilities: Readonly<Record<'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient', readonly string[]>>
  rlimits: { type: string; hard: number; soft: number }[]
  noNewPrivileges: boolean
  oomScoreAdj?: number | undefined
}

interface RuntimeLinux {
  cgroupsPath?: string | undefined
  namespaces: { type: string; path?: string | undefined }[]
  resources: Record<string, unknown>
  seccomp?: SeccompProfile | undefined
  rootfsPropagation?: string | undefined
  sysctl?: Readonly<Record<string, string>> | undefined
  maskedPaths: readonly string[]
  readonlyPaths: readonly string[]
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * The runtime configuration of a container of `image`: least rights unless asked for more. Pure; whatever needs the disk
 * (user names, limits of this process) comes in by the options.
 */
export function createRuntimeConfig(image: ImageConfig, options: RuntimeConfigOptions): RuntimeConfig {
  const security = options.security ?? {}
  const capabilities = security.capabilities ?? []
  const isUnmasked = security.privileged === true || security.unmaskedProc === true
  const filter = security.privileged ? undefined : seccompOf(security, capabilities)
  const propagation = propagationOf(options.mounts ?? [])
  return {
    ociVersion: '1.0.2',
    ...(options.hostname ? { hostname: options.hostname } : {}),
    root: { path: options.rootDir, readonly: security.readOnlyRoot ?? false },
    process: createProcess(image, options, capabilities),
    mounts: [...systemMounts(options), ...(options.mounts ?? []).map(toMount)],
    linux: {
      ...(options.cgroupPath ? { cgroupsPath: options.cgroupPath } : {}),
      namespaces: namespaces(options),
      resources: resources(options),
      ...(filter === undefined ? {} : { seccomp: filter }),
      ...(propagation === undefined ? {} : { rootfsPropagation: propagation }),
      ...(options.sysctls ? { sysctl: options.sysctls } : {}),
      maskedPaths: isUnmasked ? [] : MASKED_PATHS,
      readonlyPaths: isUnmasked ? [] : READ_ONLY_PATHS,
    },
    ...(options.annotations ? { annotations: options.annotations } : {}),
  }
}

function seccompOf(
  { seccomp = 'default' }: ContainerSecurity,
  capabilities: readonly string[],
): SeccompProfile | undefined {
  if (seccomp === 'unconfined') return undefined
  return seccomp === 'default' ? createSeccompProfile(capabilities) : seccomp
}

/** Mounts reach a container, or leave it, only where its root does not keep them apart. */
function propagationOf(mounts: readonly ContainerMount[]): string | undefined {
  if (mounts.some(({ propagation }) => propagation === 'rshared')) return 'rshared'
  return mounts.some(({ propagation }) => propagation === 'rslave') ? 'rslave' : undefined
}

/** The program and its arguments: a command replaces entrypoint and arguments, arguments alone replace the image's. */
export function commandLine(image: ImageConfig, options: Pick<RuntimeConfigOptions, 'command' | 'args'>): string[] {
  const run = image.config ?? {}
  if (options.command?.length) return [...options.command, ...(options.args ?? [])]
  return [...(run.Entrypoint ?? []), ...(options.args?.length ? options.args : (run.Cmd ?? []))]
}

/** The image's environment under the given one, with a PATH and, where the user has one, a HOME. */
export function environment(
  image: ImageConfig,
  env: Readonly<Record<string, string>> = {},
  home?: string,
): Record<string, string> {
  const entries = (image.config?.Env ?? []).map((text): [string, string] => {
    const equals = text.indexOf('=')
    return equals === -1 ? [text, ''] : [text.slice(0, equals), text.slice(equals + 1)]
  })
  return { PATH: DEFAULT_PATH, ...(home ? { HOME: home } : {}), ...Object.fromEntries(entries), ...env }
}

function createProcess(
  image: ImageConfig,
  options: RuntimeConfigOptions,
  capabilities: readonly string[],
): RuntimeProcess {
  const { uid, gid, additionalGids, home } = options.user
  const env = { ...(options.tty ? { TERM: 'xterm' } : {}), ...environment(image, options.env, home) }
  const held = capabilities
  return {
    terminal: options.tty ?? false,
    // The group is one of the groups, too: else a file that says no to it says yes once a program changes its group (CVE-2022-36109).
    user: { uid, gid, additionalGids: [...new Set([gid, ...additionalGids])], umask: 0o22 },
    args: commandLine(image, options),
    env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    cwd: options.cwd || image.config?.WorkingDir || '/',
    // Effective rights are root's; another user gains them through programs only, within the bounding set.
    capabilities: { bounding: held, effective: held, permitted: held, inheritable: [], ambient: [] },
    rlimits: rlimits(options),
    noNewPrivileges: options.security?.noNewPrivileges ?? true,
    ...(options.resources?.oomScoreAdj === undefined ? {} : { oomScoreAdj: options.resources.oomScoreAdj }),
  }
}

function rlimits({ rlimits: wanted = {}, hardLimits = {} }: RuntimeConfigOptions): RuntimeProcess['rlimits'] {
  return Object.entries(wanted).map(([type, value]) => {
    const limit = Math.min(value, hardLimits[type] ?? value)
    return { type, hard: limit, soft: limit }
  })
}

function namespaces(options: RuntimeConfigOptions): RuntimeLinux['namespaces'] {
  const { networkNamespace, pidNamespace, ipcNamespace } = options
  const asked = { pid: pidNamespace, ipc: ipcNamespace, network: networkNamespace }
  const own = ['uts', 'mount', 'cgroup'].map((type) => ({ type }))
  const joined = Object.entries(asked).flatMap(([type, path]) => {
    if (path === 'host') return []
    return [path === undefined || path === '' ? { type } : { type, path }]
  })
  return [...joined, ...own]
}

function systemMounts({ security, networkNamespace }: RuntimeConfigOptions): RuntimeConfig['mounts'] {
  const isPrivileged = security?.privileged === true
  const access = isPrivileged ? 'rw' : 'ro'
  const hardened = ['nosuid', 'noexec', 'nodev']
  const sysfs =
    networkNamespace === 'host' && !isPrivileged
      ? // A new sysfs needs a network namespace of one's own.
        { destination: '/sys', type: 'none', source: '/sys', options: ['rbind', ...hardened, 'ro'] }
      : { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...hardened, access] }
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: hardened },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: [...hardened, 'mode=1777', 'size=65536k'] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: hardened },
    sysfs,
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [...hardened, 'relatime', access] },
  ]
}

function toMount({
  destination,
  source,
  type = 'bind',
  readOnly,
  recursiveReadOnly,
  propagation = 'rprivate',
  options,
}: ContainerMount): RuntimeConfig['mounts'][0] {
  const access = readOnly ? 'ro' : 'rw'
  if (type === 'tmpfs') return { destination, type, source, options: ['nosuid', 'nodev', access, ...(options ?? [])] }
  const deep = recursiveReadOnly ? ['rro'] : []
  return { destination, type: 'bind', source, options: ['rbind', propagation, access, ...deep, ...(options ?? [])] }
}

function resources({ resources: limits = {}, security }: RuntimeConfigOptions): Record<string, unknown> {
  return { devices: security?.privileged ? [{ allow: true, access: 'rwm' }] : deviceRules(), ...renderLimits(limits) }
}

/** Limits as the runtime-spec has them (config-linux.md, "Control groups"). */
export function renderLimits({ memoryBytes, cpuShares, cpuLimit, pids }: ContainerResources): Record<string, unknown> {
  const cpu = {
    ...(cpuShares === undefined ? {} : { shares: sharesOf(cpuShares) }),
    ...(cpuLimit === undefined ? {} : { quota: quotaOf(cpuLimit), period: CPU_PERIOD_US }),
  }
  return {
    // No swap: the whole of memory and swap is the memory limit.
    ...(memoryBytes === undefined ? {} : { memory: { limit: memoryBytes, swap: memoryBytes } }),
    ...(Object.keys(cpu).length === 0 ? {} : { cpu }),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
  }
}

/** Everything is refused but the harmless devices: null, zero, full, random, urandom, tty, terminals, and making nodes. */
function deviceRules(): unknown[] {
  const nodes = [
    [1, 3],
    [1, 5],
    [1, 7],
    [1, 8],
    [1, 9],
    [5, 0],
    [5, 2],
  ].map(([major, minor]) => ({ allow: true, type: 'c', major, minor, access: 'rwm' }))
  return [
    { allow: false, access: 'rwm' },
    { allow: true, type: 'c', access: 'm' },
    { allow: true, type: 'b', access: 'm' },
    ...nodes,
    { allow: true, type: 'c', major: 136, access: 'rwm' },
  ]
}

const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
]

const READ_ONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']
