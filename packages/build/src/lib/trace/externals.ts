import { existsSync } from 'node:fs'
import { lstat, readdir, readFile, stat } from 'node:fs/promises'
import { join, posix, relative } from 'node:path'

import type { TarEntry } from '@fairlead/oci/archive'

import type { Bundle } from '../bundle/bundle.ts'
import { APP_DIR, imagePath, packageOf } from '../bundle/locations.ts'
import { bundleFailed, packagesIncomplete } from '../errors.ts'
import { hashKey } from '../layers/cache.ts'
import type { Project } from '../source/project.ts'
import { describeNative, isRequired } from './installed.ts'
import { installPlatformPackage } from './platform-package.ts'
import type { Fetching } from './platform-package.ts'
import { checkNative, findNativeFiles, isNativeFile, reasonAgainst } from './native-files.ts'
import type { NativeTarget } from './native-files.ts'

/** Changes whenever the layer made from the same packages would differ. */
const RECIPE = '3'

/** Name for all that decides about the layer of externals: packages as locked and as they lie there, what is imported. */
export async function externalsKey(project: Project, bundle: Bundle, target: NativeTarget): Promise<string> {
  const packages = await Promise.all(
    bundle.externals.entries().map(async ([path]) => {
      const entry = project.lock.packages.get(path)
      return [path, entry?.version, entry?.integrity, await describeNative(project, path)].join(' ')
    }),
  )
  return `externals-${hashKey(RECIPE, target.architecture, target.libc ?? 'glibc', project.lock.root, ...packages, ...entrySpecifiers(project, bundle).flat(), JSON.stringify([...bundle.visible]))}`
}

/**
 * The files of the packages outside the bundle that can be reached from it, as entries below `/app/node_modules`. Builds
 * for other platforms are left out; a package with none for this one is refused with `FAIRLEAD_BUILD_NATIVE`, and one that the bundle
 * imports without a file that could be found with `FAIRLEAD_BUILD_INSTALL`.
 */
export async function traceExternals(
  project: Project,
  bundle: Bundle,
  target: NativeTarget,
  fetching?: Fetching,
): Promise<TarEntry[]> {
  const paths = new Set(await tracedFiles(project, entrySpecifiers(project, bundle)))
  const fetched: TarEntry[] = []
  for (const [path, reason] of bundle.externals.entries()) {
    const place =
      isForTarget(project, path, target) && fetching ? await installPlatformPackage(project, path, fetching) : undefined
    if (place !== undefined) {
      for (const file of await filesBelow(place)) {
        fetched.push(
          await fileEntry(file, `${imagePath(project, join(project.lock.root, path))}/${relative(place, file)}`),
        )
      }
      continue
    }
    if (isForTarget(project, path, target)) {
      for (const file of await filesBelow(join(project.lock.root, path))) paths.add(file)
    }
    await chooseNative(project, { path, reason, paths, target })
  }
  const entries = new Map<string, TarEntry & { source: string }>()
  for (const source of paths) {
    const entry = { ...(await fileEntry(source, imagePath(project, source))), source }
    const other = entries.get(entry.path)
    if (other) throw twice(project, entry.path, other.source, source)
    entries.set(entry.path, entry)
  }
  const made = [...entries.values(), ...fetched]
  checkTraced(project, bundle, made)
  return [...made, ...linkEntries(project, bundle, paths)]
}

/** The tracer passes over what it does not find; the program would miss it when it starts. */
function checkTraced(project: Project, { externals, visible }: Bundle, entries: readonly TarEntry[]): void {
  const imported = new Set(visible.values())
  for (const [path, reason] of externals.entries()) {
    const isLoaded = imported.has(path) || reason === 'native addon'
    if (!isLoaded || !isRequired(project.lock.packages.get(path))) continue
    const folder = `${imagePath(project, join(project.lock.root, path))}/`
    if (!entries.some((entry) => entry.path.startsWith(folder))) {
      throw packagesIncomplete(project.lock.root, `no file of "${path}" was found, which the program imports`)
    }
  }
}

/** Begins to load what tracing needs, while the bundler keeps this thread waiting. */
export function preloadTracer(): void {
  import('@vercel/nft').catch(() => {})
}

/** What to trace from, with the folder it is found from: imports left in the bundle, packages loaded by a computed name. */
function entrySpecifiers(project: Project, bundle: Bundle): [string, string][] {
  const own = `${project.lock.workspace === '' ? '' : `${project.lock.workspace}/`}node_modules/`
  const names = bundle.externals
    .entries()
    .filter(([, reason]) => !reason.startsWith('needed by '))
    .map(([path]) => (path.startsWith(own) ? path.slice(own.length) : path.replace(/^node_modules\//, '')))
    .filter((name) => !name.includes('node_modules/'))
  const { dependencies, optionalDependencies } = project.packageJson
  const declared = Object.keys({ ...dependencies, ...optionalDependencies }).filter((name) =>
    bundle.externals.has(bundle.externals.resolve(name, project.lock.workspace) ?? ''),
  )
  const all = new Map([...names, ...declared].map((name) => [name, project.dir]))
  return [...all, ...bundle.specifiers].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

async function tracedFiles(project: Project, specifiers: readonly [string, string][]): Promise<string[]> {
  if (specifiers.length === 0) return []
  const { root } = project.lock
  const virtual = new Map<string, string>()
  for (const dir of new Set(specifiers.map(([, from]) => from))) {
    const texts = specifiers.filter(([, from]) => from === dir).map(([specifier]) => JSON.stringify(specifier))
    virtual.set(join(dir, '__externals__.mjs'), texts.map((text) => `import ${text}`).join('\n'))
    virtual.set(join(dir, '__externals__.cjs'), texts.map((text) => `require(${text})`).join('\n'))
  }
  // Loaded here and not above: most builds find this layer in the cache.
  const { nodeFileTrace } = await import('@vercel/nft')
  const { fileList } = await nodeFileTrace([...virtual.keys()], {
    base: root,
    processCwd: project.dir,
    ts: false,
    readFile: async (path) => virtual.get(path) ?? (await readFile(path).catch(() => null)),
  })
  const files = [...fileList]
    .map((path) => join(root, path))
    .filter((path) => !virtual.has(path) && packageOf(project, path) !== undefined)
  // Links are made from the lock file, not from what was traced.
  const stats = await Promise.all(files.map(async (path) => (await lstat(path)).isFile()))
  return files.filter((path, index) => stats[index] && !isBehindLink(project, path))
}

/** Whether the path goes through a link of pnpm; the file is traced by its real path as well. */
function isBehindLink(project: Project, path: string): boolean {
  const owner = packageOf(project, path)
  return owner !== undefined && project.lock.packages.get(owner)?.link === true
}

/** Links by which packages of pnpm's store find each other, and by which the bundle finds them. */
function linkEntries(project: Project, bundle: Bundle, paths: ReadonlySet<string>): TarEntry[] {
  const { lock } = project
  const present = new Set([...paths].map((path) => packageOf(project, path)))
  const links = new Map<string, string>()
  for (const [name, path] of bundle.visible) links.set(`${APP_DIR}/node_modules/${name}`, path)
  for (const [place, { link, resolved }] of lock.packages) {
    if (link && resolved !== undefined && present.has(resolved))
      links.set(imagePath(project, join(lock.root, place)), resolved)
  }
  return [...links]
    .map(([from, path]) => ({ from, to: imagePath(project, join(lock.root, path)), path }))
    .filter(({ from, to, path }) => from !== to && present.has(path) && from.startsWith(`${APP_DIR}/node_modules/`))
    .map(({ from, to }) => ({ path: from, type: 'symlink', linkPath: posix.relative(posix.dirname(from), to) }))
}

/** A package made for one platform is taken whole when it is for ours: who loads it computes the name. */
export function isForTarget(project: Project, path: string, target: NativeTarget): boolean {
  const entry = project.lock.packages.get(path)
  const cpu = target.architecture === 'amd64' ? 'x64' : 'arm64'
  const other = target.libc === 'musl' ? 'glibc' : 'musl'
  return entry?.cpu?.includes(cpu) === true && entry.os?.includes('linux') === true && !entry.libc?.includes(other)
}

async function filesBelow(dir: string): Promise<string[]> {
  const names = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => [])
  return names.filter((name) => name.isFile()).map((name) => join(name.parentPath, name.name))
}

interface Choice {
  path: string
  reason: string
  paths: Set<string>
  target: NativeTarget
}

/** Replaces the traced native files of a package by those of its native files that load on the target. */
async function chooseNative(project: Project, { path, reason, paths, target }: Choice): Promise<void> {
  const dir = join(project.lock.root, path)
  const found = await findNativeFiles(dir)
  const files = await Promise.all(
    found.map(async (file) => ({ path: file, reason: await reasonAgainst(file, target) })),
  )
  for (const traced of paths) if (isNativeFile(traced) && packageOf(project, traced) === path) paths.delete(traced)
  for (const file of files) if (file.reason === undefined) paths.add(file.path)
  const entry = project.lock.packages.get(path)
  const isOptional = entry?.optional === true || entry?.devOptional === true || entry?.cpu !== undefined
  const isBuiltOnInstall = reason === 'native addon' && existsSync(join(dir, 'binding.gyp'))
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
  if (!isOptional && (files.length > 0 || isBuiltOnInstall)) checkNative(name, files, target)
}

async function fileEntry(source: string, path: string): Promise<TarEntry> {
  const [content, { mode }] = await Promise.all([readFile(source), stat(source)])
  return { path, type: 'file', mode: mode & 0o111 ? 0o755 : 0o644, content }
}

function twice(project: Project, path: string, first: string, second: string): Error {
  const hint = 'Give the workspace and its root the same version of the package'
  return bundleFailed(project.dir, `"${first}" and "${second}" would both become "/${path}"`, hint)
}
