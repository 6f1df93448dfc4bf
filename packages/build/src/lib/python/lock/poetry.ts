import { normalise } from './marker.ts'
import type { LockedDependency, LockedPackage, PythonLock } from './requirements.ts'

type Constraint = string | { version?: string; markers?: string; optional?: boolean; extras?: string[] }

interface PoetryPackage {
  name: string
  version: string
  files?: { file: string; hash: string }[]
  markers?: string | Record<string, string>
  dependencies?: Record<string, Constraint | Constraint[]>
  extras?: Record<string, string[]>
  source?: { type?: string; url?: string }
}

/** What pyproject.toml says of a project. */
export interface PyProject {
  project?: { name?: string; dependencies?: string[] }
  tool?: { poetry?: { name?: string; dependencies?: Record<string, Constraint | Constraint[]> } }
}

/**
 * `poetry.lock`, as TOML (lock versions 1.2 and 2.x). What the project itself asks for stands in pyproject.toml only: in `[project]`, or in
 * `[tool.poetry.dependencies]`. Groups for development are not read.
 */
export function parsePoetryLock(value: unknown, pyproject: PyProject): PythonLock {
  const { package: list = [], metadata } = value as { package?: PoetryPackage[]; metadata?: Record<string, unknown> }
  if (metadata === undefined) throw new Error('it has no "metadata"')
  const declared = (pyproject.project?.dependencies ?? []).map(parseRequirement)
  const older = toDependencies(pyproject.tool?.poetry?.dependencies ?? {}).filter(({ name }) => name !== 'python')
  const names = new Set(declared.map(({ name }) => name))
  // With both, the older table only adds where a package comes from.
  const roots = declared.length > 0 ? declared : older.filter(({ name }) => !names.has(name))
  return { roots, packages: list.map(toPackage) }
}

function toPackage(entry: PoetryPackage): LockedPackage {
  const optional = new Map<string, LockedDependency[]>()
  for (const [extra, texts] of Object.entries(entry.extras ?? {}))
    optional.set(
      normalise(extra),
      texts.map(parseRequirement).map((dependency) => withoutExtra(dependency)),
    )
  const type = entry.source?.type
  return {
    name: normalise(entry.name),
    version: entry.version,
    dependencies: toDependencies(entry.dependencies ?? {}),
    extras: optional,
    hashes: (entry.files ?? []).filter(({ file }) => file.endsWith('.whl')).map(({ hash }) => hash),
    foreign: type === undefined || type === 'legacy' ? undefined : `${type} ${entry.source?.url ?? ''}`,
    markers: markersOf(entry.markers),
  }
}

function markersOf(markers: PoetryPackage['markers']): string[] | undefined {
  if (markers === undefined) return undefined
  return typeof markers === 'string' ? [markers] : [markers['main']].filter((text) => text !== undefined)
}

/** Those that only an extra asks for are left to {@link LockedPackage.extras}. */
function toDependencies(table: Record<string, Constraint | Constraint[]>): LockedDependency[] {
  return Object.entries(table).flatMap(([name, constraints]) =>
    [constraints]
      .flat()
      .filter((constraint) => typeof constraint === 'string' || constraint.optional !== true)
      .map((constraint) => ({
        name: normalise(name),
        extras: typeof constraint === 'string' ? [] : (constraint.extras ?? []),
        marker: typeof constraint === 'string' ? undefined : constraint.markers,
      })),
  )
}

/** `uvicorn[standard] (>=0.30) ; python_version < "3.12"`: name, extras and marker of it. */
function parseRequirement(text: string): LockedDependency {
  const [, name, extras = '', marker] =
    /^\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?[^;]*(?:;\s*(.+))?$/.exec(text) ?? []
  if (name === undefined) throw new Error(`"${text}" is no requirement`)
  const list = extras.split(',').map((extra) => extra.trim())
  return { name: normalise(name), extras: list.filter((extra) => extra !== ''), marker: marker?.trim() }
}

function withoutExtra(dependency: LockedDependency): LockedDependency {
  return /\bextra\b/.test(dependency.marker ?? '') ? { ...dependency, marker: undefined } : dependency
}
