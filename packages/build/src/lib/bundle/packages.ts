import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

import { dependencyClosure, dependencyNames, resolveLocked } from '../source/lockfile.ts'
import type { Project } from '../source/project.ts'

/** Packages that exist to find and load native addons: who depends on one of them has some. */
const ADDON_LOADERS = [
  'bindings',
  'node-gyp-build',
  'node-gyp-build-optional-packages',
  'prebuild-install',
  'node-addon-api',
  '@mapbox/node-pre-gyp',
  '@node-rs/helper',
]

/** Which packages stay out of the bundle and why, by their path in the lock file. */
export class Externals {
  readonly #project: Project
  readonly #reasons = new Map<string, string>()
  readonly #native = new Map<string, boolean>()

  /** `known` and `portable` of an earlier look at the same packages. */
  constructor(project: Project, known: readonly (readonly [string, string])[] = [], portable: readonly string[] = []) {
    this.#project = project
    for (const [path, reason] of known) this.#reasons.set(path, reason)
    for (const path of portable) this.#native.set(path, false)
  }

  has(path: string): boolean {
    return this.#reasons.has(path)
  }

  /** Path and reason of each, sorted. */
  entries(): [string, string][] {
    return [...this.#reasons].toSorted(([a], [b]) => (a < b ? -1 : 1))
  }

  /** Packages that were asked about and hold no native addon, sorted. */
  portable(): string[] {
    return [...this.#native].flatMap(([path, isNative]) => (isNative ? [] : [path])).toSorted()
  }

  /**
   * Takes a package and all it depends on out of the bundle: were one of those in the bundle as well, the program would
   * hold it twice. Answers whether anything changed.
   */
  add(path: string, reason: string): boolean {
    const before = this.#reasons.size
    if (!this.#reasons.has(path)) this.#reasons.set(path, reason)
    for (const below of dependencyClosure(this.#project.lock, [path])) {
      if (below.includes('node_modules/') && !this.#reasons.has(below)) this.#reasons.set(below, `needed by ${path}`)
    }
    return this.#reasons.size > before
  }

  /** Whether the package is, or loads, a native addon. Looked up once per package. */
  isNative(path: string): boolean {
    const known = this.#native.get(path)
    if (known !== undefined) return known
    const answer = this.#loadsAddon(path) || this.#holdsAddon(path)
    // Of a package that is not there yet nothing is known that could be kept.
    if (answer || existsSync(join(this.#project.lock.root, path))) this.#native.set(path, answer)
    return answer
  }

  /** Path in the lock file that `name` means for code at `from`; links to workspaces are code of the project. */
  resolve(name: string, from: string): string | undefined {
    const path = resolveLocked(this.#project.lock, from, name)
    const isCode =
      path !== undefined && (this.#project.lock.packages.get(path)?.link || !path.includes('node_modules/'))
    return isCode ? undefined : path
  }

  #loadsAddon(path: string): boolean {
    const { lock } = this.#project
    return dependencyNames(lock.packages.get(path)).some((name) => {
      if (ADDON_LOADERS.includes(name)) return true
      const found = resolveLocked(lock, path, name)
      const entry = found === undefined ? undefined : lock.packages.get(found)
      // One package per platform, chosen by npm, is how addons without an install script come.
      return entry?.cpu !== undefined && entry.os !== undefined
    })
  }

  #holdsAddon(path: string): boolean {
    const dir = join(this.#project.lock.root, path)
    if (existsSync(join(dir, 'binding.gyp')) || existsSync(join(dir, 'prebuilds'))) return true
    if (existsSync(join(dir, 'build', 'Release'))) return true
    try {
      return readdirSync(dir).some((name) => name.endsWith('.node'))
    } catch {
      return false
    }
  }
}

/** `@scope/name` or `name` of an import specifier; `undefined` for a path, a URL or a subpath import. */
export function packageName(specifier: string): string | undefined {
  return /^(?:@[a-z0-9-~][a-z0-9-._~]*\/)?[a-zA-Z0-9-~][a-zA-Z0-9-._~]*(?=\/|$)/.exec(specifier)?.[0]
}
