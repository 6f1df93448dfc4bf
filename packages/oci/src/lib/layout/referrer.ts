import { isDigest } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import type { Descriptor, ImageIndex, ImageManifest } from '../spec/image.ts'

/**
 * How the referrers API describes a manifest that has a `subject` (distribution-spec 1.1, "Listing Referrers"): with its
 * artifact type, else the media type of its config, and with its annotations. `undefined` for what has no subject.
 */
export function referrerOf(
  mediaType: string,
  digest: Digest,
  bytes: Buffer,
): { subject: Digest; descriptor: Descriptor } | undefined {
  const manifest = parse(bytes)
  const subject = manifest?.subject?.digest
  if (!manifest || typeof subject !== 'string' || !isDigest(subject)) return undefined
  const artifactType = manifest.artifactType || manifest.config?.mediaType
  const { annotations } = manifest
  return {
    subject,
    descriptor: {
      mediaType,
      digest,
      size: bytes.byteLength,
      ...(artifactType ? { artifactType } : {}),
      ...(annotations ? { annotations } : {}),
    },
  }
}

function parse(bytes: Buffer): Partial<ImageManifest & ImageIndex> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString())
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
