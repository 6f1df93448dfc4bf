import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { installFailed } from '../errors.ts'
import { hashKey } from '../layers/cache.ts'
import type { BuildCache } from '../layers/cache.ts'
import { runCommand } from '../run-command.ts'
import { dependencyClosure } from './lockfile.ts'
import type { LockedPackage, Lockfile } from './lockfile.ts'

/** How dependencies are installed when they must be. */
export interface InstallOptions {
  cache: BuildCache
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
  onStart: (message: string) => void
}

/**
 * Makes sure that what the service needs at run time is installed as the lock file says, by `npm ci` where it is not.
 * Answers whether it had to install. Throws `FAIRLEAD_BUILD_INSTALL`.
 */
export async function installDependencies(lock: Lockfile, options: InstallOptions): Promise<boolean> {
  if ((await firstDifference(lock)) === undefined) return false
  return options.cache.exclusively(
    `install-${hashKey(lock.root)}`,
    async () => {
      const difference = await firstDifference(lock)
      if (difference === undefined) return false
      options.onStart(`npm ci in ${lock.root}: ${difference}`)
      await runNpmCi(lock, options)
      const left = await firstDifference(lock)
      if (left !== undefined) throw installFailed(lock.root, `after "npm ci", ${left}`)
      return true
    },
    options.signal,
  )
}

async function runNpmCi(lock: Lockfile, { env, signal }: InstallOptions): Promise<void> {
  try {
    // NODE_ENV=production would leave out what the type checker and the tests of the folder need.
    const installEnv = { ...env, NODE_ENV: undefined }
    await runCommand('npm', ['ci', '--no-audit', '--no-fund'], {
      cwd: lock.root,
      env: installEnv,
      signal,
      timeoutMs: 15 * 60_000,
    })
  } catch (error) {
    if (signal?.aborted || (error as { code?: string }).code === 'FAIRLEAD_BUILD_DISK_FULL') throw error
    throw installFailed(lock.root, '"npm ci" failed', error)
  }
}

/**
 * What is not as locked, in words; only what the service reaches counts, since other workspaces are not its business.
 * npm writes down what it installed in `node_modules/.package-lock.json`.
 */
async function firstDifference(lock: Lockfile): Promise<string | undefined> {
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
  return undefined
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
