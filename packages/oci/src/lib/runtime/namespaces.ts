import { spawn } from 'node:child_process'
import { mkdir, readFile, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { runtimeUnavailable } from '../errors.ts'
import { runCommand, toolEnvironment } from './command.ts'
import type { SharedNamespaces } from './driver.ts'
import { unmountAll } from './overlay.ts'
import { identifyProcess, isRunning, pidOf } from './process-identity.ts'
import { childOf } from './session.ts'

/** Magic number of the kernel's file system of namespaces (linux/magic.h). */
const NSFS = 0x6e73_6673
const SHM_OPTIONS = 'nosuid,nodev,noexec,mode=1777,size=65536k'

/**
 * Namespaces that several containers join: shared memory always, process numbers when asked for. They are files in `dir`
 * that outlive this process; those that are there already are given back.
 */
export async function openNamespaces(dir: string, options: { readonly pids: boolean }): Promise<SharedNamespaces> {
  const [ipc, pid, shmDir] = ['ipc', 'pid', 'shm'].map((name) => join(dir, name)) as [string, string, string]
  const isThere = (await isNamespace(ipc)) && (!options.pids || (await isHeld(dir)))
  if (!isThere) {
    await closeNamespaces(dir)
    await mkdir(shmDir, { recursive: true, mode: 0o711 })
    await Promise.all([ipc, ...(options.pids ? [pid] : [])].map((file) => writeFile(file, '')))
    await runCommand('mount', ['-i', '-t', 'tmpfs', '-o', SHM_OPTIONS, 'shm', shmDir])
    if (options.pids) await hold(dir, ipc, pid)
    else await runCommand('unshare', [`--ipc=${ipc}`, 'true'])
  }
  return { ipcNamespace: ipc, shmDir, ...(options.pids ? { pidNamespace: pid } : {}) }
}

/** Ends the namespaces in `dir`, and with that of process numbers all that runs in it. */
export async function closeNamespaces(dir: string): Promise<void> {
  const holder = await readHolder(dir)
  if (holder !== undefined && isRunning(holder)) process.kill(pidOf(holder), 'SIGKILL')
  await unmountAll(dir)
  await rm(dir, { recursive: true, force: true })
}

/**
 * Starts the first process of the namespace: it lasts for as long as that lives. Children whose parents have ended become
 * its own; that it ignores their end makes the kernel reap them.
 */
async function hold(dir: string, ipc: string, pid: string): Promise<void> {
  const program = ['env', '--ignore-signal=CHLD', 'sleep', 'infinity']
  const child = spawn('unshare', ['--fork', `--ipc=${ipc}`, `--pid=${pid}`, '--', ...program], {
    detached: true,
    stdio: 'ignore',
    env: toolEnvironment(),
  })
  const failed = new Promise<never>((_, reject) => child.on('error', reject))
  const holder = await Promise.race([childOf(child.pid ?? 0), failed])
  const identity = holder === undefined ? undefined : identifyProcess(holder)
  if (identity === undefined) throw runtimeUnavailable('a namespace for processes could not be made')
  await writeFile(join(dir, 'holder'), identity)
  child.unref()
  for (let waitedMs = 0; !(await isNamespace(pid)); waitedMs += 5) {
    if (waitedMs > 2000) throw runtimeUnavailable('a namespace for processes was not mounted in time')
    await sleep(5)
  }
}

async function isHeld(dir: string): Promise<boolean> {
  const holder = await readHolder(dir)
  return holder !== undefined && isRunning(holder)
}

async function readHolder(dir: string): Promise<string | undefined> {
  return await readFile(join(dir, 'holder'), 'utf8').catch(() => undefined)
}

async function isNamespace(path: string): Promise<boolean> {
  const found = await statfs(path).catch(() => undefined)
  return found?.type === NSFS
}
