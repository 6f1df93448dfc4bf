import { bundleProject } from '../../bundle/bundle.ts'
import { packageOf } from '../../bundle/locations.ts'
import { dependencyClosure } from '../../source/lockfile.ts'
import { loadProject } from '../../source/project.ts'
import type { Project } from '../../source/project.ts'
import { npmComponent } from './component.ts'
import type { Inventory } from './component.ts'

/**
 * What the lock file of a service folder gives it at run time. The bundle tells which of these packages really get into
 * the image: the others are `locked` only; where it cannot be made, all count. Node.js and the base are not in here. Throws
 * what `loadProject` throws.
 */
export async function inventoryOfFolder(dir: string, signal?: AbortSignal): Promise<Inventory> {
  const project = await loadProject(dir)
  const present = await presentPackages(project, signal)
  const components = dependencyClosure(project.lock).flatMap((path) => {
    const entry = project.lock.packages.get(path)
    if (entry?.version === undefined || entry.link || !/(^|\/)node_modules\//.test(path)) return []
    const name = entry.name ?? path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
    const presence = present && !present.has(path) ? ('locked' as const) : ('present' as const)
    return [{ ...npmComponent(name, entry.version, path), presence }]
  })
  return { components, unknown: [] }
}

async function presentPackages(project: Project, signal: AbortSignal | undefined): Promise<Set<string> | undefined> {
  try {
    const bundle = await bundleProject(project, { constants: {}, signal })
    const bundled = bundle.modules.map(({ path }) => packageOf(project, path)).filter((path) => path !== undefined)
    return new Set([...bundled, ...bundle.externals.entries().map(([path]) => path)])
  } catch {
    signal?.throwIfAborted()
    return undefined
  }
}
