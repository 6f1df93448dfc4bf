import { readFile, stat } from 'node:fs/promises'
import { extname, join, relative, sep } from 'node:path'

import { DEFAULT_NODE_VERSION } from '../options.ts'
import { loadProject } from '../source/project.ts'
import type { Project } from '../source/project.ts'

/** What a Dockerfile of a Node.js service says, apart from its wording. Paths are below the build context. */
export interface NodePlan {
  kind: 'node'
  /** Absolute folder that Docker is given as context: that of the lock file. */
  contextDir: string
  /** The service below the context; empty when it is the context. */
  workspace: string
  name: string
  version: string
  description: string | undefined
  license: string | undefined
  nodeVersion: string
  manager: 'npm' | 'pnpm' | 'yarn'
  /** `pnpm@10.1.0`: the package manager to install; `undefined` for npm, which comes with Node.js. */
  managerPackage: string | undefined
  /** What the installation of dependencies reads. */
  manifests: readonly string[]
  /** Folders of a workspace that hold a `node_modules` of their own after the installation. */
  nestedModules: readonly string[]
  /** Other packages of the workspace that the service needs at run time. */
  workspaces: readonly string[]
  /** Whether `npm run build` makes the program. */
  hasBuild: boolean
  /** The one folder the build writes to, when the entry tells; everything is kept otherwise. */
  outputDir: string | undefined
  /** Arguments of node: flags and the file. */
  args: readonly string[]
  port: number
  health: PlannedHealth
}

/** How to ask a service whether it is well. */
export type PlannedHealth = { kind: 'http'; path: string } | { kind: 'tcp' } | { kind: 'none' }

/** What the app definition says and the folder does not. */
export interface PlanOptions {
  /** Default: name of its package.json without the scope. */
  name?: string | undefined
  /** Default 8080. */
  port?: number | undefined
  /** Default: the port is opened. */
  health?: PlannedHealth | undefined
  /** Default {@link DEFAULT_NODE_VERSION}. */
  nodeVersion?: string | undefined
}

const PORT = 8080
const FILES_OF_MANAGER = {
  // Not .npmrc, which mostly holds credentials: it comes in as a secret.
  npm: [],
  pnpm: ['pnpm-workspace.yaml', '.pnpmfile.cjs'],
  yarn: ['.yarnrc', '.yarnrc.yml', '.yarn/releases', '.yarn/plugins', '.yarn/patches'],
}
/** Where build scripts put programs. */
const OUTPUT_DIRS = /^(dist|build|out|lib|\.output)$/

/** Reads a Node.js service folder. Throws `FAIRLEAD_BUILD_SOURCE`, `FAIRLEAD_BUILD_LOCKFILE` or `FAIRLEAD_BUILD_ENTRY`. */
export async function planNode(dir: string, options: PlanOptions = {}): Promise<NodePlan> {
  const project = await loadProject(dir)
  const { lock, packageJson } = project
  const rootJson = await readJson(join(lock.root, 'package.json'))
  const isThere = (path: string): Promise<boolean> =>
    stat(join(lock.root, path)).then(
      () => true,
      () => false,
    )
  const workspaces = await workspaceFolders(lock.root, lock.packages.keys())
  const named = [...FILES_OF_MANAGER[lock.manager], ...workspaces.map((path) => `${path}/package.json`)]
  const present = await Promise.all(named.map(isThere))
  const start = startCommand(project)
  const hasBuild = packageJson.scripts?.['build'] !== undefined
  const [first = ''] = (start.at(-1) ?? '').replace(/^\.\//, '').split('/')
  return {
    kind: 'node',
    contextDir: lock.root,
    workspace: lock.workspace,
    name: options.name ?? (packageJson.name ?? 'app').replace(/^@[^/]*\//, ''),
    version: packageJson.version ?? '0.0.0',
    description: packageJson.description,
    license: packageJson.license,
    nodeVersion: options.nodeVersion ?? DEFAULT_NODE_VERSION,
    manager: lock.manager,
    managerPackage: managerPackage(lock.manager, rootJson?.['packageManager'], await isThere('.yarnrc.yml')),
    manifests: ['package.json', lock.name, ...named.filter((_, index) => present[index])],
    nestedModules: workspaces.filter((path) => [...lock.packages.keys()].some((key) => isNested(key, path))),
    workspaces: neededWorkspaces(project, workspaces),
    hasBuild,
    outputDir: hasBuild && OUTPUT_DIRS.test(first) ? first : undefined,
    args: start,
    port: options.port ?? PORT,
    health: options.health ?? { kind: 'tcp' },
  }
}

function isNested(key: string, workspace: string): boolean {
  return key.startsWith(`${workspace}/node_modules/`)
}

/** Folders of the lock file's own workspace: those of pnpm's store and of `node_modules` are none. */
async function workspaceFolders(root: string, keys: Iterable<string>): Promise<string[]> {
  const folders = [...keys].filter((key) => key !== '' && !key.split('/').includes('node_modules'))
  const present = await Promise.all(folders.map((path) => stat(join(root, path)).catch(() => undefined)))
  return folders.filter((_, index) => present[index]?.isDirectory()).toSorted()
}

/** Workspaces reached over dependencies, without the service itself. */
function neededWorkspaces({ lock }: Project, workspaces: readonly string[]): string[] {
  const byName = new Map<string, string>()
  for (const [key, entry] of lock.packages) {
    const name = key.slice(key.lastIndexOf('node_modules/') + 'node_modules/'.length)
    if (entry.link && entry.resolved !== undefined && workspaces.includes(entry.resolved))
      byName.set(name, entry.resolved)
  }
  const seen = new Set([lock.workspace])
  for (const path of seen) {
    const entry = lock.packages.get(path)
    for (const name of Object.keys({ ...entry?.dependencies, ...entry?.optionalDependencies })) {
      const found = byName.get(name)
      if (found !== undefined) seen.add(found)
    }
  }
  return [...seen].filter((path) => path !== lock.workspace).toSorted()
}

/** Flags for development, and files that are not part of the image. */
const DROPPED_FLAGS = /^--(watch|env-file|inspect|test)/

/** The arguments of `node` in the start script as they stand; else the entry, under the conditions the compiler is told. */
function startCommand({ packageJson, entry, dir, conditions }: Project): string[] {
  const words = (packageJson.scripts?.['start'] ?? '').trim().split(/\s+/)
  while (/^[A-Z_][A-Z0-9_]*=\S*$/i.test(words[0] ?? '') || words[0] === 'cross-env') words.shift()
  if (words[0] === 'node' && words.slice(1).some((word) => !word.startsWith('-'))) {
    return words
      .slice(1)
      .filter((word) => !DROPPED_FLAGS.test(word))
      .map((word) => word.replaceAll(/^["']|["']$/g, ''))
  }
  const main = packageJson.main
  const hasBuild = packageJson.scripts?.['build'] !== undefined
  const file =
    hasBuild && main !== undefined && extname(main) !== '.ts' ? main : relative(dir, entry).split(sep).join('/')
  return [...conditions.map((name) => `--conditions=${name}`), file]
}

function managerPackage(manager: NodePlan['manager'], declared: unknown, isYarnBerry: boolean): string | undefined {
  const [, name, version] = /^(pnpm|yarn)@([\w.-]+)/.exec(typeof declared === 'string' ? declared : '') ?? []
  if (manager === 'npm') return undefined
  if (manager === 'pnpm') return `pnpm@${name === 'pnpm' ? version : '10.20.0'}`
  const yarn = name === 'yarn' ? version : undefined
  const isBerry = yarn === undefined ? isYarnBerry : !yarn.startsWith('1.')
  return isBerry ? `@yarnpkg/cli-dist@${yarn ?? '4.10.3'}` : `yarn@${yarn ?? '1.22.22'}`
}

async function readJson(path: string): Promise<Record<string, unknown> | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  return text === undefined ? undefined : (JSON.parse(text) as Record<string, unknown>)
}
