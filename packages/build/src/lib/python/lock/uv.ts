import { normalise } from './marker.ts'
import type { LockedDependency, LockedPackage, PythonLock } from './requirements.ts'

interface UvDependency {
  name: string
  version?: string
  extra?: string[]
  marker?: string
}

interface UvPackage {
  name: string
  version?: string
  source?: Record<string, string>
  dependencies?: UvDependency[]
  'optional-dependencies'?: Record<string, UvDependency[]>
  wheels?: { hash?: string }[]
  'resolution-markers'?: string[]
}

/**
 * `uv.lock`, as TOML (version 1): the project is the package whose source is its own folder. Groups of dependencies for
 * development stand apart there and are not read. Throws an Error that says what is missing.
 */
export function parseUvLock(value: unknown, project: string | undefined): PythonLock {
  const { version, package: list = [] } = value as { version?: number; package?: UvPackage[] }
  if (version !== 1) throw new Error(`its version is ${version}, expected 1`)
  const isOwn = ({ source }: UvPackage): boolean => (source?.['virtual'] ?? source?.['editable']) === '.'
  const own = list.filter(isOwn)
  const root = own.find(({ name }) => project === undefined || normalise(name) === normalise(project)) ?? own[0]
  if (!root) throw new Error('it names no project of this folder')
  return {
    roots: (root.dependencies ?? []).map(toDependency),
    packages: list.filter((entry) => entry !== root).map(toPackage),
  }
}

function toPackage(entry: UvPackage): LockedPackage {
  const extras = Object.entries(entry['optional-dependencies'] ?? {})
  const isRegistry = entry.source?.['registry'] !== undefined
  return {
    name: normalise(entry.name),
    version: entry.version ?? '',
    dependencies: (entry.dependencies ?? []).map(toDependency),
    extras: new Map(extras.map(([name, dependencies]) => [normalise(name), dependencies.map(toDependency)])),
    hashes: (entry.wheels ?? []).map(({ hash }) => hash).filter((hash) => hash !== undefined),
    foreign: isRegistry ? undefined : Object.entries(entry.source ?? { unknown: '' })[0]?.join(' '),
    markers: entry['resolution-markers'],
  }
}

function toDependency({ name, version, extra, marker }: UvDependency): LockedDependency {
  return { name: normalise(name), version, extras: extra ?? [], marker }
}
