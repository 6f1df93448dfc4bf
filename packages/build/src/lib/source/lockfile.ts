import { readFile, stat } from 'node:fs/promises'
import { dirname, join, matchesGlob, relative, sep } from 'node:path'

import { digestOf } from '@fairlead/oci'
import type { Digest } from '@fairlead/oci'

import { lockfileMissing, sourceInvalid } from '../errors.ts'

/** An entry of `packages` in an npm lock file of version 2 or 3. */
export interface LockedPackage {
  name?: string
  version?: string
  resolved?: string
  integrity?: string
  link?: boolean
  dev?: boolean
  optional?: boolean
  devOptional?: boolean
  peer?: boolean
  os?: readonly string[]
  cpu?: readonly string[]
  libc?: readonly string[]
  dependencies?: Readonly<Record<string, string>>
  optionalDependencies?: Readonly<Record<string, string>>
  peerDependencies?: Readonly<Record<string, string>>
  devDependencies?: Readonly<Record<string, string>>
}

/** The lock file that fixes the dependencies of a folder: its own, or that of the npm workspace it belongs to. */
export interface Lockfile {
  /** The folder holding the lock file and, once installed, `node_modules`. */
  root: string
  manager: 'npm' | 'pnpm' | 'yarn'
  /** Name of the file in `root`. */
  name: string
  /** Digest of the file. */
  digest: Digest
  /** The service below `root`, with forward slashes; empty when it is the root. */
  workspace: string
  /** Entries by path below `root`, such as `node_modules/express`. */
  packages: ReadonlyMap<string, LockedPackage>
}

const NAMES = ['npm-shrinkwrap.json', 'package-lock.json']
const FOREIGN: Record<string, string> = { 'pnpm-lock.yaml': 'pnpm', 'yarn.lock': 'Yarn', 'bun.lock': 'Bun' }

/** Finds and reads the lock file for `dir`; `FAIRLEAD_BUILD_LOCKFILE` when there is none that can be used. */
export async function loadLockfile(dir: string): Promise<Lockfile> {
  const own = await readLock(dir)
  if (own) return { root: dir, workspace: '', ...own }
  for (let root = dirname(dir); ; root = dirname(root)) {
    const workspace = relative(root, dir).split(sep).join('/')
    if (await isWorkspace(root, workspace)) {
      const found = await readLock(root)
      if (found) return { root, workspace, ...found }
      throw await missing(root, `its npm workspace root "${root}" has no package-lock.json`)
    }
    if (root === dirname(root)) throw await missing(dir, 'it has no package-lock.json or npm-shrinkwrap.json')
  }
}

/** Entry a package at `from` (a path below the root) gets when it asks for `name`: nearest `node_modules` first. */
export function resolveLocked(lock: Lockfile, from: string, name: string): string | undefined {
  for (let at = from; ;) {
    const path = at === '' ? `node_modules/${name}` : `${at}/node_modules/${name}`
    if (lock.packages.has(path)) return path
    if (at === '') return undefined
    at = at.includes('/') ? at.slice(0, at.lastIndexOf('/')) : ''
  }
}

/**
 * Everything the service needs at run time: paths of the entries reachable from `start` over dependencies, optional and
 * peer dependencies. Links to workspaces are followed and are part of the answer.
 */
export function dependencyClosure(lock: Lockfile, start: readonly string[] = [lock.workspace]): string[] {
  const seen = new Set<string>(start)
  for (const path of seen) {
    const entry = lock.packages.get(path)
    if (entry?.link && entry.resolved !== undefined) seen.add(entry.resolved)
    for (const name of dependencyNames(entry)) {
      const found = resolveLocked(lock, path, name)
      if (found) seen.add(found)
    }
  }
  return [...seen].filter((path) => path !== lock.workspace).toSorted()
}

/** Names a package may load at run time; development dependencies are not among them. */
export function dependencyNames(entry: LockedPackage | undefined): string[] {
  const names = [entry?.dependencies, entry?.optionalDependencies, entry?.peerDependencies]
  return [...new Set(names.flatMap((group) => Object.keys(group ?? {})))]
}

async function readLock(dir: string): Promise<Omit<Lockfile, 'root' | 'workspace'> | undefined> {
  for (const name of NAMES) {
    const path = join(dir, name)
    const text = await readFile(path, 'utf8').catch(() => undefined)
    if (text === undefined) continue
    const packages = parseLock(path, text)
    if (!packages) {
      throw lockfileMissing(dir, `"${path}" is of an npm older than 7`, 'Run "npm install" with a current npm once')
    }
    return { manager: 'npm', name, digest: digestOf(text), packages: new Map(Object.entries(packages)) }
  }
  return undefined
}

function parseLock(path: string, text: string): Record<string, LockedPackage> | undefined {
  try {
    return (JSON.parse(text) as { packages?: Record<string, LockedPackage> }).packages
  } catch (error) {
    throw sourceInvalid(dirname(path), `"${path}" is no JSON`, 'Mend the file, or make it anew with npm install', error)
  }
}

async function isWorkspace(root: string, workspace: string): Promise<boolean> {
  const text = await readFile(join(root, 'package.json'), 'utf8').catch(() => undefined)
  if (text === undefined) return false
  try {
    const { workspaces } = JSON.parse(text) as { workspaces?: string[] | { packages?: string[] } }
    const patterns = Array.isArray(workspaces) ? workspaces : (workspaces?.packages ?? [])
    return patterns.some((pattern) => matchesGlob(workspace, pattern.replace(/^\.\//, '').replace(/\/$/, '')))
  } catch {
    return false
  }
}

async function missing(dir: string, state: string): Promise<Error> {
  for (const [name, manager] of Object.entries(FOREIGN)) {
    const isThere = await stat(join(dir, name)).catch(() => undefined)
    if (!isThere) continue
    const hint = `Run "npm install --package-lock-only" in ${dir} and keep package-lock.json beside ${name}`
    return lockfileMissing(dir, `it has only ${name}, and lock files of ${manager} are not supported yet`, hint)
  }
  return lockfileMissing(dir, state, `Run "npm install --package-lock-only" in ${dir} and commit package-lock.json`)
}
