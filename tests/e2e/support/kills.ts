// Ends what pods of one home run by, as a machine short of memory or an impatient administrator does.
import { readdirSync, readFileSync } from 'node:fs'

/** Monitors (conmon) of the containers of a home. */
export function monitorsOf(dir: string): number[] {
  return pids().filter((pid) => {
    const words = wordsOf(pid)
    return words[0]?.endsWith('conmon') === true && words.some((word) => word.includes(dir))
  })
}

/** The first process of each container of a home: what its monitor has started. */
export function containersOf(dir: string): number[] {
  const monitors = new Set(monitorsOf(dir))
  return pids().filter((pid) => monitors.has(parentOf(pid)) && !wordsOf(pid)[0]?.endsWith('runc'))
}

/** Kills one of them, and says which; undefined where there is none. */
export function killOneOf(found: readonly number[]): number | undefined {
  const pid = found[Math.floor(Math.random() * found.length)]
  return pid !== undefined && kill(pid) ? pid : undefined
}

export interface Killer extends Disposable {
  readonly killed: number
  stop(): void
}

/** Kills `runc create` and `runc start` of one home as they appear, `atMost` of them. */
export function killRuntimes(dir: string, atMost = Number.POSITIVE_INFINITY): Killer {
  const killed = new Set<number>()
  const timer = setInterval(() => {
    for (const pid of pids()) {
      const words = killed.size < atMost && !killed.has(pid) ? wordsOf(pid) : []
      if (!words[0]?.endsWith('runc') || !words.some((word) => word.includes(dir))) continue
      if ((words.includes('create') || words.includes('start')) && kill(pid)) killed.add(pid)
    }
  }, 5)
  const stop = (): void => clearInterval(timer)
  return {
    get killed() {
      return killed.size
    },
    stop,
    [Symbol.dispose]: stop,
  }
}

function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false // It ended meanwhile.
  }
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

function wordsOf(pid: number): string[] {
  return read(pid, 'cmdline').split('\0')
}

function parentOf(pid: number): number {
  const stat = read(pid, 'stat')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return '' // It ended meanwhile.
  }
}
