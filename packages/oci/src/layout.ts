/**
 * The content store: an OCI image layout directory that many processes share.
 *
 * @example
 * ```ts
 * import { openLayout } from '@fairlead/oci/layout'
 *
 * const layout = await openLayout('/tmp/fairlead-layout-example')
 * const { digest } = await layout.writeBlob(Buffer.from('content'))
 * ```
 */
export { exportImages } from './lib/layout/export.ts'
export type { ExportedImages, ExportOptions, ExportTarget } from './lib/layout/export.ts'
export { openLayout } from './lib/layout/layout.ts'
export type { Layout, ResolvedImage, StoredBlob } from './lib/layout/layout.ts'
export { withLock } from './lib/layout/lock.ts'
export type { LockOptions } from './lib/layout/lock.ts'
