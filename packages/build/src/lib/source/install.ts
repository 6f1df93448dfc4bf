import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'

import { installFailed } from '../errors.ts'
import { installTree } from '../npm/install-tree.ts'
import { hashKey } from '../layers/cache.ts'
import type { BuildCache } from '../layers/cache.ts'
import { runCommand } from '../run-command.ts'
import { dependencyClosure, loadLockfile } from './lockfile.ts'
import type { LockedPackage, Lockfile } from './lockfile.ts'

/** How dependencies are installed when they must be. */
export interface InstallOptions {
  cache: BuildCache
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
  onStart: (message: string) => void
}

/**
 * Makes sure that what the service needs at run time is installed as the lock file says: by `npm ci`, or by pnpm or Yarn in the
 * version the project names, where it is not. Answers whether it had to install. Throws `FAIRLEAD_BUILD_INSTALL`.
 */
export async function installDependencies(lock: Lockfile, options: InstallOptions): Promise<boolean> {
  if ((await firstDifference(lock)) === undefined) return false
  return options.cache.exclusively(
    `install-${hashKey(lock.root)}`,
    async () => {
      const current = lock.manager === 'npm' ? lock : await loadLockfile(join(lock.root, lock.workspace))
      const difference = await firstDifference(current)
      if (difference === undefined) return false
      if (lock.manager === 'npm' && (await installFromCache(lock, difference, options))) return true
      const install = await installCommand(lock)
      options.onStart(`${install.shown} in ${lock.root}: ${difference}`)
      await runInstall(lock, install, options)
      const next = lock.manager === 'npm' ? lock : await loadLockfile(join(lock.root, lock.workspace))
      const left = await firstDifference(next)
      if (left !== undefined) throw installFailed(lock.root, `after "${install.shown}", ${left}`)
      return true
    },
    options.signal,
  )
}

/** Whether what `npm ci` does could be done without it; where anything stands against that, npm does it or says what it is. */
async function installFromCache(lock: Lockfile, difference: string, options: InstallOptions): Promise<boolean> {
  const { env, signal, onStart } = options
  const start = (message: string): void => onStart(`${message} into ${lock.root}: ${difference}`)
  try {
    await installTree(lock, { env, signal, onStart: start })
    return (await firstDifference(lock)) === undefined
  } catch (error) {
    signal?.throwIfAborted()
    if (['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    return false
  }
}

interface InstallCommand {
  command: string
  args: readonly string[]
  /** As a person would type it. */
  shown: string
}

/** What the lock file fixes by hash need not be asked for again when npm's cache has it: a third of the time. */
const NPM_FLAGS = ['--prefer-offline', '--no-audit', '--no-fund', '--no-update-notifier', '--no-progress']

/** pnpm and Yarn are fetched by npm in the version that `packageManager` names, so that none needs to be installed. */
async function installCommand({ root, manager }: Lockfile): Promise<InstallCommand> {
  if (manager === 'npm') return { command: 'npm', args: ['ci', ...NPM_FLAGS], shown: 'npm ci' }
  const text = await readFile(join(root, 'package.json'), 'utf8').catch(() => '')
  const version = new RegExp(`"packageManager"\\s*:\\s*"${manager}@(\\d+\\.\\d+\\.\\d+[\\w.-]*)`).exec(text)?.[1]
  if (manager === 'pnpm') {
    const args = ['--yes', `pnpm@${version ?? 10}`, 'install', '--frozen-lockfile']
    return { command: 'npx', args, shown: 'pnpm install --frozen-lockfile' }
  }
  const settings = await readFile(join(root, '.yarnrc.yml'), 'utf8').catch(() => '')
  const own = /^yarnPath:\s*["']?([^"'\s]+)/m.exec(settings)?.[1]
  if (own !== undefined) {
    return {
      command: process.execPath,
      args: [join(root, own), 'install', '--immutable'],
      shown: 'yarn install --immutable',
    }
  }
  const lockText = await readFile(join(root, 'yarn.lock'), 'utf8').catch(() => '')
  if (lockText.includes('\n__metadata:')) {
    const args = ['--yes', `@yarnpkg/cli-dist@${version ?? 4}`, 'install', '--immutable']
    return { command: 'npx', args, shown: 'yarn install --immutable' }
  }
  const args = ['--yes', `yarn@${version ?? 1}`, 'install', '--frozen-lockfile', '--non-interactive']
  return { command: 'npx', args, shown: 'yarn install --frozen-lockfile' }
}

async function runInstall(lock: Lockfile, install: InstallCommand, { env, signal }: InstallOptions): Promise<void> {
  try {
    // NODE_ENV=production would leave out what the type checker and the tests of the folder need. CI keeps pnpm from asking.
    const installEnv = { ...env, NODE_ENV: undefined, ...(lock.manager === 'npm' ? {} : { CI: 'true' }) }
    await runCommand(install.command, install.args, {
      cwd: lock.root,
      env: installEnv,
      signal,
      timeoutMs: 15 * 60_000,
    })
  } catch (error) {
    if (signal?.aborted || (error as { code?: string }).code === 'FAIRLEAD_BUILD_DISK_FULL') throw error
    throw installFailed(lock.root, `"${install.shown}" failed`, error)
  }
}

/**
 * What is not as locked, in words; only what the service reaches counts, since other workspaces are not its business.
 * npm writes down what it installed in `node_modules/.package-lock.json`.
 */
async function firstDifference(lock: Lockfile): Promise<string | undefined> {
  if (lock.manager !== 'npm') return lock.difference
  const needed = dependencyClosure(lock).filter((path) => isInstalledByNpm(path, lock.packages.get(path)))
  if (needed.length === 0) return undefined
  const installed = await readInstalled(lock.root)
  if (!installed) return 'nothing is installed'
  for (const path of needed) {
    const locked = lock.packages.get(path)
    const found = installed[path]
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
    if (!found && (locked?.optional || locked?.devOptional || locked?.peer)) continue
    if (!found) return `"${name}" is not installed`
    if (found.version !== locked?.version) return `"${name}" is ${found.version}, locked is ${locked?.version}`
    if (found.integrity && locked?.integrity && found.integrity !== locked.integrity) {
      return `"${name}" has other content than the lock file says`
    }
  }
  return firstAbsent(
    lock,
    needed.filter((path) => installed[path] !== undefined),
  )
}

/** npm's record outlives folders that somebody removed, or that a copy left out. */
async function firstAbsent(lock: Lockfile, paths: readonly string[]): Promise<string | undefined> {
  const found = await Promise.all(paths.map((path) => stat(join(lock.root, path)).catch(() => undefined)))
  const path = paths.find((_, index) => found[index] === undefined)
  return path && `the folder "${path}" is not there`
}

/** Workspaces lie where they are and are linked; they are part of the source, not of what npm installs. */
function isInstalledByNpm(path: string, entry: LockedPackage | undefined): boolean {
  return /(^|\/)node_modules\//.test(path) && !entry?.link && entry?.version !== undefined
}

async function readInstalled(root: string): Promise<Record<string, LockedPackage> | undefined> {
  try {
    const text = await readFile(join(root, 'node_modules', '.package-lock.json'), 'utf8')
    return (JSON.parse(text) as { packages?: Record<string, LockedPackage> }).packages
  } catch {
    return undefined
  }
}
