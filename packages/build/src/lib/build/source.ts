import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { digestOf, renderCanonicalJson } from '@fairlead/oci'

import type { Bundle, BundlePlan } from '../bundle/bundle.ts'
import { hashKey } from '../layers/cache.ts'
import { installDependencies } from '../source/install.ts'
import { dependencyClosure } from '../source/lockfile.ts'
import { loadProject } from '../source/project.ts'
import type { Project } from '../source/project.ts'
import type { Revision } from '../source/revision.ts'
import { preloadTracer } from '../trace/externals.ts'
import type { BuildContext } from './context.ts'

/** The program and what is known of it: the same for every processor. */
export interface Source {
  project: Project
  bundle: Bundle
  revision: Revision | undefined
  created: Date
  version: string | undefined
  /** JSON Schema of its configuration, being asked for. */
  schema: Promise<Buffer | undefined>
}

/** Makes sure the dependencies are there; answers the project as it is then. */
export async function installProject(context: BuildContext, found: Project): Promise<Project> {
  const { cache, env, signal } = context
  const step = context.step('install')
  const isInstalled = await installDependencies(found.lock, { cache, env, signal, onStart: step.start })
  if (isInstalled) step.end(false, 'dependencies installed')
  // Of pnpm and Yarn, only what is installed tells where packages lie.
  return isInstalled && found.lock.manager !== 'npm' ? loadProject(found.dir) : found
}

/** Bundles the program, by the plan of the build before where that still holds. */
export async function bundleSource(context: BuildContext, source: Omit<Source, 'bundle' | 'schema'>): Promise<Bundle> {
  const { project, revision, created, version } = source
  const { sourceMaps } = context.options
  const step = context.step('bundle')
  // The bundler is loaded when dependencies are installed: side by side they would hold twice the memory.
  const [{ bundleProject }, plan] = await Promise.all([import('../bundle/bundle.ts'), readPlan(context, project)])
  const constants = {
    ...(version ? { FAIRLEAD_VERSION: version } : {}),
    FAIRLEAD_COMMIT: revision?.commit ?? '',
    FAIRLEAD_CREATED: created.toISOString(),
  }
  // Without a plan there is most likely no layer of externals yet.
  if (!plan) preloadTracer()
  const kind = sourceMaps === undefined ? undefined : sourceMaps === 'image' ? 'linked' : 'hidden'
  const bundle = await bundleProject(project, { constants, signal: context.signal, plan, sourceMaps: kind })
  await keepPlan(context, project, bundle, plan)
  const sizeBytes = [...bundle.files.values()].reduce((sum, file) => sum + file.byteLength, 0)
  step.end(false, `${bundle.files.size} file(s), ${Math.ceil(sizeBytes / 1024)} KiB`)
  for (const note of bundle.notes) context.warn(note)
  return typeof sourceMaps === 'object' ? moveMaps(bundle, sourceMaps.dir) : bundle
}

/** The schema of its configuration, asked for once per bundle. */
export async function describeSource(context: BuildContext, bundle: Bundle): Promise<Buffer | undefined> {
  const { describeConfig } = context.options
  if (!describeConfig) return undefined
  const key = `config-${hashKey('1', ...[...bundle.files].flatMap(([name, content]) => [name, digestOf(content)]))}`
  const known = await context.cache.read<{ schema?: unknown }>(key)
  const schema = known ? known.schema : await describeConfig(context.signal)
  if (!known) await context.cache.write(key, schema === undefined ? {} : { schema })
  return schema === undefined ? undefined : Buffer.from(renderCanonicalJson(schema))
}

function readPlan(context: BuildContext, project: Project): Promise<BundlePlan | undefined> {
  return context.cache.read<BundlePlan>(planKey(project))
}

async function keepPlan(
  context: BuildContext,
  project: Project,
  bundle: Bundle,
  before: BundlePlan | undefined,
): Promise<void> {
  const { externals, imported } = bundle
  const plan: BundlePlan = { externals: externals.entries(), imported, portable: externals.portable() }
  if (renderCanonicalJson(plan) !== renderCanonicalJson(before)) await context.cache.write(planKey(project), plan)
}

/** Everything but the imports of the source itself that decides which packages stay outside the bundle. */
function planKey(project: Project): string {
  const packages = dependencyClosure(project.lock).map((path) => {
    const entry = project.lock.packages.get(path)
    return `${path}@${entry?.version ?? ''} ${entry?.integrity ?? ''}`
  })
  const { dir, entry, conditions, packageJson } = project
  return `plan-${hashKey('4', dir, entry, ...conditions, JSON.stringify(packageJson), ...packages)}`
}

/** Writes the source maps of a bundle into a folder, and answers the bundle without them. */
async function moveMaps(bundle: Bundle, dir: string): Promise<Bundle> {
  const isMap = (name: string): boolean => name.endsWith('.js.map')
  await mkdir(dir, { recursive: true })
  for (const [name, content] of bundle.files) if (isMap(name)) await writeFile(join(dir, name), content)
  return { ...bundle, files: new Map([...bundle.files].filter(([name]) => !isMap(name))) }
}
