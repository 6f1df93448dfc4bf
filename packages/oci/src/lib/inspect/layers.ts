import type { ResolvedImage } from '../layout/layout.ts'
import type { Digest } from '../spec/digest.ts'

/** One step of an image's making: a layer, or a change of the configuration only. */
export interface ImageStep {
  /** Of the compressed layer; undefined for a step without one. */
  readonly digest: Digest | undefined
  /** Of the uncompressed layer. */
  readonly diffId: Digest | undefined
  /** Compressed, as it is stored and pushed. 0 without a layer. */
  readonly sizeBytes: number
  readonly mediaType: string | undefined
  readonly created: string | undefined
  readonly createdBy: string | undefined
  readonly comment: string | undefined
}

/**
 * The steps of an image, lowest first: its layers with what the history says of each. An image without a history, or with one
 * that does not fit its layers, has a step per layer.
 */
export function listSteps({ manifest, config }: ResolvedImage): ImageStep[] {
  const layers = manifest.layers.map((layer, index) => ({
    digest: layer.digest,
    diffId: config.rootfs.diff_ids[index],
    sizeBytes: layer.size,
    mediaType: layer.mediaType,
  }))
  const history = config.history ?? []
  const withLayer = history.filter((entry) => entry.empty_layer !== true).length
  const bare = { created: undefined, createdBy: undefined, comment: undefined }
  if (withLayer !== layers.length) return layers.map((layer) => ({ ...layer, ...bare }))
  const left = layers.values()
  return history.map((entry) => {
    const layer = entry.empty_layer === true ? undefined : left.next().value
    return {
      ...(layer ?? { digest: undefined, diffId: undefined, sizeBytes: 0, mediaType: undefined }),
      created: entry.created,
      createdBy: entry.created_by,
      comment: entry.comment,
    }
  })
}
