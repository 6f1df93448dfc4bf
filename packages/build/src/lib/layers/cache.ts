import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createHash, randomUUID } from 'node:crypto'
import { dirname, join } from 'node:path'

import type { Descriptor, Digest } from '@fairlead/oci'
import { openLayout, withLock } from '@fairlead/oci/layout'
import type { Layout } from '@fairlead/oci/layout'

/** A layer as it is kept: the compressed blob's descriptor and the digest of what is inside. */
export interface StoredLayer {
  descriptor: Descriptor
  diffId: Digest
}

/**
 * What survives between builds: layers in a content store of their own, and small JSON records by key. Records are
 * replaced whole; one process at a time makes what a key stands for.
 */
export interface BuildCache {
  readonly dir: string
  readonly layers: Layout
  read<T>(key: string): Promise<T | undefined>
  write(key: string, value: unknown): Promise<void>
  /** Runs `make` while no other build, in this process or another, runs one of the same key. */
  exclusively<T>(key: string, make: () => Promise<T>, signal?: AbortSignal): Promise<T>
  /** A new private directory, removed when `use` ends. */
  scratch<T>(use: (dir: string) => Promise<T>): Promise<T>
}

/** Opens the cache in `dir`, making it where there is none. */
export async function openCache(dir: string): Promise<BuildCache> {
  const layers = await openLayout(join(dir, 'layers'))
  for (const name of ['records', 'locks', 'scratch']) await mkdir(join(dir, name), { recursive: true })
  await sweep(join(dir, 'scratch'), ABANDONED_MS)
  await sweep(join(dir, 'compiled'), UNUSED_MS)
  return new DirectoryCache(dir, layers)
}

const ABANDONED_MS = 60 * 60_000

/** Every changed line makes some more of it. */
const UNUSED_MS = 7 * 24 * 60 * 60_000

/** Removes what builds that were killed left behind, and what none has used for long. */
async function sweep(dir: string, ageMs: number): Promise<void> {
  for (const name of await readdir(dir).catch(() => [])) {
    const path = join(dir, name)
    const age = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now())
    if (age > ageMs) await rm(path, { recursive: true, force: true })
  }
}

/** Short name for any text: file names in the cache are made of it. */
export function hashKey(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 32)
}

class DirectoryCache implements BuildCache {
  readonly dir: string
  readonly layers: Layout

  constructor(dir: string, layers: Layout) {
    this.dir = dir
    this.layers = layers
  }

  async read<T>(key: string): Promise<T | undefined> {
    try {
      return JSON.parse(await readFile(this.#record(key), 'utf8')) as T
    } catch {
      return undefined
    }
  }

  async write(key: string, value: unknown): Promise<void> {
    const path = this.#record(key)
    const temporary = `${path}.${randomUUID()}`
    try {
      await mkdir(dirname(path), { recursive: true })
      await writeFile(temporary, JSON.stringify(value))
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
  }

  exclusively<T>(key: string, make: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return withLock(join(this.dir, 'locks', `${key}.lock`), make, { timeoutMs: 15 * 60_000, signal })
  }

  async scratch<T>(use: (dir: string) => Promise<T>): Promise<T> {
    const dir = join(this.dir, 'scratch', randomUUID())
    await mkdir(dir, { recursive: true })
    try {
      return await use(dir)
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  }

  #record(key: string): string {
    return join(this.dir, 'records', `${key}.json`)
  }
}
