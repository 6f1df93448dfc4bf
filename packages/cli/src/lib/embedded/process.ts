import { execFileSync } from 'node:child_process'
import { existsSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ClusterChoices, type ClusterFiles, type ClusterProcess, readProcess, writeWholeFile } from './files.ts'

/** The living process of a cluster; `undefined` when none runs. */
export function findProcess(files: ClusterFiles): ClusterProcess | undefined {
  const known = readProcess(files)
  return known && isAlive(known) ? known : undefined
}

/** Whether a process ended without taking its file away: killed, or the machine went down. */
export function hasDied(files: ClusterFiles): boolean {
  const known = readProcess(files)
  return existsSync(files.process) && !(known && isAlive(known))
}

/** Whether something is mounted below a folder: pods are left there, whatever became of the process that ran them. */
export function holdsMounts(folder: string, mounts: string = readMounts()): boolean {
  const start = `${folder.replaceAll(' ', '\\040')}/`
  return mounts.split('\n').some((line) => line.split(' ')[1]?.startsWith(start))
}

function readMounts(): string {
  return process.platform === 'linux' ? readFileSync('/proc/self/mounts', 'utf8') : ''
}

/** Whether this very process still runs: the pid lives and was born at the same time. */
export function isAlive({ pid, startTime }: Pick<ClusterProcess, 'pid' | 'startTime'>): boolean {
  return startTime !== '' && readStartTime(pid) === startTime
}

/**
 * Start time of a process that has not ended; `undefined` without one. Where there is no `/proc`, `ps` tells it, to the second.
 */
export function readStartTime(pid: number, platform: NodeJS.Platform = process.platform): string | undefined {
  if (platform !== 'linux') return isPid(pid) ? askPs(pid) : undefined
  try {
    // The name in the second field may hold spaces and brackets; what follows the last bracket is regular.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
  } catch {
    return undefined
  }
}

/** Where `ps` cannot be asked, a living pid has the start time `unknown`. */
function askPs(pid: number): string | undefined {
  try {
    const env = { ...process.env, LC_ALL: 'C' }
    const args = ['-o', 'state=,lstart=', '-p', String(pid)]
    const text = execFileSync('ps', args, {
      encoding: 'utf8',
      timeout: 5_000,
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [state = '', ...start] = text.trim().split(/\s+/)
    return state === '' || state.startsWith('Z') ? undefined : start.join(' ')
  } catch {
    return isPid(pid) ? 'unknown' : undefined
  }
}

function isPid(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** The right to run a cluster, held by this process. */
export interface Claim extends Disposable {
  /** Changes the description others read, and returns it. */
  update(change: Partial<ClusterProcess>): ClusterProcess
}

/** Claims a cluster for this process, which runs it as chosen; `undefined` when another living process has it. */
export function claimCluster(files: ClusterFiles, choices: ClusterChoices = {}): Claim | undefined {
  let current: ClusterProcess = {
    pid: process.pid,
    startTime: readStartTime(process.pid) ?? '',
    state: 'starting',
    startedAt: new Date().toISOString(),
    choices,
  }
  const own = `${files.process}.${process.pid}`
  writeFileSync(own, JSON.stringify(current), { mode: 0o600 })
  try {
    if (!linkOnce(own, files) && !(takeOver(files) && linkOnce(own, files))) return undefined
  } finally {
    rmSync(own, { force: true })
  }
  return {
    update(change) {
      current = { ...current, ...change }
      writeWholeFile(files.process, JSON.stringify(current))
      return current
    },
    [Symbol.dispose]() {
      if (readProcess(files)?.pid === process.pid) rmSync(files.process, { force: true })
    },
  }
}

/** A link is made by one process only, and holds its whole content from the first moment. */
function linkOnce(own: string, files: ClusterFiles): boolean {
  try {
    linkSync(own, files.process)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/** Moves the file of a dead process out of the way. Of two who try, the second moves nothing of worth: it looks again. */
function takeOver(files: ClusterFiles): boolean {
  if (!hasDied(files)) return false
  const moved = `${files.process}.stale.${process.pid}`
  try {
    renameSync(files.process, moved)
  } catch {
    return true
  }
  const found = readProcess({ ...files, process: moved })
  if (found && isAlive(found)) {
    renameSync(moved, files.process)
    return false
  }
  rmSync(moved, { force: true })
  return true
}

/** Waits until a process is gone; whether it is, at the end of the deadline. There is no event for a foreign process. */
export async function waitForEnd(
  running: Pick<ClusterProcess, 'pid' | 'startTime'>,
  deadlineMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const end = Date.now() + deadlineMs
  while (isAlive(running)) {
    if (Date.now() >= end) return false
    await sleep(20, undefined, { signal })
  }
  return true
}

/** A signal that is aborted, with the error `toReason` makes, when a process ends; disposing of it ends the watch. */
export function watchForEnd(
  running: Pick<ClusterProcess, 'pid' | 'startTime'>,
  toReason: () => Error,
): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController()
  const timer = setInterval(() => {
    if (!isAlive(running)) controller.abort(toReason())
  }, 250)
  timer.unref()
  return { signal: controller.signal, [Symbol.dispose]: () => clearInterval(timer) }
}
