import { readFileSync } from 'node:fs'

import { startTimeByPs } from '../layout/ps.ts'

let bootId: string | undefined

/**
 * Names a running process so that a reused number is not mistaken for it: `<boot>/<pid>/<start time>`. `undefined` when
 * there is no such process, or it has ended and only waits to be reaped. Where there is no /proc, `ps` tells the time.
 */
export function identifyProcess(pid: number, platform: NodeJS.Platform = process.platform): string | undefined {
  if (platform !== 'linux') return identifyByPs(pid)
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The command name may hold spaces and brackets; the fields after it do not.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : `${boot()}/${pid}/${fields[19] ?? ''}`
  } catch {
    return undefined
  }
}

/** `ps` is a program to start: asked only about processes that are there. */
function identifyByPs(pid: number): string | undefined {
  const start = answers(pid) ? startTimeByPs(pid) : undefined
  return start === undefined ? undefined : `/${pid}/${start}`
}

/** Whether the process named by {@link identifyProcess} still runs. */
export function isRunning(identity: string): boolean {
  const pid = pidOf(identity)
  return pid > 0 && identifyProcess(pid) === identity
}

export function pidOf(identity: string): number {
  return Number(identity.split('/')[1] ?? 0)
}

function boot(): string {
  bootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  return bootId
}

function answers(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
