import { existsSync, statSync } from 'node:fs'
import type { Stats } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { toolFolders } from './command.ts'
import type { HostPort } from './host-ports.ts'
import { openNamespaces } from './namespaces.ts'
import { openPlan } from './plan.ts'
import type { NetworkMode, NetworkPlan } from './plan.ts'
import { openProcesses } from './processes.ts'

/** What the network needs to know of a pod. */
export interface PodIdentity {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  /** Told where a cluster shows several nodes. */
  readonly nodeName?: string | undefined
  /** Ports of the host that lead to it. Default: none. */
  readonly hostPorts?: readonly HostPort[] | undefined
}

/** A pod that is on the network. */
export interface AttachedPod extends PodIdentity {
  readonly ip: string
}

/** A pod's place on the network. */
export interface PodAttachment {
  readonly ip: string
  /** The network namespace to start containers in; absent when the pod shares the host's network. */
  readonly netnsPath?: string | undefined
  /** Environment the pod's processes need to take part in the network; to be merged with, not to replace, the pod's own. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

/** Gives pods their addresses. Attachments outlive this process: an `attach` after a restart finds the same place. */
export interface PodNetwork {
  readonly plan: NetworkPlan
  /** Why the mode is not the wanted one, when `auto` had to fall back. */
  readonly reason?: string | undefined
  /** The host as pods see it. */
  readonly gateway: string
  /** Connects a pod; the same uid gets the same place. Durable when it resolves. */
  attach(pod: PodIdentity): Promise<PodAttachment>
  /** Disconnects a pod and frees its address; unknown uids are ignored. */
  detach(uid: string): Promise<void>
  /** The pods attached now, those of an earlier run included: what the node agent no longer wants, it detaches. */
  attached(): readonly AttachedPod[]
  /** Ends the work of this process. Pods stay connected unless `remove` is given, which takes every device away. */
  close(options?: { readonly remove?: boolean | undefined }): Promise<void>
}

/** Options of {@link openPodNetwork}. */
export interface PodNetworkOptions {
  /** Directory of the cluster; the network keeps its files in `network/` below it. */
  readonly dir: string
  /** Default `auto`: namespaces where this process may make them, else processes. */
  readonly mode?: NetworkMode | 'auto' | undefined
  /** Namespaces held ready ahead of demand. Default 3. */
  readonly ready?: number | undefined
  /** Told of names and ranges before anything is made; again when `auto` then has to fall back. */
  readonly onPlan?: ((plan: NetworkPlan) => void) | undefined
  /** Told of background work that failed and is tried again. */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** Opens the pod network of the cluster in `dir`, adopting what an earlier run left. */
export async function openPodNetwork(options: PodNetworkOptions): Promise<PodNetwork> {
  const dir = join(options.dir, 'network')
  await mkdir(dir, { recursive: true })
  const mode = options.mode ?? 'auto'
  const obstacle = mode === 'processes' ? undefined : namespaceObstacle()
  if (mode === 'processes' || (mode === 'auto' && obstacle !== undefined)) return openProcesses(dir, options, obstacle)
  try {
    const plan = await openPlan(dir, 'namespaces')
    options.onPlan?.(plan)
    return await openNamespaces(dir, plan, options)
  } catch (error) {
    if (mode !== 'auto') throw error
    return openProcesses(dir, options, error instanceof Error ? error.message : String(error))
  }
}

/** What keeps this process from making network namespaces, or undefined. */
function namespaceObstacle(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces exist on Linux only'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  for (const tool of ['ip', 'nft', 'nsenter']) if (!isInstalled(tool)) return `"${tool}" is not installed`
  return undefined
}

/** Programs of PATH are a few files away; asked one by one and in turns of the event loop they take milliseconds. */
function isInstalled(tool: string): boolean {
  return toolFolders()
    .map((folder) => join(folder, tool))
    .some((path) => existsSync(path) && isProgram(statSync(path)))
}

function isProgram(file: Stats): boolean {
  return file.isFile() && (file.mode & 0o111) !== 0
}
