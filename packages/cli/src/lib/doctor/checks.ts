import { execFile } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { embeddedFiles } from '../embedded/cluster.ts'
import { describeRuntime } from '../embedded/files.ts'
import { findProcess, hasDied } from '../embedded/process.ts'
import type { Homes } from '../homes.ts'
import { describeHolder, findPortHolder, probePort } from '../ports.ts'
import { renderSize } from '../terminal/text.ts'

/** What one check found. `fail` keeps something essential from working, `warn` leaves a lesser way. */
export interface Finding {
  readonly name: string
  readonly status: 'ok' | 'warn' | 'fail'
  readonly detail: string
  /** The way out; absent when there is nothing to do. */
  readonly hint?: string | undefined
}

/** What the checks look at. */
export interface Machine {
  readonly env: NodeJS.ProcessEnv
  readonly homes: Homes
  readonly signal: AbortSignal
}

type Check = (machine: Machine) => Promise<Finding>

/** Deadline of one question to another program or to the network. */
const deadlineMs = 8_000
const lowDiskBytes = 2e9
const emptyDiskBytes = 300e6
const usualPort = 8080

/** Runs every check at the same time, in the order in which they are to be read. */
export async function examine(machine: Machine): Promise<Finding[]> {
  return await Promise.all(checks.map((check) => check(machine)))
}

const checks: readonly Check[] = [
  checkNode,
  checkNpm,
  checkUser,
  checkRuntime,
  checkConmon,
  checkNetworkTools,
  checkCgroups,
  checkRegistry,
  checkNpmRegistry,
  checkApt,
  checkDisk,
  checkPort,
  checkKubectl,
  checkCluster,
]

async function checkNode(): Promise<Finding> {
  return { name: 'node', status: 'ok', detail: `${process.versions.node} at ${process.execPath}` }
}

async function checkNpm({ env, signal }: Machine): Promise<Finding> {
  const version = await firstLine('npm', ['--version'], env, signal)
  if (version !== undefined) return { name: 'npm', status: 'ok', detail: version }
  return { name: 'npm', status: 'fail', detail: 'not found', hint: 'Install npm: images are built from its packages' }
}

async function checkUser(): Promise<Finding> {
  const isRoot = process.getuid?.() === 0
  if (isRoot && process.platform === 'linux') return { name: 'user', status: 'ok', detail: 'root on Linux' }
  return {
    name: 'user',
    status: 'warn',
    detail: `${process.platform === 'linux' ? 'not root' : process.platform}: pods run as plain processes`,
    hint: 'Run as root on Linux to have pods in containers with networks of their own',
  }
}

async function checkRuntime({ env, signal }: Machine): Promise<Finding> {
  for (const program of ['runc', 'crun']) {
    const version = await firstLine(program, ['--version'], env, signal)
    if (version !== undefined) return { name: 'runtime', status: 'ok', detail: version }
  }
  return {
    name: 'runtime',
    status: 'warn',
    detail: 'neither runc nor crun found: pods run as plain processes',
    hint: 'On Debian: apt-get install runc',
  }
}

async function checkConmon({ env, signal }: Machine): Promise<Finding> {
  const version = await firstLine('conmon', ['--version'], env, signal)
  if (version !== undefined) return { name: 'conmon', status: 'ok', detail: version }
  const hint = 'On Debian: apt-get install conmon'
  return { name: 'conmon', status: 'warn', detail: 'not found: pods run as plain processes', hint }
}

async function checkNetworkTools({ env }: Machine): Promise<Finding> {
  const packages = { nft: 'nftables', ip: 'iproute2' }
  const missing = Object.entries(packages).filter(([program]) => findProgram(program, env) === undefined)
  if (missing.length === 0 && findProgram('conntrack', env) === undefined) {
    const detail = 'nft and ip found; without conntrack clients of UDP follow a Service only after a pause of 30 s'
    return { name: 'network', status: 'ok', detail, hint: 'On Debian: apt-get install conntrack' }
  }
  if (missing.length === 0) return { name: 'network', status: 'ok', detail: 'nft, ip and conntrack found' }
  return {
    name: 'network',
    status: 'warn',
    detail: `${missing.map(([program]) => program).join(' and ')} not found: pods share the network of this machine`,
    hint: `On Debian: apt-get install ${missing.map(([, name]) => name).join(' ')}`,
  }
}

async function checkCgroups(): Promise<Finding> {
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) return { name: 'cgroups', status: 'ok', detail: 'v2' }
  if (existsSync('/sys/fs/cgroup/memory')) return { name: 'cgroups', status: 'ok', detail: 'v1' }
  return {
    name: 'cgroups',
    status: 'warn',
    detail: 'not mounted: pods run as plain processes instead of containers',
    hint: 'Mount cgroup2 at /sys/fs/cgroup',
  }
}

async function checkRegistry({ signal }: Machine): Promise<Finding> {
  const registry = 'gcr.io'
  const isReachable = await answers(`https://${registry}/v2/`, signal)
  if (isReachable) return { name: 'registry', status: 'ok', detail: `${registry} answers: images stand on distroless` }
  return {
    name: 'registry',
    status: 'warn',
    detail: `${registry} does not answer: images stand on a base assembled from Debian packages`,
    hint: 'Nothing to do where apt works; otherwise open the way to a registry and choose it with --base',
  }
}

async function checkNpmRegistry({ env, signal }: Machine): Promise<Finding> {
  const registry = await firstLine('npm', ['config', 'get', 'registry'], env, signal)
  if (registry !== undefined && (await answers(registry, signal))) {
    return { name: 'packages', status: 'ok', detail: `npm registry answers` }
  }
  return {
    name: 'packages',
    status: 'warn',
    detail: 'the npm registry does not answer: only what is in the cache can be built',
    hint: 'Check "npm ping" and the registry of your npm configuration',
  }
}

async function checkApt({ env }: Machine): Promise<Finding> {
  if (findProgram('apt-get', env) !== undefined) {
    return { name: 'apt', status: 'ok', detail: 'apt-get found: a base can be assembled without a registry' }
  }
  return {
    name: 'apt',
    status: 'warn',
    detail: 'apt-get not found: a base must come from a registry',
    hint: 'Nothing to do where a registry answers',
  }
}

async function checkDisk({ homes }: Machine): Promise<Finding> {
  try {
    mkdirSync(homes.home, { recursive: true, mode: 0o700 })
    accessSync(homes.home, constants.W_OK)
  } catch {
    const hint = 'Set FAIRLEAD_HOME to a folder you may write'
    return { name: 'disk', status: 'fail', detail: `${homes.home} cannot be written`, hint }
  }
  const { bavail, bsize } = await statfs(homes.home)
  const freeBytes = bavail * bsize
  const detail = `${renderSize(freeBytes)} free in ${homes.home}`
  if (freeBytes > lowDiskBytes) return { name: 'disk', status: 'ok', detail }
  const hint = 'Free some space, or set FAIRLEAD_HOME and FAIRLEAD_CACHE to another disk'
  return { name: 'disk', status: freeBytes > emptyDiskBytes ? 'warn' : 'fail', detail, hint }
}

async function checkPort({ homes }: Machine): Promise<Finding> {
  const name = `port ${usualPort}`
  if ((await probePort(usualPort)) === 'free') return { name, status: 'ok', detail: 'free' }
  const holder = findPortHolder(usualPort)
  if (holder !== undefined && holder.pid === findProcess(embeddedFiles(homes))?.pid) {
    return { name, status: 'ok', detail: 'used by the embedded cluster' }
  }
  const detail = `used by ${describeHolder(holder) ?? 'a process of another user'}`
  return { name, status: 'warn', detail, hint: 'Apps that are public at this port need another: set "public"' }
}

async function checkKubectl({ env, signal }: Machine): Promise<Finding> {
  const version = await firstLine('kubectl', ['version', '--client'], env, signal)
  if (version !== undefined) return { name: 'kubectl', status: 'ok', detail: version }
  const hint = 'Install kubectl to work on the cluster by hand; fairlead does without'
  return { name: 'kubectl', status: 'warn', detail: 'not found', hint }
}

async function checkCluster({ homes }: Machine): Promise<Finding> {
  const files = embeddedFiles(homes)
  const running = findProcess(files)
  if (running) {
    const detail = `${running.state} at ${running.url ?? '-'}, pods as ${describeRuntime(running)}`
    return { name: 'cluster', status: 'ok', detail }
  }
  if (!hasDied(files)) return { name: 'cluster', status: 'ok', detail: 'not running' }
  const hint = `Read ${files.log}; the next start takes over what it left`
  return { name: 'cluster', status: 'warn', detail: 'its process ended without being stopped', hint }
}

async function answers(url: string, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]) })
    await response.body?.cancel()
    return response.status < 500
  } catch {
    return false
  }
}

/** Where daemons of the system lie is not on the PATH of every user. */
function findProgram(name: string, env: NodeJS.ProcessEnv): string | undefined {
  const folders = [...(env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file))
}

async function firstLine(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<string | undefined> {
  const file = findProgram(program, env)
  if (file === undefined) return undefined
  try {
    const { stdout } = await promisify(execFile)(file, [...args], { env, signal, timeout: deadlineMs })
    return stdout.split('\n')[0]?.trim()
  } catch {
    return undefined
  }
}
