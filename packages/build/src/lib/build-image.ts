import { BuildContext } from './build/context.ts'
import { architecturesOf, layFoundation } from './build/foundation.ts'
import type { Foundation } from './build/foundation.ts'
import { layerPlatform } from './build/platform.ts'
import { publishImage, writePlatform } from './build/publish.ts'
import { bundleSource, describeSource, installProject } from './build/source.ts'
import type { Source } from './build/source.ts'
import { resolveNodeVersion } from './base/node.ts'
import { diskFull } from './errors.ts'
import { openCache } from './layers/cache.ts'
import { DEFAULT_NODE_VERSION } from './options.ts'
import type { BuildImageOptions, BuildResult } from './options.ts'
import { satisfiesEngines } from './source/engines.ts'
import { loadProject } from './source/project.ts'
import type { Project } from './source/project.ts'
import { creationTime, loadRevision } from './source/revision.ts'

/**
 * Builds an OCI image of the service in a folder, without a container engine and without root: bundles it, puts it on a
 * base with Node.js, and stores it in a layout under `localhost/<name>`. The same source, lock file and cached base
 * give the same image to the bit.
 *
 * Fails with a `FAIRLEAD_BUILD_…` code; then, as when `signal` aborts, the layout holds what it held before, apart from
 * unreferenced layers. Several builds may run at once, in one process or in many.
 */
export async function buildImage(options: BuildImageOptions): Promise<BuildResult> {
  const startedAt = performance.now()
  try {
    const context = new BuildContext(options, await openCache(options.cacheDir))
    return { ...(await build(context)), durationMs: Math.round(performance.now() - startedAt) }
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException
    throw code === 'ENOSPC' || code === 'EDQUOT' ? diskFull(path ?? options.cacheDir, error) : error
  }
}

async function build(context: BuildContext): Promise<Omit<BuildResult, 'durationMs'>> {
  const architectures = architecturesOf(context.options.platform)
  const found = await loadProject(context.options.dir)
  const revisionPending = loadRevision(found.dir, context.env, context.signal)
  revisionPending.catch(() => {})
  const version = await nodeVersion(context, architectures)
  const installed = installProject(context, found)
  const [foundations, project] = await context.together([
    context.together(architectures.map((architecture) => layFoundation(context, { architecture, version, installed }))),
    installed,
  ])
  const source = await readSource(context, project, revisionPending)
  checkEngines(context, project, foundations)
  const built = []
  // One after another: they share what they make, and their memory.
  for (const foundation of foundations) {
    built.push(await writePlatform(context, source, await layerPlatform(context, source, foundation)))
  }
  context.signal.throwIfAborted()
  return publishImage(context, source, built)
}

async function readSource(
  context: BuildContext,
  project: Project,
  revisionPending: ReturnType<typeof loadRevision>,
): Promise<Source> {
  const { options, env } = context
  const revision = await revisionPending
  const created = options.created ?? creationTime(env, revision)
  const origin = { project, revision, created, version: options.version ?? project.packageJson.version }
  const bundle = await bundleSource(context, origin)
  const schema = describeSource(context, bundle)
  schema.catch(() => {})
  return { ...origin, bundle, schema }
}

function nodeVersion(
  { options, cache, env, signal }: BuildContext,
  architectures: Parameters<typeof resolveNodeVersion>[0]['architectures'],
): Promise<string> {
  const wanted = options.nodeVersion ?? DEFAULT_NODE_VERSION
  return resolveNodeVersion({ cache, wanted, architectures, isRefresh: options.refreshBase === true, env, signal })
}

function checkEngines(context: BuildContext, { packageJson }: Project, foundations: readonly Foundation[]): void {
  const range = packageJson.engines?.['node']
  for (const version of new Set(foundations.map((foundation) => foundation.nodeVersion))) {
    if (range === undefined || satisfiesEngines(version, range)) continue
    context.warn(`package.json asks for Node.js ${range} ("engines"), the image has ${version}`)
  }
}
