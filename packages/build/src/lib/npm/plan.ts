import { join } from 'node:path'

import satisfies from 'semver/functions/satisfies.js'

import type { LockedPackage } from '../source/lockfile.ts'
import { followEdges, optionalSet } from './edges.ts'
import { LeftToNpm } from './left-to-npm.ts'

/** For which machine packages are installed, in the words of package.json. */
export interface Host {
  os: string
  cpu: string
  /** `undefined` where it cannot be told, and elsewhere than on Linux. */
  libc: string | undefined
  /** Version of glibc, where that is the C library. */
  glibc?: string | undefined
  /** Version of Node.js. */
  node: string
}

/** One package to unpack. */
export interface PlannedPackage {
  /** Below the root, such as `node_modules/express`. */
  path: string
  /** SHA-512 of its tarball in hexadecimal; absent when it lies in the tarball of the package around it. */
  sha512: string | undefined
  /** Programs by name, with the path of each in the package. */
  bin: readonly (readonly [name: string, target: string])[]
  hasInstallScript: boolean
}

/** What is to be made. */
export interface Plan {
  packages: readonly PlannedPackage[]
  /** What npm keeps as `node_modules/.package-lock.json`. */
  record: string
}

/** For what machine, and by which of npm's settings. */
export interface PlanOptions {
  host: Host
  ignoresScripts: boolean
  omitsResolved: boolean
}

interface Lock {
  name?: string
  version?: string
  lockfileVersion?: number
  packages?: Readonly<Record<string, LockedPackage>>
}

interface Root extends LockedPackage {
  scripts?: Readonly<Record<string, string>>
}

const NAME = String.raw`(?:@[\w~-][\w.~-]*/)?[\w~-][\w.~-]*`
const PLACE = new RegExp(`^node_modules/${NAME}(?:/node_modules/${NAME})*$`)

/** Fields of package.json with which the lock file alone does not decide. */
const BEYOND = ['workspaces', 'overrides', 'bundleDependencies', 'bundledDependencies', 'devEngines', 'allowScripts']
const GROUPS = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies', 'peerDependenciesMeta']
/** Scripts of the project that `npm ci` runs. */
const SCRIPTS = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare']

/**
 * Decides what `npm ci` would make of a lock file of version 2 or 3 where every package comes from a registry. Throws
 * {@link LeftToNpm} for all else: then npm does it, or says what is wrong.
 */
export function planTree(
  texts: { lock: string; packageJson: string },
  { host, ignoresScripts, omitsResolved }: PlanOptions,
): Plan {
  const lock = JSON.parse(texts.lock) as Lock
  const packages = new Map(Object.entries(lock.packages ?? {}))
  checkRoot(JSON.parse(texts.packageJson) as Root, lock, ignoresScripts)
  for (const [path, entry] of packages) if (path !== '') checkEntry(path, entry)
  if (new Set([...packages.keys()].map(folded)).size !== packages.size) throw new LeftToNpm('paths differ by case only')
  const absent = absentPackages(packages, host)
  const present = [...packages].filter(([path]) => path !== '' && !absent.has(path))
  const { name, version } = lock
  const record = { name, version, lockfileVersion: 3, requires: true, packages: recordOf(present, omitsResolved) }
  const planned = present.map(([path, entry]) => toPlanned(path, entry))
  return { packages: planned, record: `${JSON.stringify(record, undefined, 2)}\n` }
}

function recordOf(present: readonly [string, LockedPackage][], omitsResolved: boolean): Record<string, object> {
  const shown = present.map(
    ([path, entry]) => [path, omitsResolved ? { ...entry, resolved: undefined } : entry] as const,
  )
  return Object.fromEntries(shown)
}

/** As file systems may that do not tell capitals apart. */
export function folded(path: string): string {
  return path.normalize('NFKC').toLowerCase()
}

/** `node_modules/a` is `a` in the folder where packages are put together. */
export function stagedPath(staging: string, path: string): string {
  return join(staging, path.slice('node_modules/'.length))
}

function checkRoot(root: Root, lock: Lock, ignoresScripts: boolean): void {
  if (lock.lockfileVersion !== 2 && lock.lockfileVersion !== 3)
    throw new LeftToNpm('its lock file is of another version')
  const locked = (lock.packages?.[''] ?? {}) as Record<string, unknown>
  const own = root as Record<string, unknown>
  const beyond = [...BEYOND, 'os', 'cpu', 'libc'].find((key) => own[key] !== undefined || locked[key] !== undefined)
  if (beyond !== undefined) throw new LeftToNpm(`package.json has "${beyond}"`)
  const group = GROUPS.find((key) => sorted(own[key]) !== sorted(locked[key]))
  if (group !== undefined) throw new LeftToNpm(`"${group}" is not as in the lock file`)
  const script = ignoresScripts ? undefined : SCRIPTS.find((name) => root.scripts?.[name])
  if (script !== undefined) throw new LeftToNpm(`the project has a script "${script}"`)
}

function sorted(group: unknown): string {
  const entries = Object.entries((group ?? {}) as Record<string, unknown>)
  return JSON.stringify(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

function checkEntry(path: string, entry: LockedPackage): void {
  const state =
    (!PLACE.test(path) && 'lies elsewhere than in node_modules') ||
    (entry.link && 'is a link') ||
    (entry.extraneous && 'is extraneous') ||
    (entry.hasShrinkwrap && 'has a lock file of its own') ||
    (entry.version === undefined && 'has no version') ||
    (entry.resolved !== undefined && !/^https?:\/\//.test(entry.resolved) && 'comes from elsewhere than a registry') ||
    (entry.resolved === undefined && entry.integrity === undefined && !entry.inBundle && 'has no integrity') ||
    (entry.engines?.['npm'] !== undefined && entry.optional && 'asks for a version of npm')
  if (typeof state === 'string') throw new LeftToNpm(`"${path}" ${state}`)
}

/** Optional packages for other machines, and what only they need. */
function absentPackages(packages: ReadonlyMap<string, LockedPackage>, host: Host): Set<string> {
  const edges = followEdges(packages)
  const absent = new Set<string>()
  for (const [path, entry] of packages) {
    if (path === '' || absent.has(path) || fits(entry, host)) continue
    if (!entry.optional) throw new LeftToNpm(`"${path}" is not for this machine`)
    for (const gone of optionalSet(edges, path, absent)) absent.add(gone)
  }
  if (absent.has('')) throw new LeftToNpm('its optional packages are needed')
  return absent
}

function fits(entry: LockedPackage, { os, cpu, libc, node }: Host): boolean {
  // Engines keep a package away only when somebody can do without it.
  const range = entry.optional ? entry.engines?.['node'] : undefined
  if (range !== undefined && !satisfies(node, range, { includePrerelease: true })) return false
  return isListed(os, entry.os) && isListed(cpu, entry.cpu) && isListed(libc, entry.libc)
}

/** As npm-install-checks: none of those with `!`, and one of the others where there are others. */
function isListed(value: string | undefined, list: readonly string[] | string | undefined): boolean {
  const all = list === undefined ? [] : [list].flat()
  if (all.length === 0 || (all.length === 1 && all[0] === 'any')) return true
  if (value === undefined || all.includes(`!${value}`)) return false
  return all.includes(value) || all.every((name) => name.startsWith('!'))
}

function toPlanned(path: string, entry: LockedPackage): PlannedPackage {
  return {
    path,
    sha512: entry.inBundle ? undefined : sha512Of(path, entry),
    bin: programsOf(path, entry),
    hasInstallScript: entry.hasInstallScript === true,
  }
}

function sha512Of(path: string, { integrity }: LockedPackage): string {
  const found = /(?:^|\s)sha512-([A-Za-z0-9+/]{86}==)(?:\s|$)/.exec(integrity ?? '')?.[1]
  if (found === undefined) throw new LeftToNpm(`"${path}" has no SHA-512 in the lock file`)
  return Buffer.from(found, 'base64').toString('hex')
}

/** Programs a package brings. */
function programsOf(path: string, { bin }: LockedPackage): [string, string][] {
  const entries = Object.entries(typeof bin === 'object' ? bin : {})
  if (bin !== undefined && typeof bin !== 'object') throw new LeftToNpm(`"${path}" has programs without names`)
  for (const [name, target] of entries) {
    const parts = typeof target === 'string' ? target.replace(/^\.\//, '').split('/') : ['']
    const isSafe = /^[\w@.~+-]+$/.test(name) && !/^\.+$/.test(name)
    if (!isSafe || parts.some((part) => part === '' || part === '.' || part === '..' || /[\\\0]/.test(part))) {
      throw new LeftToNpm(`"${path}" has a program "${name}" at "${target}"`)
    }
  }
  return entries.map(([name, target]) => [name, target.replace(/^\.\//, '')])
}
