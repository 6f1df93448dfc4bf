// What the restart of a machine leaves of a cluster: its files, as they were. Processes, mounts, namespaces, groups are gone.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

import { removeHost } from '../../network/host.ts'
import { listLaneNames } from '../../network/lanes.ts'
import { openPlan } from '../../network/plan.ts'
import { until } from './world.ts'

/**
 * Takes away what the cluster at `dir`, whose own process has ended, has on the machine besides its files. In this start of
 * the machine the process `other` has the number, and began at the time, of each of the cluster's before.
 */
export async function restartMachine(dir: string, other: number): Promise<void> {
  const runtimeDir = join(dir, 'node', 'runtime')
  const records = readdirSync(join(runtimeDir, 'containers')).map((id) =>
    join(runtimeDir, 'containers', id, 'container.json'),
  )
  // Monitors first: they have no time to write down how their containers ended.
  for (const role of ['monitor', 'process']) for (const path of records) await endOf(path, role)
  for (const path of records) forge(path, other)
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  const points = mounts.flatMap((line) => line.split(' ')[4] ?? []).filter((point) => point.startsWith(`${dir}/`))
  for (const point of points.toReversed()) execFileSync('umount', ['-l', point])
  const plan = await openPlan(dir, 'namespaces')
  for (const name of await listLaneNames(plan)) execFileSync('ip', ['netns', 'delete', name])
  await removeHost(plan)
  const prefix = `fairlead-${hashOf(join(dir, 'node')).slice(0, 8)}`
  for (const group of groupsOf(prefix)) execFileSync('find', [group, '-depth', '-type', 'd', '-delete'])
  rmSync(join('/run/fairlead', hashOf(runtimeDir).slice(0, 12)), { recursive: true })
}

/** Of the one hierarchy of version 2, or of each of version 1. */
function groupsOf(prefix: string): string[] {
  const top = '/sys/fs/cgroup'
  const foldersOf = (folder: string): string[] =>
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(folder, name))
  const hierarchies = existsSync(join(top, 'cgroup.controllers')) ? [top] : foldersOf(top)
  return hierarchies.flatMap((folder) => foldersOf(folder)).filter((group) => basename(group).startsWith(prefix))
}

async function endOf(path: string, role: string): Promise<void> {
  const pid = Number(readRecord(path)[role]?.split('/')[1])
  process.kill(pid, 'SIGKILL')
  await until(async () => !isUp(pid) || undefined, `the ${role} has ended`)
}

function isUp(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && statOf(pid)[0] !== 'Z'
}

function forge(path: string, pid: number): void {
  const identity = `00000000-0000-4000-8000-000000000000/${pid}/${statOf(pid)[19]}`
  writeFileSync(path, JSON.stringify({ ...readRecord(path), process: identity, monitor: identity }))
}

function readRecord(path: string): Record<string, string> {
  return JSON.parse(readFileSync(path, 'utf8'))
}

/** The fields after the name of the command, which may hold spaces and brackets. */
function statOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
