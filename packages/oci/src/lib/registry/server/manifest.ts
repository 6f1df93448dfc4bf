import { isDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import type { Descriptor } from '../../spec/image.ts'
import { isIndexType, isManifestType } from '../../spec/media-types.ts'
import { RegistryRefusal } from './protocol.ts'

/** What a manifest points at, by kind. */
export interface ManifestLinks {
  /** Config and layers, without layers that are fetched from elsewhere. */
  blobs: readonly Descriptor[]
  /** Children of an index. */
  manifests: readonly Descriptor[]
  subject: Digest | undefined
}

/** Limit of distribution-spec 1.1, "Pushing Manifests". */
export const MAX_MANIFEST_BYTES: number = 4 << 20

/**
 * Reads a manifest or index as a registry must: its form is checked, fields nobody knows are let be. Throws
 * MANIFEST_INVALID.
 */
export function parseManifest(mediaType: string, bytes: Buffer): ManifestLinks {
  if (!isManifestType(mediaType) && !isIndexType(mediaType)) {
    throw invalid(`the media type "${mediaType.slice(0, 100)}" is not one of a manifest`)
  }
  const value = parseJson(bytes)
  if (value['schemaVersion'] !== 2) throw invalid('schemaVersion is not 2')
  if (value['mediaType'] !== undefined && value['mediaType'] !== mediaType) {
    throw invalid('its mediaType is not the Content-Type it was sent with')
  }
  const subject = value['subject'] === undefined ? undefined : descriptorOf(value['subject'], 'subject').digest
  if (isIndexType(mediaType)) {
    // The same bytes must not be an image to one client and an index to another (CVE-2021-41190).
    if (value['layers'] !== undefined || value['config'] !== undefined)
      throw invalid('an index has no config or layers')
    return { blobs: [], manifests: listOf(value['manifests'], 'manifests'), subject }
  }
  if (value['manifests'] !== undefined) throw invalid('an image manifest has no manifests')
  const layers = listOf(value['layers'], 'layers')
  const stored = layers.filter((layer) => !isForeign(layer))
  return { blobs: [descriptorOf(value['config'], 'config'), ...stored], manifests: [], subject }
}

/** Layers that may not be passed on lie where their `urls` say (image-spec, "Non-Distributable Layers"). */
function isForeign({ mediaType }: Descriptor): boolean {
  return mediaType.includes('.nondistributable.') || mediaType.includes('.foreign.')
}

function listOf(value: unknown, field: string): Descriptor[] {
  if (!Array.isArray(value)) throw invalid(`${field} is not a list`)
  return value.map((entry, at) => descriptorOf(entry, `${field}[${at}]`))
}

function descriptorOf(value: unknown, field: string): Descriptor {
  const { mediaType, digest, size } = (typeof value === 'object' && value !== null ? value : {}) as Partial<Descriptor>
  if (typeof mediaType !== 'string' || mediaType === '') throw invalid(`${field} has no mediaType`)
  if (typeof digest !== 'string' || !isDigest(digest)) throw invalid(`${field} has no digest`)
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw invalid(`${field} has no size`)
  return value as Descriptor
}

function parseJson(bytes: Buffer): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new RegistryRefusal(400, 'MANIFEST_INVALID', 'the manifest is no JSON', { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('it is no object')
  return value as Record<string, unknown>
}

function invalid(state: string): RegistryRefusal {
  return new RegistryRefusal(400, 'MANIFEST_INVALID', `the manifest is not valid: ${state}`)
}
