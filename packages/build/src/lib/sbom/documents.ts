import { mediaTypes, parseReference, renderCanonicalJson } from '@fairlead/oci'
import type { Digest } from '@fairlead/oci'
import type { Layout } from '@fairlead/oci/layout'
import { CYCLONEDX_TYPE, renderCycloneDx, renderSpdx, SPDX_TYPE } from '@fairlead/oci/sbom'
import { createStatement, predicateTypes } from '@fairlead/oci/sign'

import { openCache } from '../layers/cache.ts'
import type { BuildResult } from '../options.ts'
import { createProvenance } from '../provenance/provenance.ts'
import { billOfReport } from './bill.ts'
import { loadNodeVersions } from './node-components.ts'

/** Media type of an in-toto statement that nobody signed. */
const STATEMENT_TYPE = 'application/vnd.in-toto+json'

/** One document that is attached to an image. */
export interface AttachedDocument {
  artifactType: string
  predicateType: string
  /** The manifest that carries it. */
  digest: Digest
}

/**
 * Attaches SPDX, CycloneDX and SLSA provenance to an image that was just built, as manifests that refer to it: its digest
 * stays what it is. Equal builds attach equal documents, so doing it again changes nothing. They are not signed; signing
 * is for whoever has the key.
 */
export async function attachDocuments(
  layout: Layout,
  result: Pick<BuildResult, 'reference' | 'digest' | 'report'>,
  options: { cacheDir: string; builder?: string | undefined; signal?: AbortSignal | undefined },
): Promise<AttachedDocument[]> {
  const { report, digest } = result
  const { registry, repository } = parseReference(result.reference)
  const layer = report.layers.find(({ title }) => title === 'node')
  const nodeVersions =
    layer &&
    (await loadNodeVersions({
      layout,
      layer,
      version: report.node.version,
      architecture: report.platform.split('/')[1] ?? '',
      records: await openCache(options.cacheDir),
      signal: options.signal,
    }))
  const name = `${registry}/${repository}`
  const bill = billOfReport(report, { name, digest, nodeVersions })
  const provenance = createStatement({
    digest,
    name,
    predicateType: predicateTypes.provenance,
    predicate: createProvenance(report, { builder: options.builder }),
  })
  const documents = [
    { artifactType: SPDX_TYPE, predicateType: predicateTypes.spdx, content: renderSpdx(bill) },
    { artifactType: CYCLONEDX_TYPE, predicateType: predicateTypes.cyclonedx, content: renderCycloneDx(bill) },
    { artifactType: STATEMENT_TYPE, predicateType: predicateTypes.provenance, content: provenance },
  ]
  const subject = await describeManifest(layout, digest)
  const attached: AttachedDocument[] = []
  for (const { artifactType, predicateType, content } of documents) {
    const manifest = await attach(
      layout,
      subject,
      { artifactType, predicateType, created: report.source.created },
      content,
    )
    attached.push({ artifactType, predicateType, digest: manifest })
  }
  return attached
}

interface Facts {
  artifactType: string
  predicateType: string
  created: string
}

async function attach(
  layout: Layout,
  subject: { mediaType: string; digest: Digest; size: number },
  { artifactType, predicateType, created }: Facts,
  content: unknown,
): Promise<Digest> {
  const empty = await layout.writeBlob(Buffer.from('{}'))
  const blob = await layout.writeBlob(Buffer.from(renderCanonicalJson(content)))
  const descriptor = await layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType,
    config: { mediaType: mediaTypes.empty, ...empty },
    layers: [{ mediaType: artifactType, ...blob, annotations: { 'in-toto.io/predicate-type': predicateType } }],
    subject,
    annotations: { 'org.opencontainers.image.created': created, 'in-toto.io/predicate-type': predicateType },
  })
  await layout.attach({ ...descriptor, artifactType })
  return descriptor.digest
}

async function describeManifest(
  layout: Layout,
  digest: Digest,
): Promise<{ mediaType: string; digest: Digest; size: number }> {
  const bytes = await layout.readBlob(digest)
  const { mediaType = mediaTypes.manifest } = JSON.parse(bytes.toString()) as { mediaType?: string }
  return { mediaType, digest, size: bytes.byteLength }
}
