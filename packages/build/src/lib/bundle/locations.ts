import { pathBelow } from '../source/project-path.ts'
import type { Project } from '../source/project.ts'

/** Folder of the application inside the image. */
export const APP_DIR = 'app'

/** Name of the kit's launcher in it. */
export const LAUNCHER = 'launch.js'

/**
 * Where a file of the project would lie in the image if it were copied there: the folder of the service becomes `/app`,
 * installed packages `/app/node_modules`, other workspaces `/app/_workspace`. Bundled code still sees these places as
 * its own, so that what it computes from `__dirname` or `import.meta.url` stays right.
 */
export function imagePath(project: Project, path: string): string {
  const own = pathBelow(project.dir, path)
  if (own !== undefined) return join(APP_DIR, own)
  const shared = pathBelow(project.lock.root, path)
  if (shared === undefined) return join(APP_DIR, '_outside', path.replace(/^.*[\\/]/, ''))
  return shared.startsWith('node_modules/') ? join(APP_DIR, shared) : join(APP_DIR, '_workspace', shared)
}

/** Path of the entry `node_modules/…` of the lock file that the file belongs to; `undefined` for code of the project. */
export function packageOf(project: Project, path: string): string | undefined {
  const below = pathBelow(project.lock.root, path)
  const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)(?:\/|$)/.exec(below ?? '')
  return match?.[1]
}

function join(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('/')
}
