import { spawn } from 'node:child_process'
import { lstat, readdir } from 'node:fs/promises'
import { setPriority } from 'node:os'
import { join } from 'node:path'

/** Bytes on disk by folder; those that are not there are left out. */
export type MeasureFolders = (dirs: readonly string[]) => Promise<ReadonlyMap<string, number>>

/** So many folders are given to one process. */
const SLICE = 200
const LONGEST_MS = 60_000

/**
 * Measures what folders take on disk, mounts below them left out. By `du` in a process of the lowest priority, one slice
 * after the other: trees of a hundred thousand files are nothing the agent should walk through itself.
 */
export const measureFolders: MeasureFolders = async (dirs) => {
  const sizes = new Map<string, number>()
  for (let at = 0; at < dirs.length; at += SLICE) {
    const slice = dirs.slice(at, at + SLICE)
    for (const [dir, bytes] of (await runDu(slice)) ?? (await walk(slice))) sizes.set(dir, bytes)
  }
  return sizes
}

/** Undefined where there is no such program. What it could not read it complains about, and goes on. */
function runDu(dirs: readonly string[]): Promise<ReadonlyMap<string, number> | undefined> {
  const { promise, resolve } = Promise.withResolvers<ReadonlyMap<string, number> | undefined>()
  const child = spawn('du', ['-s', '-k', '-x', '--', ...dirs], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: LONGEST_MS,
    env: { PATH: `${process.env['PATH'] ?? ''}:/usr/bin:/bin`, LC_ALL: 'C' },
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  child.on('error', () => resolve(undefined))
  child.on('close', () => resolve(parseDu(text)))
  if (child.pid !== undefined) lower(child.pid)
  return promise
}

/** It may have ended already. */
function lower(pid: number): void {
  try {
    setPriority(pid, 19)
  } catch {
    // Then it takes nobody's time any more.
  }
}

/** Reads lines of `<kibibytes>\t<folder>`. */
function parseDu(text: string): ReadonlyMap<string, number> {
  const lines = text.split('\n').map((line) => line.split('\t', 2))
  return new Map(lines.flatMap(([size, dir]) => (dir === undefined ? [] : [[dir, Number(size) * 1024] as const])))
}

async function walk(dirs: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const sizes = new Map<string, number>()
  for (const dir of dirs) {
    const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => undefined)
    if (entries !== undefined) sizes.set(dir, await sum(entries.map(({ parentPath, name }) => join(parentPath, name))))
  }
  return sizes
}

async function sum(paths: readonly string[]): Promise<number> {
  let bytes = 0
  for (const path of paths) bytes += ((await lstat(path).catch(() => undefined))?.blocks ?? 0) * 512
  return bytes
}
