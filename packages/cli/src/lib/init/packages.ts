import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Skeleton } from './templates.ts'

const names = { '@fairlead/service': 'service', '@fairlead/delivery': 'delivery', fairlead: 'cli' } as const

/**
 * Where a service in `dir` gets the packages from: npm, at the version of this command; or the clone this command runs
 * from, as the packages are there only.
 */
export function findPackages(dir: string): Pick<Skeleton, 'packages' | 'isFromSource'> {
  const home = findHome()
  const siblings = dirname(home)
  const isFromSource = existsSync(join(siblings, 'service', 'src', 'index.ts'))
  const { version } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as { version: string }
  const from = existsSync(dir) ? realpathSync(dir) : dir
  const entries = Object.entries(names).map(([name, folder]) => [
    name,
    isFromSource ? `file:${relative(from, join(siblings, folder))}` : `^${version}`,
  ])
  return { packages: Object.fromEntries(entries) as Record<string, string>, isFromSource }
}

/** The folder of this package, from a source file in it or from the bundle. */
function findHome(): string {
  for (let at = dirname(realpathSync(fileURLToPath(import.meta.url))); ; at = dirname(at)) {
    const manifest = join(at, 'package.json')
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }).name === 'fairlead')
      return at
    if (at === dirname(at)) throw new Error('Cannot find the package "fairlead" around this file')
  }
}
