/**
 * Looks into images of a layout: their steps, their files and whose they are, and what two of them have in common.
 *
 * @example
 * ```ts
 * import { listFiles } from '@fairlead/oci/inspect'
 * import { openLayout } from '@fairlead/oci/layout'
 *
 * const layout = await openLayout('/tmp/fairlead-inspect-example')
 * const image = await layout.resolve('localhost/shop-web:latest')
 * for (const { path, sizeBytes } of image ? await listFiles(layout, image) : []) console.log(path, sizeBytes)
 * ```
 */
export { diffImages } from './lib/inspect/diff.ts'
export type { FileDifference, ImageDifference } from './lib/inspect/diff.ts'
export { listFiles, readFileOf } from './lib/inspect/files.ts'
export type { ImageFile, ListFilesOptions } from './lib/inspect/files.ts'
export { listSteps } from './lib/inspect/layers.ts'
export type { ImageStep } from './lib/inspect/layers.ts'
export { findOwner } from './lib/inspect/owner.ts'
export type { FileOwner } from './lib/inspect/owner.ts'
