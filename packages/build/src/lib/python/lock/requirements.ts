import { evaluateMarker, normalise } from './marker.ts'
import type { MarkerEnvironment } from './marker.ts'

/** A dependency as a lock file or pyproject.toml names it. */
export interface LockedDependency {
  /** Normalised. */
  name: string
  /** Chooses among several locked versions of a name. */
  version?: string | undefined
  extras: readonly string[]
  marker?: string | undefined
}

/** A package of a lock file. */
export interface LockedPackage {
  name: string
  version: string
  dependencies: readonly LockedDependency[]
  /** Dependencies by the extra that asks for them. */
  extras: ReadonlyMap<string, readonly LockedDependency[]>
  /** `sha256:…` of its wheels. */
  hashes: readonly string[]
  /** Why it cannot be fetched from an index; of packages from git, folders and addresses. */
  foreign?: string | undefined
  /** Where the lock file itself says when it is wanted (Poetry 2, uv with forks). */
  markers?: readonly string[] | undefined
}

/** What a lock file says. */
export interface PythonLock {
  roots: readonly LockedDependency[]
  packages: readonly LockedPackage[]
}

/** Machine and interpreter without extras. */
export type TargetEnvironment = Omit<MarkerEnvironment, 'extras'>

/**
 * What an environment needs of a lock, as requirements with exact versions and hashes, sorted. Markers are decided here and not by
 * pip, which goes by the machine it runs on. Throws an Error that names what cannot be fetched.
 */
export function renderRequirements(lock: PythonLock, target: TargetEnvironment): string {
  const wanted = new Map<LockedPackage, Set<string>>()
  const visit = (dependency: LockedDependency, extras: ReadonlySet<string>): void => {
    if (dependency.marker !== undefined && !evaluateMarker(dependency.marker, { ...target, extras })) return
    const found = findPackage(lock, dependency, target)
    if (!found) throw new Error(`"${dependency.name}" is not in it; write it anew`)
    if (found.foreign !== undefined) throw new Error(`"${found.name}" comes from ${found.foreign}, not from an index`)
    const before = wanted.get(found)
    const known = before ?? new Set<string>()
    const added = dependency.extras.map(normalise).filter((extra) => !known.has(extra))
    for (const extra of added) known.add(extra)
    wanted.set(found, known)
    if (!before) for (const next of found.dependencies) visit(next, known)
    for (const extra of added) for (const next of found.extras.get(extra) ?? []) visit(next, new Set([extra]))
  }
  for (const root of lock.roots) visit(root, new Set())
  const lines = [...wanted.keys()].map(({ name, version, hashes }) => {
    if (hashes.length === 0) throw new Error(`"${name}" ${version} has no wheel in it`)
    return [`${name}==${version}`, ...hashes.toSorted().map((hash) => `    --hash=${hash}`)].join(' \\\n')
  })
  return lines
    .toSorted()
    .map((line) => `${line}\n`)
    .join('')
}

function findPackage(
  lock: PythonLock,
  { name, version }: LockedDependency,
  target: TargetEnvironment,
): LockedPackage | undefined {
  const named = lock.packages.filter(
    (entry) => entry.name === name && (version === undefined || entry.version === version),
  )
  const isFor = ({ markers }: LockedPackage): boolean =>
    markers === undefined || markers.some((marker) => evaluateMarker(marker, { ...target, extras: new Set() }))
  return named.length > 1 ? named.find(isFor) : named[0]
}
