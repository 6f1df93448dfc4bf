import type { BuildReport } from '../../report.ts'
import { NODE_ECOSYSTEM } from '../database/node-core.ts'

/** Something with a version that advisories can be about. */
export interface Component {
  name: string
  version: string
  /** Package URL without qualifiers; identifies it in VEX and SBOM documents. */
  purl: string
  /** Ecosystems of OSV that know it; one of them is enough to call it checked. */
  ecosystems: readonly string[]
  /** Name and version advisories use: of Debian and Alpine packages those of the source package. */
  source: { name: string; version: string }
  /** As its record says it. */
  license?: string | undefined
  /** File or folder in the image, or path in the lock file. */
  location?: string | undefined
  /** `locked`: in the lock file, but no part of the bundle or the image. Default `present`. */
  presence?: 'present' | 'locked' | undefined
}

/** What a subject consists of, and what could not be found out. */
export interface Inventory {
  components: readonly Component[]
  /** Sentences such as `packages inside the bundle: the image has no SBOM`. */
  unknown: readonly string[]
}

/** The distribution, in the words of os-release(5). */
export interface Distribution {
  id: string
  versionId: string
}

/** An npm package. */
export function npmComponent(name: string, version: string, location?: string): Component {
  const purl = `pkg:npm/${name.replace(/^@/, '%40')}@${encodeURIComponent(version)}`
  return { name, version, purl, ecosystems: ['npm'], source: { name, version }, location }
}

/** Node.js itself. */
export function nodeComponent(version: string, location?: string): Component {
  const name = 'node'
  const purl = `pkg:generic/node@${version}`
  return { name, version, purl, ecosystems: [NODE_ECOSYSTEM, 'Bitnami'], source: { name, version }, location }
}

/** A package of the operating system. `source` is what its record says of the source package: `gcc-12 (12.2.0-14)`. */
export function systemComponent(
  { name, version, source }: { name: string; version: string; source?: string | undefined },
  distribution: Distribution | undefined,
  location?: string,
): Component {
  const [, sourceName = name, sourceVersion = version] = /^(\S+)(?: \((.+)\))?$/.exec(source ?? '') ?? []
  const type = APK_SYSTEMS.has(distribution?.id ?? '') ? 'apk' : 'deb'
  const purl = `pkg:${type}/${distribution?.id ?? 'debian'}/${encodeURIComponent(name)}@${encodeURIComponent(version)}`
  const ecosystems = ecosystemsOf(distribution)
  return { name, version, purl, ecosystems, source: { name: sourceName, version: sourceVersion }, location }
}

const APK_SYSTEMS: ReadonlySet<string> = new Set(['alpine', 'wolfi', 'chainguard'])

/** Ecosystems as OSV names them: `Debian:12`, `Alpine:v3.20`. */
function ecosystemsOf(distribution: Distribution | undefined): string[] {
  const { id = '', versionId = '' } = distribution ?? {}
  if (id === 'debian') return [`Debian:${versionId}`]
  if (id === 'ubuntu') return [`Ubuntu:${versionId}:LTS`, `Ubuntu:${versionId}`]
  if (id === 'alpine') return [`Alpine:v${versionId.split('.').slice(0, 2).join('.')}`]
  if (id === 'wolfi') return ['Wolfi']
  if (id === 'chainguard') return ['Chainguard']
  return [id === '' ? 'operating system' : `${id} ${versionId}`.trim()]
}

/** The components of a build, out of its report: complete, since the builder put them there. */
export function componentsOfReport(report: BuildReport): Component[] {
  const { base, node, packages } = report
  const [id = '', versionId = ''] = [base.distribution?.id, base.distribution?.versionId]
  const distribution = id === '' ? undefined : { id, versionId }
  return [
    ...base.packages.map((found) => systemComponent(found, distribution)),
    nodeComponent(node.version, '/nodejs/bin/node'),
    ...packages.map(({ name, version, path }) => npmComponent(name, version, path)),
  ]
}
