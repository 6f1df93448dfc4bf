import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { freemem } from 'node:os'
import { promisify } from 'node:util'

/**
 * Bytes that programs can still have without others being paged out. What a system calls free is far less: it keeps files in all
 * memory that nobody asks for.
 */
export async function availableMemory(platform: NodeJS.Platform = process.platform): Promise<number> {
  if (platform === 'darwin') return parseVmStat(await runVmStat()) ?? Infinity
  const text = await readFile('/proc/meminfo', 'utf8').catch(() => '')
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1]
  return available === undefined ? freemem() : Number(available) * 1024
}

async function runVmStat(): Promise<string> {
  const options = { timeout: 5000, env: { ...process.env, LC_ALL: 'C' } }
  return await promisify(execFile)('vm_stat', [], options).then(
    ({ stdout }) => stdout,
    () => '',
  )
}

/** Pages of macOS that are free, or can be taken back without writing; undefined when the text is not of `vm_stat`. */
export function parseVmStat(text: string): number | undefined {
  const pageBytes = Number(/page size of (\d+) bytes/.exec(text)?.[1])
  const counts = ['free', 'inactive', 'speculative', 'purgeable'].map((kind) =>
    Number(new RegExp(`^Pages ${kind}:\\s+(\\d+)\\.`, 'm').exec(text)?.[1]),
  )
  const pages = counts.reduce((sum, count) => sum + count, 0)
  return Number.isFinite(pages * pageBytes) ? pages * pageBytes : undefined
}
