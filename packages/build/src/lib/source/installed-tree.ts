import { readFile, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import type { LockText } from './lock-text.ts'
import type { LockedPackage } from './lockfile.ts'
import { pathBelow } from './project-path.ts'

/** What of the packages is installed, in the form of an npm lock file. */
export interface InstalledTree {
  /**
   * Folders of packages and workspaces, and links between them, by path below the root. A link that Node.js follows from one
   * package to another is an entry with `link`.
   */
  packages: ReadonlyMap<string, LockedPackage>
  /** The first thing that is not as the lock file says, in words. */
  difference: string | undefined
}

/**
 * Follows what a service depends on through the installed `node_modules` as Node.js does, symbolic links included: the
 * store of pnpm, the hoisted trees of Yarn. Names and dependencies come from the package.json files, integrity from the lock file.
 */
export async function readInstalledTree(root: string, workspace: string, lock: LockText): Promise<InstalledTree> {
  const tree = new TreeReader(root, lock)
  await tree.read(workspace)
  return tree
}

interface Manifest extends LockedPackage {
  peerDependenciesMeta?: Readonly<Record<string, { optional?: boolean }>>
}

class TreeReader implements InstalledTree {
  readonly packages = new Map<string, LockedPackage>()
  difference: string | undefined
  readonly #root: string
  readonly #lock: LockText

  constructor(root: string, lock: LockText) {
    this.#root = root
    this.#lock = lock
  }

  async read(start: string): Promise<void> {
    let waiting = [start]
    while (waiting.length > 0) {
      const found = await Promise.all(waiting.map((path) => this.#readPackage(path)))
      waiting = [...new Set(found.flat())].filter((path) => !this.packages.has(path))
    }
  }

  /** Takes one folder and answers the folders it depends on. */
  async #readPackage(path: string): Promise<string[]> {
    const manifest = await readManifest(join(this.#root, path))
    if (!manifest) {
      this.#differs(`"${path}" has no package.json`)
      return []
    }
    this.packages.set(path, this.#entryOf(path, manifest))
    const names = Object.entries({
      ...manifest.peerDependencies,
      ...manifest.optionalDependencies,
      ...manifest.dependencies,
    })
    const found = await Promise.all(names.map(([name, range]) => this.#follow(path, manifest, { name, range })))
    return found.filter((target) => target !== undefined)
  }

  async #follow(from: string, manifest: Manifest, wish: { name: string; range: string }): Promise<string | undefined> {
    const { name, range } = wish
    const place = await this.#locate(from, name)
    const isOptional =
      manifest.optionalDependencies?.[name] !== undefined || manifest.dependencies?.[name] === undefined
    if (place === undefined) {
      if (!isOptional) this.#differs(`"${name}" is not installed`)
      return undefined
    }
    const target = pathBelow(this.#root, await realpath(join(this.#root, place)))
    if (target === undefined) {
      this.#differs(`"${name}" is linked to a folder outside ${this.#root}`)
      return undefined
    }
    if (target !== place) this.packages.set(place, { link: true, resolved: target })
    if (target.includes('node_modules/')) await this.#compare(from, target, { name, range })
    return target
  }

  /** The nearest `node_modules` that has `name`, as a path below the root with links not followed. */
  async #locate(from: string, name: string): Promise<string | undefined> {
    for (let at = from; ; at = dirname(at) === '.' ? '' : dirname(at)) {
      const place = at === '' ? `node_modules/${name}` : `${at}/node_modules/${name}`
      const isThere = !at.endsWith('node_modules') && (await stat(join(this.#root, place)).catch(() => undefined))
      if (isThere) return place
      if (at === '') return undefined
    }
  }

  async #compare(from: string, target: string, { name, range }: { name: string; range: string }): Promise<void> {
    const manifest = await readManifest(join(this.#root, target))
    const key = `${manifest?.name ?? name}@${manifest?.version ?? ''}`
    if (!this.#lock.versions.has(key)) return this.#differs(`"${key}" is installed, and the lock file does not have it`)
    if (from.includes('node_modules/')) return
    const locked = this.#lock.versionOf(from, name, range)
    if (locked !== undefined && locked !== manifest?.version) {
      this.#differs(`"${name}" is ${manifest?.version}, locked is ${locked}`)
    }
  }

  #entryOf(path: string, manifest: Manifest): LockedPackage {
    const { name, version, dependencies, optionalDependencies, peerDependencies, os, cpu, libc } = manifest
    const locked = this.#lock.versions.get(`${name}@${version}`)
    const fields = { name, version, dependencies, optionalDependencies, peerDependencies, os, cpu, libc }
    const known = { ...fields, resolved: locked?.resolved, integrity: locked?.integrity }
    const isPackage = path.includes('node_modules/')
    const entries = Object.entries(isPackage ? known : fields).filter(([, value]) => value !== undefined)
    return Object.fromEntries(entries) as LockedPackage
  }

  #differs(state: string): void {
    this.difference ??= state
  }
}

async function readManifest(dir: string): Promise<Manifest | undefined> {
  try {
    return JSON.parse(await readFile(join(dir, 'package.json'), 'utf8')) as Manifest
  } catch {
    return undefined
  }
}
