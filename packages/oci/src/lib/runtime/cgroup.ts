import { constants } from 'node:fs'
import { mkdir, readFile, readdir, rmdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { ContainerResources } from './config.ts'

/** How the control groups of this machine are laid out; `hybrid` has version 1 controllers beside a version 2 tree. */
export type CgroupLayout = 'v1' | 'v2' | 'hybrid' | 'none'

const ROOT = '/sys/fs/cgroup'

/** Finds the layout by the files systemd and others go by. */
export async function detectCgroupLayout(): Promise<CgroupLayout> {
  if (await exists(join(ROOT, 'cgroup.controllers'))) return 'v2'
  if (!(await exists(join(ROOT, 'memory')))) return 'none'
  return (await exists(join(ROOT, 'unified/cgroup.controllers'))) ? 'hybrid' : 'v1'
}

/** How many processes of the group the kernel has killed for want of memory; read it before the group is removed. */
export async function countOomKills(cgroupPath: string, layout: CgroupLayout): Promise<number> {
  const file =
    layout === 'v2' ? join(ROOT, cgroupPath, 'memory.events') : join(ROOT, 'memory', cgroupPath, 'memory.oom_control')
  const text = await readFile(file, 'utf8').catch(() => '')
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0)
}

/** Kills all processes of a group: again and again, as they may start others meanwhile. */
export async function killCgroup(cgroupPath: string, layout: CgroupLayout): Promise<void> {
  const dir = layout === 'v2' ? join(ROOT, cgroupPath) : join(ROOT, 'memory', cgroupPath)
  for (let tries = 0; tries < 20; tries += 1) {
    const text = await readFile(join(dir, 'cgroup.procs'), 'utf8').catch(() => '')
    const pids = text.split('\n').filter((line) => line !== '')
    if (pids.length === 0) return
    for (const pid of pids) {
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch {
        // It has ended by itself.
      }
    }
    await sleep(10)
  }
}

/** Removes an empty group, with the groups below it, from every hierarchy; one that is in use stays. */
export async function removeCgroup(cgroupPath: string, layout: CgroupLayout): Promise<void> {
  if (layout === 'none' || cgroupPath === '' || cgroupPath.includes('..')) return
  const hierarchies = layout === 'v2' ? [''] : await readdir(ROOT).catch(() => [])
  await Promise.all(hierarchies.map((name) => removeTree(join(ROOT, name, cgroupPath))))
}

/** One file of a group and what belongs into it. */
interface Setting {
  /** Of version 1: which hierarchy the file is in. */
  readonly controller: string
  readonly file: string
  readonly value: string
}

/** The kernel counts a group's processor time per so many microseconds. */
export const CPU_PERIOD_US = 100_000

/** Makes a group that has groups below it and limits what all of them have together; what is left out is not limited. */
export async function limitCgroup(
  cgroupPath: string,
  layout: CgroupLayout,
  limits: Pick<ContainerResources, 'cpuShares' | 'cpuLimit' | 'memoryBytes' | 'pids'>,
  root: string = ROOT,
): Promise<void> {
  if (layout === 'none' || cgroupPath === '' || cgroupPath.includes('..')) return
  const settings = layout === 'v2' ? settingsOfV2(limits) : settingsOfV1(limits)
  if (layout === 'v2') await handDownControllers(cgroupPath, root)
  const byFolder = Map.groupBy(settings, ({ controller }) => join(root, layout === 'v2' ? '' : controller, cgroupPath))
  for (const [dir, files] of byFolder) {
    const isNew = (await mkdir(dir, { recursive: true })) !== undefined
    for (const { file, value } of files)
      if (!isNew || !isDefault(file, value)) await writeSetting(join(dir, file), value)
  }
}

/** A new group is not limited. */
function isDefault(file: string, value: string): boolean {
  return value === 'max' || value === '-1' || value === `max ${CPU_PERIOD_US}` || file === 'cpu.cfs_period_us'
}

/** A kernel without the controller has no such file: then there is nothing to limit by. */
async function writeSetting(path: string, value: string): Promise<void> {
  await writeFile(path, value, { flag: constants.O_WRONLY | constants.O_TRUNC }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    },
  )
}

/** The files of version 1 (kernel documentation, "cgroup-v1"). Pure. */
export function settingsOfV1({ cpuShares, cpuLimit, memoryBytes, pids }: Parameters<typeof limitCgroup>[2]): Setting[] {
  const quota = cpuLimit === undefined ? -1 : quotaOf(cpuLimit)
  return [
    ...(cpuShares === undefined ? [] : [{ controller: 'cpu', file: 'cpu.shares', value: String(sharesOf(cpuShares)) }]),
    { controller: 'cpu', file: 'cpu.cfs_period_us', value: String(CPU_PERIOD_US) },
    { controller: 'cpu', file: 'cpu.cfs_quota_us', value: String(quota) },
    { controller: 'memory', file: 'memory.limit_in_bytes', value: String(memoryBytes ?? -1) },
    { controller: 'pids', file: 'pids.max', value: String(pids ?? 'max') },
  ]
}

/** The files of version 2 (kernel documentation, "cgroup-v2"). Pure. */
export function settingsOfV2({ cpuShares, cpuLimit, memoryBytes, pids }: Parameters<typeof limitCgroup>[2]): Setting[] {
  const quota = cpuLimit === undefined ? 'max' : String(quotaOf(cpuLimit))
  // Shares of 2 to 262,144 become weights of 1 to 10,000, as the OCI runtimes turn those of containers.
  const weight = cpuShares === undefined ? undefined : 1 + Math.floor(((sharesOf(cpuShares) - 2) * 9999) / 262_142)
  const all = { 'cpu.weight': weight, 'cpu.max': `${quota} ${CPU_PERIOD_US}`, 'memory.max': memoryBytes ?? 'max' }
  return Object.entries({ ...all, 'pids.max': pids ?? 'max' }).flatMap(([file, value]) =>
    value === undefined ? [] : [{ controller: '', file, value: String(value) }],
  )
}

/** Microseconds per period for so many processors; the kernel takes no less than a thousand. */
export function quotaOf(processors: number): number {
  return Math.max(1000, Math.round(processors * CPU_PERIOD_US))
}

export function sharesOf(shares: number): number {
  return Math.min(262_144, Math.max(2, Math.round(shares)))
}

/** In version 2 a group has a controller only when all above it hand it down. */
async function handDownControllers(cgroupPath: string, root: string): Promise<void> {
  const above: string[] = []
  for (let dir = dirname(cgroupPath); dir !== '/' && dir !== '.'; dir = dirname(dir)) above.unshift(dir)
  for (const dir of ['', ...above]) {
    await mkdir(join(root, dir), { recursive: true })
    const control = join(root, dir, 'cgroup.subtree_control')
    for (const name of ['cpu', 'memory', 'pids']) await writeFile(control, `+${name}`).catch(() => {})
  }
}

async function removeTree(dir: string): Promise<void> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => [])
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(dir, entry.name))
  await rmdir(dir).catch(() => {})
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
