import { readFile } from 'node:fs/promises'

const NAMES: Readonly<Record<string, string>> = {
  'Max open files': 'RLIMIT_NOFILE',
  'Max processes': 'RLIMIT_NPROC',
  'Max core file size': 'RLIMIT_CORE',
  'Max locked memory': 'RLIMIT_MEMLOCK',
  'Max stack size': 'RLIMIT_STACK',
}

/** The limits this process cannot go beyond, nor give to others, without CAP_SYS_RESOURCE; unlimited ones are left out. */
export async function readHardLimits(): Promise<Record<string, number>> {
  return parseLimits(await readFile('/proc/self/limits', 'utf8').catch(() => ''))
}

/** Reads `/proc/<pid>/limits`. */
export function parseLimits(text: string): Record<string, number> {
  const limits: Record<string, number> = {}
  for (const line of text.split('\n')) {
    const label = line.slice(0, 26).trim()
    const hard = /^\S+\s+(\d+)/.exec(line.slice(26))?.[1]
    if (NAMES[label] !== undefined && hard !== undefined) limits[NAMES[label]] = Number(hard)
  }
  return limits
}
