import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

import { startTimeByPs } from './ps.ts'

/** Names one process on one machine, across reuse of its number: `<host>|<pid>|<start time>`. */
export function currentProcess(): string {
  return `${hostname()}|${process.pid}|${startTimeOf(process.pid)}`
}

/**
 * Whether the named process is certainly gone. One of another machine (a shared disk) is never called gone.
 */
export function isProcessGone(identity: string): boolean {
  const [host, pid, startTime] = identity.split('|')
  if (host !== hostname() || !pid || startTime === undefined) return false
  try {
    process.kill(Number(pid), 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
  return startTimeOf(Number(pid)) !== startTime
}

/** Field 22 of /proc/<pid>/stat, in clock ticks since boot; the time of day where there is no /proc. */
function startTimeOf(pid: number): string {
  if (process.platform !== 'linux') return startTimeByPs(pid) ?? ''
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
