import { lstat, mkdir, readdir, readFile, rename, rm, rmdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Lockfile } from '../source/lockfile.ts'
import { linkPrograms } from './bins.ts'
import { contentPath, openTarball, sizesOf } from './cache.ts'
import type { Tarball } from './cache.ts'
import { detectHost } from './host.ts'
import { LeftToNpm } from './left-to-npm.ts'
import { planTree, stagedPath } from './plan.ts'
import type { Host, Plan, PlannedPackage } from './plan.ts'
import { needsNoBuild } from './prebuilt.ts'
import { loadNpmSettings } from './settings.ts'
import type { NpmSettings } from './settings.ts'
import { unpackTarball } from './unpack.ts'

/** How to install. */
export interface InstallTreeOptions {
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
  /** Called with what is done, once it is known that it can be. */
  onStart: (message: string) => void
}

/** Where packages are put together: below `node_modules`, which version control passes over. */
const STAGING = '.fairlead-install'
const RECORD = '.package-lock.json'
/** Tarballs read ahead of the one that is written. */
const AHEAD = 4

/**
 * Makes the `node_modules` that `npm ci` makes, out of npm's cache and without npm. Throws {@link LeftToNpm}, with nothing changed,
 * where the cache lacks a package and where npm would do more than unpack: scripts, sources other than a registry, a lock
 * file that does not fit. One installation at a time per root; a broken off one leaves no record, so that the next begins anew.
 */
export async function installTree(lock: Lockfile, options: InstallTreeOptions): Promise<void> {
  const install = await prepare(lock, options)
  const modules = join(lock.root, 'node_modules')
  const before = await lstat(modules).catch(() => undefined)
  if (before && !before.isDirectory()) throw new LeftToNpm('node_modules is no directory')
  options.onStart(`unpacking ${install.plan.packages.length} package(s) of npm's cache`)
  const staging = join(modules, STAGING)
  try {
    await rm(staging, { recursive: true, force: true })
    await mkdir(staging, { recursive: true })
    await unpackAll(install, staging)
    await linkPrograms(install.plan.packages, staging)
    options.signal?.throwIfAborted()
    await takeOver(modules, install.plan.record)
  } finally {
    await rm(staging, { recursive: true, force: true })
    if (!before) await rmdir(modules).catch(() => {})
  }
}

interface Install {
  plan: Plan
  settings: NpmSettings
  host: Host
  tarballs: ReadonlyMap<PlannedPackage, Tarball>
  options: InstallTreeOptions
}

async function prepare({ root, name }: Lockfile, options: InstallTreeOptions): Promise<Install> {
  if (process.platform === 'win32') throw new LeftToNpm('programs are started otherwise on Windows')
  const [settings, host, lock, packageJson, gyp] = await Promise.all([
    loadNpmSettings(root, options.env),
    detectHost(),
    readFile(join(root, name), 'utf8'),
    readFile(join(root, 'package.json'), 'utf8'),
    lstat(join(root, 'binding.gyp')).catch(() => undefined),
  ])
  if (gyp && !settings.ignoresScripts) throw new LeftToNpm('the project is a native addon')
  const plan = planTree({ lock, packageJson }, { host, ...settings })
  const own = plan.packages.filter(({ sha512 }) => sha512 !== undefined)
  const sizes = await sizesOf(own.map(({ sha512 = '' }) => contentPath(settings.cacheDir, sha512)))
  const tarballs = own.map((one, at) => [one, { sha512: one.sha512 ?? '', sizeBytes: sizes[at] ?? 0 }] as const)
  return { plan, settings, host, tarballs: new Map(tarballs), options }
}

async function unpackAll(install: Install, staging: string): Promise<void> {
  const bundled = install.plan.packages.filter(({ sha512 }) => sha512 === undefined)
  const scripted = install.settings.ignoresScripts ? undefined : bundled.find((one) => one.hasInstallScript)
  if (scripted) throw new LeftToNpm(`"${scripted.path}" is to be built`)
  for await (const { one, tar } of openAhead(install)) {
    const files = await unpackTarball(tar, stagedPath(staging, one.path))
    checkBundled(bundled, one, files)
    await checkScripts(install, one, { files, staging })
  }
}

/** Tarballs in the order they are to be written: packages before those that lie inside them. */
async function* openAhead({ tarballs, settings, options }: Install): AsyncGenerator<OpenedPackage> {
  const waiting = [...tarballs].toSorted(([a], [b]) => depthOf(a.path) - depthOf(b.path))
  const opened: { one: PlannedPackage; opening: Promise<AsyncIterable<Uint8Array>> }[] = []
  for (;;) {
    for (const [one, tarball] of waiting.splice(0, AHEAD - opened.length)) {
      const opening = openTarball(contentPath(settings.cacheDir, tarball.sha512), tarball)
      // It is awaited in its turn; before that another may have failed.
      opening.catch(() => {})
      opened.push({ one, opening })
    }
    const next = opened.shift()
    if (!next) return
    options.signal?.throwIfAborted()
    yield { one: next.one, tar: await next.opening }
  }
}

interface OpenedPackage {
  one: PlannedPackage
  tar: AsyncIterable<Uint8Array>
}

function depthOf(path: string): number {
  return path.split('/node_modules/').length
}

/** What lies in a tarball below `node_modules` must be what the lock file says, or npm sorts it out. */
function checkBundled(bundled: readonly PlannedPackage[], { path }: PlannedPackage, files: ReadonlySet<string>): void {
  const shipped = [...files].filter((file) => file.startsWith('node_modules/'))
  const folders = bundled.filter((one) => one.path.startsWith(`${path}/`)).map((one) => one.path.slice(path.length + 1))
  const stray = shipped.find((file) => !folders.some((folder) => file.startsWith(`${folder}/`)))
  const isNested = (file: string): boolean => /(^|\/)node_modules\/(@[^/]+\/)?[^/]+\/package\.json$/.test(file)
  const found = shipped.filter(isNested).map((file) => file.slice(0, -'/package.json'.length))
  const extra = found.find((folder) => !folders.includes(folder))
  const missing = folders.find((folder) => !files.has(`${folder}/package.json`))
  const odd = stray ?? extra ?? missing ?? shipped.find((file) => file.includes('node_modules/.'))
  if (odd !== undefined) throw new LeftToNpm(`"${path}" and the lock file differ about "${odd}"`)
}

async function checkScripts(
  { settings, host, options }: Install,
  { path, hasInstallScript }: PlannedPackage,
  { files, staging }: { files: ReadonlySet<string>; staging: string },
): Promise<void> {
  if (settings.ignoresScripts) return
  const addons = [...files].filter((file) => /^(node_modules\/.*\/)?binding\.gyp$/.test(file))
  const isAddon = hasInstallScript || addons.length > 0
  if (!isAddon) return
  const isAlone = addons.every((file) => file === 'binding.gyp')
  if (isAlone && (await needsNoBuild(stagedPath(staging, path), host, options.env))) return
  throw new LeftToNpm(`"${path}" is to be built`)
}

/** Replaces what was installed. As long as npm's record is not there, nothing counts as installed. */
async function takeOver(modules: string, record: string): Promise<void> {
  await rm(join(modules, RECORD), { force: true })
  const old = (await readdir(modules)).filter((name) => name !== STAGING)
  await Promise.all(old.map((name) => rm(join(modules, name), { recursive: true, force: true })))
  const staging = join(modules, STAGING)
  for (const name of await readdir(staging)) await rename(join(staging, name), join(modules, name))
  const written = join(staging, RECORD)
  await writeFile(written, record)
  await rename(written, join(modules, RECORD))
  await rm(staging, { recursive: true })
  // npm trusts a record no folder is newer than.
  const now = new Date()
  await utimes(join(modules, RECORD), now, now)
}
