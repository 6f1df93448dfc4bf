import { readFile, readdir, rmdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

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

/** Removes an empty group, with the groups below it, from every hierarchy; one that is in use stays. */
export async function removeCgroup(cgroupPath: string, layout: CgroupLayout): Promise<void> {
  if (layout === 'none' || cgroupPath === '' || cgroupPath.includes('..')) return
  const hierarchies = layout === 'v2' ? [''] : await readdir(ROOT).catch(() => [])
  await Promise.all(hierarchies.map((name) => removeTree(join(ROOT, name, cgroupPath))))
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
