import { accessSync, constants, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { homeUnusable } from './errors.ts'

/** Where Fairlead keeps its files on this machine. */
export interface Homes {
  /** Data that must survive: images, clusters. */
  readonly home: string
  /** Data that can be made again. */
  readonly cache: string
  /** The content store of built images, an OCI layout. */
  readonly images: string
  /** Data folder of a cluster. */
  readonly cluster: (name: string) => string
}

/** `FAIRLEAD_HOME` and `FAIRLEAD_CACHE`, else the places of the XDG Base Directory Specification. */
export function resolveHomes(env: NodeJS.ProcessEnv): Homes {
  const user = env['HOME'] ?? homedir()
  const home = resolve(env['FAIRLEAD_HOME'] || join(env['XDG_DATA_HOME'] || join(user, '.local', 'share'), 'fairlead'))
  const cache = resolve(env['FAIRLEAD_CACHE'] || join(env['XDG_CACHE_HOME'] || join(user, '.cache'), 'fairlead'))
  return { home, cache, images: join(home, 'images'), cluster: (name) => join(home, 'clusters', name) }
}

/** Makes the folders when they are missing. Throws FAIRLEAD_CLI_HOME before anything else is done in vain. */
export function prepareHomes({ home, cache }: Homes): void {
  prepareFolder(home, 'FAIRLEAD_HOME')
  prepareFolder(cache, 'FAIRLEAD_CACHE')
}

function prepareFolder(dir: string, variable: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    accessSync(dir, constants.W_OK | constants.X_OK)
  } catch (error) {
    throw homeUnusable(dir, variable, error)
  }
}
