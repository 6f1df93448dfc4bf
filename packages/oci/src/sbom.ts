/**
 * Software bills of materials of images: SPDX 2.3 and CycloneDX 1.6 in JSON, the same bytes for the same image.
 *
 * @example
 * ```ts
 * import { npmPurl, renderSpdx } from '@fairlead/oci/sbom'
 *
 * renderSpdx({
 *   name: 'localhost/shop/web',
 *   digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
 *   created: '2026-11-21T00:00:00Z',
 *   tool: { name: 'fairlead', version: '0.1.0' },
 *   components: [
 *     { id: 'express', type: 'library', name: 'express', version: '5.3.0', purl: npmPurl('express', '5.3.0') },
 *   ],
 * })
 * ```
 */
export type { BillComponent, BillOfMaterials } from './lib/sbom/bill.ts'
export { CYCLONEDX_TYPE, renderCycloneDx } from './lib/sbom/cyclonedx.ts'
export { npmPurl, renderPurl } from './lib/sbom/purl.ts'
export type { PurlParts } from './lib/sbom/purl.ts'
export { renderSpdx, SPDX_TYPE } from './lib/sbom/spdx.ts'
