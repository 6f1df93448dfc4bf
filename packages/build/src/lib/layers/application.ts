import { createHash } from 'node:crypto'
import { lstat, readdir, readFile, readlink, stat } from 'node:fs/promises'
import { join } from 'node:path'

import type { TarEntry } from '@fairlead/oci/archive'

import type { Bundle } from '../bundle/bundle.ts'
import { APP_DIR, imagePath } from '../bundle/locations.ts'
import { COMPILE_CACHE_DIR } from './compile-cache.ts'
import type { Project } from '../source/project.ts'

/** Folders that servers read by convention, relative to the working directory and so invisible in the source. */
const CONVENTIONAL_DIRS = ['public', 'static', 'views', 'templates']
/** Where Nitro, and so Nuxt, puts a server it built and the files that server hands out. */
const NITRO = { server: '.output/server', public: '.output/public' }
const NEVER_COPIED = new Set(['node_modules', '.git', '.env', '.npmrc', '.DS_Store'])

/** What goes into the layer of the application beside the files of the project. */
export interface ApplicationFiles {
  created: Date
  /** More files by path below `/app`. */
  files: ReadonlyMap<string, Buffer>
}

/** Entries of the layer of packages: it has no time of its own, so that it stays when only the source changes. */
export function vendorEntries(bundle: Bundle, compiled: ReadonlyMap<string, Buffer>): TarEntry[] {
  const names = [...bundle.files].filter(([name]) => bundle.vendor.has(name))
  return [
    ...names.map(([name, content]) => ({ path: `${APP_DIR}/${name}`, type: 'file' as const, content })),
    ...[...compiled].map(([name, content]) => ({
      path: `${COMPILE_CACHE_DIR}/${name}`,
      type: 'file' as const,
      content,
    })),
  ]
}

/** Entries of the layer that changes with the source: bundle, package.json, and the files read at run time. */
export async function applicationEntries(
  project: Project,
  bundle: Bundle,
  { created, files }: ApplicationFiles,
): Promise<TarEntry[]> {
  const entries = new Map<string, TarEntry>()
  const add = (entry: TarEntry): void => {
    entries.set(entry.path, { ...entry, mtimeSeconds: changeTime(entry, created) })
  }
  for (const path of await assetRoots(project, bundle))
    for await (const entry of assetEntries(project, path)) add(entry)
  for (const [name, content] of bundle.files) {
    if (!bundle.vendor.has(name)) add({ path: `${APP_DIR}/${name}`, type: 'file', content })
  }
  for (const [name, content] of files) add({ path: `${APP_DIR}/${name}`, type: 'file', content })
  add({ path: `${APP_DIR}/package.json`, type: 'file', content: renderPackageJson(project) })
  return [...entries.values()]
}

async function assetRoots(project: Project, bundle: Bundle): Promise<string[]> {
  const declared = (project.packageJson.files ?? []).filter((name) => !/[*?!{[]/.test(name))
  const roots = new Set(bundle.assets)
  const isNitro = project.entry.startsWith(`${join(project.dir, NITRO.server)}/`)
  for (const name of [...CONVENTIONAL_DIRS, ...(isNitro ? [NITRO.public] : [])]) {
    const path = join(project.dir, name)
    if ((await stat(path).catch(() => undefined))?.isDirectory()) roots.add(path)
  }
  for (const name of declared) {
    const path = join(project.dir, name)
    if (await stat(path).catch(() => undefined)) roots.add(path)
  }
  return [...roots].toSorted()
}

async function* assetEntries(project: Project, path: string): AsyncGenerator<TarEntry> {
  const found = await lstat(path)
  const target = imagePath(project, path)
  if (found.isSymbolicLink()) yield { path: target, type: 'symlink', linkPath: await readlink(path) }
  else if (found.isFile()) {
    yield { path: target, type: 'file', mode: found.mode & 0o111 ? 0o755 : 0o644, content: await readFile(path) }
  } else if (found.isDirectory()) {
    yield { path: target, type: 'directory' }
    const names = (await readdir(path)).filter((name) => !NEVER_COPIED.has(name)).toSorted()
    for (const name of names) yield* assetEntries(project, join(path, name))
  }
}

/** Name and version stay readable in the image; `type` tells Node.js how the bundle is written. */
function renderPackageJson(project: Project): Buffer {
  const { name, version } = project.packageJson
  const type = project.format === 'esm' ? 'module' : 'commonjs'
  return Buffer.from(`${JSON.stringify({ name, version, private: true, type, main: 'main.js' })}\n`)
}

/**
 * Web servers make an ETag of size and time of a file. One time for all files would give a changed file of equal size
 * the ETag of the old one, so the time before `created` depends on the content.
 */
function changeTime(entry: TarEntry, created: Date): number {
  const seconds = Math.max(65_536, Math.floor(created.getTime() / 1000))
  if (!(entry.content instanceof Uint8Array)) return seconds
  return seconds - createHash('sha256').update(entry.content).digest().readUInt16BE(0)
}
