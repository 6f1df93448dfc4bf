import { execFileSync } from 'node:child_process'
import { readFileSync, unlinkSync, writeFileSync, linkSync, renameSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'

import { codeOf, storageLocked } from '../errors.ts'

interface Holder {
  readonly pid: number
  /** When that process started, in the machine's own words: a process number alone is used again. */
  readonly started: string
}

/**
 * Claims `dir` for this process, or throws `FAIRLEAD_CLUSTER_STORAGE_LOCKED`. A claim whose process is gone is taken
 * over. Returns the function that gives the claim back.
 */
export function lockDirectory(dir: string): () => void {
  const path = join(dir, 'lock')
  const own = `${randomUUID()}\n`
  const claim = JSON.stringify({ pid: process.pid, started: startOf(process.pid) }) + '\n' + own
  const temporary = join(dir, `lock-${process.pid}-${randomUUID()}.tmp`)
  writeFileSync(temporary, claim, { mode: 0o600 })
  try {
    while (!tryLink(temporary, path)) takeOver(dir, path)
  } finally {
    unlinkSync(temporary)
  }
  return () => {
    if (readText(path) === claim) unlinkSync(path)
  }
}

/** Removes the claim of a process that is gone; returns when the caller may try again. */
function takeOver(dir: string, path: string): void {
  const text = readText(path)
  if (text === undefined) return
  const holder = parseHolder(text)
  if (holder !== undefined && isRunning(holder)) throw storageLocked(dir, holder.pid)
  // Renaming may catch the claim of somebody faster instead of the stale one: then it goes back where it was.
  const aside = join(dir, `lock-stale-${randomUUID()}.tmp`)
  try {
    renameSync(path, aside)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  if (readText(aside) !== text) tryLink(aside, path)
  unlinkSync(aside)
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    const parsed: unknown = JSON.parse(text.split('\n', 1)[0] ?? '')
    if (typeof parsed !== 'object' || parsed === null || !('pid' in parsed) || !('started' in parsed)) return undefined
    const { pid, started } = parsed
    return typeof pid === 'number' && typeof started === 'string' ? { pid, started } : undefined
  } catch {
    return undefined
  }
}

function isRunning(holder: Holder): boolean {
  return startOf(holder.pid) === holder.started
}

/** Identifies one life of a process on this boot of the machine; undefined when there is no such process. */
function startOf(pid: number): string | undefined {
  if (process.platform !== 'linux') return startByPs(pid)
  const stat = readText(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  // The command name in parentheses may hold anything: count fields from its end. Field 22 is the start time.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${fields[19]}`
}

function startByPs(pid: number): string | undefined {
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', timeout: 5000 }).trim()
  } catch {
    return undefined
  }
}
