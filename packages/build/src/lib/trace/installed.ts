import { stat } from 'node:fs/promises'
import { join, relative } from 'node:path'

import type { Externals } from '../bundle/packages.ts'
import { packagesIncomplete } from '../errors.ts'
import type { LockedPackage } from '../source/lockfile.ts'
import type { Project } from '../source/project.ts'
import { findNativeFiles } from './native-files.ts'

/** What package managers write when everything lies in its place, below the root. */
const RECORDS = {
  npm: ['node_modules/.package-lock.json'],
  pnpm: ['node_modules/.modules.yaml'],
  yarn: ['node_modules/.yarn-integrity', 'node_modules/.yarn-state.yml'],
}

/** Folders with what was made on this machine, of which no lock file tells. */
const MADE_HERE = /^(build|lib\/binding)\//

/**
 * A text that another one follows as soon as somebody installs, removes or builds packages outside the bundle. What is read
 * between two equal marks was read of one installation, and of a whole one: throws `FAIRLEAD_BUILD_INSTALL` naming a package that
 * is not there, and where an installation of npm has not come to its end.
 */
export async function markInstalled(project: Project, externals: Externals): Promise<string> {
  const { root, manager } = project.lock
  const records = await Promise.all(RECORDS[manager].map((path) => markOf(join(root, path))))
  if (manager === 'npm' && records.includes(ABSENT)) {
    throw packagesIncomplete(root, 'npm has not come to the end of an installation')
  }
  const marks = externals.entries().map(async ([path]) => {
    const found = await Promise.all([markOf(join(root, path)), markOf(join(root, path, 'package.json'))])
    if (found.includes(ABSENT) && isRequired(project.lock.packages.get(path))) {
      throw packagesIncomplete(root, `"${path}" is not there, or has no package.json`)
    }
    return found
  })
  return [...records, ...(await Promise.all(marks)).flat()].join(' ')
}

/** The native files of a package as they lie there, in words for the key of a layer; `absent` for one that is not installed. */
export async function describeNative(project: Project, path: string): Promise<string> {
  const dir = join(project.lock.root, path)
  if ((await markOf(join(dir, 'package.json'))) === ABSENT) return 'absent'
  const files = (await findNativeFiles(dir)).map(async (file) => {
    const { size, mtimeMs } = await stat(file)
    const name = relative(dir, file)
    return `${name}/${size}${MADE_HERE.test(name) ? `/${mtimeMs}` : ''}`
  })
  return (await Promise.all(files)).join(',')
}

/** Whether every installation has the package: none for other platforms, none that somebody can do without. */
export function isRequired(entry: LockedPackage | undefined): boolean {
  return !(entry?.optional || entry?.devOptional || entry?.peer || entry?.cpu || entry?.os)
}

const ABSENT = '-'

async function markOf(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined)
  return found ? `${found.ino}:${found.ctimeMs}` : ABSENT
}
