import { readFile, stat } from 'node:fs/promises'
import { dirname, join, matchesGlob, relative, sep } from 'node:path'

import { digestOf } from '@fairlead/oci'
import type { Digest } from '@fairlead/oci'

import { lockfileMissing, sourceInvalid } from '../errors.ts'
import { readInstalledTree } from './installed-tree.ts'

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
  peerDependenciesMeta?: Readonly<Record<string, { optional?: boolean }>>
  engines?: Readonly<Record<string, string>>
  /** Programs by name, as paths in the package. */
  bin?: Readonly<Record<string, string>>
  hasInstallScript?: boolean
  hasShrinkwrap?: boolean
  /** Whether it lies in the tarball of the package around it. */
  inBundle?: boolean
  extraneous?: boolean
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
  /** For pnpm and Yarn: the first thing that is not installed as the file says, in words. */
  difference?: string | undefined
}

const FILES: Record<string, Lockfile['manager']> = {
  'npm-shrinkwrap.json': 'npm',
  'package-lock.json': 'npm',
  'pnpm-lock.yaml': 'pnpm',
  'yarn.lock': 'yarn',
}

/**
 * Finds and reads the lock file for `dir`: of npm, pnpm (version 9) or Yarn (1, and later ones that install into
 * `node_modules`). Of several in one folder the one that `packageManager` names counts, else npm's, else pnpm's. For pnpm and Yarn
 * the packages are those installed. `FAIRLEAD_BUILD_LOCKFILE` when there is none that can be used.
 */
export async function loadLockfile(dir: string): Promise<Lockfile> {
  const own = await readLock(dir, '')
  if (own) return own
  for (let root = dirname(dir); ; root = dirname(root)) {
    const workspace = relative(root, dir).split(sep).join('/')
    if (await isWorkspace(root, workspace)) {
      const found = await readLock(root, workspace)
      if (found) return found
      throw await missing(root, `its workspace root "${root}" has no lock file`)
    }
    if (root === dirname(root)) throw await missing(dir, 'it has no lock file')
  }
}

/** Entry a package at `from` (a path below the root) gets when it asks for `name`: nearest `node_modules` first. */
export function resolveLocked(lock: Pick<Lockfile, 'packages'>, from: string, name: string): string | undefined {
  for (let at = from; ;) {
    const path = at === '' ? `node_modules/${name}` : `${at}/node_modules/${name}`
    const entry = lock.packages.get(path)
    // A link to a workspace is answered as it is; one into the store of pnpm stands for the package there.
    if (entry) return entry.link && entry.resolved?.includes('node_modules/') ? entry.resolved : path
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

async function readLock(root: string, workspace: string): Promise<Lockfile | undefined> {
  const preferred = await preferredManager(root)
  const names = Object.keys(FILES).toSorted((a, b) => Number(FILES[b] === preferred) - Number(FILES[a] === preferred))
  for (const name of names) {
    const manager = FILES[name] ?? 'npm'
    const path = join(root, name)
    const text = await readFile(path, 'utf8').catch(() => undefined)
    if (text === undefined) continue
    const file = { root, workspace, manager, name, digest: digestOf(text) }
    if (manager !== 'npm') return { ...file, ...(await readForeign(file, text)) }
    const packages = parseLock(path, text)
    if (packages) return { ...file, packages: new Map(Object.entries(packages)) }
    throw lockfileMissing(root, `"${path}" is of an npm older than 7`, 'Run "npm install" with a current npm once')
  }
  return undefined
}

async function readForeign(
  { root, workspace, manager, name }: Omit<Lockfile, 'packages'>,
  text: string,
): Promise<Pick<Lockfile, 'packages' | 'difference'>> {
  // Loaded here and not above: it brings a parser of YAML, which projects of npm do not need.
  const { parsePnpmLock, parseYarnLock } = await import('./lock-text.ts')
  const lock = manager === 'pnpm' ? parsePnpmLock(text) : parseYarnLock(text)
  if (!lock) {
    const state = `"${join(root, name)}" is not of version 9, which pnpm 9 and later write`
    throw lockfileMissing(root, state, 'Run "pnpm install" with a current pnpm once')
  }
  if (lock.hasWorkspace(workspace) === false) {
    throw lockfileMissing(root, `${name} does not have "${workspace}"`, `Run "pnpm install" in ${root}`)
  }
  if (manager === 'yarn' && (await isPlugAndPlay(root, text))) {
    const hint = `Write "nodeLinker: node-modules" into ${join(root, '.yarnrc.yml')} and run "yarn install"`
    throw lockfileMissing(root, "its packages are installed by Yarn Plug'n'Play, in no node_modules folder", hint)
  }
  return readInstalledTree(root, workspace, lock)
}

/** The default of Yarn 2 and later: archives and a loader in place of `node_modules`. */
async function isPlugAndPlay(root: string, text: string): Promise<boolean> {
  if (!text.includes('\n__metadata:')) return false
  const settings = await readFile(join(root, '.yarnrc.yml'), 'utf8').catch(() => '')
  return (/^nodeLinker:\s*["']?([\w-]+)/m.exec(settings)?.[1] ?? 'pnp') === 'pnp'
}

/** What `packageManager` in package.json names (https://nodejs.org/api/packages.html#packagemanager). */
async function preferredManager(root: string): Promise<string | undefined> {
  const text = await readFile(join(root, 'package.json'), 'utf8').catch(() => '')
  return /"packageManager"\s*:\s*"(npm|pnpm|yarn)@/.exec(text)?.[1]
}

function parseLock(path: string, text: string): Record<string, LockedPackage> | undefined {
  try {
    return (JSON.parse(text) as { packages?: Record<string, LockedPackage> }).packages
  } catch (error) {
    throw sourceInvalid(dirname(path), `"${path}" is no JSON`, 'Mend the file, or make it anew with npm install', error)
  }
}

async function isWorkspace(root: string, workspace: string): Promise<boolean> {
  const pnpm = await readFile(join(root, 'pnpm-workspace.yaml'), 'utf8').catch(() => undefined)
  const patterns = [...(await packagePatterns(root)), ...listedPackages(pnpm ?? '')]
  const matches = (pattern: string): boolean =>
    matchesGlob(workspace, pattern.replace(/^!/, '').replace(/^\.\//, '').replace(/\/$/, ''))
  if (patterns.some((pattern) => pattern.startsWith('!') && matches(pattern))) return false
  return patterns.some((pattern) => !pattern.startsWith('!') && matches(pattern))
}

async function packagePatterns(root: string): Promise<readonly string[]> {
  const text = await readFile(join(root, 'package.json'), 'utf8').catch(() => undefined)
  if (text === undefined) return []
  try {
    const { workspaces } = JSON.parse(text) as { workspaces?: string[] | { packages?: string[] } }
    return Array.isArray(workspaces) ? workspaces : (workspaces?.packages ?? [])
  } catch {
    return []
  }
}

/** `packages` of pnpm-workspace.yaml, as a list of lines or in brackets. */
function listedPackages(text: string): string[] {
  const list = /^packages:[ \t]*(\[[^\]]*\]|(?:\n\s*(?:-[^\n]*|#[^\n]*)?)*)/m.exec(text)?.[1] ?? ''
  const items = list.startsWith('[')
    ? list.slice(1, -1).split(',')
    : list.split('\n').filter((line) => /^\s*-/.test(line))
  return items
    .map((item) =>
      item
        .replace(/^\s*-\s*/, '')
        .replace(/\s+#.*$/, '')
        .trim()
        .replace(/^["']|["']$/g, ''),
    )
    .filter(Boolean)
}

async function missing(dir: string, state: string): Promise<Error> {
  const isThere = async (name: string): Promise<boolean> =>
    (await stat(join(dir, name)).catch(() => undefined)) !== undefined
  const manager = (await preferredManager(dir)) ?? ((await isThere('pnpm-workspace.yaml')) ? 'pnpm' : 'npm')
  const command = {
    npm: 'npm install --package-lock-only',
    pnpm: 'pnpm install --lockfile-only',
    yarn: 'yarn install',
  }[manager as 'npm' | 'pnpm' | 'yarn']
  if (await isThere('bun.lock')) {
    const hint = `Run "${command}" in ${dir} and keep its lock file beside bun.lock`
    return lockfileMissing(dir, 'it has only bun.lock, and lock files of Bun are not supported', hint)
  }
  return lockfileMissing(dir, state, `Run "${command}" in ${dir} and commit the lock file it writes`)
}
