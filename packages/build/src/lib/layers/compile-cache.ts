import { cp, link, mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { digestOf } from '@fairlead/oci'

import { APP_DIR } from '../bundle/locations.ts'
import { runCommand } from '../run-command.ts'
import { hashKey } from './cache.ts'
import type { BuildCache, StoredLayer } from './cache.ts'
import { unpackedLayer } from './unpacked.ts'

/** Folder of the compile cache in the image (`NODE_COMPILE_CACHE`). */
export const COMPILE_CACHE_DIR: string = `${APP_DIR}/.compile-cache`

/** What to compile, with what. */
export interface CompileOptions {
  cache: BuildCache
  format: 'esm' | 'cjs'
  /** Files of the bundle by name. */
  files: ReadonlyMap<string, Buffer>
  /** Those that change rarely. */
  vendor: ReadonlySet<string>
  /** The layer with `/nodejs/bin/node`. */
  node: StoredLayer
  /** The layer with packages outside the bundle, for their names must be found. */
  externals: StoredLayer | undefined
  /** User id the program runs under in the image. */
  uid: number
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
}

/** Compiled code as Node.js keeps it, by path below {@link COMPILE_CACHE_DIR}. */
export type CompiledFiles = ReadonlyMap<string, Buffer>

/** Compiles the code of one bundle. */
export interface Compiler {
  /** Code of packages. Its bytes do not depend on the program. */
  vendor(): Promise<CompiledFiles>
  /** The rest, with the code of packages as it was compiled before. */
  application(): Promise<CompiledFiles>
}

/** Changes whenever other bytes would be made from the same input. */
const RECIPE = '4'

/**
 * Compiles a bundle with the Node.js of the image and without running any of it, so that the program starts without
 * compiling. `--predictable` makes V8 give the same bytes each time; the cache is looked up by V8's version and flags, the path, and on Node.js 24 the user id, and one that does not fit is ignored. Fails with `ERR_MODULE_NOT_FOUND` as a failed command
 * when the bundle imports what the image does not have.
 */
export function openCompiler(options: CompileOptions): Compiler {
  return new NodeCompiler(options)
}

function codeNames(files: ReadonlyMap<string, Buffer>, isWanted: (name: string) => boolean): string[] {
  return [...files.keys()].filter((name) => name.endsWith('.js') && isWanted(name)).toSorted()
}

class NodeCompiler implements Compiler {
  readonly #options: CompileOptions
  #vendor: Promise<CompiledFiles> | undefined

  constructor(options: CompileOptions) {
    this.#options = options
  }

  vendor(): Promise<CompiledFiles> {
    const { files, vendor } = this.#options
    return (this.#vendor ??= this.#compile(
      codeNames(files, (name) => vendor.has(name)),
      new Map(),
    ))
  }

  async application(): Promise<CompiledFiles> {
    const vendor = await this.vendor()
    const all = await this.#compile(
      codeNames(this.#options.files, () => true),
      vendor,
    )
    return new Map([...all].filter(([name]) => !vendor.has(name)))
  }

  /** What was compiled for the same files before is kept in the cache. */
  async #compile(names: readonly string[], known: CompiledFiles): Promise<CompiledFiles> {
    if (names.length === 0) return new Map()
    const { cache, files, node, externals, uid, format } = this.#options
    const contents = names.flatMap((name) => [name, digestOf(files.get(name) ?? '')])
    const key = hashKey(RECIPE, format, String(uid), node.diffId, externals?.diffId ?? '', ...contents)
    const place = join(cache.dir, 'compiled', key)
    const kept = await readTree(place)
    if (kept.size > 0) {
      const now = new Date()
      await utimes(place, now, now).catch(() => {})
      return kept
    }
    const made = await this.#run(names, known)
    await cache.scratch(async (dir) => {
      await writeTree(join(dir, 'made'), made)
      await mkdir(dirname(place), { recursive: true })
      // Another build may have been faster; what it made is the same.
      await rename(join(dir, 'made'), place).catch(() => {})
    })
    return made
  }

  /** Compiles the named files in a copy of `/app`, with what is compiled already. */
  async #run(names: readonly string[], known: CompiledFiles): Promise<CompiledFiles> {
    const { cache, files, format, env, signal } = this.#options
    const node = join(await unpackedLayer(cache, this.#options.node), 'nodejs/bin/node')
    const modules = this.#options.externals && (await unpackedLayer(cache, this.#options.externals))
    return cache.scratch(async (dir) => {
      const app = join(dir, APP_DIR)
      await mkdir(app)
      for (const [name, content] of files) if (name.endsWith('.js')) await writeFile(join(app, name), content)
      await writeFile(join(app, 'package.json'), JSON.stringify({ type: format === 'esm' ? 'module' : 'commonjs' }))
      if (modules !== undefined) await linkTree(join(modules, APP_DIR), app)
      await writeTree(join(dir, COMPILE_CACHE_DIR), await this.#asOwn(known))
      const start = join(dir, 'start.mjs')
      await writeFile(start, START)
      const given = { dir, format, urls: names.map((name) => `file:///${APP_DIR}/${name}`) }
      await runCommand(node, ['--predictable', '--no-warnings', start, JSON.stringify(given)], {
        cwd: app,
        env: { PATH: env['PATH'], NODE_COMPILE_CACHE: join(dir, COMPILE_CACHE_DIR) },
        signal,
        timeoutMs: 60_000,
      })
      const made = await readTree(join(dir, COMPILE_CACHE_DIR))
      const kept = [...made].filter(([, content]) => !content.includes(TEMPORARY) && !content.includes(dir))
      return new Map(kept.map(([path, content]) => [this.#rename(path, this.#options.uid), content]))
    })
  }

  async #asOwn(known: CompiledFiles): Promise<CompiledFiles> {
    return new Map([...known].map(([path, content]) => [this.#rename(path, process.getuid?.() ?? 0), content]))
  }

  /** Node.js 24 ends the name of the folder with the user id; later versions do not. */
  #rename(path: string, uid: number): string {
    return path.replace(/^(v\d+\.\d+\.\d+-\w+-[0-9a-f]+)-\d+\//, `$1-${uid}/`)
  }
}

/** Modules of ours that take part in compiling and are no part of the program. */
const TEMPORARY = 'fairlead-compile:'

/**
 * Runs in the Node.js of the image. V8 writes the place of a file into what it compiles, so modules are given the place they have
 * in the image. ES modules are compiled when they are linked, all before the first of them runs: which is one that ends the
 * process. A CommonJS module is compiled when it is called; each ends at its first `require`, which is in its first line.
 */
const START = `import { readFileSync } from 'node:fs'
import { createRequire, Module, registerHooks } from 'node:module'
import { pathToFileURL } from 'node:url'
const { dir, format, urls } = JSON.parse(process.argv[2])
const [own, other] = ['file:///app/', pathToFileURL(dir + '/app/').href]
const stopped = new Error('compiled')
process.on('uncaughtException', (error) => {
  if (error === stopped) process.exit(0)
  console.error(error)
  process.exit(1)
})
process.fairleadStop = () => { throw stopped }
registerHooks({
  resolve(specifier, context, next) {
    if (specifier.startsWith('${TEMPORARY}')) return { url: specifier, format: 'module', shortCircuit: true }
    if (specifier.startsWith(own)) return { url: specifier, format: format === 'esm' ? 'module' : 'commonjs', shortCircuit: true }
    const parentURL = context.parentURL?.startsWith(own) ? other + context.parentURL.slice(own.length) : context.parentURL
    const found = next(specifier, { ...context, parentURL })
    return found.url.startsWith(other) ? { ...found, url: own + found.url.slice(other.length) } : found
  },
  load(url, context, next) {
    if (url === '${TEMPORARY}stop') return { format: 'module', source: 'process.fairleadStop()', shortCircuit: true }
    if (url === '${TEMPORARY}all') {
      const source = ['${TEMPORARY}stop', ...urls].map((name) => 'import ' + JSON.stringify(name)).join('\\n')
      return { format: 'module', source, shortCircuit: true }
    }
    return url.startsWith(own) ? next(other + url.slice(own.length), context) : next(url, context)
  },
})
if (format === 'esm') await import('${TEMPORARY}all')
const load = createRequire(import.meta.url)
const required = Module.prototype.require
for (const url of urls) {
  Module.prototype.require = function (id) {
    if (pathToFileURL(this.filename).href === url) throw stopped
    return required.call(this, id)
  }
  try { load(url) } catch (error) { if (error !== stopped) throw error }
}
`

/** A copy by hard links, for files that nobody writes to. */
async function linkTree(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) {
      await mkdir(target, { recursive: true })
      await linkTree(source, target)
    } else if (entry.isSymbolicLink()) await cp(source, target, { verbatimSymlinks: true })
    else await link(source, target)
  }
}

async function readTree(dir: string): Promise<Map<string, Buffer>> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => [])
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const files = await Promise.all(
    paths.toSorted().map(async (path) => [path.slice(dir.length + 1), await readFile(path)] as const),
  )
  return new Map(files)
}

async function writeTree(dir: string, files: ReadonlyMap<string, Buffer>): Promise<void> {
  await rm(dir, { recursive: true, force: true })
  for (const [path, content] of files) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), content)
  }
}
