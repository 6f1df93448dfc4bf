// Holds the sources against `layers.json` (who may import whom) and a few rules of the house. Prints one line per violation
// and exits with 1; prints nothing when all is well. Usage: node scripts/check-imports.ts [root]
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Layers {
  packages: Record<string, readonly string[]>
  folders: Record<string, Record<string, readonly string[]>>
}

interface Manifest {
  name: string
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
  devDependencies?: Record<string, string>
}

interface Import {
  specifier: string
  isType: boolean
}

interface SourceFile {
  path: string
  package: string
  isTest: boolean
  imports: readonly Import[]
  text: string
}

/** All violations under `root`, each `file: rule`, sorted. */
export function checkImports(root: string): string[] {
  const layers: Layers = JSON.parse(readFileSync(join(root, 'layers.json'), 'utf8'))
  const manifests = new Map(Object.keys(layers.packages).map((name) => [name, readManifest(root, name)]))
  const files = globSync('packages/*/src/**/*.{ts,mts,cts}', { cwd: root }).map((path) => readSource(root, path))
  const owners = new Map([...manifests].map(([folder, manifest]) => [manifest.name, folder]))
  const violations = files.flatMap((file) => [
    ...checkFile(file, layers, manifests, owners),
    ...checkFolders(file, layers),
  ])
  return [...violations, ...checkCycles(files)].toSorted()
}

/** With what the root has for the tests of all packages. */
function readManifest(root: string, folder: string): Manifest {
  const manifest: Manifest = JSON.parse(readFileSync(join(root, 'packages', folder, 'package.json'), 'utf8'))
  const shared = join(root, 'package.json')
  const { devDependencies = {} }: Manifest = existsSync(shared) ? JSON.parse(readFileSync(shared, 'utf8')) : manifest
  return { ...manifest, devDependencies: { ...devDependencies, ...manifest.devDependencies } }
}

function readSource(root: string, path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8')
  return {
    path,
    package: path.split('/')[1] ?? '',
    isTest: /\.(test|fixture)\./.test(path) || path.includes('/testing/'),
    imports: parseImports(text),
    text,
  }
}

/** Static imports and re-exports, and dynamic imports of literals. Comments are blanked first; strings hold no imports here. */
export function parseImports(text: string): Import[] {
  // Comments, and templates: tests have programs in those that are not this one.
  const code = text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '').replaceAll(/`(?:\\.|[^`\\])*`/gs, '``')
  const statements = code.matchAll(/^\s*(?:import|export)\s+(type\s)?(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]/gm)
  const dynamic = code.matchAll(/(?:(typeof)\s+)?\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)
  return [...statements, ...dynamic].map(([, type, specifier = '']) => ({ specifier, isType: type !== undefined }))
}

function checkFile(
  file: SourceFile,
  layers: Layers,
  manifests: ReadonlyMap<string, Manifest>,
  owners: ReadonlyMap<string, string>,
): string[] {
  const manifest = manifests.get(file.package)
  if (manifest === undefined) return [`${file.path}: package "${file.package}" is not in layers.json`]
  const allowed = layers.packages[file.package] ?? []
  const violations: string[] = []
  for (const { specifier, isType } of file.imports) {
    if (specifier === 'node:http' && !isType && !file.isTest) violations.push(`${file.path}: ${httpByNeed}`)
    if (specifier.startsWith('node:')) continue
    if (specifier.startsWith('.')) {
      const target = relative('/', resolve('/', dirname(file.path), specifier))
      if (!target.startsWith(`packages/${file.package}/`))
        violations.push(`${file.path}: reaches into another package by path ("${specifier}")`)
      if (!/\.(ts|mts|cts|json|cjs|mjs)$/.test(specifier))
        violations.push(`${file.path}: import "${specifier}" has no file extension`)
      continue
    }
    const name = specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/')
    const owner = owners.get(name)
    if (owner !== undefined && owner !== file.package && !allowed.includes(owner))
      violations.push(`${file.path}: ${file.package} may not import ${owner}`)
    if (specifier.includes('/src/'))
      violations.push(`${file.path}: reaches into another package's sources ("${specifier}")`)
    if (owner !== file.package && !isDeclared(manifest, name, file.isTest))
      violations.push(`${file.path}: "${name}" is not among the dependencies of ${manifest.name}`)
  }
  if (/^packages\/[^/]+\/src\/[^/]+\.ts$/.test(file.path) && /^export \*/m.test(file.text))
    violations.push(`${file.path}: an entry file re-exports by name, not "export *"`)
  return violations
}

/**
 * An `import` reads every export of a builtin, and one of node:http's is the WebSocket of undici: Node then loads all of fetch, which is
 * 25 ms of CPU and 8 MB of memory for every command, every cluster and every program of our users.
 */
const httpByNeed = `takes node:http by process.getBuiltinModule('node:http'), as an import loads all of fetch`

function isDeclared(manifest: Manifest, name: string, isTest: boolean): boolean {
  const { dependencies, optionalDependencies, peerDependencies, devDependencies } = manifest
  const declared = { ...dependencies, ...optionalDependencies, ...peerDependencies, ...(isTest ? devDependencies : {}) }
  return name in declared
}

/** Inside a package with a folder table, `src/lib/<folder>` may import only what the table allows; tests may compose. */
function checkFolders(file: SourceFile, layers: Layers): string[] {
  const folders = layers.folders[file.package]
  const from = folderOf(file.path)
  if (folders === undefined || from === undefined || file.isTest || folders[from] === undefined) return []
  const allowed = folders[from]
  return file.imports
    .filter(({ specifier }) => specifier.startsWith('.'))
    .map(({ specifier }) => folderOf(relative('/', resolve('/', dirname(file.path), specifier))))
    .filter((to): to is string => to !== undefined && to !== from && to in folders && !allowed.includes(to))
    .map((to) => `${file.path}: folder ${from} may not import folder ${to} (they meet through the Kubernetes API)`)
}

function folderOf(path: string): string | undefined {
  return /^packages\/[^/]+\/src\/lib\/([^/]+)\//.exec(path)?.[1]
}

/** Cycles of value imports between files: each is reported once, from its first file in alphabetical order. */
function checkCycles(files: readonly SourceFile[]): string[] {
  const known = new Set(files.map((file) => file.path))
  const edges = new Map(
    files.map((file) => [
      file.path,
      file.imports
        .filter((entry) => !entry.isType && entry.specifier.startsWith('.'))
        .map((entry) => relative('/', resolve('/', dirname(file.path), entry.specifier)))
        .filter((target) => known.has(target)),
    ]),
  )
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path)
    if (start >= 0) {
      cycles.push(`${path}: import cycle ${[...trail.slice(start), path].join(' -> ')}`)
      return
    }
    if (done.has(path)) return
    for (const target of edges.get(path) ?? []) visit(target, [...trail, path])
    done.add(path)
  }
  for (const path of [...known].toSorted()) visit(path, [])
  return cycles
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = resolve(process.argv[2] ?? dirname(dirname(fileURLToPath(import.meta.url))))
  if (!existsSync(join(root, 'layers.json'))) {
    console.error(`Cannot check imports of "${root}": there is no layers.json`)
    process.exit(2)
  }
  const violations = checkImports(root)
  for (const violation of violations) console.error(violation)
  process.exit(violations.length === 0 ? 0 : 1)
}
