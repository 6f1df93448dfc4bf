import { readFile, realpath, stat } from 'node:fs/promises'
import { extname, join, relative, resolve, sep } from 'node:path'

import { entryMissing, sourceInvalid } from '../errors.ts'
import { loadLockfile } from './lockfile.ts'
import type { Lockfile } from './lockfile.ts'
import { loadConditions } from './tsconfig.ts'

/** What of package.json matters for a build. */
interface PackageJson {
  name?: string
  version?: string
  description?: string
  license?: string
  type?: string
  main?: string
  files?: readonly string[]
  scripts?: Readonly<Record<string, string>>
  engines?: Readonly<Record<string, string>>
  dependencies?: Readonly<Record<string, string>>
  optionalDependencies?: Readonly<Record<string, string>>
}

/** A service folder, understood. */
export interface Project {
  /** Absolute, with symbolic links resolved. */
  dir: string
  packageJson: PackageJson
  lock: Lockfile
  /** Absolute path of the file the service starts with. */
  entry: string
  /** Flags for Node.js that the start script gives. */
  nodeFlags: readonly string[]
  /** How the bundle is written: as the entry file itself is. */
  format: 'esm' | 'cjs'
  /** `customConditions` of its tsconfig.json, for the `exports` of packages. */
  conditions: readonly string[]
}

/** Reads a service folder; throws `FAIRLEAD_BUILD_SOURCE`, `FAIRLEAD_BUILD_LOCKFILE` or `FAIRLEAD_BUILD_ENTRY`. */
export async function loadProject(folder: string): Promise<Project> {
  const dir = await realpath(folder).catch((error: unknown) => {
    throw sourceInvalid(folder, 'the folder does not exist', 'Check the path', error)
  })
  const packageJson = await readPackageJson(dir)
  const lock = await loadLockfile(dir)
  const { entry, nodeFlags } = await findEntry(dir, packageJson)
  const conditions = await loadConditions(dir, lock.root)
  return { dir, packageJson, lock, entry, nodeFlags, format: formatOf(entry, packageJson), conditions }
}

/**
 * Where a service folder starts, whatever it depends on: needs no lock file. Throws `FAIRLEAD_BUILD_SOURCE` or
 * `FAIRLEAD_BUILD_ENTRY`.
 */
export async function loadEntry(folder: string): Promise<Pick<Project, 'dir' | 'entry' | 'conditions'>> {
  const dir = await realpath(folder).catch((error: unknown) => {
    throw sourceInvalid(folder, 'the folder does not exist', 'Check the path', error)
  })
  const { entry } = await findEntry(dir, await readPackageJson(dir))
  return { dir, entry, conditions: await loadConditions(dir, '/') }
}

async function readPackageJson(dir: string): Promise<PackageJson> {
  const path = join(dir, 'package.json')
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw sourceInvalid(dir, 'it has no package.json', 'Name the folder of a Node.js service, or run "npm init"', error)
  })
  try {
    return JSON.parse(text) as PackageJson
  } catch (error) {
    throw sourceInvalid(dir, `"${path}" is no JSON`, 'Mend the file', error)
  }
}

/** Options of `node` that concern development or other files; the bundle needs none of them. */
const DROPPED_FLAGS = /^--(watch|env-file|experimental-strip-types|conditions|import|require|loader|inspect|test)/

const DEFAULT_ENTRIES = [
  'src/main.ts',
  'src/index.ts',
  'src/server.ts',
  'main.ts',
  'index.ts',
  'server.ts',
  'src/main.js',
  'src/index.js',
  'src/server.js',
  'index.js',
  'server.js',
  'main.js',
  'app.js',
  'index.mjs',
]

interface Entry {
  entry: string
  nodeFlags: readonly string[]
}

/** What `npm start` runs comes first, since that is what its authors start; then `main`, then the usual names. */
async function findEntry(dir: string, { scripts, main }: PackageJson): Promise<Entry> {
  const start = parseStart(scripts?.['start'] ?? '')
  const started = start && (await findFile(dir, start.file))
  if (started) return { entry: started, nodeFlags: start.nodeFlags }
  for (const name of [...(main ? [main] : []), ...DEFAULT_ENTRIES]) {
    const found = await findFile(dir, name)
    if (found) return { entry: found, nodeFlags: [] }
  }
  const named = start?.file ?? main
  if (named) throw entryMissing(dir, `its package.json names "${named}", which does not exist`)
  throw entryMissing(dir, `it has no "main" and none of ${DEFAULT_ENTRIES.slice(0, 2).join(', ')}, index.js, server.js`)
}

function parseStart(script: string): { file: string; nodeFlags: string[] } | undefined {
  const words = script.trim().split(/\s+/)
  while (/^[A-Z_][A-Z0-9_]*=\S*$/i.test(words[0] ?? '') || words[0] === 'cross-env') words.shift()
  if (words.shift() !== 'node') return undefined
  const nodeFlags: string[] = []
  while (words[0]?.startsWith('-')) {
    const flag = words.shift() ?? ''
    // Those that take their value as the next word.
    if (/^(-r|-C|--import|--require|--loader|--conditions|--env-file)$/.test(flag)) words.shift()
    else if (flag.startsWith('--') && !DROPPED_FLAGS.test(flag)) nodeFlags.push(flag)
  }
  return words[0] ? { file: words[0], nodeFlags } : undefined
}

/** The file itself, with the endings Node.js tries; for a file of a build folder, its TypeScript source if there is one. */
async function findFile(dir: string, name: string): Promise<string | undefined> {
  const source = /^(?:\.\/)?(?:dist|build|lib|out)\/(.+)\.[cm]?js$/.exec(name)?.[1]
  const fromSource = source ? [`src/${source}.ts`, `${source}.ts`] : []
  for (const candidate of [...fromSource, name, `${name}.js`, `${name}.ts`, `${name}/index.js`]) {
    const path = resolve(dir, candidate)
    if (relative(dir, path).split(sep)[0] === '..') continue
    if ((await stat(path).catch(() => undefined))?.isFile()) return path
  }
  return undefined
}

function formatOf(entry: string, packageJson: PackageJson): 'esm' | 'cjs' {
  const extension = extname(entry)
  if (extension === '.mjs' || extension === '.mts') return 'esm'
  if (extension === '.cjs' || extension === '.cts') return 'cjs'
  // TypeScript is written as modules whatever "type" says.
  return packageJson.type === 'module' || extension === '.ts' ? 'esm' : 'cjs'
}
