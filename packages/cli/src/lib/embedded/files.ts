import { randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Files of one embedded cluster that the CLI owns; everything else in the folder is the cluster's own. */
export interface ClusterFiles {
  readonly dir: string
  /** Data folder handed to the cluster. */
  readonly data: string
  /** Who runs it: a {@link ClusterProcess}. */
  readonly process: string
  /** What is remembered between runs: {@link ClusterSettings}. */
  readonly settings: string
  readonly kubeconfig: string
  /** Password of its registry. */
  readonly registryPassword: string
  readonly log: string
}

/** Names of the files in the folder of a cluster. */
export function clusterFiles(dir: string): ClusterFiles {
  return {
    dir,
    data: join(dir, 'data'),
    process: join(dir, 'process.json'),
    settings: join(dir, 'settings.json'),
    kubeconfig: join(dir, 'admin.kubeconfig'),
    registryPassword: join(dir, 'registry-password'),
    log: join(dir, 'cluster.log'),
  }
}

/** The process of a cluster, as it describes itself. */
export interface ClusterProcess {
  readonly pid: number
  /** Start time in clock ticks since boot (proc_pid_stat(5)), so that a reused pid is not taken for it. */
  readonly startTime: string
  readonly state: 'starting' | 'ready'
  readonly url?: string
  readonly runtime?: {
    readonly kind: string
    readonly detail: string
    /** What objects may ask for and nothing enforces; not told by older versions. */
    readonly notEnforced?: readonly string[]
  }
  readonly nodes?: readonly { readonly name: string; readonly zone?: string | undefined }[]
  /** Its registry; undefined where it was asked to have none. */
  readonly registry?: ClusterRegistry
  readonly startedAt: string
  /** When it last said that it is stopping, in milliseconds since 1970: it takes longer with many pods. */
  readonly stoppingAt?: number
  readonly choices?: ClusterChoices
}

/** The registry of a cluster, which starts when the cluster is ready. */
export type ClusterRegistry =
  | { readonly state: 'starting' }
  /** `address` is what references begin with, such as `127.0.0.1:5000`. */
  | { readonly state: 'ready'; readonly address: string }
  | { readonly state: 'failed'; readonly reason: string }

/** How pods may run. */
export const runtimes = ['auto', 'runc', 'process'] as const
/** How long writes may stay in memory. */
export const durabilities = ['strict', 'relaxed', 'memory'] as const

/** How a cluster was asked to run; it holds until the cluster is stopped, also when its process is killed. */
export interface ClusterChoices {
  readonly runtime?: (typeof runtimes)[number] | undefined
  readonly durability?: (typeof durabilities)[number] | undefined
  /** File of the image policy. */
  readonly imagePolicy?: string | undefined
  /** File of the audit log, and of its policy. */
  readonly auditLog?: string | undefined
  readonly auditPolicy?: string | undefined
  /** File of the gateway's requests. */
  readonly accessLog?: string | undefined
  /** File of the configuration its nodes follow. */
  readonly kubeletConfig?: string | undefined
  /** How many nodes it shows; the cluster remembers the last. */
  readonly nodes?: number | undefined
  /** Zones of its nodes, in turn; likewise remembered. */
  readonly zones?: readonly string[] | undefined
  /** Whether it has no registry. */
  readonly noRegistry?: boolean | undefined
  /** Whether nothing serves Ingresses and routes. */
  readonly noGateway?: boolean | undefined
}

/** `runc 1.1.5`, and why it is not a container runtime when it is none. */
export function describeRuntime({ runtime }: Pick<ClusterProcess, 'runtime'>): string {
  return runtime === undefined ? 'unknown' : (runtime.detail || runtime.kind).replace('://', ' ')
}

/** What a cluster keeps across restarts. */
export interface ClusterSettings {
  /** Port of the API server: the kubeconfig stays good. */
  readonly port?: number
  /** Port of the registry: references to it stay good. */
  readonly registryPort?: number
}

/** Who runs a cluster; `undefined` when nobody wrote it down, or it cannot be read. */
export function readProcess(files: ClusterFiles): ClusterProcess | undefined {
  const process: ClusterProcess | undefined = readJson(files.process)
  return process
}

/** What a cluster keeps across restarts; empty before the first start. */
export function readSettings(files: ClusterFiles): ClusterSettings {
  const settings: ClusterSettings | undefined = readJson(files.settings)
  return settings ?? {}
}

// The files are ours and written whole: what is in them has the shape we gave it. `any` ends at the two callers.
function readJson(file: string): ReturnType<typeof JSON.parse> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) ?? undefined
  } catch {
    return undefined
  }
}

/** Writes a file whole or not at all, readable by its owner only. */
export function writeWholeFile(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const temporary = `${file}.${randomUUID()}`
  try {
    const descriptor = openSync(temporary, 'wx', 0o600)
    try {
      writeSync(descriptor, text)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(temporary, file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** The last lines of a file, from its last 64 kB. */
export function readLastLines(file: string, count: number): string[] {
  try {
    const text = readFileSync(file, 'utf8').slice(-65_536)
    return text
      .split('\n')
      .filter((line) => line !== '')
      .slice(-count)
  } catch {
    return []
  }
}
