import { lstat, readdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { parseQuantity } from '@fairlead/kube/types'
import type { NodeCondition, Pod } from '@fairlead/kube/types/core-v1'

import { availableMemory } from './available-memory.ts'
import { requestsOf } from './resources.ts'

/** What a node has left. */
export interface Left {
  readonly memoryBytes: number
  readonly diskBytes: number
  readonly diskTotalBytes: number
}

const MI = 2 ** 20
const GI = 2 ** 30
const LEAST_MEMORY_BYTES = 100 * MI

/** What a node is short of. */
export interface Pressure {
  readonly memory: boolean
  readonly disk: boolean
}

/**
 * Memory as with kubelets. Of the disk kubelets want a tenth free, which the machine of a developer often has not for
 * reasons of its own: here it is a gibibyte where a tenth is more.
 */
export function pressureOf({ memoryBytes, diskBytes, diskTotalBytes }: Left): Pressure {
  return { memory: memoryBytes < LEAST_MEMORY_BYTES, disk: diskBytes < Math.min(diskTotalBytes / 10, GI) }
}

export async function readLeft(dir: string): Promise<Left> {
  const { bavail, blocks, bsize } = await statfs(dir)
  return { memoryBytes: await availableMemory(), diskBytes: bavail * bsize, diskTotalBytes: blocks * bsize }
}

/** The conditions of a node that tell of pressure, without their times. */
export function pressureConditions({ memory, disk }: Pressure): Pick<NodeCondition, 'type' | 'status' | 'reason'>[] {
  const tell = (type: string, isShort: boolean, what: string): Pick<NodeCondition, 'type' | 'status' | 'reason'> => ({
    type,
    status: isShort ? 'True' : 'False',
    reason: isShort ? `KubeletHas${what === 'Disk' ? 'DiskPressure' : 'InsufficientMemory'}` : enough(what),
  })
  return [tell('MemoryPressure', memory, 'Memory'), tell('DiskPressure', disk, 'Disk')]
}

function enough(what: string): string {
  return what === 'Disk' ? 'KubeletHasNoDiskPressure' : 'KubeletHasSufficientMemory'
}

/** A pod and the memory it uses. */
export interface PodUse {
  readonly pod: Pod
  readonly memoryBytes: number
}

/**
 * Whom to evict first when memory runs out (Kubernetes, "Pod selection for kubelet eviction"): who uses more than it asked
 * for, then lower priority, then who uses most beyond what it asked for. Pods nobody can do without are spared.
 */
export function rankForEviction(pods: readonly PodUse[]): readonly PodUse[] {
  const beyond = ({ pod, memoryBytes }: PodUse): number => memoryBytes - requestsOf(pod).memory
  const priority = ({ pod }: PodUse): number => pod.spec?.priority ?? 0
  return pods
    .filter((use) => priority(use) < CRITICAL_PRIORITY)
    .toSorted(
      (a, b) => Number(beyond(b) > 0) - Number(beyond(a) > 0) || priority(a) - priority(b) || beyond(b) - beyond(a),
    )
}

/** `system-cluster-critical`. */
const CRITICAL_PRIORITY = 2_000_000_000

export function describeMemoryPressure({ memoryBytes }: Left): string {
  const available = `${Math.floor(memoryBytes / 1024)}Ki`
  return `The node was low on resource: memory. Threshold quantity: 100Mi, available: ${available}. `
}

/** The names and limits of the volumes of a pod that are limited and lie on disk. */
function limitedVolumes({ spec }: Pod): { readonly name: string; readonly limit: string }[] {
  return (spec?.volumes ?? []).flatMap(({ name, emptyDir }) => {
    const limit = emptyDir?.sizeLimit
    return limit === undefined || emptyDir?.medium === 'Memory' || !parseQuantity(limit) ? [] : [{ name, limit }]
  })
}

/** Why a pod has to go whose volumes, below `dir`, have grown too large; undefined when none has. */
export async function findOverfull(pod: Pod, dir: string): Promise<string | undefined> {
  for (const { name, limit } of limitedVolumes(pod)) {
    const size = await sizeOf(join(dir, name))
    if (size > (parseQuantity(limit) ?? 0)) return `Usage of EmptyDir volume "${name}" exceeds the limit "${limit}". `
  }
  return undefined
}

/** Bytes that a folder takes on disk, links not followed. */
async function sizeOf(dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => [])
  let bytes = 0
  for (const entry of entries) {
    const found = await lstat(join(entry.parentPath, entry.name)).catch(() => undefined)
    bytes += (found?.blocks ?? 0) * 512
  }
  return bytes
}
