import { execFileSync } from 'node:child_process'

/** Runs `ps` and returns what it prints; throws for a process that is not there. */
export type RunPs = (args: readonly string[]) => string

const patienceMs = 5000

function runPs(args: readonly string[]): string {
  // Names of days and months are part of a start time: in one language, whoever asks.
  const env = { ...process.env, LC_ALL: 'C' }
  return execFileSync('ps', args, { encoding: 'utf8', timeout: patienceMs, env, stdio: ['ignore', 'pipe', 'ignore'] })
}

/**
 * When a process started, to the second, for systems without /proc: a number that is used again is not mistaken for it. Undefined
 * for one that is not there, or has ended and only waits to be reaped; empty where `ps` cannot be asked.
 */
export function startTimeByPs(pid: number, run: RunPs = runPs): string | undefined {
  try {
    // POSIX has neither column; Linux, macOS and the BSDs have both.
    const [state = '', ...start] = run(['-o', 'state=,lstart=', '-p', String(pid)])
      .trim()
      .split(/\s+/)
    return state === '' || state.startsWith('Z') ? undefined : start.join(' ')
  } catch (error) {
    return (error as { code?: unknown }).code === undefined ? undefined : ''
  }
}
