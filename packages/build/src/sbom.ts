/**
 * What is in an image and where it came from: bills of materials and SLSA provenance, out of the report of a build or, for
 * images built elsewhere, out of their layers.
 *
 * @example
 * ```ts no-run
 * import { buildImage } from '@fairlead/build'
 * import { attachDocuments } from '@fairlead/build/sbom'
 * import { openLayout } from '@fairlead/oci/layout'
 *
 * const layout = await openLayout('/tmp/images')
 * const built = await buildImage({ dir: 'examples/legacy', name: 'demo/legacy', layout, cacheDir: '/tmp/cache' })
 * await attachDocuments(layout, built, { cacheDir: '/tmp/cache' })
 * ```
 */
export { createProvenance } from './lib/provenance/provenance.ts'
export type { Provenance } from './lib/provenance/provenance.ts'
export { billOfImage, billOfReport } from './lib/sbom/bill.ts'
export { attachDocuments } from './lib/sbom/documents.ts'
export type { AttachedDocument } from './lib/sbom/documents.ts'
