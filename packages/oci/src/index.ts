/**
 * The OCI image model: references, digests, descriptors, manifests and canonical JSON (image-spec 1.1.1).
 *
 * @example
 * ```ts
 * import { parseReference, renderReference } from '@fairlead/oci'
 *
 * renderReference(parseReference('localhost/shop/web')) // 'localhost/shop/web:latest'
 * ```
 */
export { renderCanonicalJson } from './lib/spec/canonical.ts'
export { createDigester, digestOf, isDigest, parseDigest, splitDigest } from './lib/spec/digest.ts'
export type { Digest } from './lib/spec/digest.ts'
export type {
  Descriptor,
  ImageConfig,
  ImageHistory,
  ImageIndex,
  ImageManifest,
  ImageHealthcheck,
  ImageRunConfig,
} from './lib/spec/image.ts'
export { compressionOf, isIndexType, isManifestType, mediaTypes } from './lib/spec/media-types.ts'
export { hostPlatform, matchesPlatform, parsePlatform, renderPlatform } from './lib/spec/platform.ts'
export type { Platform } from './lib/spec/platform.ts'
export { parseReference, renderReference } from './lib/spec/reference.ts'
export type { Reference } from './lib/spec/reference.ts'
