import { isBuiltin } from 'node:module'
import { basename, dirname, join, relative, sep } from 'node:path'

import { rolldown } from './rolldown.ts'
import type { OutputChunk, Plugin } from 'rolldown'

import { bundleFailed } from '../errors.ts'
import type { Project } from '../source/project.ts'
import { packageOf } from './locations.ts'
import { Externals, packageName } from './packages.ts'
import { chunkIntro, LOCATION_USE, rewriteModule } from './rewrite.ts'
import type { Rewritten } from './rewrite.ts'

/** A program ready to be put into `/app`. */
export interface Bundle {
  /** Files by name; `main.js` is where the program starts. */
  files: ReadonlyMap<string, Buffer>
  /** Names of those files that hold code of packages only: they change when versions or imports of packages do. */
  vendor: ReadonlySet<string>
  /** Absolute paths of files and folders it reads at run time. */
  assets: readonly string[]
  /** Packages left outside, with the reason. */
  externals: Externals
  /** Import specifiers of those packages that the bundle holds, and the folder of the project that imports them. */
  specifiers: ReadonlyMap<string, string>
  /** What names in those specifiers mean: path in the lock file by name. */
  visible: ReadonlyMap<string, string>
  /** Things its author should know. */
  notes: readonly string[]
  /** Source files of which something is left in the chunks, by absolute path. */
  modules: readonly BundledModule[]
  /** Packages that code of the project imports by name: with the lock file, all that decides about externals. */
  imported: readonly string[]
}

/** A source file in the bundle. */
export interface BundledModule {
  path: string
  /** Characters of it in the chunks. */
  renderedLength: number
}

/** How to bundle. */
export interface BundleOptions {
  /** Make source maps, as files `<name>.js.map` that the code names or does not name; default: none. */
  sourceMaps?: 'linked' | 'hidden' | undefined
  /** Texts that stand for `process.env.<name>` in the bundle. */
  constants: Readonly<Record<string, string>>
  signal?: AbortSignal | undefined
  /** What an earlier build decided; used when it still holds. */
  plan?: BundlePlan | undefined
}

/** The decisions that make bundling take one pass when nothing about packages changed. */
export interface BundlePlan {
  externals: readonly (readonly [string, string])[]
  imported: readonly string[]
  /** Packages without native addons, so that their folders need not be looked through again. */
  portable?: readonly string[] | undefined
}

const MAX_PASSES = 8

/**
 * Bundles the project into as few files as its imports allow. Packages that cannot be bundled are found while reading
 * them: native addons, ones that need to know their own place on the disk, ones no file imports by a fixed name. They
 * become externals and the bundle is made again, until nothing new is found. Throws `FAIRLEAD_BUILD_BUNDLE`.
 */
export async function bundleProject(project: Project, options: BundleOptions): Promise<Bundle> {
  const { plan } = options
  if (plan) {
    const bundle = await runPass(project, new Externals(project, plan.externals, plan.portable), options)
    const holds = bundle.discovered.size === 0 && bundle.imported.join() === plan.imported.join()
    if (holds) return bundle
  }
  const externals = new Externals(project)
  for (let pass = 0; pass < MAX_PASSES; pass += 1) {
    const bundle = await runPass(project, externals, options)
    const bundled = bundle.packages
    for (const [path, reason] of undiscoverable(project, bundle.imported)) bundle.discovered.set(path, reason)
    let isStable = true
    for (const [path, reason] of bundle.discovered) if (externals.add(path, reason)) isStable = false
    // A package that was found to be outside, and was not bundled either, changes nothing about the bundle.
    if (isStable || ![...bundled].some((path) => externals.has(path))) return bundle
  }
  throw bundleFailed(project.dir, 'its packages could not be divided', 'Report this with the package-lock.json')
}

/** Dependencies no file of the project imports: whatever needs them must load them by a name it computes. */
function undiscoverable(project: Project, imported: readonly string[]): [string, string][] {
  const { dependencies, optionalDependencies } = project.packageJson
  const names = Object.keys({ ...dependencies, ...optionalDependencies })
  const externals = new Externals(project)
  return names
    .filter((name) => !imported.includes(name) && !name.startsWith('@types/'))
    .map((name) => externals.resolve(name, project.lock.workspace))
    .filter((path) => path !== undefined)
    .map((path) => [path, 'declared, and imported by no file: it may be loaded by a computed name'])
}

interface Pass extends Bundle {
  /** Packages found in this pass that must become externals. */
  discovered: Map<string, string>
  /** Packages that the bundler was let into. */
  packages: ReadonlySet<string>
}

async function runPass(project: Project, externals: Externals, options: BundleOptions): Promise<Pass> {
  options.signal?.throwIfAborted()
  const seen: Seen = {
    assets: new Set(),
    notes: [],
    discovered: new Map(),
    imported: new Set(),
    entered: new Set(),
    wishes: [],
    unresolved: [],
  }
  const build = await rolldown({
    input: { main: project.entry },
    cwd: project.dir,
    platform: 'node',
    tsconfig: true,
    resolve: { conditionNames: [...project.conditions, 'node'] },
    transform: { define: defines(options.constants) },
    plugins: [externalsPlugin(project, externals, seen), locationPlugin(project, seen)],
    onLog: (_level, log) => {
      if (log.code === 'UNRESOLVED_IMPORT') seen.unresolved.push({ id: log.id ?? '', message: log.message })
    },
  }).catch((error: unknown) => {
    throw failure(project, error)
  })
  try {
    const { output } = await build.generate({
      format: project.format,
      entryFileNames: 'main.js',
      chunkFileNames: 'chunk-[name].js',
      intro: chunkIntro(project.format),
      exports: 'auto',
      sourcemap: options.sourceMaps === 'linked' ? true : (options.sourceMaps ?? false),
      // Packages in a chunk of their own, executed no earlier than the imports of the source say.
      codeSplitting: { groups: [{ name: 'vendor', test: (id: string) => packageOf(project, id) !== undefined }] },
      strictExecutionOrder: true,
    })
    const chunks = output.filter((part) => part.type === 'chunk')
    checkUnresolved(project, seen)
    const settled = settleWishes(project, externals, seen)
    checkImports(project, chunks, seen)
    const files = output.map((part) => {
      const content = part.type === 'chunk' ? withoutFolderName(project, part) : part.source
      return [part.fileName, Buffer.from(content)]
    })
    return {
      files: new Map(files as [string, Buffer][]),
      vendor: vendorFiles(project, chunks),
      assets: [...seen.assets].toSorted(),
      externals,
      ...settled,
      notes: seen.notes,
      modules: bundledModules(chunks),
      imported: [...seen.imported].toSorted(),
      discovered: seen.discovered,
      packages: seen.entered,
    }
  } catch (error) {
    throw failure(project, error)
  } finally {
    await build.close()
  }
}

interface Seen {
  assets: Set<string>
  notes: string[]
  discovered: Map<string, string>
  imported: Set<string>
  entered: Set<string>
  wishes: Wish[]
  unresolved: { id: string; message: string }[]
}

function externalsPlugin(project: Project, externals: Externals, seen: Seen): Plugin {
  return {
    name: 'fairlead:externals',
    resolveId: {
      filter: { id: /^[@a-zA-Z0-9]/ },
      handler(specifier, importer) {
        if (importer === undefined || isBuiltin(specifier)) return null
        const name = packageName(specifier)
        if (name === undefined) return null
        const from = packageOf(project, importer)
        if (from === undefined) seen.imported.add(name)
        const path = externals.resolve(name, from ?? workspaceOf(project, importer))
        if (path === undefined) return null
        if (!externals.has(path)) {
          if (!externals.isNative(path)) {
            seen.entered.add(path)
            return null
          }
          seen.discovered.set(path, 'native addon')
        }
        const home = from ?? workspaceOf(project, importer)
        seen.wishes.push({ specifier, name, path, from, home })
        return { id: specifier, external: true }
      },
    },
  }
}

/** Somebody in the bundle asks for a package outside. */
interface Wish {
  specifier: string
  name: string
  /** Path in the lock file that the name means there. */
  path: string
  /** The package that asks; `undefined` for code of the project. */
  from: string | undefined
  /** Folder of that package or workspace, below the root. */
  home: string
}

/**
 * Everything in the bundle finds externals from `/app` by their name, so a name can mean one package only: the one it
 * means for the service, else for another workspace, else the first by path. A package that means another one goes outside as
 * well. Independent of the order in which modules were read.
 */
function settleWishes(project: Project, externals: Externals, seen: Seen): Pick<Bundle, 'specifiers' | 'visible'> {
  const specifiers = new Map<string, string>()
  const visible = new Map<string, string>()
  const wishes = seen.wishes.toSorted((a, b) => (rankOf(a) < rankOf(b) ? -1 : 1))
  for (const { specifier, name, path, from, home } of wishes) {
    const meant = visible.get(name) ?? externals.resolve(name, project.lock.workspace) ?? path
    if (meant === path) {
      visible.set(name, path)
      if (!specifiers.has(specifier)) specifiers.set(specifier, join(project.lock.root, home))
    } else if (from === undefined) {
      const state = `its workspaces need two versions of "${name}", which stays outside the bundle`
      throw bundleFailed(project.dir, state, 'Give all workspaces the same version of the package')
    } else seen.discovered.set(from, `needs a version of ${name} of its own`)
  }
  return { specifiers: new Map([...specifiers].toSorted(byName)), visible: new Map([...visible].toSorted(byName)) }
}

function byName([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : 1
}

function rankOf({ from, path, specifier, home }: Wish): string {
  return [from === undefined ? '0' : '1', path, specifier, home].join('\0')
}

function locationPlugin(project: Project, seen: Seen): Plugin {
  return {
    name: 'fairlead:locations',
    transform: {
      filter: { code: LOCATION_USE, moduleType: ['js', 'jsx', 'ts', 'tsx'] },
      handler(code, id, meta) {
        const path = id.replace(/[?#].*$/, '')
        if (path.startsWith('\0') || !path.startsWith('/')) return null
        const rewritten = rewriteModule({ project, code, path, lang: meta.moduleType as 'js' | 'jsx' | 'ts' | 'tsx' })
        if (!rewritten) return null
        const owner = packageOf(project, path)
        if (owner !== undefined) {
          const reason = reasonAgainst(rewritten)
          if (reason !== undefined) seen.discovered.set(owner, `${path.slice(path.lastIndexOf('/') + 1)} ${reason}`)
          if (reason !== undefined) return null
        }
        for (const asset of rewritten.assets) seen.assets.add(asset)
        for (const program of rewritten.programs) {
          this.emitFile({ type: 'chunk', id: program.path, fileName: program.fileName })
        }
        const shown = relative(project.dir, path).split(sep).join('/')
        if (owner === undefined) for (const note of rewritten.unknown) seen.notes.push(`${shown} ${note}`)
        return { code: rewritten.code }
      },
    },
  }
}

/** Why a package module cannot live in a bundle. */
function reasonAgainst(rewritten: Rewritten): string | undefined {
  if (rewritten.makesRequire) return 'makes a require function of its own'
  return rewritten.namesPrograms ? 'uses a program file by its path' : rewritten.unknown[0]
}

function workspaceOf(project: Project, importer: string): string {
  const below = relative(project.lock.root, importer).split(sep).join('/')
  const owners = [...project.lock.packages.keys()].filter(
    (path) => path !== '' && !path.includes('node_modules/') && below.startsWith(`${path}/`),
  )
  return owners.toSorted((a, b) => b.length - a.length)[0] ?? project.lock.workspace
}

function vendorFiles(project: Project, chunks: readonly OutputChunk[]): Set<string> {
  const isVendor = (chunk: OutputChunk): boolean =>
    !chunk.isEntry && chunk.moduleIds.every((id) => id.startsWith('\0') || packageOf(project, id) !== undefined)
  const names = chunks.filter(isVendor).map((chunk) => chunk.fileName)
  return new Set(names.flatMap((name) => [name, `${name}.map`]))
}

function bundledModules(chunks: readonly OutputChunk[]): BundledModule[] {
  const modules = new Map<string, number>()
  for (const [id, { renderedLength }] of chunks.flatMap((chunk) => Object.entries(chunk.modules))) {
    const path = id.replace(/[?#].*$/, '')
    if (path.startsWith('/') && renderedLength > 0) modules.set(path, (modules.get(path) ?? 0) + renderedLength)
  }
  return [...modules].map(([path, renderedLength]) => ({ path, renderedLength }))
}

function defines(constants: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(constants).map(([name, text]) => [`process.env.${name}`, JSON.stringify(text)]),
  )
}

/**
 * The bundler names what it wraps of an `index` file after its folder, and the name of the root is the machine's business: those
 * names it declares get another.
 */
function withoutFolderName(project: Project, { code, moduleIds }: OutputChunk): string {
  // Without such a file the name is a file's own, which may be called like the folder.
  if (!moduleIds.some((id) => dirname(id) === project.lock.root && basename(id).startsWith('index.'))) return code
  const folder = basename(project.lock.root)
    .replace(/[^A-Za-z0-9_$]/g, '_')
    .replaceAll('$', '\\$')
  const name = `(init|require|import)_${folder}(\\$\\d+)?`
  const declared = new RegExp(`^\\s*(?:var|const|let|function) (?:[\\w$]+, )*${name}(?![\\w$])`, 'm')
  return declared.test(code) ? code.replace(new RegExp(`(?<![\\w$])${name}(?![\\w$])`, 'g'), '$1_root$2') : code
}

/** Packages guard imports of what they can do without; code of the project must find all it imports. */
function checkUnresolved(project: Project, seen: Seen): void {
  const own = seen.unresolved.find(({ id }) => id !== '' && packageOf(project, id) === undefined)
  if (!own) return
  throw bundleFailed(project.dir, own.message, 'Check the import, or install the package and commit the lock file')
}

/** What the bundle imports on loading must be there, or the program ends before it begins. */
function checkImports(project: Project, chunks: readonly OutputChunk[], seen: Seen): void {
  const names = new Set(chunks.map((chunk) => chunk.fileName))
  const wished = new Set(seen.wishes.map(({ specifier }) => specifier))
  for (const specifier of chunks.flatMap((chunk) => chunk.imports)) {
    if (names.has(specifier) || isBuiltin(specifier) || wished.has(specifier)) continue
    const hint = `Run "npm install ${packageName(specifier) ?? specifier}" and commit the lock file`
    throw bundleFailed(project.dir, `the bundle imports "${specifier}", which is not installed`, hint)
  }
}

function failure(project: Project, error: unknown): Error {
  if ((error as { code?: string }).code?.startsWith('FAIRLEAD_')) return error as Error
  const text = error instanceof Error ? error.message : String(error)
  return bundleFailed(project.dir, text, 'Mend the source at the place shown', error)
}
